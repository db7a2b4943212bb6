package upscope

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultURL and DefaultVersion are defaults of [Config]. All brands share one host, and the version is the first
// segment of the path (cobrowsingapi.com/docs/rest-api/api-endpoints).
const (
	DefaultURL     = "https://api.upscope.io"
	DefaultVersion = "v1.3"
)

// Config has the address of the API and the key. It can be printed: the key is left out.
type Config struct {
	// URL is the address of the API up to the version. It may have a path. It must be https, except on loopback.
	// Empty means DefaultURL.
	URL string
	// Version is v1.2 or later; earlier versions have other paths. Up to v1.3 the key is sent as X-Api-Key, from
	// v1.4 as a bearer token (cobrowsingapi.com/docs/rest-api/viewer-sdk). Empty means DefaultVersion.
	Version string
	// Key is the secret REST key of the account, not the public key of its pages
	// (cobrowsingapi.com/docs/rest-api/authentication). Required.
	Key string `json:"-"`
	// KeyNow returns the key for each request, for a key that changes while the program runs. Nil means Key.
	KeyNow func() string `json:"-"`
	// Transport sends the requests; nil means a new one of NewTransport. It must not follow redirects.
	Transport http.RoundTripper
}

// Format writes the configuration without its key, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "upscope.Config{URL: %q, Version: %q}", safeURL(c.URL), c.Version)
}

// LogValue returns the configuration without its key.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("url", safeURL(c.URL)), slog.String("version", c.Version))
}

// safeURL returns raw, or a placeholder if raw contains a user or password.
func safeURL(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.User == nil {
		return raw
	}
	return "[not shown]"
}

// maxConns is how many connections NewTransport opens to a host, and keeps. Without a limit, a burst of calls
// opens up to two connections per call while none is idle.
const maxConns = 80

// NewTransport returns a transport for many parallel calls to one host. It keeps 80 connections, and further calls
// wait for one within their deadlines. The standard library keeps two, so with HTTP/1.1 most calls of a burst need
// a new TLS handshake. Proxies come from the environment. Bodies are not decompressed, so limits on their length
// count the bytes that were sent.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           maxConns,
		MaxIdleConnsPerHost:    maxConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        45 * time.Second, // common load balancers close after 60 s
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    3 * time.Second,
		ResponseHeaderTimeout:  slowDeadline,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// Client calls the API. New makes it. It is safe for use by many goroutines.
type Client struct{ wire *wire }

// New checks the configuration and returns a client. It sends nothing; call [Client.Usage] to test the key. An
// error names the faulty field and does not quote its value.
func New(c Config) (*Client, error) {
	w, err := newWire(c)
	if err != nil {
		return nil, err
	}
	return &Client{w}, nil
}

// CloseIdleConnections closes the kept connections of the transport, if it can.
func (c *Client) CloseIdleConnections() { c.wire.closeIdle() }

// wire is the common part of Client and Eraser: the address of the API, the transport and the key.
type wire struct {
	base      string // scheme, host, prefix and version, without a trailing slash
	transport http.RoundTripper
	// The key is in a closure, so that printing a client by reflection does not show it.
	authorize func(http.Header)
	hasKey    func(string) bool // reports whether a text contains the key
	clock     clock             // of the service
}

var versionForm = regexp.MustCompile(`^v1\.([0-9]{1,3})$`)

func newWire(c Config) (*wire, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil, u.Host == "", u.Opaque != "":
		return nil, errors.New("upscope: URL is not an absolute address")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, strings.Contains(c.URL, "#"):
		return nil, errors.New("upscope: URL must not have a user, a query or a fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("upscope: URL must be https; plain http is for loopback only")
	}
	m := versionForm.FindStringSubmatch(c.Version)
	if m == nil {
		return nil, errors.New(`upscope: Version must look like "v1.3"`)
	}
	minor, _ := strconv.Atoi(m[1])
	if minor < 2 {
		return nil, errors.New("upscope: Version must be v1.2 or later")
	}
	if c.Key == "" {
		return nil, errors.New("upscope: Key is empty")
	}
	if strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("upscope: Key contains a blank or another character that is not in keys")
	}
	if c.Transport == nil {
		c.Transport = NewTransport()
	}
	now := c.KeyNow
	if now == nil {
		now = func() string { return c.Key }
	}
	header, before := "X-Api-Key", ""
	if minor >= 4 {
		header, before = "Authorization", "Bearer "
	}
	return &wire{
		base:      strings.TrimRight(u.String(), "/") + "/" + c.Version,
		transport: c.Transport,
		authorize: func(h http.Header) { h.Set(header, before+now()) },
		hasKey:    func(s string) bool { return quotes(s, c.Key) || quotes(s, now()) },
	}, nil
}

func (w *wire) closeIdle() {
	if t, ok := w.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Usage counts what the account has used. Reading it has no effect.
type Usage struct {
	Agents struct {
		Last30Days int `json:"last_30_days"` // agents who co-browsed
		Today      int `json:"today"`        // in the last 24 hours
	} `json:"agents"`
	SessionCounts struct {
		Last30Days int `json:"last_30_days"`
		Now        int `json:"now"` // running
		Today      int `json:"today"`
	} `json:"session_counts"`
	SessionSeconds struct {
		Last30Days int `json:"last_30_days"`
		Today      int `json:"today"`
	} `json:"session_seconds"`
	Visitors struct {
		Last24Hours int `json:"last_24_hrs"`
		OnlineNow   int `json:"online_now"`
	} `json:"visitors"`
}

// Usage reads the account's counters: GET /usage (cobrowsingapi.com/docs/rest-api/api-endpoints).
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	var answer struct{ Usage *Usage }
	r := request{op: "usage", method: http.MethodGet, path: []string{"usage"}, deadline: quickDeadline}
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return Usage{}, err
	}
	if answer.Usage == nil {
		return Usage{}, badAnswer(r.op, "the answer has no usage")
	}
	return *answer.Usage, nil
}
