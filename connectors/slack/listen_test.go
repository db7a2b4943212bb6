package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

const patience = 20 * time.Second // how long tests wait for Socket Mode

// A socketDesk is a workspace and a connector with Socket Mode over real connections.
type socketDesk struct {
	*slacktest.Workspace
	conn chat.Connector
	log  *lockedBuffer

	mu    sync.Mutex
	got   []chat.Delivery
	fails int // how many of the next deliveries cannot be stored
}

func newSocketDesk(t *testing.T, change ...func(*slacktest.Workspace)) *socketDesk {
	t.Helper()
	d := &socketDesk{Workspace: workspace(t.Errorf), log: new(lockedBuffer)}
	server := httptest.NewServer(d.Workspace)
	d.SocketURL = strings.Replace(server.URL, "http", "ws", 1) + "/link"
	for _, f := range change {
		f(d.Workspace)
	}
	transport := rest.NewTransport()
	c := config()
	c.AppToken, c.URL, c.Transport = secret.New(testApp), mustURL(t, server.URL+"/api/"), transport
	c.Log = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if d.conn, err = New(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.conn.Listen(ctx, d.deliver) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Listen: %v", err)
		}
		server.Close()
		transport.CloseIdleConnections()
		clean(t, "the log", d.log.String())
	})
	return d
}

func (d *socketDesk) deliver(_ context.Context, got chat.Delivery) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails > 0 {
		d.fails--
		return errors.New("the store is full")
	}
	d.got = append(d.got, got)
	return nil
}

func (d *socketDesk) deliveries() []chat.Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]chat.Delivery(nil), d.got...)
}

func (d *socketDesk) connected(t *testing.T) {
	t.Helper()
	if !d.WaitSockets(connections, patience) {
		t.Fatalf("there are not %d connections; the log: %s", connections, d.log.String())
	}
}

// send sends an envelope and waits until it is acknowledged.
func (d *socketDesk) send(t *testing.T, kind string, payload any) slacktest.Ack {
	t.Helper()
	id, err := d.Envelope(kind, payload)
	if err != nil {
		t.Fatal(err)
	}
	ack, ok := d.WaitAck(id, patience)
	if !ok {
		t.Fatalf("%s is not acknowledged; the log: %s", kind, d.log.String())
	}
	return ack
}

// jsonOf is a command's form as Socket Mode sends it.
func jsonOf(form url.Values) map[string]any {
	m := map[string]any{}
	for name := range form {
		m[name] = form.Get(name)
	}
	return m
}

func TestSocketModeMakesTheSameDeliveriesAsHTTP(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	over := newDesk(t) // over HTTP

	form := d.CommandFields("U1", "C1", "4821")
	fields := jsonOf(form)
	fields["is_enterprise_install"] = false // a boolean here, a string over HTTP
	press := over.PressPayload("U1", slacktest.Post{Channel: "C1", TS: "1700000000.000001", Blocks: []byte(`[{"type":"actions","elements":[{"type":"button","text":{"text":"Open"},"action_id":"cobrowse_open0","value":"c1"}]}]`)}, 0)
	mention := d.Mention("U1", "C1", "", "4821")
	for _, c := range []struct {
		kind    string
		payload any
		body    []byte
	}{
		{"slash_commands", fields, []byte(form.Encode())},
		{"interactive", press, form2(press)},
		{"events_api", json.RawMessage(mention), mention},
	} {
		n := len(d.deliveries())
		if ack := d.send(t, c.kind, c.payload); len(ack.Payload) != 0 {
			t.Errorf("%s is answered %s", c.kind, ack.Payload)
		}
		got := d.deliveries()
		if len(got) != n+1 {
			t.Fatalf("%s: %d deliveries", c.kind, len(got)-n)
		}
		want, err := over.receive(c.body)
		if err != nil || got[n].Key != want.Key || string(got[n].Body) != string(want.Body) || got[n].Received.IsZero() {
			t.Errorf("%s: %+v, over HTTP %+v, %v", c.kind, got[n], want, err)
		}
	}
}

func form2(payload map[string]any) []byte {
	data, _ := json.Marshal(payload)
	return form(string(data))
}

func TestADialogIsAnsweredInTheEnvelope(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	v := slacktest.View{ID: "V1", Hash: "h", User: "U1", Body: []byte(`{"callback_id":"cobrowse_search"}`)}
	ack := d.send(t, "interactive", d.SubmitPayload(v, blockQuery, inputQuery, "nobody"))
	if !strings.Contains(string(ack.Payload), `"response_action":"errors"`) || len(d.deliveries()) != 0 {
		t.Errorf("answered %s", ack.Payload)
	}
	ack = d.send(t, "interactive", d.SubmitPayload(v, blockQuery, inputQuery, "4821"))
	if len(ack.Payload) != 0 || len(d.deliveries()) != 1 {
		t.Errorf("answered %s", ack.Payload)
	}
}

func TestADeliveryThatCannotBeStoredIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	d.mu.Lock()
	d.fails = 1
	d.mu.Unlock()
	mention := d.Mention("U1", "C1", "", "4821")
	lost, err := d.Envelope("events_api", json.RawMessage(mention))
	if err != nil {
		t.Fatal(err)
	}
	// Slack sends it again through the same connection, and then it is stored.
	again, _ := d.Retry(mention, 1, "http_timeout")
	d.send(t, "events_api", json.RawMessage(again))
	if _, ok := d.WaitAck(lost, 0); ok || len(d.deliveries()) != 1 {
		t.Errorf("acknowledged %v, %d deliveries", ok, len(d.deliveries()))
	}
}

