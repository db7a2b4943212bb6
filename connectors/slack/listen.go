package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode). slack-go's own
// client closes a connection before it opens the next, leaves envelopes that it
// cannot parse unanswered, and refuses a boolean that is sent as a string; what
// comes in between is a command that fails for somebody.
const (
	// lines is how many connections are open at once: Slack closes each every few
	// hours, and whatever comes goes to any of them.
	lines = 2
	// silence is how long a connection may be without a word. Slack pings more
	// often than every 30 s.
	silence = 45 * time.Second
	// steady is how long a connection lives that did well.
	steady = 10 * time.Second

	// farewell is how long a connection may live after Slack announced its end.
	farewell = 30 * time.Second

	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second

	// maxEnvelope is how much an envelope may bring, in bytes, and maxMessage how much
	// of one that brings more is read to find its id.
	maxEnvelope = 1 << 20
	maxMessage  = 8 << 20
	writeWait   = 5 * time.Second
)

// An envelope is what comes through a connection. It is not signed: the
// connection itself is Slack's.
type envelope struct {
	Type    string          `json:"type"`
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
	Reason  string          `json:"reason"` // of a disconnect
	Answers bool            `json:"accepts_response_payload"`
}

// typeLeftOut stands for the type of an envelope that is acknowledged and no more.
const typeLeftOut = "left out"

// An acknowledgement answers an envelope within three seconds.
type acknowledgement struct {
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

type deliverer func(context.Context, bridge.Delivery) error

// listen keeps the connections open until ctx ends.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, bridge.Delivery) error) error {
	var all sync.WaitGroup
	for range lines {
		all.Go(func() { c.line(ctx, deliver) })
	}
	all.Wait()
	return ctx.Err()
}

// line keeps one connection open. When Slack announces that it will close one, the
// next is opened while the first still listens.
func (c *connector) line(ctx context.Context, deliver deliverer) {
	var open sync.WaitGroup
	defer open.Wait()
	for pause := firstPause; ctx.Err() == nil; {
		wanted := make(chan struct{})
		next := sync.OnceFunc(func() { close(wanted) })
		var welcome atomic.Bool
		began := time.Now()
		open.Go(func() {
			defer next()
			err := c.connection(ctx, deliver, next, &welcome)
			if err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "a connection to Slack has ended", "connector", c.name, "err", err)
			}
		})
		<-wanted
		if welcome.Load() && time.Since(began) > steady {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longPause)
	}
}

// connection opens one and answers what comes until it is closed.
func (c *connector) connection(ctx context.Context, deliver deliverer, next func(), welcome *atomic.Bool) error {
	_, address, err := c.api.StartSocketModeContext(ctx)
	if err != nil {
		return c.fault(opConnect, err)
	}
	if !socketAddress(address) {
		return fmt.Errorf("%s: %w", opConnect, errAnswer)
	}
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: callTimeout}
	conn, resp, err := dialer.DialContext(ctx, address, nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return rest.Broken("connect to Slack", err)
	}
	end := func() { _ = conn.Close() } // what is wrong with it, reading has told
	defer end()
	defer context.AfterFunc(ctx, end)()
	conn.SetPingHandler(func(data string) error {
		return errors.Join(
			conn.SetReadDeadline(time.Now().Add(silence)),
			conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWait)))
	})
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return rest.Broken("listen to Slack", err)
		}
		e, err := c.receive(ctx, conn)
		if err != nil {
			return rest.Broken("listen to Slack", err)
		}
		switch {
		case e.Type == "hello":
			welcome.Store(true)
			c.log.DebugContext(ctx, "connected to Slack", "connector", c.name)
		case e.Type == "disconnect" && e.Reason == "link_disabled":
			return errors.New("listen to Slack: Socket Mode is switched off in the app's settings")
		case e.Type == "disconnect":
			next()
			defer time.AfterFunc(farewell, end).Stop()
		case e.ID != "":
			if err := c.answer(ctx, conn, e, deliver); err != nil {
				return err
			}
		}
	}
}

// receive waits for the next message. One that cannot be read, or brings more than
// anything that means something to us, is left out: it would be no better on
// another connection. The acknowledgement, which what has an id gets all the same,
// keeps it from coming again.
func (c *connector) receive(ctx context.Context, conn *websocket.Conn) (envelope, error) {
	_, r, err := conn.NextReader()
	if err != nil {
		return envelope{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxMessage))
	if err != nil {
		return envelope{}, err
	}
	more, err := io.Copy(io.Discard, r)
	if err != nil {
		return envelope{}, err
	}
	var e envelope
	size := int64(len(data)) + more
	if err := rest.Decode(data, &e); err == nil && size <= maxEnvelope {
		return e, nil
	}
	c.log.WarnContext(ctx, "a message of Slack's is left out: it is too large, or not JSON",
		"connector", c.name, "type", plain(e.Type, 40), "bytes", size)
	return envelope{Type: typeLeftOut, ID: e.ID}, nil
}

// answer acknowledges an envelope once what it brought is in safe hands. What
// cannot be kept is not acknowledged: events come again, and whoever typed a
// command sees that it failed.
func (c *connector) answer(ctx context.Context, conn *websocket.Conn, e envelope, deliver deliverer) error {
	r, err := c.open(e)
	if err != nil {
		// It would be no better the next time.
		c.log.WarnContext(ctx, "an envelope cannot be read", "connector", c.name, "type", plain(e.Type, 40), "err", err)
	}
	if r.Note != "" {
		c.log.InfoContext(ctx, "connector noted", "connector", c.name, "delivery", r.Key, "note", r.Note)
	}
	if r.Key != "" {
		if err := deliver(ctx, bridge.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()}); err != nil {
			c.log.ErrorContext(ctx, "a delivery cannot be kept", "connector", c.name, "delivery", r.Key, "err", err)
			return nil
		}
	}
	ack := acknowledgement{ID: e.ID}
	if e.Answers && r.AnswerType == "application/json" {
		ack.Payload = r.Answer
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return rest.Broken("answer Slack", err)
	}
	if err := conn.WriteJSON(ack); err != nil {
		return rest.Broken("answer Slack", err)
	}
	return nil
}

// open reads an envelope as the same thing is read that comes by HTTP.
func (c *connector) open(e envelope) (bridge.Receipt, error) {
	switch e.Type {
	case typeLeftOut:
		return bridge.Receipt{}, nil
	case "events_api":
		return c.event(e.Payload)
	case "interactive":
		return c.interaction(e.Payload)
	case "slash_commands":
		var fields map[string]any
		if err := rest.Decode(e.Payload, &fields); err != nil {
			return bridge.Receipt{}, err
		}
		form := url.Values{}
		for name, value := range fields {
			switch value := value.(type) {
			case string:
				form.Set(name, value)
			case bool:
				form.Set(name, fmt.Sprint(value))
			}
		}
		return c.command(form)
	}
	return bridge.Receipt{Note: fmt.Sprintf("an envelope of unknown type %.40q was left out", e.Type)}, nil
}

// socketAddress reports whether Slack's API named a safe address to connect to.
func socketAddress(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "wss" || u.Scheme == "ws" && err == nil && ip.IsLoopback()
}
