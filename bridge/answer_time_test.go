package bridge_test

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/signin"
)

// longestAnswer is how long an agent waits for any page at most.
const longestAnswer = 10 * time.Second

// slowness is how long each service takes for an answer.
type slowness map[string]*atomic.Int64

func (s slowness) transport(service string, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(time.Duration(s[service].Load())):
			return next.RoundTrip(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
}

// Every route that an agent's browser calls is called while services hang or are slow.
func TestEveryPageAndPressIsAnsweredInTime(t *testing.T) {
	services := []string{"upscope", "rocketchat", "issuer"}
	const hangs, slow = time.Hour, 4 * time.Second
	screen := func(b *browser, door, ann string) *answer {
		return b.press(door, url.Values{"visitor": {ann}})
	}
	for trouble, takes := range map[string]map[string]time.Duration{
		"Upscope hangs":          {"upscope": hangs},
		"the chat service hangs": {"rocketchat": hangs},
		"the issuer hangs":       {"issuer": hangs},
		"all hang":               {"upscope": hangs, "rocketchat": hangs, "issuer": hangs},
		"all are slow":           {"upscope": slow, "rocketchat": slow, "issuer": slow},
	} {
		for name, ask := range map[string]func(b *browser, door, ann string) *answer{
			"the page of a card":   func(b *browser, door, _ string) *answer { return b.loads(door) },
			"a link of the chat":   func(b *browser, door, _ string) *answer { return b.follow(door) },
			"a press":              screen,
			"a press to stop":      func(b *browser, door, _ string) *answer { return b.press(door, url.Values{"stop": {"1"}}) },
			"a press to the chat":  func(b *browser, door, _ string) *answer { return b.press(door, url.Values{"chat": {"1"}}) },
			"a press to wait":      func(b *browser, door, _ string) *answer { return b.press(door, url.Values{"tell": {"1"}}) },
			"a press for the link": func(b *browser, door, _ string) *answer { return b.press(door+"?renew=1", url.Values{}) },
			"the desk":             func(b *browser, _, _ string) *answer { return b.follow("/") },
			"a search at the desk": func(b *browser, _, _ string) *answer { return b.press("/desk/look-up", url.Values{"code": {"4821"}}) },
			"operations":           func(b *browser, _, _ string) *answer { return b.follow("/desk/operations") },
			"the audit log":        func(b *browser, _, _ string) *answer { return b.follow("/desk/audit") },
			"a sign-in":            func(b *browser, _, _ string) *answer { return b.browser().follow("/signin") },
		} {
			t.Run(trouble+"/"+name, func(t *testing.T) {
				h := slowness{}
				for _, service := range services {
					h[service] = &atomic.Int64{}
				}
				var o *oidcWorld
				o = newOIDCWorld(t, "", options{transport: h.transport, config: func(c *bridge.Config) {
					c.Connectors[0].OpenChat = func(ctx context.Context, _ string, _ chat.Agent) (string, error) {
						<-ctx.Done()
						return "", ctx.Err()
					}
					c.Connectors[0].ChatHosts = []string{"chat.example.org"}
					var err error
					if c.OIDC, err = signin.NewOIDC(signin.OIDCConfig{
						Issuer: issuer, ClientID: "bridge", ClientSecret: clientSecret, Scopes: []string{"profile", "email", "groups"},
						Origin: c.Origin, Secret: c.Secret, Sessions: c.Store.AgentSessions(), Transport: h.transport("issuer", o.issuer.Transport()), Log: c.Log,
					}); err != nil {
						t.Fatal(err)
					}
				}})
				inWorld(t, func(w *world) {
					o.world = w
					ann := w.ann()
					w.bobTakes(w.openChat(withPageKey()))
					bob := o.connectedBob()
					door := w.door("bob")
					screen(bob, door, ann).wantWatch(t) // so that there is a session to stop
					w.idle(10 * time.Minute)            // the session has to be checked with the issuer
					for service, d := range takes {
						h[service].Store(int64(d))
					}
					began := time.Now()
					ask(bob, door, ann)
					if took := time.Since(began); took > longestAnswer {
						t.Errorf("answered after %v", took)
					}
					for service := range takes {
						h[service].Store(0)
					}
				}, o.opts...)
			})
		}
	}
}

func TestAPressThatRunsOutOfTimeIsUndone(t *testing.T) {
	h := slowness{"upscope": &atomic.Int64{}, "rocketchat": &atomic.Int64{}}
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		bob, door := w.browser(), w.door("bob")
		bob.loads(door).want(t, http.StatusOK, "Co-browse with")
		h["upscope"].Store(int64(4 * time.Second)) // for the search, and again for the link
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusServiceUnavailable, "You cannot co-browse now")
		if n := w.countAudited("not opened"); n != 1 {
			t.Errorf("%d audit entries say that the screen was not opened", n)
		}
		h["upscope"].Store(0)
		w.pass(time.Second)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	}, options{transport: h.transport})
}