func TestUnknownEnvelopesAreAcknowledged(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	d.send(t, "something_new", map[string]any{"a": 1})
	d.send(t, "interactive", "no object")
	d.send(t, "events_api", map[string]any{"type": "event_callback", "event": map[string]any{"type": "star_added"}})
	d.send(t, "slash_commands", []any{1})
	if n := len(d.deliveries()); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}

func TestAKilledConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	d.KillSockets()
	if !d.WaitSockets(0, patience) {
		t.Fatal("the connections are still open")
	}
	d.connected(t)
	d.send(t, "slash_commands", jsonOf(d.CommandFields("U1", "C1", "4821")))
	if n := len(d.deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	if err := d.conn.Listening(); err != nil {
		t.Errorf("Listening says %v", err)
	}
}

// Slack announces that it will close a connection.
func TestAConnectionIsReplacedBeforeItEnds(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	closeIt := d.Disconnect("warning")
	if !d.WaitSockets(connections+1, patience) {
		t.Fatal("the next connection was not opened before the first one ended")
	}
	closeIt()
	d.connected(t)
	d.send(t, "slash_commands", jsonOf(d.CommandFields("U1", "C1", "4821")))
}

func TestAFailureToConnectIsRetried(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t, func(w *slacktest.Workspace) {
		w.Fail("apps.connections.open", slacktest.Fault{Error: "internal_error"}, 1)
		w.Fail("apps.connections.open", slacktest.Fault{Status: 429}, 1)
	})
	d.connected(t)
}

func TestAnErrorOfTheAppTokenNamesItsVariable(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"invalid_auth", "not_allowed_token_type", "missing_scope", "token_revoked"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, func(c *Config) { c.AppToken = secret.New(testApp) })
			d.Fail("apps.connections.open", slacktest.Fault{Error: code}, connections)
			ctx, cancel := context.WithTimeout(t.Context(), firstPause/2)
			defer cancel()
			_ = d.Listen(ctx, nil)
			if err := d.Listening(); err == nil || !strings.Contains(err.Error(), "SLACK_APP_TOKEN") {
				t.Errorf("%s: Listening says %v", code, err)
			}
			if log := d.log.String(); !strings.Contains(log, "SLACK_APP_TOKEN") || strings.Contains(log, "BOT_TOKEN") {
				t.Errorf("%s: %s", code, log)
			}
		})
	}
}

func TestAMessageThatCannotBeReadIsIgnoredAndTheConnectionStays(t *testing.T) {
	t.Parallel()
	d := newSocketDesk(t)
	d.connected(t)
	for _, c := range []struct{ name, text, acked, says string }{
		{"not JSON", "<html>", "", "bytes=6"},
		{"not an object", "[1]", "", ""},
		{"too large", `{"payload":{"text":"` + strings.Repeat("x", maxEnvelope) + `"},"envelope_id":"large","type":"events_api"}`, "large", "type=events_api"},
		{"longer than maxMessage", `{"envelope_id":"endless","payload":"` + strings.Repeat("x", maxMessage), "", "bytes=83886"},
	} {
		if err := d.Raw(c.text); err != nil {
			t.Fatal(err)
		}
		if c.acked != "" {
			if _, ok := d.WaitAck(c.acked, patience); !ok {
				t.Errorf("%s: it is not acknowledged", c.name)
			}
		}
		// The next envelope comes through the same connection.
		d.send(t, "slash_commands", jsonOf(d.CommandFields("U1", "C1", "4821")))
		if log := d.log.String(); !strings.Contains(log, c.says) || strings.Contains(log, "connection to Slack ended") {
			t.Errorf("%s: the log: %.600s", c.name, log)
		}
	}
	if n := len(d.deliveries()); n != 4 {
		t.Errorf("%d deliveries", n)
	}
}

func TestARefusedTokenIsRetriedWithPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(c *Config) { c.AppToken = secret.New(testApp) })
		d.AppToken = "xapp-another-one"
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := d.Listen(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Listen: %v", err)
		}
		if n := len(d.Requests()); n > 60 || n < 20 {
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

func TestOnlySafeSocketAddressesAreUsed(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"wss://wss-primary.slack.com/link/?ticket=1": true, "ws://127.0.0.1:1/link": true,
		"ws://wss-primary.slack.com/link": false, "https://slack.com/": false, "": false, "wss://u:p@slack.com/": false, "wss:///x": false,
	} {
		if got := socketAddress(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestWithoutAnAppTokenThereIsNoListen(t *testing.T) {
	t.Parallel()
	if newDesk(t).Listen != nil {
		t.Error("the connector has Listen")
	}
}

// The age of a mention is reckoned by Slack's clock.
func TestAMentionIsAnsweredAlthoughTheClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"the clocks agree": 0, "ours is ahead": -11 * time.Minute, "ours is behind": 11 * time.Minute} {
		d := newSocketDesk(t)
		d.Skew = skew
		d.connected(t)
		mention := func(age time.Duration) []byte {
			at := time.Now().Add(skew - age).Unix()
			return d.Event(map[string]any{"type": "app_mention", "user": "U1", "channel": "C1", "text": "<@U0BRIDGE> 4821", "ts": fmt.Sprintf("%d.000100", at)})
		}
		d.send(t, "events_api", json.RawMessage(mention(time.Second)))
		if n := len(d.deliveries()); n != 1 {
			t.Errorf("%s: %d deliveries of a fresh mention", name, n)
		}
		d.send(t, "events_api", json.RawMessage(mention(11*time.Minute)))
		if n := len(d.deliveries()); n != 1 {
			t.Errorf("%s: an old mention was taken", name)
		}
	}
}
