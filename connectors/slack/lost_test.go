package slack

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// Slack's posts have no idempotency key: what may have arrived is not sent again.
func TestNoPostIsRepeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, place string
		fault       slacktest.Fault
		posts       int  // after the failure
		again       bool // the next try posts or finds it
	}{
		{"429 in a channel", "channel/C1", slacktest.Fault{Status: 429}, 0, true},
		{"ratelimited in a channel", "channel/C1", slacktest.Fault{Error: "ratelimited"}, 0, true},
		{"not in the channel yet", "channel/C1", slacktest.Fault{Error: "not_in_channel"}, 0, true},
		{"a proxy's 403", "channel/C1", slacktest.Fault{Status: 403}, 0, true},
		{"a lost answer in a channel", "channel/C1", slacktest.Fault{Done: true, Status: 502}, 1, false},
		{"an answer cut short", "channel/C1", slacktest.Fault{Done: true, Status: 200, Body: `{"ok":tr`}, 1, false},
		{"Slack's own fault", "channel/C1", slacktest.Fault{Done: true, Error: "internal_error"}, 1, false},
		{"a fault before anything happened", "channel/C1", slacktest.Fault{Error: "fatal_error"}, 0, false},
		{"a lost answer in a thread", "thread/C1/1700000000.000001", slacktest.Fault{Done: true, Status: 502}, 1, false},
		{"429 in a direct message", "dm/U1", slacktest.Fault{Status: 429}, 0, true},
		{"a lost answer in a direct message", "dm/U1", slacktest.Fault{Done: true, Status: 502}, 1, true},
		{"a lost question there", "dm/U1", slacktest.Fault{Status: 502}, 0, true},
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
		_, err := d.Show(t.Context(), bridge.Place{Address: c.place}, card)
		if err == nil || len(d.Channel(channel)) != c.posts {
			t.Errorf("%s: %v, %d posts", c.name, err, len(d.Channel(channel)))
			continue
		}
		if !c.again && !bridge.IsPermanent(err) {
			t.Errorf("%s: %v is tried again", c.name, err)
		}
		for range maxLooks {
			_, err = d.Show(t.Context(), bridge.Place{Address: c.place}, card)
			if wait, _ := bridge.RetryWait(err); wait != lookAgain {
				break
			}
		}
		switch {
		case c.again && (err != nil || len(d.Channel(channel)) != 1):
			t.Errorf("%s, again: %v, %d posts", c.name, err, len(d.Channel(channel)))
		case !c.again && (!errors.Is(err, errPerhaps) || !bridge.IsPermanent(err) || len(d.Channel(channel)) != c.posts):
			t.Errorf("%s, again: %v, %d posts", c.name, err, len(d.Channel(channel)))
		}
	}
}

func TestAPostOfAProcessThatDiedIsFound(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := exampleCard()
	first := d.show(t, "dm/U1", card)
	// Another process knows nothing of it, and of other messages there.
	d.Write("U1", "DU1", "", "hello")
	card.Title = "Ann is offline"
	ref, err := d.another(t).Show(t.Context(), bridge.Place{Address: "dm/U1"}, card)
	if err != nil || ref != first || len(d.Direct("U1")) != 1 || !strings.HasPrefix(d.Direct("U1")[0].Text, "Ann is offline") {
		t.Errorf("ref %q, %v; posts %v", ref, err, d.Direct("U1"))
	}
}

func TestAnothersMessageIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "dm/U1", exampleCard())
	first := d.Direct("U1")[0]
	d.Delete(first.Channel, first.TS)
	// Somebody's program repeats our metadata: it can be read.
	d.Insert(slacktest.Post{Channel: first.Channel, By: "U1", Text: "look here", Metadata: first.Metadata})
	if _, err := d.another(t).Show(t.Context(), bridge.Place{Address: "dm/U1"}, exampleCard()); err != nil || len(d.Direct("U1")) != 1 {
		t.Errorf("%v, %d posts", err, len(d.Direct("U1")))
	}
}

// cutPosts breaks the connection after each post.
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

