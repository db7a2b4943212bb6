package wholetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

var doorForm = regexp.MustCompile(`https://bridge\.example\.org(/w/[A-Za-z0-9_-]{43})`)

// bobsDoor returns the path of the door that Bob gets for the card in the channel.
func (w *system) bobsDoor() string {
	w.Helper()
	w.slack.Scopes = append(w.slack.Scopes, "users:read.email")
	w.slack.AddUser(slacktest.User{ID: "U1", Name: "bob", RealName: "Bob Baker", Email: "bob@example.org", Confirmed: true})
	w.addVisitor("Ann Silva", "chatvisor:c-1", "")
	w.AddCustomer(chatvisortest.Customer{ID: "c-1", Name: "Ann"})
	w.sendHooks(w.Write("c-1", "hello")...)
	card := w.slack.Channel("C1")[0]
	body := w.slack.Press("U1", card, 0)
	if got := w.post("/hooks/slack", body, w.slack.Sign(body)); got.Code != http.StatusOK {
		w.Fatalf("Slack is answered %d", got.Code)
	}
	w.waitFor(2 * time.Second)
	replies := w.slack.Ephemeral("U1")
	if len(replies) != 1 {
		w.Fatalf("bob has %d replies", len(replies))
	}
	door := doorForm.FindStringSubmatch(string(replies[0].Blocks))
	if door == nil {
		w.Fatalf("no door in %s", replies[0].Blocks)
	}
	return door[1]
}

// browse sends a request as a browser does, after change changed it.
func (w *system) browse(method, path string, form url.Values, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://bridge.example.org"+path, strings.NewReader(form.Encode()))
	r.URL.Scheme, r.URL.Host = "", ""
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://bridge.example.org")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	w.bridge.ServeHTTP(rec, r)
	return rec
}

func TestOpeningTheChatFollowsTheRulesOfWatching(t *testing.T) {
	withSystem(t, "all-steps", func(w *system) {
		door, press := w.bobsDoor(), url.Values{"chat": {"1"}}
		page := w.browse(http.MethodGet, door+"?chat=1", nil, nil)
		if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "Open the chat") {
			t.Fatalf("the page is answered %d: %s", page.Code, page.Body)
		}
		bob := browserOf(page)
		for name, ask := range map[string]func() *httptest.ResponseRecorder{
			"GET":  func() *httptest.ResponseRecorder { return w.browse(http.MethodGet, door+"?chat=1", nil, nil) },
			"HEAD": func() *httptest.ResponseRecorder { return w.browse(http.MethodHead, door+"?chat=1", nil, nil) },
			"prefetch": func() *httptest.ResponseRecorder {
				return w.browse(http.MethodGet, door+"?chat=1", nil, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") })
			},
			"robot": func() *httptest.ResponseRecorder {
				return w.browse(http.MethodGet, door+"?chat=1", nil, func(r *http.Request) { r.Header.Set("User-Agent", "Slackbot-LinkExpanding 1.0") })
			},
			"script": func() *httptest.ResponseRecorder {
				return w.browse(http.MethodPost, door, press, func(r *http.Request) { bob(r); r.Header.Del("Sec-Fetch-User") })
			},
			"another site": func() *httptest.ResponseRecorder {
				return w.browse(http.MethodPost, door, press, func(r *http.Request) { bob(r); r.Header.Set("Sec-Fetch-Site", "cross-site") })
			},
			"no cookie": func() *httptest.ResponseRecorder { return w.browse(http.MethodPost, door, press, nil) },
		} {
			if got := ask(); got.Header().Get("Location") != "" {
				t.Errorf("%s leads to %q", name, got.Header().Get("Location"))
			}
		}
		if minted := w.Minted(); len(minted) != 0 {
			t.Fatalf("chat addresses were made: %q", minted)
		}

		got := w.browse(http.MethodPost, door, press, bob)
		minted := w.Minted()
		if len(minted) != 1 || got.Code != http.StatusSeeOther || got.Header().Get("Location") != minted[0] {
			t.Fatalf("a press is answered %d to %q, want one of %q", got.Code, got.Header().Get("Location"), minted)
		}
		if got.Header().Get("Referrer-Policy") != "no-referrer" || got.Header().Get("Cache-Control") != "no-store" || got.Body.Len() != 0 {
			t.Errorf("the redirect is cached, leaks a referrer or has a body: %v", got.Header())
		}
		if strings.Contains(w.log.String(), minted[0]) {
			t.Error("the address is in the log")
		}
		for _, p := range append(w.slack.Channel("C1"), w.slack.Ephemeral("U1")...) {
			if strings.Contains(p.Text+string(p.Blocks), minted[0]) {
				t.Error("the address is in Slack")
			}
		}
		// The door belongs to the browser that pressed first, since the address logs Bob in.
		other := browserOf(w.browse(http.MethodGet, door, nil, nil))
		if other := w.browse(http.MethodPost, door, press, other); other.Code != http.StatusForbidden || len(w.Minted()) != 1 {
			t.Errorf("another browser is answered %d, and %d addresses were made", other.Code, len(w.Minted()))
		}
		// A press within three seconds gets the same address, a later one another.
		if again := w.browse(http.MethodPost, door, press, bob); again.Header().Get("Location") != minted[0] || len(w.Minted()) != 1 {
			t.Errorf("a second press is answered %d, and %d addresses were made", again.Code, len(w.Minted()))
		}
		w.waitFor(3 * time.Second)
		if again := w.browse(http.MethodPost, door, press, bob); again.Code != http.StatusSeeOther || len(w.Minted()) != 2 {
			t.Errorf("the same browser is answered %d, and %d addresses were made", again.Code, len(w.Minted()))
		}
		w.waitFor(3 * time.Second)
		// An address outside agent_url_hosts is refused.
		w.Site = "https://evil.example.org"
		if got := w.browse(http.MethodPost, door, press, bob); got.Code != http.StatusBadGateway || got.Header().Get("Location") != "" {
			t.Errorf("an address on another host is answered %d to %q", got.Code, got.Header().Get("Location"))
		}
	})
}

