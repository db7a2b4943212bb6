package settings

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/network"
)

// minSecret is the minimum length of a secret in bytes.
const minSecret = 16

// Secret checks that a secret is long enough, can be sent in a header, and is not used for
// another setting. It accepts an empty value. The struct tag need:"yes" makes a setting required.
func (r *Reader) Secret(variable, value string) string {
	if value == "" {
		return ""
	}
	if problem := r.secretProblem(variable, value); problem != "" {
		r.AddFault(variable, problem)
		return ""
	}
	if r.secrets == nil {
		r.secrets = map[string]string{}
	}
	r.secrets[value] = variable
	return value
}

// secretProblem returns why a value cannot be the secret of a variable, or "".
func (r *Reader) secretProblem(variable, value string) string {
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "contains a line break or another character that a secret cannot have: use letters, digits and signs of ASCII only"
	}
	if len(value) < minSecret {
		return fmt.Sprintf("is too short: it must have at least %d characters. If a service made it, copy it completely", minSecret)
	}
	if other, twice := r.secrets[value]; twice && other != variable {
		return "has the same value as " + other + ": use a different value for each secret"
	}
	return ""
}

// Proxy reads the setting of a proxy. It returns nil for an empty value, which means the proxy of the environment.
func (r *Reader) Proxy(variable, value string) func(*http.Request) (*url.URL, error) {
	proxy, secrets, err := network.ParseProxy(value)
	if err != nil {
		r.AddFault(variable, err.Error())
	}
	for _, s := range secrets {
		r.RedactInLogs(s)
	}
	return proxy
}

// Roots returns the system's certificates and those in a file. It returns nil for an empty path.
func (r *Reader) Roots(variable, path string) *x509.CertPool {
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.AddFault(variable, "names a file that cannot be read: "+Cause(err))
		return nil
	}
	pool, err := network.Roots(data)
	if err != nil {
		r.AddFault(variable, err.Error())
	}
	return pool
}

// Key decodes a secret of 32 random bytes in base64, with or without padding.
func (r *Reader) Key(variable, value string) []byte {
	if value == "" {
		return nil
	}
	const remedy = "it must be 32 random bytes in base64: make one with `openssl rand -base64 32`"
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	switch {
	case err != nil:
		r.AddFault(variable, "is not base64: "+remedy)
		return nil
	case len(key) != 32:
		r.AddFault(variable, "has the wrong length: "+remedy)
		return nil
	case r.Secret(variable, value) == "":
		return nil
	}
	return key
}

// minHidden is the minimum length of a hidden value in bytes. To remove a short word such as
// "bridge" from every log line would make the log useless.
const minHidden = 8

// RedactInLogs adds a value that is part of a setting to Secrets, unless it is shorter than minHidden.
func (r *Reader) RedactInLogs(value string) {
	if len(value) >= minHidden {
		r.hidden = append(r.hidden, value)
	}
}

// Secrets returns all values that passed Secret or Key, or were added by RedactInLogs.
func (r *Reader) Secrets() []string {
	all := slices.Clone(r.hidden)
	for value := range r.secrets {
		all = append(all, value)
	}
	slices.Sort(all)
	return all
}

// URL checks the address of a service. It must be https, or http on this machine, and have
// only scheme, host and path.
func (r *Reader) URL(variable, value string) *url.URL {
	return r.url(variable, value, "https://service.example.org")
}

// url checks an address. Faults quote the example.
func (r *Reader) url(variable, value, example string) *url.URL {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		r.AddFault(variable, "must be an address that begins with https://, such as "+example)
	case u.User != nil || strings.ContainsAny(value, "?#"):
		r.AddFault(variable, "must not contain a user (user@), a query (?…) or a fragment (#…)")
	case u.Scheme == "http" && !netaddr.Loopback(u.Hostname()):
		r.AddFault(variable, "must begin with https:// (http:// is accepted for this machine only)")
	default:
		return r.asciiHost(variable, u)
	}
	return nil
}

// asciiHost writes an international host name as browsers do.
func (r *Reader) asciiHost(variable string, u *url.URL) *url.URL {
	host, err := netaddr.ASCII(u.Hostname())
	if err != nil {
		r.AddFault(variable, "has a host name that is not valid: write it in ASCII, with xn-- for other letters, as browsers copy it from their address bar")
		return nil
	}
	if host != u.Hostname() {
		u.Host = host + strings.TrimPrefix(u.Host, u.Hostname())
	}
	return u
}

