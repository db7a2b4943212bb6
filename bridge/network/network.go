// Package network says how the bridge's calls to other systems leave this machine: which certificates
// they trust, and through which proxy they go.
package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// A Route says how calls to one service leave this machine. The zero Route trusts the system's
// certificates, and takes the proxy from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
type Route struct {
	// Roots are the trusted certificates; nil means the system's.
	Roots *x509.CertPool
	// Proxy returns the proxy of a request, nil for none. A nil Proxy means http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Through returns the route with another proxy, as ParseProxy returns it. If that is nil, the proxy
// comes from the environment.
func (r Route) Through(proxy func(*http.Request) (*url.URL, error)) Route {
	return Route{Roots: r.Roots, Proxy: proxy}
}

// ProxyOf returns the proxy of a request, nil for none.
func (r Route) ProxyOf(q *http.Request) (*url.URL, error) {
	if r.Proxy == nil {
		return http.ProxyFromEnvironment(q)
	}
	return r.Proxy(q)
}

// Transport makes t use the route. If a proxy refuses or cannot be reached, the error of a request is a
// *ProxyError. The caller must not use t afterwards.
func (r Route) Transport(t *http.Transport) http.RoundTripper {
	t.Proxy = r.ProxyOf
	if r.Roots != nil {
		t.TLSClientConfig = r.TLS(t.TLSClientConfig)
	}
	t.OnProxyConnectResponse = onConnect
	return &transport{t, r}
}

// TLS returns a copy of a TLS configuration, which may be nil, with the route's certificates.
func (r Route) TLS(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c = c.Clone()
	c.RootCAs = r.Roots
	return c
}

type transport struct {
	*http.Transport
	route Route
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(q *http.Request) (*http.Response, error) {
	answer, err := t.Transport.RoundTrip(q)
	if err != nil {
		return nil, t.route.ProxyFault(q, err)
	}
	return answer, nil
}

// ProxyFault returns a *ProxyError if err, the error of a request, says that its proxy could not be
// reached or, if it is a SOCKS proxy, refused. Otherwise it returns err.
func (r Route) ProxyFault(q *http.Request, err error) error {
	fault, ok := errors.AsType[*net.OpError](err)
	if !ok || fault.Op != "proxyconnect" && fault.Op != "socks connect" {
		return err
	}
	proxy, e := r.ProxyOf(q)
	if e != nil || proxy == nil {
		return err
	}
	return &ProxyError{Host: proxy.Host, err: err}
}

// onConnect returns the error of a proxy's answer to CONNECT.
func onConnect(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return Refused(proxy, answer.StatusCode)
}

// Refused returns the error of a proxy that answered CONNECT with a status.
func Refused(proxy *url.URL, status int) *ProxyError {
	return &ProxyError{Host: proxy.Host, Status: status}
}

// A ProxyError means that a request did not reach its service, because the proxy could not be reached or
// refused the connection.
type ProxyError struct {
	// Host is the host of the proxy, with its port if the setting has one.
	Host string
	// Status is the HTTP status with which the proxy refused; zero if it sent none.
	Status int
	err    error
}

// Error names the proxy and what it answered, without its password.
func (e *ProxyError) Error() string {
	switch {
	case e.Status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("the proxy %s requires a user and password, or does not accept them (407)", e.Host)
	case e.Status != 0:
		return fmt.Sprintf("the proxy %s refused the connection (%s)", e.Host, strings.TrimSpace(fmt.Sprint(e.Status, " ", http.StatusText(e.Status))))
	}
	if op, ok := errors.AsType[*net.OpError](e.err); ok && op.Op == "socks connect" {
		return fmt.Sprintf("the proxy %s refused the connection", e.Host)
	}
	return fmt.Sprintf("the proxy %s cannot be reached", e.Host)
}

// Unwrap returns the error of the connection, or nil if the proxy answered.
func (e *ProxyError) Unwrap() error { return e.err }

// ProxyRefusal is the text of Error. A package that does not import this one finds the error by it.
func (e *ProxyError) ProxyRefusal() string { return e.Error() }

// Direct is the value of a proxy setting for no proxy.
const Direct = "direct"

// ParseProxy reads the setting of a proxy: direct, or an address that begins with http://, https:// or
// socks5://. For "" it returns nil. secrets must not be logged.
func ParseProxy(value string) (proxy func(*http.Request) (*url.URL, error), secrets []string, err error) {
	switch value {
	case "":
		return nil, nil, nil
	case Direct:
		return func(*http.Request) (*url.URL, error) { return nil, nil }, nil, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(value, "?#") {
		return nil, nil, errors.New("must be direct, or the address of a proxy without a path, such as http://proxy.example.org:3128, https://… or socks5://…")
	}
	return http.ProxyURL(u), SecretsOf(value), nil
}

// SecretsOf returns the password in the address of a proxy as it is written, decoded, and together with
// the user, as it is sent.
func SecretsOf(address string) []string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	password, has := u.User.Password()
	if !has || password == "" {
		return nil
	}
	_, written, _ := strings.Cut(u.User.String(), ":")
	return []string{password, written, u.User.Username() + ":" + password}
}

// EnvironmentSecrets returns the passwords in the proxies of the environment.
func EnvironmentSecrets() (all []string) {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"} {
		all = append(all, SecretsOf(os.Getenv(name))...)
		all = append(all, SecretsOf(os.Getenv(strings.ToLower(name)))...)
	}
	return all
}

// Roots returns the system's certificates and those in data, which is PEM. Its error continues a
// sentence about the file.
func Roots(data []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without certificates
	}
	n := 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("names a file that contains a %s: it must contain certificates only", strings.ToLower(block.Type))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("names a file whose certificate number %d cannot be read", n+1)
		}
		pool.AddCert(certificate)
	}
	if n == 0 {
		return nil, errors.New("names a file without certificates: it must contain them as PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}
