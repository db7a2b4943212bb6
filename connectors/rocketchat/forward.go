package rocketchat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

const (
	// forwardTimeout bounds each call; Rocket.Chat itself waits for 5 s by default.
	forwardTimeout = 10 * time.Second
	// forwardLife is how long an event is worth passing on. Rocket.Chat gives up
	// after two or three minutes.
	forwardLife = 24 * time.Hour
)

// An envelope is what goes before the body of an event that is passed on, as one
// line of JSON.
type envelope struct {
	Token string `json:"token"`
	Type  string `json:"type"`
}

// pack keeps an event as it came, for forward. The token is that of the event,
// which while the secret is being changed may not be the newest.
func pack(h http.Header, body []byte) ([]byte, error) {
	e := envelope{Token: h.Get(tokenHeader), Type: h.Get("Content-Type")}
	if e.Type == "" || !headerValue(e.Type) {
		e.Type = "application/json"
	}
	head, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{head, body}, []byte("\n")), nil
}

// A forwarder passes events on to another receiver. Rocket.Chat has room for one
// webhook only, so the bridge stands in for it: same bytes, same token.
type forwarder struct {
	to   string
	http *http.Client
}

func newForwarder(to *url.URL, transport http.RoundTripper) *forwarder {
	if transport == nil {
		transport = rest.NewTransport()
	}
	return &forwarder{to: to.String(), http: &http.Client{
		Transport: transport,
		// The token goes nowhere that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// forward passes an event on. Any 2xx will do; what the answer says is not read,
// since there is nobody it could be meant for. A refusal ends it, save those
// that pass by themselves, and so does a day.
func (f *forwarder) forward(ctx context.Context, d bridge.Delivery) error {
	err := f.post(ctx, d)
	if err != nil && time.Since(d.Received) > forwardLife {
		return bridge.Permanent(err)
	}
	return err
}

func (f *forwarder) post(ctx context.Context, d bridge.Delivery) error {
	const op = "pass the event on"
	var e envelope
	head, body, found := bytes.Cut(d.Body, []byte("\n"))
	if !found || json.Unmarshal(head, &e) != nil || !headerValue(e.Token) || !headerValue(e.Type) {
		return bridge.Permanent(errors.New(op + ": what was kept of it cannot be read"))
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.to, bytes.NewReader(body))
	if err != nil {
		return rest.Broken(op, err)
	}
	req.Header.Set("Content-Type", e.Type)
	req.Header.Set(tokenHeader, e.Token)
	resp, err := f.http.Do(req)
	if err != nil {
		return rest.Broken(op, err)
	}
	defer resp.Body.Close()
	// Read to its end, within reason, so that the connection can be used again.
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // nothing is wanted of it
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	err = fmt.Errorf("%s: the receiver answered %d %s", op, status, http.StatusText(status))
	switch {
	case status == http.StatusTooManyRequests:
		return bridge.RetryAfter(err, wait(resp.Header, time.Now()))
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status < 400, status >= 500:
		return err
	}
	return bridge.Permanent(err)
}