// browserOf returns a function that adds the cookies of an answer to a request.
func browserOf(answer *httptest.ResponseRecorder) func(*http.Request) {
	return func(r *http.Request) {
		for _, c := range answer.Result().Cookies() {
			r.AddCookie(c)
		}
	}
}

func TestOpeningTheChatHasTheRateLimitOfWatching(t *testing.T) {
	withSystem(t, "all-steps", func(w *system) {
		door, press := w.bobsDoor(), url.Values{"chat": {"1"}}
		bob := browserOf(w.browse(http.MethodGet, door, nil, nil))
		for range 6 {
			if got := w.browse(http.MethodPost, door, press, bob); got.Code != http.StatusSeeOther {
				t.Fatalf("one of the first six presses is answered %d", got.Code)
			}
			w.waitFor(3 * time.Second) // sooner it counts as the same press
		}
		got := w.browse(http.MethodPost, door, press, bob)
		if got.Code != http.StatusTooManyRequests || got.Header().Get("Retry-After") == "" || len(w.Minted()) != 6 {
			t.Errorf("the seventh press is answered %d, and %d addresses were made", got.Code, len(w.Minted()))
		}
	})
}

func TestAClosedChatCannotBeOpenedDuringItsSession(t *testing.T) {
	withSystem(t, "all-steps", func(w *system) {
		door, openChat := w.bobsDoor(), url.Values{"chat": {"1"}}
		page := w.browse(http.MethodGet, door, nil, nil)
		visitor := regexp.MustCompile(`name="visitor" value="([^"]+)"`).FindStringSubmatch(page.Body.String())
		if visitor == nil {
			t.Fatalf("the door shows no visitor: %s", page.Body)
		}
		bob := browserOf(page)
		watch := w.browse(http.MethodPost, door, url.Values{"visitor": {visitor[1]}}, bob)
		if watch.Code != http.StatusSeeOther {
			t.Fatalf("a press is answered %d", watch.Code)
		}
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		for name, got := range map[string]*httptest.ResponseRecorder{
			"a press":  w.browse(http.MethodPost, door, openChat, bob),
			"the page": w.browse(http.MethodGet, door+"?chat=1", nil, bob),
		} {
			if got.Code != http.StatusGone {
				t.Errorf("%s is answered %d", name, got.Code)
			}
		}
		// The session can still be ended, and the door has no button for the chat.
		if got := w.browse(http.MethodGet, door+"?stop=1", nil, bob); got.Code != http.StatusOK {
			t.Errorf("the page to end the session is answered %d", got.Code)
		}
		if got := w.browse(http.MethodGet, door, nil, bob); strings.Contains(got.Body.String(), "chat=1") {
			t.Errorf("the door still has a button for the chat: %s", got.Body)
		}
		if minted := w.Minted(); len(minted) != 0 {
			t.Errorf("addresses were made: %q", minted)
		}
	})
}

func TestABurstOfWebhooksDoesNotDelayOpeningTheChat(t *testing.T) {
	withSystem(t, "all-steps", func(w *system) {
		const many = 30
		door, press := w.bobsDoor(), url.Values{"chat": {"1"}}
		for i := range many {
			id := fmt.Sprintf("b-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, Name: "Ben"})
			w.addVisitor("Ben Stone", "chatvisor:"+id, "")
			for _, h := range w.Write(id, "hi") {
				w.post(hookPath(hookSecret, h.Event), h.Body, nil)
			}
		}
		bob := browserOf(w.browse(http.MethodGet, door, nil, nil))
		for range 3 {
			w.waitFor(3500 * time.Millisecond)
			if got := w.browse(http.MethodPost, door, press, bob); got.Code != http.StatusSeeOther {
				w.Errorf("a press is answered %d", got.Code)
			}
		}
		// The rate limit makes this take 17.5 s, and handling takes a little longer.
		w.waitFor(10 * time.Second)
		if posts := w.slack.Channel("C1"); len(posts) != 1+many {
			w.Errorf("%d cards after 20 seconds, want %d", len(posts), 1+many)
		}
	})
}
