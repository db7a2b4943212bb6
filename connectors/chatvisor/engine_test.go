package chatvisor

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
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A town has a tenant of Chatvisor, a channel in Slack for its cards, Upscope, and
// the bridge between them, in virtual time.
type town struct {
	*testing.T
	*tenant
	slack   *slacktest.Workspace
	upscope *upscopetest.Server
	store   *store.Store
	bridge  *bridge.Bridge
	stops   func()
	// starts another process on the same store, which the returned function stops.
	starts func() (another *bridge.Bridge, stop func())
}

const slackSecret = "canary-slack-signing-secret"

// inTown runs a test in a town of its own. Changes are of the connector's settings.
func inTown(t *testing.T, file string, test func(w *town), change ...func(*Config)) {
	t.Helper()
	inTownOf(t, file, func(*town, *bridge.Config) {}, test, change...)
}

// inTownWith is inTown with something that is there before the bridge.
func inTownWith(t *testing.T, file string, before, test func(w *town), change ...func(*Config)) {
	t.Helper()
	var once sync.Once
	inTownOf(t, file, func(w *town, _ *bridge.Config) { once.Do(func() { before(w) }) }, test, change...)
}

// inTownOf is inTown with a bridge that is set up otherwise.
func inTownOf(t *testing.T, file string, setUp func(*town, *bridge.Config), test func(w *town), change ...func(*Config)) {
	t.Helper()
	t.Parallel()
	database := filepath.Join(t.TempDir(), "bridge.db")
	synctest.Test(t, func(t *testing.T) {
		w := &town{T: t, tenant: newTenant(t, file, change...), slack: slacktest.New(t.Errorf)}
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
			Name: "slack", Secrets: []string{slackSecret}, BotToken: w.slack.BotToken, Transport: inMemory(w.slack), Log: log,
		})
		must(err)
		w.upscope = upscopetest.New(upscopetest.Options{Key: "canary-upscope-key"})
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: "canary-upscope-key", Transport: inMemory(w.upscope)})
		must(err)
		hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
		must(err)
		secret := []byte("canary-bridge-secret-0123456789a")
		w.store, err = store.Open(t.Context(), "sqlite:"+database, store.Options{Secret: secret, Log: log})
		must(err)
		t.Cleanup(func() { must(w.store.Close()) })
		origin, _ := url.Parse("https://bridge.example.org")
		conn := w.Connector
		conn.ShowAt = bridge.Place{Connector: "slack", Address: "C1"}
		w.starts = func() (*bridge.Bridge, func()) {
			config := bridge.Config{
				Origin: origin, Secret: secret, Store: w.store, Upscope: client, WatchHosts: hosts, Connectors: []bridge.Connector{conn, place}, Log: log,
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
		w.bridge, w.stops = w.starts()
		test(w)
	})
}

// calls has webhooks arrive, all at once.
func (w *town) calls(hooks ...chatvisortest.Hook) {
	w.Helper()
	var all sync.WaitGroup
	for _, h := range hooks {
		all.Go(func() {
			rec := w.posts(hookPath(hookSecret, h.Event), h.Body, nil)
			if rec.Code != http.StatusOK || rec.Body.String() != "{}" {
				w.Errorf("%s was answered %d %q", h.Event, rec.Code, rec.Body)
			}
		})
	}
	all.Wait()
	w.pass(2 * time.Second)
}

func (w *town) posts(path string, body []byte, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://bridge.example.org"+path, bytes.NewReader(body))
	if header != nil {
		r.Header = header
	}
	rec := httptest.NewRecorder()
	w.bridge.ServeHTTP(rec, r)
	return rec
}

func (w *town) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// cards checks how many cards the channel has, by what they say.
func (w *town) cards(says ...string) {
	w.Helper()
	posts := w.slack.Channel("C1")
	if len(posts) != len(says) {
		w.Fatalf("%d cards, want %d: %+v", len(posts), len(says), posts)
	}
	for i, want := range says {
		if !strings.Contains(posts[i].Text+string(posts[i].Blocks), want) {
			w.Errorf("card %d says %q, not %q", i, posts[i].Text, want)
		}
	}
}

// visits is somebody who comes to the site, by the short id that Upscope gives them.
func (w *town) visits(name, id, code string) (short string) {
	short = w.upscope.Come(upscope.Visitor{Name: name, Identities: []string{id}, LookupCode: code, IsSupported: true})
	w.upscope.SetIntegrationIDs(short, id)
	if code != "" {
		w.upscope.SetLookupCode(short, code)
	}
	return short
}

