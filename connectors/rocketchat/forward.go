package rocketchat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/connectors/rest"
)

const (
	// forwardTimeout limits each call; Rocket.Chat itself waits for 5 s by default.
	forwardTimeout = 10 * time.Second
	// forwardLife is for how long the bridge tries to forward an event. Rocket.Chat itself
	// gives up after two or three minutes.
	forwardLife = 24 * time.Hour
)

// An envelope is the first line of a stored event that is to be forwarded, in JSON. The
// event's body follows.
type envelope struct {
	Token string `json:"token"`
	Type  string `json:"type"`
}

// pack makes the stored form of an event for forward. It keeps the event's own token, which
// may be the old secret during a change.
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

// A forwarder sends events to another receiver, since Rocket.Chat has only one webhook. It
// sends the same bytes with the same token.
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
		// The token goes only to the configured address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// forward sends an event to the receiver. Any 2xx is a success, and the text of the answer is
// ignored. Any other answer and a broken connection are retried for a day, unless the receiver
// finds the event too large or its form wrong.
func (f *forwarder) forward(ctx context.Context, d chat.Delivery) error {
	err := f.post(ctx, d)
	if err != nil && time.Since(d.Received) > forwardLife {
		return chat.Permanent(err)
	}
	return err
}

func (f *forwarder) post(ctx context.Context, d chat.Delivery) error {
	const op = "forward the event"
	var e envelope
	head, body, found := bytes.Cut(d.Body, []byte("\n"))
	if !found || json.Unmarshal(head, &e) != nil || !headerValue(e.Token) || !headerValue(e.Type) {
		return chat.Permanent(errors.New(op + ": the stored event cannot be read"))
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(requestid.WithRoute(ctx, op), http.MethodPost, f.to, bytes.NewReader(body))
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
	// Read the answer, up to a limit, so that the connection can be reused.
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	refusal := &rest.StatusError{Op: op, Status: resp.StatusCode, Header: resp.Header, Body: answer}
	wait, _ := rest.RetryAfter(resp.Header, time.Now(), rest.MaxWait)
	return rest.Codes{}.Mark(refusal, refusal.Status, "", wait) // the receiver's codes are not known
}
