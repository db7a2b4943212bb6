package chatvisor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

const (
	workspaceSecret = "canary-workspace-secret-eeC3th"
	proxy           = "10.0.0.7:1000"
)

// inRocketChat is a town whose cards go to a private group of Rocket.Chat, and whose
// agents sign in at a proxy.
func inRocketChat(t *testing.T, test func(w *town, chat *rocketchattest.Workspace, group string)) {
	t.Helper()
	chat := rocketchattest.New(t.Errorf)
	chat.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: "canary-poster", Roles: []string{"bot"}})
	chat.AddUser(rocketchattest.User{ID: "a1", Username: "bob", Roles: []string{"user"}})
	group := chat.AddChannel("support-agents", "bob", "cobrowse")
	inTownOf(t, "odd", func(w *town, c *bridge.Config) {
		address, _ := url.Parse("https://chat.example.org")
		place, err := rocketchat.New(rocketchat.Config{
			Name: "rocketchat", URL: address, Secrets: []string{workspaceSecret}, Transport: inMemory(chat), Log: slog.New(slog.NewTextHandler(w.log, nil)),
			Reader: rocketchat.Credential{UserID: "readerId", Token: "canary-reader"},
			Poster: rocketchat.Credential{UserID: "posterId", Token: "canary-poster"},
		})
		if err != nil {
			t.Fatal(err)
		}
		place.Listen = nil // there is no livechat to look through
		c.Connectors[0].ShowAt = bridge.Place{Connector: "rocketchat", Address: "#support-agents"}
		c.Connectors[1] = place
		if _, err := bridge.New(*c); err == nil || !strings.Contains(err.Error(), "unless agents sign in") {
			t.Errorf("where nobody signs in: %v", err)
		}
		if c.Header, err = signin.NewHeader(signin.HeaderConfig{
			User: "X-Forwarded-User", Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")},
		}); err != nil {
			t.Fatal(err)
		}
	}, func(w *town) { test(w, chat, group) })
}

// comes is a person at a door: with a form they press its button.
func (w *town) comes(user, from, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://bridge.example.org")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-User", "?1")
	r.Host, r.RemoteAddr = "bridge.example.org", from
	if user != "" {
		r.Header.Set("X-Forwarded-User", user)
	}
	rec := httptest.NewRecorder()
	w.bridge.ServeHTTP(rec, r)
	return rec
}

var doorPath = regexp.MustCompile(`https://bridge\.example\.org(/w/[A-Za-z0-9_-]{43})\)`)

func TestACardInARocketChatChannelOpensForWhoeverIsSignedIn(t *testing.T) {
	inRocketChat(t, func(w *town, chat *rocketchattest.Workspace, group string) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		ann := w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.pass(time.Minute)
		posts := chat.PostsIn(group)
		if len(posts) != 1 || !strings.Contains(posts[0].Text, "Ann") {
			t.Fatalf("the channel reads %+v", posts)
		}
		door := doorPath.FindStringSubmatch(posts[0].Text)
		if door == nil {
			t.Fatalf("no door in %q", posts[0].Text)
		}
		press := url.Values{"visitor": {ann}}
		for name, got := range map[string]*httptest.ResponseRecorder{
			"nobody":                     w.comes("", proxy, door[1], nil),
			"nobody, pressing":           w.comes("", proxy, door[1], press),
			"somebody without the proxy": w.comes("eve", "198.51.100.7:1000", door[1], press),
		} {
			if got.Code != http.StatusForbidden {
				t.Errorf("%s is answered %d", name, got.Code)
			}
		}
		if n := len(w.upscope.Watches()); n != 0 {
			t.Fatalf("%d watch links for nobody", n)
		}
		got := w.comes("bob", proxy, door[1], press)
		if to := got.Header().Get("Location"); got.Code != http.StatusSeeOther || !strings.HasPrefix(to, "https://cobrowsingapi.com/session/") {
			t.Fatalf("bob is answered %d to %q: %s", got.Code, to, got.Body)
		}
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "header:bob" {
			t.Errorf("Upscope is told %+v", a)
		}
		w.pass(2 * time.Second)
		if posts := chat.PostsIn(group); len(posts) != 1 || !strings.Contains(posts[0].Text, "Co-browsing with Ann") {
			t.Errorf("the channel reads %+v", posts)
		}

		w.calls(w.SetStatus("c-1", chatvisortest.Done)...)
		if posts := chat.PostsIn(group); len(posts) != 1 || !strings.Contains(posts[0].Text, "closed") || strings.Contains(posts[0].Text, "[Co-browse]") {
			t.Errorf("after the end the channel reads %+v", posts)
		}
		w.comes("bob", proxy, door[1], press)
		if n := len(w.upscope.Watches()); n != 1 {
			t.Errorf("%d watch links after the end", n)
		}
		if len(chat.Posts("bob")) != 0 || chat.Previewed() != nil {
			t.Error("something was posted elsewhere, or with previews")
		}
	})
}

func TestTryAgainLeadsBackToTheChatAndNotToAScreen(t *testing.T) {
	inRocketChat(t, func(w *town, chat *rocketchattest.Workspace, group string) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.pass(time.Minute)
		door := doorPath.FindStringSubmatch(chat.PostsIn(group)[0].Text)
		if door == nil {
			t.Fatal("there is no door")
		}
		got := w.comes("bob", proxy, door[1], url.Values{"chat": {"1"}}) // bob has no address to enter with
		if got.Code != http.StatusBadGateway || !strings.Contains(got.Body.String(), `href="?chat=1">Try again`) {
			t.Errorf("bob is answered %d: %s", got.Code, got.Body)
		}
	})
}
