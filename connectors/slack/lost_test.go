package slack

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// Slack has no idempotency key for posts, so a post that may have arrived is not sent again.
func TestNoPostIsRepeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, place string
		fault       slacktest.Fault
		posts       int  // after the failure
		again       bool // the next attempt posts or finds it
	}{
		{"429 in a channel", "channel/C1", slacktest.Fault{Status: 429}, 0, true},
		{"ratelimited in a channel", "channel/C1", slacktest.Fault{Error: "ratelimited"}, 0, true},
		{"not in the channel yet", "channel/C1", slacktest.Fault{Error: "not_in_channel"}, 0, true},
		{"a proxy's 403", "channel/C1", slacktest.Fault{Status: 403}, 0, true},
		{"a lost answer in a channel", "channel/C1", slacktest.Fault{Done: true, Status: 502}, 1, false},
		{"an answer cut short", "channel/C1", slacktest.Fault{Done: true, Status: 200, Body: `{"ok":tr`}, 1, false},
		{"an internal error of Slack", "channel/C1", slacktest.Fault{Done: true, Error: "internal_error"}, 1, false},
		{"an error before the post", "channel/C1", slacktest.Fault{Error: "fatal_error"}, 0, false},
		{"a lost answer in a thread", "thread/C1/1700000000.000001", slacktest.Fault{Done: true, Status: 502}, 1, false},
		{"429 in a direct message", "dm/U1", slacktest.Fault{Status: 429}, 0, true},
		{"a lost answer in a direct message", "dm/U1", slacktest.Fault{Done: true, Status: 502}, 1, true},
		{"a lost request for a direct message", "dm/U1", slacktest.Fault{Status: 502}, 0, true},
	} {
		d := newDesk(t)
		p, _ := parsePlace(c.place)
		channel := p.channel
		if channel == "" {
			channel = "D" + p.user
		}
		card := sharedCard()
		if !d.Shared(c.place) {
			card = exampleCard()
		}
		d.Fail("chat.postMessage", c.fault, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: c.place}, card)
		if err == nil || len(d.Channel(channel)) != c.posts {
			t.Errorf("%s: %v, %d posts", c.name, err, len(d.Channel(channel)))
			continue
		}
		if !c.again && !chat.IsPermanent(err) {
			t.Errorf("%s: %v is retried", c.name, err)
		}
		for range maxSearches {
			_, err = d.Show(t.Context(), chat.Place{Address: c.place}, card)
			if wait, _ := chat.RetryWait(err); wait != searchPause {
				break
			}
		}
		switch {
		case c.again && (err != nil || len(d.Channel(channel)) != 1):
			t.Errorf("%s, again: %v, %d posts", c.name, err, len(d.Channel(channel)))
		case !c.again && (!errors.Is(err, errPerhaps) || !chat.IsPermanent(err) || len(d.Channel(channel)) != c.posts):
			t.Errorf("%s, again: %v, %d posts", c.name, err, len(d.Channel(channel)))
		}
	}
}

func TestAPostOfAnotherProcessIsFound(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := exampleCard()
	first := d.show(t, "dm/U1", card)
	// The other process does not know the post, and there are other messages.
	d.Write("U1", "DU1", "", "hello")
	card.Title = "Ann is offline"
	ref, err := d.another(t).Show(t.Context(), chat.Place{Address: "dm/U1"}, card)
	if err != nil || ref != first || len(d.Direct("U1")) != 1 || !strings.HasPrefix(d.Direct("U1")[0].Text, "Ann is offline") {
		t.Errorf("ref %q, %v; posts %v", ref, err, d.Direct("U1"))
	}
}

