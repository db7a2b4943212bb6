package settings

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minSecret is the shortest secret that is accepted, in bytes.
const minSecret = 16

// Secret checks a secret: long enough, fit for a header, and not used for
// anything else. Empty values are left to `need:"yes"`.
func (r *Reader) Secret(variable, value string) string {
	if value == "" {
		return ""
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
		r.Fault(variable, "holds a line end or another character that no secret has: only visible ASCII is accepted")
		return ""
	}
	if len(value) < minSecret {
		r.Fault(variable, fmt.Sprintf("is too short for a secret: use at least %d characters", minSecret))
		return ""
	}
	if other, twice := r.secrets[value]; twice {
		r.Fault(variable, "has the same value as "+other+": each secret must be its own")
		return ""
	}
	if r.secrets == nil {
		r.secrets = map[string]string{}
	}
	r.secrets[value] = variable
	return value
}

// Key decodes a secret of 32 random bytes in base64, with or without padding.
func (r *Reader) Key(variable, value string) []byte {
	if r.Secret(variable, value) == "" {
		return nil
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil || len(key) != 32 {
		r.Fault(variable, "must be 32 random bytes in base64: make one with `openssl rand -base64 32`")
		return nil
	}
	return key
}

// minHidden is the shortest value that is hidden, in bytes: to take a word like
// "bridge" out of every line would hide the lines.
const minHidden = 8

// Hide adds a value that is part of a setting to Secrets.
func (r *Reader) Hide(value string) {
	if len(value) >= minHidden {
		r.hidden = append(r.hidden, value)
	}
}

// Secrets are all values that passed Secret or Key, or were hidden.
func (r *Reader) Secrets() []string {
	all := slices.Clone(r.hidden)
	for value := range r.secrets {
		all = append(all, value)
	}
	slices.Sort(all)
	return all
}

// URL checks the address of a service: https, or http on this machine, and no
// more than scheme, host and path.
func (r *Reader) URL(variable, value string) *url.URL {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		r.Fault(variable, "must be an address like https://chat.example.org")
	case u.User != nil || strings.ContainsAny(value, "?#"):
		r.Fault(variable, "must have no user, query or fragment in it")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		r.Fault(variable, "must begin with https:// (http:// is accepted for this machine only)")
	default:
		return u
	}
	return nil
}

// Origin checks a public address, which is a URL without a path. It is returned
// as browsers write it: in lower case, and without the scheme's own port.
func (r *Reader) Origin(variable, value string) *url.URL {
	u := r.URL(variable, value)
	if u != nil && strings.Trim(u.Path, "/") != "" {
		r.Fault(variable, "must have no path: the bridge needs a host name of its own")
		return nil
	}
	if u == nil {
		return nil
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"https": ":443", "http": ":80"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return &url.URL{Scheme: u.Scheme, Host: host}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// Listen checks an address to listen on, such as ":8080".
func (r *Reader) Listen(variable, value string) string {
	if _, port, err := net.SplitHostPort(value); err != nil || !isPort(port) {
		r.Fault(variable, "must be an address to listen on, such as :8080 or 127.0.0.1:8080")
		return ""
	}
	return value
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}

// Duration checks a length of time between least and most. Whole days may be
// written as such: 30d.
func (r *Reader) Duration(variable, value string, least, most time.Duration) time.Duration {
	d, err := duration(value)
	if err != nil || d < least || d > most {
		r.Fault(variable, fmt.Sprintf("must be a length of time such as 90s, 30m, 8h or 14d, from %s to %s", written(least), written(most)))
		return 0
	}
	return d
}

// written is how a length of time may be given.
func written(d time.Duration) string {
	if n := d / (24 * time.Hour); n > 1 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(n), 10) + "d"
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

// Bool checks a switch.
func (r *Reader) Bool(variable, value string) bool {
	switch strings.ToLower(value) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	r.Fault(variable, "must be true or false")
	return false
}

// OneOf checks a choice.
func (r *Reader) OneOf(variable, value string, choices ...string) string {
	if !slices.Contains(choices, value) {
		r.Fault(variable, "must be one of: "+strings.Join(choices, ", "))
		return ""
	}
	return value
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
			r.Fault(variable, "must be a comma list of addresses or networks, such as 10.0.0.0/8")
			return nil
		}
		all = append(all, p.Masked())
	}
	return all
}

// hostForm is that of a host name.
var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// Hosts checks a list of host names.
func (r *Reader) Hosts(variable, value string) []string {
	all := List(strings.ToLower(value))
	for _, host := range all {
		if !hostForm.MatchString(host) {
			r.Fault(variable, "must be a comma list of host names, such as shop.example.org")
			return nil
		}
	}
	return all
}

// List splits a comma list and drops what is empty.
func List(value string) []string {
	var all []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	return all
}
