package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/connectors/rest"

	"github.com/gorilla/websocket"
)

// Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode). We do not use slack-go's
// client: it closes a connection before it opens the next, does not acknowledge envelopes
// that it cannot parse, and refuses a boolean that is sent as a string. Agents' commands
// would fail.
const (
	// connections is how many connections are open at the same time. Slack closes each of
	// them every few hours, and sends each envelope to one of them.
	connections = 2
	// maxSilence is how long a connection may receive nothing. Slack pings more often than
	// every 30 s.
	maxSilence = 45 * time.Second
	// stableAfter is how long a connection must last so that the next pause is short.
	stableAfter = 10 * time.Second

	// closeDelay is how long a connection stays open after Slack announced its end.
	closeDelay = 30 * time.Second

	// firstPause and longPause are the shortest and the longest pause before a connection
	// is opened again.
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second

	// maxEnvelope is the size of the largest accepted envelope in bytes. Of a larger one
	// maxMessage bytes are read to find its id.
	maxEnvelope = 1 << 20
	maxMessage  = 8 << 20
	writeWait   = 5 * time.Second
)

// An envelope is a message from Slack through a connection. It needs no signature, because
// the connector itself connected to Slack.
type envelope struct {
	Type    string          `json:"type"`
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
	Reason  string          `json:"reason"` // of a disconnect
	Answers bool            `json:"accepts_response_payload"`
}

// typeIgnored is our type for an envelope that is acknowledged and otherwise ignored.
const typeIgnored = "ignored"

// An acknowledgement is the answer to an envelope. Slack waits three seconds for it.
type acknowledgement struct {
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// openConnections counts the connections that Slack has accepted.
type openConnections struct {
	mu   sync.Mutex
	open int
	err  error // of the last connection that ended
}

func (c *openConnections) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

// ended counts a connection that has ended, whether it was accepted or not.
func (c *openConnections) ended(accepted bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if accepted {
		c.open--
	}
	c.err = err
}

// down returns nil while a connection is open, otherwise why none is.
func (c *openConnections) down() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open > 0 {
		return nil
	}
	return cmp.Or(c.err, errNotConnected)
}

var errNotConnected = errors.New("not connected to Slack")

type deliverer func(context.Context, chat.Delivery) error

// listen keeps the connections open until ctx ends.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, chat.Delivery) error) error {
	var all sync.WaitGroup
	for range connections {
		all.Go(func() { c.stayConnected(ctx, deliver) })
	}
	all.Wait()
	return ctx.Err()
}

// stayConnected keeps one connection open. When Slack announces that it will close it, the
// next one is opened while the first still receives envelopes.
func (c *connector) stayConnected(ctx context.Context, deliver deliverer) {
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
			c.connections.ended(welcome.Load(), err)
			if err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "connection to Slack ended", "connector", c.name, "err", err)
			}
		})
		<-wanted
		if welcome.Load() && time.Since(began) > stableAfter {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longPause)
	}
}

// connection opens a connection and answers envelopes until it is closed. It calls next when
// the next one should be opened, and sets welcome when Slack has accepted the connection.
func (c *connector) connection(ctx context.Context, deliver deliverer, next func(), welcome *atomic.Bool) error {
	_, address, err := c.api().StartSocketModeContext(ctx)
	if err != nil {
		return c.fault(opConnect, err)
	}
	if !socketAddress(address) {
		return fmt.Errorf("%s: %w", opConnect, errAnswer)
	}
	conn, resp, err := c.dial(ctx, address)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return rest.Broken("connect to Slack", err)
	}
	end := func() { _ = conn.Close() } // reading has returned the error
	defer end()
	defer context.AfterFunc(ctx, end)()
	conn.SetPingHandler(func(data string) error {
		return errors.Join(
			conn.SetReadDeadline(time.Now().Add(maxSilence)),
			conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWait)))
	})
	for {
		if err := conn.SetReadDeadline(time.Now().Add(maxSilence)); err != nil {
			return rest.Broken("listen to Slack", err)
		}
		e, err := c.receive(ctx, conn)
		if err != nil {
			return rest.Broken("listen to Slack", err)
		}
		switch {
		case e.Type == "hello":
			if welcome.CompareAndSwap(false, true) {
				c.connections.accepted()
			}
			c.log.DebugContext(ctx, "connected to Slack", "connector", c.name)
		case e.Type == "disconnect" && e.Reason == "link_disabled":
			return errors.New("listen to Slack: Socket Mode is switched off in the app's settings")
		case e.Type == "disconnect":
			next()
			defer time.AfterFunc(closeDelay, end).Stop()
		case e.ID != "":
			if err := c.answer(ctx, conn, e, deliver); err != nil {
				return err
			}
		}
	}
}