// Slack adds kinds of blocks and of elements from time to time.
func TestAPostIsFoundBesideMessagesOfUnknownForm(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]slacktest.Post{
		"an unknown block":                {Text: "hello", Blocks: json.RawMessage(`[{"type":"hologram","beam":7}]`)},
		"an unknown element of a context": {Text: "hello", Blocks: json.RawMessage(`[{"type":"context","elements":[{"type":"hologram"}]}]`)},
		"an unknown action":               {Text: "hello", Blocks: json.RawMessage(`[{"type":"actions","elements":[{"type":"hologram"}]}]`)},
		"an unknown input":                {Text: "hello", Blocks: json.RawMessage(`[{"type":"input","label":"who","element":{"type":"hologram"}}]`)},
		"blocks that are no list":         {Text: "hello", Blocks: json.RawMessage(`{"type":"hologram"}`)},
		"metadata of another form":        {Text: "hello", Metadata: json.RawMessage(`[7]`)},
		"a payload of another form":       {Text: "hello", Metadata: json.RawMessage(`{"event_type":"cobrowse_card","event_payload":"card"}`)},
	} {
		d := newDesk(t)
		d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
		at := chat.Place{Address: "dm/U1"}
		if _, err := d.Show(t.Context(), at, exampleCard()); err == nil {
			t.Fatal("no error")
		}
		odd.Channel, odd.By = "DU1", "U1"
		d.Insert(odd)
		if ref, err := d.Show(t.Context(), at, exampleCard()); err != nil || ref == "" || len(d.Direct("U1")) != 1 {
			t.Errorf("%s: ref %q, %v, %d posts", name, ref, err, len(d.Direct("U1")))
		}
	}
	// Without a list it is not known whether the message was posted.
	d := newDesk(t)
	d.Fail("conversations.history", slacktest.Fault{Status: 200, Body: `{"ok":true}`}, 1)
	if _, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, exampleCard()); err == nil || chat.IsPermanent(err) || len(d.Direct("U1")) != 0 {
		t.Errorf("%v, %d posts", err, len(d.Direct("U1")))
	}
}

func TestAnotherAppsMessageWithOurMetadataIsNotUsed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "dm/U1", exampleCard())
	first := d.Direct("U1")[0]
	d.Delete(first.Channel, first.TS)
	// Another app can read our metadata, and so repeat it.
	d.Insert(slacktest.Post{Channel: first.Channel, By: "U1", Text: "look here", Metadata: first.Metadata})
	if _, err := d.another(t).Show(t.Context(), chat.Place{Address: "dm/U1"}, exampleCard()); err != nil || len(d.Direct("U1")) != 1 {
		t.Errorf("%v, %d posts", err, len(d.Direct("U1")))
	}
}

// cutPosts makes the connection break after each post.
func cutPosts(c *Config) {
	next := c.Transport
	c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && strings.Contains(r.URL.Path, "chat.post") {
			resp.Body.Close()
			return nil, errors.New("connection reset by peer")
		}
		return resp, err
	})
}

func TestAPostWhoseConnectionBrokeIsNotRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t, cutPosts)
	for range 2 {
		if _, err := d.Show(t.Context(), chat.Place{Address: "channel/C1"}, sharedCard()); !errors.Is(err, errPerhaps) || !chat.IsPermanent(err) || len(d.Channel("C1")) != 1 {
			t.Errorf("in a channel: %v, %d posts", err, len(d.Channel("C1")))
		}
	}
	for _, thread := range []string{"", "1700000000.000001"} {
		d := newDesk(t, cutPosts)
		at := chat.Place{Address: place{kind: placeReply, user: "U1", channel: "C1", thread: thread, given: time.Now()}.address()}
		_, first := d.Show(t.Context(), at, exampleCard())
		ref, again := d.Show(t.Context(), at, exampleCard())
		if first == nil || again != nil || ref == ephemeralRef || len(d.Ephemeral("U1")) != 1 || len(d.Direct("U1")) != 1 {
			t.Errorf("in thread %q: %v, then %q, %v; %d ephemeral, %d direct", thread, first, ref, again, len(d.Ephemeral("U1")), len(d.Direct("U1")))
		}
	}
}

