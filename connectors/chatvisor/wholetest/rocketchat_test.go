package wholetest

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
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

const (
	workspaceSecret = "canary-workspace-secret-eeC3th"
	proxy           = "10.0.0.7:1000"
)

// inRocketChat is withSystem with cards in a private group of Rocket.Chat and agents who
// sign in at a proxy.
func inRocketChat(t *testing.T, test func(w *system, workspace *rocketchattest.Workspace, group string)) {
	t.Helper()
	workspace := rocketchattest.New(t.Errorf)
	workspace.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: "canary-poster", Roles: []string{"bot"}})
	workspace.AddUser(rocketchattest.User{ID: "a1", Username: "bob", Roles: []string{"user"}})
	group := workspace.AddChannel("support-agents", "bob", "cobrowse")
	withSystemConfig(t, "all-steps", func(w *system, c *bridge.Config) {
		address, _ := url.Parse("https://chat.example.org")
		place, err := rocketchat.New(rocketchat.Config{
			Name: "rocketchat", URL: address, Secrets: secret.All(workspaceSecret), Transport: chatvisortest.Transport(workspace), Log: slog.New(slog.NewTextHandler(w.log, nil)),
			Reader: rocketchat.Credential{UserID: "readerId", Token: secret.New("canary-reader")},
			Poster: rocketchat.Credential{UserID: "posterId", Token: secret.New("canary-poster")},
		})
		if err != nil {
			t.Fatal(err)
		}
		place.Sweep = nil // there is no livechat in this test
		c.Connectors[0].ShowAt = chat.Place{Connector: "rocketchat", Address: "#support-agents"}
		c.Connectors[1] = place
		if _, err := bridge.New(*c); err == nil || !strings.Contains(err.Error(), "without sign-in the bridge cannot know") {
			t.Errorf("without a sign-in: %v", err)
		}
		if c.Header, err = signin.NewHeader(signin.HeaderConfig{
			User: "X-Forwarded-User", Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")},
		}); err != nil {
			t.Fatal(err)
		}
	}, func(w *system) { test(w, workspace, group) })
}

// browseAs sends a request of a user to a door: a GET, or a press if there is a form.
func (w *system) browseAs(user, from, path string, form url.Values) *httptest.ResponseRecorder {
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

func TestACardInARocketChatChannelOpensForSignedInAgents(t *testing.T) {
	inRocketChat(t, func(w *system, workspace *rocketchattest.Workspace, group string) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		ann := w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.waitFor(time.Minute)
		posts := workspace.PostsIn(group)
		if len(posts) != 1 || !strings.Contains(posts[0].Text, "Ann") {
			t.Fatalf("the channel has %+v", posts)
		}
		door := doorPath.FindStringSubmatch(posts[0].Text)
		if door == nil {
			t.Fatalf("no door in %q", posts[0].Text)
		}
		press := url.Values{"visitor": {ann}}
		for name, got := range map[string]*httptest.ResponseRecorder{
			"no user":                w.browseAs("", proxy, door[1], nil),
			"a press without a user": w.browseAs("", proxy, door[1], press),
			"a press past the proxy": w.browseAs("eve", "198.51.100.7:1000", door[1], press),
		} {
			if got.Code != http.StatusForbidden {
				t.Errorf("%s is answered %d", name, got.Code)
			}
		}
		if n := len(w.upscope.Watches()); n != 0 {
			t.Fatalf("%d watch links for requests without a signed-in agent", n)
		}
		got := w.browseAs("bob", proxy, door[1], press)
		if to := got.Header().Get("Location"); got.Code != http.StatusSeeOther || !strings.HasPrefix(to, "https://cobrowsingapi.com/session/") {
			t.Fatalf("bob is answered %d to %q: %s", got.Code, to, got.Body)
		}
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "header:bob" {
			t.Errorf("the agent at Upscope is %+v", a)
		}
		w.waitFor(2 * time.Second)
		if posts := workspace.PostsIn(group); len(posts) != 1 || !strings.Contains(posts[0].Text, "Waiting for Ann") {
			t.Errorf("the channel has %+v", posts)
		}

		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		if posts := workspace.PostsIn(group); len(posts) != 1 || !strings.Contains(posts[0].Text, "closed") || strings.Contains(posts[0].Text, "[Co-browse]") {
			t.Errorf("after the end the channel has %+v", posts)
		}
		w.browseAs("bob", proxy, door[1], press)
		if n := len(w.upscope.Watches()); n != 1 {
			t.Errorf("%d watch links after the end", n)
		}
		if len(workspace.Posts("bob")) != 0 || workspace.Previewed() != nil {
			t.Error("there is a post outside the channel, or one with link previews")
		}
	})
}

func TestTryAgainLeadsBackToTheChatAndNotToAScreen(t *testing.T) {
	inRocketChat(t, func(w *system, workspace *rocketchattest.Workspace, group string) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.waitFor(time.Minute)
		door := doorPath.FindStringSubmatch(workspace.PostsIn(group)[0].Text)
		if door == nil {
			t.Fatal("no door")
		}
		got := w.browseAs("bob", proxy, door[1], url.Values{"chat": {"1"}}) // bob has no e-mail address
		if got.Code != http.StatusBadGateway || !strings.Contains(got.Body.String(), `href="?chat=1">Try again`) {
			t.Errorf("bob is answered %d: %s", got.Code, got.Body)
		}
	})
}