// dial opens a connection to an address of Slack's API.
func (c *connector) dial(ctx context.Context, address string) (*websocket.Conn, *http.Response, error) {
	var proxy *url.URL
	dialer := websocket.Dialer{HandshakeTimeout: callTimeout, Proxy: func(q *http.Request) (_ *url.URL, err error) {
		proxy, err = c.route.ProxyOf(q)
		return proxy, err
	}}
	if c.route.Roots != nil {
		dialer.TLSClientConfig = c.route.TLS(nil)
	}
	conn, resp, err := dialer.DialContext(ctx, address, nil)
	if err == nil || proxy == nil || resp != nil {
		return conn, resp, err
	}
	// The dialer returns the status text of a proxy that refuses, and nothing else of its answer.
	for status := 300; status < 600; status++ {
		if text := http.StatusText(status); text != "" && err.Error() == text {
			return nil, nil, network.Refused(proxy, status)
		}
	}
	return nil, nil, err
}

// receive waits for the next message. It returns one that is too large or not JSON as
// typeIgnored. If that has an id, it is acknowledged, so that Slack does not send it again.
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
	c.log.WarnContext(ctx, "message from Slack ignored: it is too large or not JSON",
		"connector", c.name, "type", plain(e.Type, 40), "bytes", size)
	return envelope{Type: typeIgnored, ID: e.ID}, nil
}

// answer acknowledges an envelope after its delivery is stored. If it cannot be stored, it is
// not acknowledged: Slack retries events, and an agent who typed a command sees that it
// failed.
func (c *connector) answer(ctx context.Context, conn *websocket.Conn, e envelope, deliver deliverer) error {
	ctx = requestid.With(ctx, requestid.New())
	r, err := c.open(e)
	if err != nil {
		// It is acknowledged all the same: a retry could not be read either.
		c.log.WarnContext(ctx, "message from Slack not read", "connector", c.name, "type", plain(e.Type, 40), "err", err,
			"effect", "nothing follows from it: it was acknowledged")
	}
	if r.Note != "" {
		about := []any{"connector", c.name, "note", r.Note}
		if r.Key != "" {
			about = append(about, "delivery", r.Key)
		}
		c.log.InfoContext(ctx, "note from connector", about...)
	}
	if r.Key != "" {
		if err := deliver(ctx, chat.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()}); err != nil {
			c.log.ErrorContext(ctx, "delivery not stored", "connector", c.name, "delivery", r.Key, "err", err)
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

// open reads the payload of an envelope with the functions that read requests over HTTP.
func (c *connector) open(e envelope) (chat.Receipt, error) {
	switch e.Type {
	case typeIgnored:
		return chat.Receipt{}, nil
	case "events_api":
		return c.event(e.Payload)
	case "interactive":
		return c.interaction(e.Payload)
	case "slash_commands":
		var fields map[string]any
		if err := rest.Decode(e.Payload, &fields); err != nil {
			return chat.Receipt{}, err
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
	return chat.Receipt{Note: fmt.Sprintf("envelope ignored: unknown type %.40q", e.Type)}, nil
}

// socketAddress reports whether an address from Slack's API is safe to connect to: wss, or ws
// on loopback.
func socketAddress(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	return u.Scheme == "wss" || u.Scheme == "ws" && netaddr.Loopback(u.Hostname())
}
