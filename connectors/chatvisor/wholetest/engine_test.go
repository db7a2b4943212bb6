package wholetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A system has a tenant of Chatvisor, a channel in Slack for its cards, Upscope, and
// the bridge between them, in simulated time.
type system struct {
	*testing.T
	*tenant
	slack   *slacktest.Workspace
	upscope *upscopetest.Server
	store   *store.Store
	bridge  *bridge.Bridge
	stop    func()
	// start starts another process on the same store; the returned function stops it.
	start func() (another *bridge.Bridge, stop func())
}

const slackSecret = "canary-slack-signing-secret"

// withSystem runs a test with a new system. change changes the connector's settings.
func withSystem(t *testing.T, file string, test func(w *system), change ...func(*chatvisor.Config)) {
	t.Helper()
	withSystemConfig(t, file, func(*system, *bridge.Config) {}, test, change...)
}

// withSystemAfter is withSystem, and calls before first, when no bridge runs yet.
func withSystemAfter(t *testing.T, file string, before, test func(w *system), change ...func(*chatvisor.Config)) {
	t.Helper()
	var once sync.Once
	withSystemConfig(t, file, func(w *system, _ *bridge.Config) { once.Do(func() { before(w) }) }, test, change...)
}

// withSystemConfig is withSystem with changes to the bridge's settings.
func withSystemConfig(t *testing.T, file string, setUp func(*system, *bridge.Config), test func(w *system), change ...func(*chatvisor.Config)) {
	t.Helper()
	t.Parallel()
	database := filepath.Join(t.TempDir(), "bridge.db")
	synctest.Test(t, func(t *testing.T) {
		w := &system{T: t, tenant: newTenant(t, file, change...), slack: slacktest.New(t.Errorf)}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		w.slack.Secret, w.slack.BotToken = slackSecret, "xoxb-canary-bot-token"
		w.slack.AddUser(slacktest.User{ID: "U1", Name: "bob", RealName: "Bob Baker"})
		w.slack.AddChannel(slacktest.Channel{ID: "C1", Name: "support", Members: []string{"U1", w.slack.BotUser}})
		log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		place, err := slack.New(slack.Config{
			Name: "slack", Secrets: secret.All(slackSecret), BotToken: secret.New(w.slack.BotToken), Transport: chatvisortest.Transport(w.slack), Log: log,
		})
		must(err)
		w.upscope = upscopetest.New(upscopetest.Options{Key: "canary-upscope-key"})
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: "canary-upscope-key", Transport: chatvisortest.Transport(w.upscope)})
		must(err)
		hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
		must(err)
		secret := []byte("canary-bridge-secret-0123456789a")
		w.store, err = store.Open(t.Context(), "sqlite:"+database, store.Options{Secret: secret, Log: log})
		must(err)
		t.Cleanup(func() { must(w.store.Close()) })
		origin, _ := url.Parse("https://bridge.example.org")
		conn := w.Connector
		conn.ShowAt = chat.Place{Connector: "slack", Address: "C1"}
		w.start = func() (*bridge.Bridge, func()) {
			config := bridge.Config{
				Origin: origin, Secret: secret, Store: w.store, Upscope: client, WatchHosts: hosts, Connectors: []chat.Connector{conn, place}, Log: log,
			}
			setUp(w, &config)
			b, err := bridge.New(config)
			must(err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			stop := sync.OnceFunc(func() {
				cancel()
				if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Run: %v", err)
				}
			})
			t.Cleanup(stop)
			return b, stop
		}
		w.bridge, w.stop = w.start()
		test(w)
	})
}

// sendHooks sends webhooks, all at once.
func (w *system) sendHooks(hooks ...chatvisortest.Hook) {
	w.Helper()
	var all sync.WaitGroup
	for _, h := range hooks {
		all.Go(func() {
			rec := w.post(hookPath(hookSecret, h.Event), h.Body, nil)
			if rec.Code != http.StatusOK || rec.Body.String() != "{}" {
				w.Errorf("%s was answered %d %q", h.Event, rec.Code, rec.Body)
			}
		})
	}
	all.Wait()
	w.waitFor(2 * time.Second)
}

func (w *system) post(path string, body []byte, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://bridge.example.org"+path, bytes.NewReader(body))
	if header != nil {
		r.Header = header
	}
	rec := httptest.NewRecorder()
	w.bridge.ServeHTTP(rec, r)
	return rec
}

