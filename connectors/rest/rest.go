// Package rest is the small JSON client that connectors share: it speaks to one
// host, never follows a redirect, caps what it reads, and never lets an
// address or a credential into an error.
//
// It does not retry; retries belong to the bridge. Its errors say what a caller
// classifies by: *StatusError for an answer that is not 2xx, and otherwise an
// error that unwraps to the cause (a context's error, a network error) while
// its text holds the operation and a plain reason only.
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
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	defaultMaxBody = 1 << 20

	// maxErrorBody is how much of a refusal is kept to classify it by.
	maxErrorBody = 64 << 10
)

// ErrTooLarge means that an answer was longer than Config.MaxBody.
var ErrTooLarge = errors.New("answer too large")

// A Config says which service a Client speaks to.
type Config struct {
	// Base is the address of the service, possibly with a path prefix. Plain
	// http is accepted for loopback only.
	Base *url.URL
	// Header goes with every request; this is where credentials are.
	Header http.Header
	// Transport carries the requests; nil is NewTransport(). Clients of one
	// service share theirs.
	Transport http.RoundTripper
	// Timeout bounds each call, the reading of the answer included; zero means
	// 10 s. An earlier deadline of the caller's context holds.
	Timeout time.Duration
	// MaxBody is the longest answer in bytes, after decompression, that is
	// read; zero means 1 MiB.
	MaxBody int64
}

// A Client calls one service. Its methods may be used from many goroutines.
type Client struct {
	base    *url.URL
	header  http.Header
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
	// A trailing slash makes JoinPath keep the prefix and nothing else.
	base.Path = strings.TrimSuffix(base.Path, "/") + "/"
	base.RawPath = ""
	return &Client{
		base:   &base,
		header: c.Header.Clone(),
		http: &http.Client{
			Transport: c.Transport,
			// The headers carry credentials; they go nowhere that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: cmp.Or(c.Timeout, defaultTimeout),
		maxBody: cmp.Or(c.MaxBody, defaultMaxBody),
	}, nil
}

// CheckBase reports what makes u unfit as the address of a service: anything but
// https, save http on loopback; user, query or fragment. The error does not hold
// the address, which may carry a password.
func CheckBase(u *url.URL) error {
	switch {
	case u == nil || u.Host == "":
		return errors.New("the address has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return errors.New("the address may hold scheme, host and path only")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("the address must begin with https:// (http:// is accepted for loopback only)")
	}
}

// Loopback reports whether a host, without a port, is this machine.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// NewTransport returns a transport for one upstream: enough idle connections
// for the bridge's workers, and a bound on every wait before the answer's body.
// The caller owns it and may change it before its first use.
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

// Get asks for a path below the base and decodes the answer into out, which may
// be nil. The header is that of the answer, also when the error is a
// *StatusError; otherwise it is nil.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) (http.Header, error) {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

// Post sends in as JSON; the rest is as with Get.
func (c *Client) Post(ctx context.Context, path string, in, out any) (http.Header, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("POST %s: encode: %w", path, err)
	}
	return c.do(ctx, http.MethodPost, path, nil, body, out)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, out any) (http.Header, error) {
	op := method + " " + path
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), sent)
	if err != nil {
		return nil, broken(op, err)
	}
	maps.Copy(req.Header, c.header)
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
		// What a refusal says only helps to name it: losing it is no error.
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