func TestThreeHooksAtOnceAreOneCardAndAnotherConversationIsAnother(t *testing.T) {
	inTown(t, "odd", func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		hooks := w.Write("c-1", "hello")
		if len(hooks) != 3 {
			t.Fatalf("hooks %+v", hooks)
		}
		w.calls(hooks...)
		w.cards("Ann")
		if strings.Contains(w.slack.Channel("C1")[0].Text, "closed") {
			t.Error("the card is closed from the beginning")
		}
		w.calls(hooks...) // each is repeated
		w.calls(w.Write("c-1", "are you there?")...)
		w.calls(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.pass(time.Minute)
		w.calls(hooks...) // and repeated late
		w.cards("Ann")

		card := w.slack.Channel("C1")[0]
		w.calls(w.SetStatus("c-1", chatvisortest.Done)...)
		w.cards("closed")
		// Whoever presses what they still have on their screen gets no door.
		press := w.slack.Press("U1", card, 0)
		if rec := w.posts("/hooks/slack", press, w.slack.Sign(press)); rec.Code != http.StatusOK {
			t.Fatalf("Slack was answered %d", rec.Code)
		}
		w.pass(2 * time.Second)
		for _, p := range w.slack.Ephemeral("U1") {
			if strings.Contains(string(p.Blocks), "/w/") {
				t.Errorf("a door opens after the end: %s", p.Blocks)
			}
		}
		w.calls(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.cards("closed")

		w.SetStatus("c-1", chatvisortest.Done)
		w.pass(glance)
		again := w.Write("c-1", "hello") // the very words of the first time
		if len(again) != 3 {
			t.Fatalf("hooks %+v", again)
		}
		w.calls(again...)
		w.cards("closed", "Ann")
		if strings.Contains(w.slack.Channel("C1")[1].Text, "closed") {
			t.Error("the second card is closed from the beginning")
		}
		w.calls(w.SetStatus("c-1", chatvisortest.Done)...)
		w.cards("closed", "closed")
		if n := len(w.upscope.Watches()); n != 0 {
			t.Errorf("%d watch links", n)
		}
	})
}

func TestAMessageJustAfterTheEndBeginsAnotherConversation(t *testing.T) {
	inTown(t, "", func(w *town) {
		w.visits("Ann Silva", "chatvisor:c-1", "")
		says := func(text string) {
			w.calls(chatvisortest.Hook{Event: eventMessage, Body: mustJSON(map[string]string{"customerId": "c-1", "text": text})})
		}
		says("hello")
		says("are you there?")
		if posts := w.slack.Channel("C1"); len(posts) != 1 {
			t.Fatalf("two messages are %d cards", len(posts))
		}
		w.calls(chatvisortest.Hook{Event: eventStatus, Body: []byte(`{"customerId":"c-1","status":"DONE"}`)})
		says("one more thing")
		if posts := w.slack.Channel("C1"); len(posts) != 2 || strings.Contains(posts[1].Text, "closed") {
			t.Errorf("after the end there are the cards %+v", posts)
		}
	})
}

func TestALookupCodeInAMessageFindsTheCustomer(t *testing.T) {
	inTown(t, "join: [lookup_code]", func(w *town) {
		w.visits("Ann Silva", "shop:1", "4821")
		w.calls(w.Write("c-1", "hello")...)
		w.pass(time.Minute)
		w.cards()
		w.calls(w.Write("c-1", "4821")...)
		w.cards("the four-digit code")
	})
}

func TestAListInOneBodyIsACardForEach(t *testing.T) {
	inTown(t, "", func(w *town) {
		w.visits("Ann Silva", "chatvisor:c-1", "")
		w.visits("Ben Stone", "chatvisor:c-2", "")
		w.calls(chatvisortest.Hook{Event: eventConversation, Body: []byte(`[{"customerId":"c-1","status":"UNREAD"},{"customerId":"c-2","status":"UNREAD"}]`)})
		w.pass(10 * time.Second)
		if posts := w.slack.Channel("C1"); len(posts) != 2 {
			t.Errorf("cards %+v", posts)
		}
	})
}

func TestOfAListAboutOneCustomerTheLastCounts(t *testing.T) {
	const done, unread = `{"customerId":"c-1","status":"DONE"}`, `{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"one more thing"}}`
	for name, c := range map[string]struct {
		list string
		open bool
	}{
		"an end, and another conversation": {"[" + done + "," + unread + "]", true},
		"a message, and the end":           {"[" + unread + "," + done + "]", false},
		"something that does not fit":      {`[{"status":"DONE"},` + done + `,{"customerId":"/"},` + unread + "]", true},
		"an end, a message, and the end":   {"[" + done + "," + unread + "," + done + "]", false},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, "", func(w *town) {
				w.visits("Ann Silva", "chatvisor:c-1", "")
				w.calls(chatvisortest.Hook{Event: eventAuto, Body: []byte(`{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"hello"}}`)})
				w.pass(time.Minute)
				w.calls(chatvisortest.Hook{Event: eventAuto, Body: []byte(c.list)})
				w.pass(10 * time.Second)
				posts := w.slack.Channel("C1")
				if last := posts[len(posts)-1]; strings.Contains(last.Text, "closed") == c.open {
					w.Errorf("the last card says %s", last.Text)
				}
			})
		})
	}
}