func (w *system) waitFor(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantCards checks that the channel has these cards, by a part of each text.
func (w *system) wantCards(says ...string) {
	w.Helper()
	posts := w.slack.Channel("C1")
	if len(posts) != len(says) {
		w.Fatalf("%d cards, want %d: %+v", len(posts), len(says), posts)
	}
	for i, want := range says {
		if !strings.Contains(posts[i].Text+string(posts[i].Blocks), want) {
			w.Errorf("card %d says %q, want %q", i, posts[i].Text, want)
		}
	}
}

// addVisitor adds a visitor to the site and returns the short id from Upscope.
func (w *system) addVisitor(name, id, code string) (short string) {
	short = w.upscope.Come(upscope.Visitor{Name: name, Identities: []string{id}, LookupCode: code, IsSupported: true})
	w.upscope.SetIntegrationIDs(short, id)
	if code != "" {
		w.upscope.SetLookupCode(short, code)
	}
	return short
}

func TestTheHooksOfOneConversationAreOneCard(t *testing.T) {
	withSystem(t, "all-steps", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		hooks := w.Write("c-1", "hello")
		if len(hooks) != 3 {
			t.Fatalf("hooks %+v", hooks)
		}
		w.sendHooks(hooks...)
		w.wantCards("Ann")
		if strings.Contains(w.slack.Channel("C1")[0].Text, "closed") {
			t.Error("the card is closed from the beginning")
		}
		w.sendHooks(hooks...) // repeats
		w.sendHooks(w.Write("c-1", "are you there?")...)
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.waitFor(time.Minute)
		w.sendHooks(hooks...) // late repeats
		w.wantCards("Ann")

		card := w.slack.Channel("C1")[0]
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		w.wantCards("closed")
		// A press on the card as it was before gets no link.
		press := w.slack.Press("U1", card, 0)
		if rec := w.post("/hooks/slack", press, w.slack.Sign(press)); rec.Code != http.StatusOK {
			t.Fatalf("Slack was answered %d", rec.Code)
		}
		w.waitFor(2 * time.Second)
		for _, p := range w.slack.Ephemeral("U1") {
			if strings.Contains(string(p.Blocks), "/w/") {
				t.Errorf("a press after the end gets a link: %s", p.Blocks)
			}
		}
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.wantCards("closed")

		w.SetStatus("c-1", chatvisortest.Done)
		w.waitFor(30 * time.Second)      // after the repeat window
		again := w.Write("c-1", "hello") // the same text as the first time
		if len(again) != 3 {
			t.Fatalf("hooks %+v", again)
		}
		w.sendHooks(again...)
		w.wantCards("closed", "Ann")
		if strings.Contains(w.slack.Channel("C1")[1].Text, "closed") {
			t.Error("the second card is closed from the beginning")
		}
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		w.wantCards("closed", "closed")
		if n := len(w.upscope.Watches()); n != 0 {
			t.Errorf("%d watch links", n)
		}
	})
}

func TestAMessageJustAfterTheEndBeginsAnotherConversation(t *testing.T) {
	withSystem(t, "", func(w *system) {
		w.addVisitor("Ann Silva", "chatvisor:c-1", "")
		says := func(text string) {
			w.sendHooks(chatvisortest.Hook{Event: rules.NewMessage, Body: mustJSON(map[string]string{"customerId": "c-1", "text": text})})
		}
		says("hello")
		says("are you there?")
		if posts := w.slack.Channel("C1"); len(posts) != 1 {
			t.Fatalf("%d cards for two messages, want 1", len(posts))
		}
		w.sendHooks(chatvisortest.Hook{Event: rules.StatusChange, Body: []byte(`{"customerId":"c-1","status":"DONE"}`)})
		says("one more thing")
		if posts := w.slack.Channel("C1"); len(posts) != 2 || strings.Contains(posts[1].Text, "closed") {
			t.Errorf("cards after the end: %+v", posts)
		}
	})
}

func TestALookupCodeInAMessageFindsTheCustomer(t *testing.T) {
	withSystem(t, "join: [lookup_code]", func(w *system) {
		w.addVisitor("Ann Silva", "shop:1", "4821")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.waitFor(time.Minute)
		w.wantCards()
		w.sendHooks(w.Write("c-1", "Hi, my code is 4821")...)
		w.wantCards("Found by the four-digit code")
	})
}

func TestEachConversationInAListGetsACard(t *testing.T) {
	withSystem(t, "", func(w *system) {
		w.addVisitor("Ann Silva", "chatvisor:c-1", "")
		w.addVisitor("Ben Stone", "chatvisor:c-2", "")
		w.sendHooks(chatvisortest.Hook{Event: rules.NewConversation, Body: []byte(`[{"customerId":"c-1","status":"UNREAD"},{"customerId":"c-2","status":"UNREAD"}]`)})
		w.waitFor(10 * time.Second)
		if posts := w.slack.Channel("C1"); len(posts) != 2 {
			t.Errorf("cards %+v", posts)
		}
	})
}

func TestTheLastEventOfAListCounts(t *testing.T) {
	const done, unread = `{"customerId":"c-1","status":"DONE"}`, `{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"one more thing"}}`
	for name, c := range map[string]struct {
		list string
		open bool
	}{
		"an end, and another conversation": {"[" + done + "," + unread + "]", true},
		"a message, and the end":           {"[" + unread + "," + done + "]", false},
		"events that do not match":         {`[{"status":"DONE"},` + done + `,{"customerId":"/"},` + unread + "]", true},
		"an end, a message, and the end":   {"[" + done + "," + unread + "," + done + "]", false},
	} {
		t.Run(name, func(t *testing.T) {
			withSystem(t, "", func(w *system) {
				w.addVisitor("Ann Silva", "chatvisor:c-1", "")
				w.sendHooks(chatvisortest.Hook{Event: rules.Auto, Body: []byte(`{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"hello"}}`)})
				w.waitFor(time.Minute)
				w.sendHooks(chatvisortest.Hook{Event: rules.Auto, Body: []byte(c.list)})
				w.waitFor(10 * time.Second)
				posts := w.slack.Channel("C1")
				if last := posts[len(posts)-1]; strings.Contains(last.Text, "closed") == c.open {
					w.Errorf("the last card says %s", last.Text)
				}
			})
		})
	}
}

