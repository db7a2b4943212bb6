package bridge_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const commandToken = "canary-command-token-4f1c"

// typeCommand has an agent type a message in a room in which Rocket.Chat's integration is active.
func (w *world) typeCommand(room, username, text string) {
	w.Helper()
	w.chat.Command.Token, w.chat.Command.Word = commandToken, "!cobrowse"
	client := &http.Client{Transport: bridge.InProcess(w.bridge)}
	w.must(w.chat.RunCommand(w.Context(), client, origin+"/hooks/rocketchat/command", room, username, text))
	w.pass(time.Second)
}

// visitorWithCode adds a visitor who is online and whose page shows a lookup code.
func (w *world) visitorWithCode(name, code string) (id string) {
	id = w.upscope.Come(upscope.Visitor{Name: name, IsSupported: true})
	w.upscope.SetLookupCode(id, code)
	return id
}

func TestAnAgentLooksUpTheCodeThatAVisitorReadsOut(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.visitorWithCode("Ann Silva", "0482")
		room := w.chat.AddChannel("helpdesk", "bob", "eve")
		w.typeCommand(room, "bob", "!cobrowse 0482")
		text := w.posts("bob", 1)
		if !strings.Contains(text, "[Co-browse]") || !strings.Contains(text, "code") || !strings.Contains(text, "Co-browse with Ann Silva") || !strings.Contains(text, "Name on your website: Ann Silva") {
			t.Errorf("bob reads %q", text)
		}
		w.posts("eve", 0)
		bob := w.browser()
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Ann Silva")
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		if body := w.upscope.Watches()[0].Body; body.Agent.ID != "rocketchat:a1" || body.Agent.Name != "Bob Baker" {
			t.Errorf("Upscope got the agent %+v", body.Agent)
		}
		w.openLatestLink()
		w.pass(sessionsWait)
		w.reads("bob", "Session with Ann Silva is running", "Name on your website")
	})
}

func TestPromise12UnknownAndSharedCodesGetTheSameAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Ann", "1111")
		w.visitorWithCode("Ben", "1111")
		offline := w.visitorWithCode("Cem", "2222")
		w.upscope.Go(offline)
		room := w.chat.AddChannel("helpdesk", "bob")
		var replies []string
		for i, code := range []string{"1111", "2222", "3333"} {
			w.typeCommand(room, "bob", "!cobrowse "+code)
			replies = append(replies, w.posts("bob", i+1))
		}
		if replies[0] != replies[1] || replies[1] != replies[2] || !strings.Contains(replies[0], "Customer not found") || strings.Contains(replies[0], "/w/") {
			t.Errorf("bob reads %q", replies)
		}
	})
}

func TestPromise12AnAgentWhoTriesCodesIsThrottled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Ann", "9999")
		room := w.chat.AddChannel("helpdesk", "bob", "eve")
		for i := range 5 {
			w.typeCommand(room, "bob", fmt.Sprintf("!cobrowse %04d", i))
		}
		before := w.callsTo(upscopetest.List)
		w.typeCommand(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 6); !strings.Contains(text, "Too many wrong codes") {
			t.Errorf("bob reads %q", text)
		}
		if n := w.callsTo(upscopetest.List) - before; n != 0 {
			t.Errorf("%d searches for a throttled agent, want none", n)
		}
		w.typeCommand(room, "eve", "!cobrowse 9999")
		if text := w.posts("eve", 1); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("eve, who tried no code before, reads %q", text)
		}
		w.idle(10 * time.Minute)
		w.typeCommand(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 7); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("after ten minutes bob reads %q", text)
		}
	})
}

func TestPromise12ManyCodesAtOnceDoNotAvoidTheLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.chat.Command.Token, w.chat.Command.Word = commandToken, "!cobrowse"
		room := w.chat.AddChannel("helpdesk", "bob")
		header := http.Header{"Content-Type": {"application/json"}}
		for i := range 60 {
			w.post("/hooks/rocketchat/command", w.chat.Typed(room, "bob", fmt.Sprintf("!cobrowse %04d", i)), header).want(t, http.StatusOK)
		}
		w.pass(20 * time.Second)
		if n := w.callsTo(upscopetest.List); n > 5 {
			t.Errorf("%d codes were looked up, want at most 5", n)
		}
	})
}

func TestAnAgentWhoAsksForHelpGetsIt(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.chat.AddChannel("helpdesk", "bob")
		w.typeCommand(room, "bob", "!cobrowse help")
		w.typeCommand(room, "bob", "!cobrowse jane smith")
		for _, p := range w.chat.Posts("bob") {
			if !strings.Contains(p.Text, "!cobrowse 4821") || strings.Contains(p.Text, "/w/") {
				t.Errorf("bob reads %q", p.Text)
			}
		}
		w.posts("bob", 2)
		if n := len(w.upscope.Calls()) - w.callsTo(upscopetest.Usage); n != 0 { // the bridge compares the clocks
			t.Errorf("%d other calls to Upscope, want none", n)
		}
	})
}

