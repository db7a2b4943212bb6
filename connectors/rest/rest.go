// Package rest is the JSON client that connectors share. A Client calls one host, never
// follows a redirect, limits the size of answers, and never puts an address or a credential
// into an error. Open this file first.
//
// It does not retry: the bridge does. The error for an answer outside 2xx is a *StatusError,
// and Codes (refusal.go) says whether the request may succeed later.
// Any other error unwraps to its cause (a context's error, a network error), but its text
// holds only the operation and a plain reason.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/requestid"
)

const (
	defaultTimeout = 10 * time.Second
	defaultMaxBody = 1 << 20

	// maxErrorBody is how many bytes of an answer outside 2xx are kept, so that the caller
	// can classify it.
	maxErrorBody = 64 << 10
)

// ErrTooLarge means that an answer was longer than Config.MaxBody.
var ErrTooLarge = errors.New("answer too large")

// A Config says which service a Client calls.
type Config struct {
	// Base is the address of the service, possibly with a path prefix. Plain
	// http is accepted for loopback only.
	Base *url.URL
	// Header is sent with every request. It holds the credentials.
	Header http.Header
	// Authorize adds credentials that may change to the header of each request; it may be nil.
	Authorize func(http.Header)
	// Transport carries the requests; nil means NewTransport(). Clients of one
	// service share a transport.
	Transport http.RoundTripper
	// Timeout limits each call, including the reading of the answer; zero means
	// 10 s. An earlier deadline of the caller's context still applies.
	Timeout time.Duration
	// MaxBody is the size of the largest accepted answer in bytes, after
	// decompression; zero means 1 MiB.
	MaxBody int64
}

// A Client calls one service. Its methods may be used from many goroutines.
type Client struct {
	base    *url.URL
	header  http.Header
	auth    func(http.Header)
	http    *http.Client
	timeout time.Duration
	maxBody int64
}

// New checks the configuration and returns a client. It makes no request.
func New(c Config) (*Client, error) {
	if err := CheckBase(c.Base); err != nil {
		return nil, err
	}
	if c.Transport == nil {
		c.Transport = NewTransport()
	}
	base := *c.Base
	// With the trailing slash JoinPath keeps the whole prefix.
	base.Path = strings.TrimSuffix(base.Path, "/") + "/"
	base.RawPath = ""
	return &Client{
		base:   &base,
		header: c.Header.Clone(),
		auth:   c.Authorize,
		http: &http.Client{
			Transport: c.Transport,
			// The headers carry credentials, so they go only to the configured host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: cmp.Or(c.Timeout, defaultTimeout),
		maxBody: cmp.Or(c.MaxBody, defaultMaxBody),
	}, nil
}

// CheckBase reports why u cannot be the address of a service. It must be https, or http on
// loopback, and must have no user, query or fragment. The error does not hold the address,
// which may contain a password.
func CheckBase(u *url.URL) error {
	switch {
	case u == nil || u.Host == "":
		return errors.New("the address has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return errors.New("the address may have a scheme, a host and a path only")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && netaddr.Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("the address must begin with https:// (http:// is accepted for loopback only)")
	}
}

// NewTransport returns a transport for one service. It has enough idle connections for the
// bridge's workers, and a limit on every wait before the answer's body. The caller may
// change it before its first use.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    64,
		MaxConnsPerHost:        128,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  15 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Get requests a path below the base and decodes the answer into out, which may be nil. It
// returns the answer's header, also with a *StatusError; with any other error the header is
// nil.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) (http.Header, error) {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

// Post sends in as JSON to a path below the base. Otherwise it behaves as Get does.
func (c *Client) Post(ctx context.Context, path string, in, out any) (http.Header, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("POST %s: encode: %w", path, err)
	}
	return c.do(ctx, http.MethodPost, path, nil, body, out)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, out any) (http.Header, error) {
	path, route := split(path)
	op := method + " " + route
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(requestid.WithRoute(ctx, route), method, u.String(), sent)
	if err != nil {
		return nil, broken(op, err)
	}
	maps.Copy(req.Header, c.header)
	if c.auth != nil {
		c.auth(req.Header)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}

	resp, err := c.http.Do(req)
	if err != nil {
		return nil, broken(op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		// The body only helps to classify the answer, so a failed read is ignored.
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return resp.Header, &StatusError{Op: op, Status: resp.StatusCode, Header: resp.Header, Body: text}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	switch {
	case err != nil:
		return nil, broken(op, err)
	case int64(len(data)) > c.maxBody:
		return nil, fmt.Errorf("%s: %w", op, ErrTooLarge)
	case out == nil:
		return resp.Header, nil
	}
	if err := Decode(data, out); err != nil {
		return nil, fmt.Errorf("%s: answer: %w", op, err)
	}
	return resp.Header, nil
}

// Segment writes an id as one segment of the path of Get and Post, escaped and in braces. Get and Post
// remove the braces; the log and errors show {id} instead. Unlike url.PathEscape it escapes dots as
// well: a client would otherwise take the ids "." and ".." for parts of the path and remove them.
func Segment(id string) string {
	return "{" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E") + "}"
}

var segmentForm = regexp.MustCompile(`\{([^{}]*)\}`)

// split returns a path as it is sent, and as the log and errors show it.
func split(path string) (sent, shown string) {
	return segmentForm.ReplaceAllString(path, "$1"), segmentForm.ReplaceAllString(path, "{id}")
}