func TestASecondEndClosesTheSecondCard(t *testing.T) {
	withSystem(t, "", func(w *system) {
		w.addVisitor("Ann Silva", "chatvisor:c-1", "")
		// Without the text of the last message, both ends have equal bodies.
		status := func(status string) chatvisortest.Hook {
			return chatvisortest.Hook{Event: rules.StatusChange, Body: mustJSON(map[string]string{"customerId": "c-1", "status": status})}
		}
		says := func(text string) {
			w.sendHooks(chatvisortest.Hook{Event: rules.NewMessage, Body: mustJSON(map[string]string{"customerId": "c-1", "text": text})})
		}
		says("hello")
		w.sendHooks(status("DONE"))
		w.wantCards("closed")
		says("thanks!") // which begins another conversation
		w.sendHooks(status("DONE"))
		w.wantCards("closed", "closed")
		w.sendHooks(status("DONE"), status("DONE"))
		w.wantCards("closed", "closed")
	})
}

func TestABodyThatDoesNotFitIsShownToTheOperator(t *testing.T) {
	withSystem(t, "", func(w *system) {
		w.addVisitor("Ben Stone", "chatvisor:c-2", "")
		for _, body := range []string{
			`{"customer":{"id":"c-1"},"text":"my card is 4111"}`, `{"customer":{"id":"c-3"},"text":"hello"}`,
			`[{"customer":{"id":"c-1"},"text":"hello"},{"customerId":"c-2","text":"hello"},{"customer":{"id":"c-4"}}]`,
			`[{"customer":{"id":"c-5"},"text":"hello"}]`,
		} {
			w.sendHooks(chatvisortest.Hook{Event: rules.NewMessage, Body: []byte(body)})
		}
		var failed []store.DeliveryStatus
		for d, err := range w.store.UnfinishedDeliveries(w.Context()) {
			if err != nil {
				w.Fatal(err)
			}
			failed = append(failed, d)
		}
		if len(failed) != 1 || failed[0].State != store.DeliveryFailed || len(failed[0].Errors) != 1 ||
			!strings.Contains(failed[0].Errors[0].Error, "{customer: {id: text}, text: text}") {
			w.Errorf("failed deliveries: %+v", failed)
		}
		w.wantCards("Co-browse with") // the valid event of the list is not lost
	})
}

func TestTheAddressOfAWebhookMayHaveSlashesTooMany(t *testing.T) {
	withSystem(t, "", func(w *system) {
		hook := w.Write("c-1", "hello")[0]
		for _, path := range []string{hookPath(hookSecret, hook.Event) + "/", "/" + hookPath(hookSecret, hook.Event)} {
			if got := w.post(path, hook.Body, nil); got.Code != http.StatusOK {
				t.Errorf("%s: answered %d", path, got.Code)
			}
			if got := w.post("/"+hookPath(oldSecret, hook.Event)+"/", hook.Body, nil); got.Code != http.StatusNotFound {
				t.Errorf("%s with a wrong secret: answered %d", path, got.Code)
			}
		}
	})
}

func TestAWrongSecretIsAnsweredLikeAnUnknownPath(t *testing.T) {
	withSystem(t, "", func(w *system) {
		hook := w.Write("c-1", "hello")[0]
		wrong := w.post(hookPath(oldSecret, hook.Event), hook.Body, nil)
		nowhere := w.post("/hooks/nothing/here", hook.Body, nil)
		if wrong.Code != http.StatusNotFound || wrong.Body.String() != nowhere.Body.String() {
			t.Errorf("a wrong secret is answered %d %q, an unknown path %d %q", wrong.Code, wrong.Body, nowhere.Code, nowhere.Body)
		}
		large := w.post(hookPath(hookSecret, hook.Event), bytes.Repeat([]byte(" "), int(w.MaxBody)+1), nil)
		if large.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("a large body is answered %d", large.Code)
		}
		r := httptest.NewRequest(http.MethodGet, "https://bridge.example.org"+hookPath(hookSecret, hook.Event), nil)
		rec := httptest.NewRecorder()
		w.bridge.ServeHTTP(rec, r)
		if body, _ := io.ReadAll(rec.Result().Body); rec.Code != http.StatusMethodNotAllowed || strings.Contains(string(body), hookSecret) {
			t.Errorf("GET is answered %d", rec.Code)
		}
		w.waitFor(time.Second)
		w.wantCards()
	})
}