func TestAConnectionThatBreaksAfterThePost(t *testing.T) {
	t.Parallel()
	d := newDesk(t, cutPosts)
	for range 2 {
		if _, err := d.Show(t.Context(), bridge.Place{Address: "channel/C1"}, sharedCard()); !errors.Is(err, errPerhaps) || !bridge.IsPermanent(err) || len(d.Channel("C1")) != 1 {
			t.Errorf("in a channel: %v, %d posts", err, len(d.Channel("C1")))
		}
	}
	for _, thread := range []string{"", "1700000000.000001"} {
		d := newDesk(t, cutPosts)
		at := bridge.Place{Address: place{kind: placeReply, user: "U1", channel: "C1", thread: thread, given: time.Now()}.address()}
		_, first := d.Show(t.Context(), at, exampleCard())
		ref, again := d.Show(t.Context(), at, exampleCard())
		if first == nil || again != nil || ref == said || len(d.Ephemeral("U1")) != 1 || len(d.Direct("U1")) != 1 {
			t.Errorf("in thread %q: %v, then %q, %v; %d ephemeral, %d direct", thread, first, ref, again, len(d.Ephemeral("U1")), len(d.Direct("U1")))
		}
	}
}

// Slack may list a message a little later than it was posted.
func TestADirectMessageThatIsListedLateIsNotRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	at := bridge.Place{Address: "dm/U1"}
	d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
	if _, err := d.Show(t.Context(), at, exampleCard()); err == nil {
		t.Fatal("no error")
	}
	d.Fail("conversations.history", slacktest.Fault{Status: 200, Body: `{"ok":true,"messages":[]}`}, 2)
	for range 2 {
		_, err := d.Show(t.Context(), at, exampleCard())
		if wait, _ := bridge.RetryWait(err); !errors.Is(err, errUnseen) || wait < time.Second {
			t.Errorf("%v", err)
		}
	}
	if ref, err := d.Show(t.Context(), at, exampleCard()); err != nil || ref == "" || len(d.Direct("U1")) != 1 {
		t.Errorf("ref %q, %v, %d posts", ref, err, len(d.Direct("U1")))
	}
}

// With a scope that the manifests leave out, channels are looked through as well;
// threads are not in what is listed.
func TestWithTheScopeForItAChannelIsLookedThrough(t *testing.T) {
	t.Parallel()
	for place, joined := range map[string]bool{"channel/C1": true, "thread/C1/1700000000.000001": false} {
		d := newDesk(t)
		d.Scopes = append(d.Scopes, "channels:history")
		d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
		_, first := d.Show(t.Context(), bridge.Place{Address: place}, sharedCard())
		_, again := d.Show(t.Context(), bridge.Place{Address: place}, sharedCard())
		if first == nil || bridge.IsPermanent(first) == joined || (again == nil) != joined || len(d.Channel("C1")) != 1 {
			t.Errorf("%s: %v, then %v, %d posts", place, first, again, len(d.Channel("C1")))
		}
	}
}

func TestWithoutTheScopesForLookingADirectMessageIsPostedAllTheSame(t *testing.T) {
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
		_, err := d.Show(t.Context(), bridge.Place{Address: "dm/U1"}, card)
		if !bridge.IsPermanent(err) || len(d.Direct("U1")) != 2 {
			t.Errorf("without %v: %v, %d posts", without, err, len(d.Direct("U1")))
		}
	}
}

// The same over real connections, since those break in ways of their own.
func TestARequestThatDiesHalfWayIsJoinedByTheNext(t *testing.T) {
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
		_, err := c.Show(t.Context(), bridge.Place{Address: "dm/U1"}, exampleCard())
		if err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "connection closed early") {
			t.Errorf("%s: %v", method, err)
			continue
		}
		clean(t, method, err.Error())
	}
	if _, err := c.Show(t.Context(), bridge.Place{Address: "dm/U1"}, exampleCard()); err != nil || len(w.Direct("U1")) != 1 {
		t.Errorf("%v, %d posts", err, len(w.Direct("U1")))
	}
	// Where nobody listens nothing can have been posted.
	server.Close()
	for range 2 {
		if _, err := c.Show(t.Context(), bridge.Place{Address: "channel/C1"}, sharedCard()); err == nil || bridge.IsPermanent(err) {
			t.Errorf("a server that is gone: %v", err)
		}
	}
}

func TestAPostThatNeverLeftIsPostedLater(t *testing.T) {
	t.Parallel()
	broken := true
	d := newDesk(t, func(c *Config) {
		next := c.Transport
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			// The way breaks before anything is sent.
			if broken && strings.HasSuffix(r.URL.Path, "chat.postMessage") {
				return nil, errors.New("circuit breaker is open")
			}
			return next.RoundTrip(r)
		})
	})
	if _, err := d.Show(t.Context(), bridge.Place{Address: "channel/C1"}, sharedCard()); err == nil || bridge.IsPermanent(err) {
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