func TestWhatAgentsTypeInRocketChatIsUnderstoodOrTheyAreToldWhyNot(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Ann Silva", "0421")
		w.upscope.Come(upscope.Visitor{Name: "Pat", Email: "o'brien@example.org", Identities: []string{"o'brien@example.org"}, IsSupported: true})
		room := w.chat.AddChannel("helpdesk", "bob")
		for i, c := range []struct{ typed, want string }{
			{"o'brien@example.org", "Possible match"}, {"０４２１", "[Co-browse]"}, {"#0421.", "[Co-browse]"}, {"code 0421", "[Co-browse]"}, {"0421 please", "[Co-browse]"},
			{"jörg@exämple.org", "letters like ö"}, {"0421 or 0422", "more than one customer"}, {"the customer Ann", "no code or customer ID"},
		} {
			w.typeCommand(room, "bob", "!cobrowse "+c.typed)
			if text := w.posts("bob", i+1); !strings.Contains(text, c.want) {
				t.Errorf("%q is answered %q", c.typed, text)
			}
		}
	}, options{config: func(c *bridge.Config) { c.MatchEmail = true }})
}

func TestACommandTypedInALivechatGetsNoAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Ann", "4821")
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		w.typeCommand(room, "bob", "!cobrowse 4821")
		w.typeCommand(room, "bob", "!cobrowse help")
		w.pass(time.Minute)
		w.posts("bob", 0)
		for _, r := range w.chat.Requests() {
			if strings.Contains(r.Body, room) {
				t.Errorf("%s %s names the livechat: %s", r.Method, r.Path, r.Body)
			}
		}
		body, _ := w.chat.Event("LivechatSessionForwarded", room)
		if n := strings.Count(string(body), `"msg":`); n != 2 {
			t.Errorf("%d messages in the livechat, want only the agent's 2: %s", n, body)
		}
	})
}

func TestAWebhookIsForwardedUnchanged(t *testing.T) {
	var mu sync.Mutex
	var got []string
	fail := 2
	crm := http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fail > 0 {
			fail--
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Header.Get("X-RocketChat-Livechat-Token")+" "+r.Header.Get("Content-Type")+" "+string(body))
		_, _ = io.WriteString(out, "an answer that is ignored")
	})
	forwarding := func(c *rocketchat.Config) {
		c.ForwardURL, _ = url.Parse("https://crm.example.org/rocketchat?tenant=1")
		c.ForwardTransport = bridge.InProcess(crm)
	}
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		body, header := w.chat.Event("LivechatSessionTaken", room)
		offline := []byte(`{"type":"LivechatOfflineMessage","sentAt":"2026-11-20T10:00:00.000Z","visitor":{"name":"A","email":"a@b.c"},"message":"hi"}`)
		for range 3 {
			w.post("/hooks/rocketchat", body, header).want(t, http.StatusOK)
		}
		w.post("/hooks/rocketchat", offline, header).want(t, http.StatusOK)
		w.post("/hooks/rocketchat", body, http.Header{}).want(t, http.StatusUnauthorized)
		w.pass(2 * time.Minute)
		w.posts("bob", 1)
		mu.Lock()
		defer mu.Unlock()
		head := webhookSecret + " application/json "
		want := []string{head + string(offline), head + string(body)}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("forwarded %q, want %q", got, want)
		}
		if bytes.Contains(w.storedBytes(), []byte(visitorToken)) {
			t.Error("the store holds a forwarded delivery in plain text")
		}
		// A forwarded delivery is counted once.
		counts := httptest.NewRecorder()
		w.bridge.Metrics().ServeHTTP(counts, request(http.MethodGet, "/metrics", nil))
		for _, line := range []string{`outcome="stored"} 1`, `outcome="repeated"} 2`, `outcome="ignored"} 1`} {
			if line = `bridge_deliveries_total{connector="rocketchat",` + line; !strings.Contains(counts.Body.String(), line) {
				t.Errorf("the metrics lack %s", line)
			}
		}
	}, options{rocketchat: forwarding})
}

func TestASweepFindsChatsWhoseEventsWereLost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		lost, closing := w.openChat(withPageKey()), w.openChat(withPageKey())
		w.bobTakes(closing)
		w.posts("bob", 1)
		w.stop()
		// The bridge gets no events of these chats: one is closed, one is taken, one is queued.
		w.chat.CloseChat(closing)
		w.chat.Take(lost, "eve")
		w.chat.Queue(w.openChat(withPageKey()))
		<-time.After(time.Hour)
		w.run()
		w.pass(10 * time.Second)
		w.reads("bob", "Chat closed")
		w.reads("eve", "Co-browse with Ann")
		requests := len(w.chat.Requests())
		w.stop()
		w.run()
		w.pass(10 * time.Second)
		w.posts("bob", 1)
		w.posts("eve", 1)
		if n := len(w.chat.Requests()) - requests; n > 12 {
			t.Errorf("a second start made %d requests, want at most 12", n)
		}
		// Events can also be lost while the bridge runs.
		w.chat.Take(w.openChat(withPageKey()), "bob")
		w.pass(6 * time.Minute)
		w.posts("bob", 2)
		// The sweep does not read a chat again whose events arrived.
		w.bobTakes(w.openChat(withPageKey()))
		w.posts("bob", 3)
		w.pass(time.Second)
		requests = len(w.chat.Requests())
		w.pass(6 * time.Minute)
		for _, r := range w.chat.Requests()[requests:] {
			if strings.HasSuffix(r.Path, "/livechat/visitors.info") {
				t.Error("a chat that did not change was read again")
			}
		}
	}, options{sweeping: true})
}