func TestAnEndThatFollowsAnotherAtOnceIsHeard(t *testing.T) {
	inTown(t, "", func(w *town) {
		w.visits("Ann Silva", "chatvisor:c-1", "")
		// Without a text of the last message, both ends have one body.
		status := func(status string) chatvisortest.Hook {
			return chatvisortest.Hook{Event: eventStatus, Body: mustJSON(map[string]string{"customerId": "c-1", "status": status})}
		}
		says := func(text string) {
			w.calls(chatvisortest.Hook{Event: eventMessage, Body: mustJSON(map[string]string{"customerId": "c-1", "text": text})})
		}
		says("hello")
		w.calls(status("DONE"))
		w.cards("closed")
		says("thanks!") // and Chatvisor takes that for another conversation
		w.calls(status("DONE"))
		w.cards("closed", "closed")
		w.calls(status("DONE"), status("DONE"))
		w.cards("closed", "closed")
	})
}

func TestABodyThatDoesNotFitIsShownToTheOperator(t *testing.T) {
	inTown(t, "", func(w *town) {
		w.visits("Ben Stone", "chatvisor:c-2", "")
		for _, body := range []string{
			`{"customer":{"id":"c-1"},"text":"my card is 4111"}`, `{"customer":{"id":"c-3"},"text":"hello"}`,
			`[{"customer":{"id":"c-1"},"text":"hello"},{"customerId":"c-2","text":"hello"},{"customer":{"id":"c-4"}}]`,
			`[{"customer":{"id":"c-5"},"text":"hello"}]`,
		} {
			w.calls(chatvisortest.Hook{Event: eventMessage, Body: []byte(body)})
		}
		var failed []store.Backlog
		for d, err := range w.store.Backlog(w.Context()) {
			if err != nil {
				w.Fatal(err)
			}
			failed = append(failed, d)
		}
		if len(failed) != 1 || failed[0].State != store.DeliveryFailed || len(failed[0].Errors) != 1 ||
			!strings.Contains(failed[0].Errors[0].Error, "{customer: {id: text}, text: text}") {
			w.Errorf("the operator sees %+v", failed)
		}
		w.cards("Co-browse with") // what is with it in a list is not lost
	})
}

func TestAWrongSecretIsNoSuchPlace(t *testing.T) {
	inTown(t, "", func(w *town) {
		hook := w.Write("c-1", "hello")[0]
		wrong := w.posts(hookPath(oldSecret, hook.Event), hook.Body, nil)
		nowhere := w.posts("/hooks/nothing/here", hook.Body, nil)
		if wrong.Code != http.StatusNotFound || wrong.Body.String() != nowhere.Body.String() {
			t.Errorf("a wrong secret is answered %d %q, no place %d %q", wrong.Code, wrong.Body, nowhere.Code, nowhere.Body)
		}
		large := w.posts(hookPath(hookSecret, hook.Event), bytes.Repeat([]byte(" "), maxBody+1), nil)
		if large.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("a large body is answered %d", large.Code)
		}
		r := httptest.NewRequest(http.MethodGet, "https://bridge.example.org"+hookPath(hookSecret, hook.Event), nil)
		rec := httptest.NewRecorder()
		w.bridge.ServeHTTP(rec, r)
		if body, _ := io.ReadAll(rec.Result().Body); rec.Code != http.StatusMethodNotAllowed || strings.Contains(string(body), hookSecret) {
			t.Errorf("GET is answered %d", rec.Code)
		}
		w.pass(time.Second)
		w.cards()
	})
}