// Origin checks a public address, which is a URL without a path. It returns the address as
// browsers write it: in lower case, and without the default port of the scheme.
func (r *Reader) Origin(variable, value string) *url.URL {
	u := r.url(variable, value, "https://bridge.example.org")
	if u != nil && strings.Trim(u.Path, "/") != "" {
		r.AddFault(variable, "must have no path: the bridge needs a host name of its own")
		return nil
	}
	if u == nil {
		return nil
	}
	return &url.URL{Scheme: u.Scheme, Host: netaddr.CanonicalHost(u.Scheme, u.Host)}
}

// maxSocketPath is the longest path of a Unix socket on all systems (104 bytes on macOS, with a zero).
const maxSocketPath = 103

// Listen checks an address to listen on, such as ":8080" or "unix:/run/bridge/http.sock". A fault
// names the examples.
func (r *Reader) Listen(variable, value, examples string) string {
	if file, ok := strings.CutPrefix(value, "unix:"); ok {
		switch {
		case !path.IsAbs(file) || path.Base(file) == "/" || strings.HasSuffix(file, "/"):
			r.AddFault(variable, "must name a socket by its whole path, such as unix:/run/bridge/http.sock")
		case len(file) > maxSocketPath:
			r.AddFault(variable, fmt.Sprintf("has a path of more than %d bytes, which a socket cannot have: use a shorter one", maxSocketPath))
		default:
			return value
		}
		return ""
	}
	if _, port, err := net.SplitHostPort(value); err != nil || !isPort(port) {
		r.AddFault(variable, "must be an address to listen on, such as "+examples)
		return ""
	}
	return value
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}

// Duration checks a duration between least and most. Days may be written as 30d.
func (r *Reader) Duration(variable, value string, least, most time.Duration) time.Duration {
	d, err := duration(value)
	if err != nil || d < least || d > most {
		r.AddFault(variable, fmt.Sprintf("must be a duration from %s to %s, written like 30m, 8h or 14d", durationText(least), durationText(most)))
		return 0
	}
	return d
}

// durationText returns a duration in the form of settings, such as 30d.
func durationText(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= unit.length && d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return d.String()
}

func duration(value string) (time.Duration, error) {
	if count, ok := strings.CutSuffix(value, "d"); ok {
		n, err := strconv.ParseUint(count, 10, 16) // up to 179 years
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(value)
}

// Bool reads true, yes, on or 1, or false, no, off or 0. The case of letters does not matter.
func (r *Reader) Bool(variable, value string) bool {
	switch strings.ToLower(value) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	r.AddFault(variable, "must be true or false")
	return false
}

// OneOf returns the choice that equals a value. The case of letters does not matter.
func (r *Reader) OneOf(variable, value string, choices ...string) string {
	for _, choice := range choices {
		if strings.EqualFold(choice, value) {
			return choice
		}
	}
	r.AddFault(variable, "must be one of: "+strings.Join(choices, ", "))
	return ""
}

// Prefixes checks a list of networks such as 10.0.0.0/8, or single addresses.
func (r *Reader) Prefixes(variable, value string) []netip.Prefix {
	var all []netip.Prefix
	for _, item := range List(value) {
		if addr, err := netip.ParseAddr(item); err == nil {
			all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			r.AddFault(variable, "must be comma-separated IP addresses or networks, such as 127.0.0.1 or 10.0.0.0/8: host names are not accepted")
			return nil
		}
		all = append(all, p.Masked())
	}
	return all
}

// hostForm is the form of a host name.
var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// Hosts checks a list of host names.
func (r *Reader) Hosts(variable, value string) []string {
	all := List(strings.ToLower(value))
	for i, host := range all {
		if ascii, err := netaddr.ASCII(host); err == nil {
			all[i], host = ascii, ascii
		}
		if !hostForm.MatchString(host) {
			r.AddFault(variable, "must be a comma-separated list of host names without https://, such as shop.example.org")
			return nil
		}
	}
	return all
}

// List splits a comma-separated list and drops empty items.
func List(value string) []string {
	var all []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	return all
}