// Slack may list a message only some time after it was posted.
func TestADirectMessageThatIsListedLateIsNotRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	at := chat.Place{Address: "dm/U1"}
	d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
	if _, err := d.Show(t.Context(), at, exampleCard()); err == nil {
		t.Fatal("no error")
	}
	d.Fail("conversations.history", slacktest.Fault{Status: 200, Body: `{"ok":true,"messages":[]}`}, 2)
	for range 2 {
		_, err := d.Show(t.Context(), at, exampleCard())
		if wait, _ := chat.RetryWait(err); !errors.Is(err, errUnseen) || wait < time.Second {
			t.Errorf("%v", err)
		}
	}
	if ref, err := d.Show(t.Context(), at, exampleCard()); err != nil || ref == "" || len(d.Direct("U1")) != 1 {
		t.Errorf("ref %q, %v, %d posts", ref, err, len(d.Direct("U1")))
	}
}

// The manifests do not have the scope channels:history. The history of a channel does not
// contain its threads.
func TestWithTheScopeChannelsHistoryAPostInAChannelIsFound(t *testing.T) {
	t.Parallel()
	for place, found := range map[string]bool{"channel/C1": true, "thread/C1/1700000000.000001": false} {
		d := newDesk(t)
		d.Scopes = append(d.Scopes, "channels:history")
		d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
		_, first := d.Show(t.Context(), chat.Place{Address: place}, sharedCard())
		_, again := d.Show(t.Context(), chat.Place{Address: place}, sharedCard())
		if first == nil || chat.IsPermanent(first) == found || (again == nil) != found || len(d.Channel("C1")) != 1 {
			t.Errorf("%s: %v, then %v, %d posts", place, first, again, len(d.Channel("C1")))
		}
	}
}

func TestWithoutTheScopesToReadItADirectMessageIsPosted(t *testing.T) {
	t.Parallel()
	for _, without := range [][]string{{"im:write", "im:history"}, {"im:history"}} {
		d := newDesk(t)
		d.Scopes = []string{"commands", "chat:write", "users:read"}
		if len(without) == 1 {
			d.Scopes = append(d.Scopes, "im:write")
		}
		d.show(t, "dm/U1", exampleCard())
		d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
		card := exampleCard()
		card.ID += ".back1"
		_, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, card)
		if !chat.IsPermanent(err) || len(d.Direct("U1")) != 2 {
			t.Errorf("without %v: %v, %d posts", without, err, len(d.Direct("U1")))
		}
	}
}

// This test uses real connections, which can break in the middle of an answer.
func TestARequestWhoseRealConnectionBrokeIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := workspace(t.Errorf)
	server := httptest.NewServer(w)
	transport := rest.NewTransport()
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	conf := config()
	conf.Transport = transport
	conf.URL = mustURL(t, server.URL+"/api/")
	c, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"conversations.open", "auth.test", "chat.postMessage"} {
		w.Fail(method, slacktest.Fault{Done: true, Cut: true}, 1)
		_, err := c.Show(t.Context(), chat.Place{Address: "dm/U1"}, exampleCard())
		if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "connection closed early") {
			t.Errorf("%s: %v", method, err)
			continue
		}
		clean(t, method, err.Error())
	}
	if _, err := c.Show(t.Context(), chat.Place{Address: "dm/U1"}, exampleCard()); err != nil || len(w.Direct("U1")) != 1 {
		t.Errorf("%v, %d posts", err, len(w.Direct("U1")))
	}
	// If the connection cannot be opened, nothing was posted.
	server.Close()
	for range 2 {
		if _, err := c.Show(t.Context(), chat.Place{Address: "channel/C1"}, sharedCard()); err == nil || chat.IsPermanent(err) {
			t.Errorf("a server that is down: %v", err)
		}
	}
}

func TestAPostThatWasNotSentIsPostedLater(t *testing.T) {
	t.Parallel()
	broken := true
	d := newDesk(t, func(c *Config) {
		next := c.Transport
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			// This error comes before anything is sent.
			if broken && strings.HasSuffix(r.URL.Path, "chat.postMessage") {
				return nil, errors.New("circuit breaker is open")
			}
			return next.RoundTrip(r)
		})
	})
	if _, err := d.Show(t.Context(), chat.Place{Address: "channel/C1"}, sharedCard()); err == nil || chat.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	broken = false
	d.show(t, "channel/C1", sharedCard())
	if n := len(d.Channel("C1")); n != 1 {
		t.Errorf("%d posts", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
