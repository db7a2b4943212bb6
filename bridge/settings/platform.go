package settings

import (
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// platformForms are the variables that a platform adds for each service that a program can reach.
// Their values must have the form too, so that a misspelt setting is not taken for one of them.
// Kubernetes: kubernetes.io/docs/concepts/services-networking/service, "Environment variables".
// Docker also adds _START and _END for ranges of ports:
// docs.docker.com/engine/network/links, "Environment variables".
var platformForms = []struct {
	name  *regexp.Regexp
	value func(string) bool
}{
	{regexp.MustCompile(`_SERVICE_HOST$`), isAddress},
	{regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$`), isNumber},
	{regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP)(_START|_END)?)?$`), isTransport},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`), isProtocol},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT(_START|_END)?$`), isNumber},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR$`), isAddress},
}

// dockerForm matches the variables that Docker adds with any value. Docker also sets the variable
// with the same beginning and _PORT.
var dockerForm = regexp.MustCompile(`^([A-Z0-9_]+?)_(NAME|ENV_.+)$`)

// addedByPlatform reports whether a variable is not the operator's: Kubernetes adds it for a
// Service, and Docker for a linked container, whose name begins like the bridge's variables.
func addedByPlatform(name, value string) bool {
	value = strings.TrimSpace(value)
	for _, f := range platformForms {
		if f.name.MatchString(name) && f.value(value) {
			return true
		}
	}
	link := dockerForm.FindStringSubmatch(name)
	return link != nil && isTransport(os.Getenv(link[1]+"_PORT"))
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func isProtocol(s string) bool { return s == "tcp" || s == "udp" || s == "sctp" }

// isTransport matches addresses such as tcp://10.0.0.1:8080 and udp://[fd00::1]:53.
func isTransport(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isProtocol(u.Scheme) && isAddress(u.Hostname()) && isNumber(u.Port()) && u.Path == ""
}
