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

// types has an agent type a message in a room where the integration listens.
func (w *world) types(room, username, text string) {
	w.Helper()
	w.chat.Command.Token, w.chat.Command.Word = commandToken, "!cobrowse"
	client := &http.Client{Transport: bridge.InProcess(w.bridge)}
	w.must(w.chat.RunCommand(w.Context(), client, origin+"/hooks/rocketchat/command", room, username, text))
	w.pass(time.Second)
}

// coded is a visitor who is online and shows a lookup code.
func (w *world) coded(name, code string) (id string) {
	id = w.upscope.Come(upscope.Visitor{Name: name, IsSupported: true})
	w.upscope.SetLookupCode(id, code)
	return id
}

func TestAnAgentLooksUpTheCodeThatAVisitorReadsOut(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.coded("Ann Silva", "0482")
		room := w.chat.AddChannel("helpdesk", "bob", "eve")
		w.types(room, "bob", "!cobrowse 0482")
		text := w.posts("bob", 1)
		if !strings.Contains(text, "[Co-browse]") || !strings.Contains(text, "code") {
			t.Errorf("bob reads %q", text)
		}
		w.posts("eve", 0)
		bob := w.browser()
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Ann Silva")
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		if body := w.upscope.Watches()[0].Body; body.Agent.ID != "rocketchat:a1" || body.Agent.Name != "Bob Baker" {
			t.Errorf("%+v", body.Agent)
		}
		w.begun()
		w.pass(sessionsWait)
		w.reads("bob", "Live with")
	})
}

func TestPromise12ACodeOfNobodyAndOneOfSeveralLookTheSame(t *testing.T) {
	inWorld(t, func(w *world) {
		w.coded("Ann", "1111")
		w.coded("Ben", "1111")
		offline := w.coded("Cem", "2222")
		w.upscope.Go(offline)
		room := w.chat.AddChannel("helpdesk", "bob")
		var said []string
		for i, code := range []string{"1111", "2222", "3333"} {
			w.types(room, "bob", "!cobrowse "+code)
			said = append(said, w.posts("bob", i+1))
		}
		if said[0] != said[1] || said[1] != said[2] || !strings.Contains(said[0], "Nobody found") || strings.Contains(said[0], "/w/") {
			t.Errorf("bob reads %q", said)
		}
	})
}

func TestPromise12AnAgentWhoTriesCodesIsThrottled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.coded("Ann", "9999")
		room := w.chat.AddChannel("helpdesk", "bob", "eve")
		for i := range 5 {
			w.types(room, "bob", fmt.Sprintf("!cobrowse %04d", i))
		}
		before := w.asked(upscopetest.List)
		w.types(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 6); !strings.Contains(text, "Too many codes") {
			t.Errorf("bob reads %q", text)
		}
		if n := w.asked(upscopetest.List) - before; n != 0 {
			t.Errorf("%d searches", n)
		}
		w.types(room, "eve", "!cobrowse 9999")
		if text := w.posts("eve", 1); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("eve, who tried nothing, reads %q", text)
		}
		w.idle(10 * time.Minute)
		w.types(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 7); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("bob reads %q later", text)
		}
	})
}

func TestPromise12ManyCodesAtOnceAreNoWayAroundTheLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.chat.Command.Token, w.chat.Command.Word = commandToken, "!cobrowse"
		room := w.chat.AddChannel("helpdesk", "bob")
		header := http.Header{"Content-Type": {"application/json"}}
		for i := range 60 {
			w.post("/hooks/rocketchat/command", w.chat.Typed(room, "bob", fmt.Sprintf("!cobrowse %04d", i)), header).want(t, http.StatusOK)
		}
		w.pass(20 * time.Second)
		if n := w.asked(upscopetest.List); n > 5 {
			t.Errorf("%d codes were followed", n)
		}
	})
}

func TestAnAgentWhoAsksForHelpGetsIt(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.chat.AddChannel("helpdesk", "bob")
		w.types(room, "bob", "!cobrowse help")
		w.types(room, "bob", "!cobrowse jane smith")
		for _, p := range w.chat.Posts("bob") {
			if !strings.Contains(p.Text, "!cobrowse 4821") || strings.Contains(p.Text, "/w/") {
				t.Errorf("bob reads %q", p.Text)
			}
		}
		w.posts("bob", 2)
		if n := len(w.upscope.Calls()); n != 0 {
			t.Errorf("%d calls of Upscope", n)
		}
	})
}

func TestACommandTypedInALivechatIsAnsweredNowhere(t *testing.T) {
	inWorld(t, func(w *world) {
		w.coded("Ann", "4821")
		room := w.opens(keyed())
		w.chat.Take(room, "bob")
		w.types(room, "bob", "!cobrowse 4821")
		w.types(room, "bob", "!cobrowse help")
		w.pass(time.Minute)
		w.posts("bob", 0)
		for _, r := range w.chat.Requests() {
			if strings.Contains(r.Body, room) {
				t.Errorf("%s %s names the livechat: %s", r.Method, r.Path, r.Body)
			}
		}
		body, _ := w.chat.Event("LivechatSessionForwarded", room)
		if n := strings.Count(string(body), `"msg":`); n != 2 {
			t.Errorf("%d messages in the livechat, and the agent wrote 2: %s", n, body)
		}
	})
}

func TestAWebhookIsHandedOnAsItCame(t *testing.T) {
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
		_, _ = io.WriteString(out, "an answer that nobody wants")
	})
	forwarding := func(c *rocketchat.Config) {
		c.ForwardURL, _ = url.Parse("https://crm.example.org/rocketchat?tenant=1")
		c.ForwardTransport = bridge.InProcess(crm)
	}
	inWorld(t, func(w *world) {
		w.ann()
		room := w.opens(keyed())
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
			t.Errorf("handed on: %q", got)
		}
		if bytes.Contains(w.bytes(), []byte(visitorToken)) {
			t.Error("what is handed on is kept in plain")
		}
		// What is handed on is counted as the one delivery that it is.
		counts := httptest.NewRecorder()
		w.bridge.Metrics().ServeHTTP(counts, request(http.MethodGet, "/metrics", nil))
		for _, line := range []string{`outcome="stored"} 1`, `outcome="repeated"} 2`, `outcome="ignored"} 1`} {
			if line = `bridge_deliveries_total{connector="rocketchat",` + line; !strings.Contains(counts.Body.String(), line) {
				t.Errorf("not counted: %s", line)
			}
		}
	}, options{rocketchat: forwarding})
}

func TestWhatHappenedWhileTheBridgeWasDownIsCaughtUpWith(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		lost, goes := w.opens(keyed()), w.opens(keyed())
		w.taken(goes)
		w.posts("bob", 1)
		w.stop()
		// Rocket.Chat gave up on the events of one chat that ended, one that
		// began, and one that waits.
		w.chat.CloseChat(goes)
		w.chat.Take(lost, "eve")
		w.chat.Queue(w.opens(keyed()))
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
			t.Errorf("another start costs %d requests", n)
		}
	}, options{listening: true})
}
