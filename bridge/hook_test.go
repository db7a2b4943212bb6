package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestPromise6ForgedOversizedAndMalformedDeliveriesLeaveNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		good, header := w.chat.Event("LivechatSessionTaken", room)
		with := func(change func(http.Header)) http.Header {
			h := header.Clone()
			change(h)
			return h
		}
		const token = "X-Rocketchat-Livechat-Token"
		for _, test := range []struct {
			name   string
			path   string
			body   []byte
			header http.Header
			status int
		}{
			{"no secret", "/hooks/rocketchat", good, with(func(h http.Header) { h.Del(token) }), http.StatusUnauthorized},
			{"empty secret", "/hooks/rocketchat", good, with(func(h http.Header) { h.Set(token, "") }), http.StatusUnauthorized},
			{"wrong secret", "/hooks/rocketchat", good, with(func(h http.Header) { h.Set(token, webhookSecret+"x") }), http.StatusUnauthorized},
			{"part of the secret", "/hooks/rocketchat", good, with(func(h http.Header) { h.Set(token, webhookSecret[:10]) }), http.StatusUnauthorized},
			{"two secrets", "/hooks/rocketchat", good, with(func(h http.Header) { h.Add(token, webhookSecret) }), http.StatusUnauthorized},
			{"too large", "/hooks/rocketchat", bytes.Repeat([]byte(" "), 16<<20+1), header, http.StatusRequestEntityTooLarge},
			{"encoded", "/hooks/rocketchat", good, with(func(h http.Header) { h.Set("Content-Encoding", "gzip") }), http.StatusUnsupportedMediaType},
			{"not JSON", "/hooks/rocketchat", []byte("{"), header, http.StatusBadRequest},
			{"empty", "/hooks/rocketchat", nil, header, http.StatusBadRequest},
			{"nested too deep", "/hooks/rocketchat", []byte(`{"a":` + strings.Repeat("[", 100_000)), header, http.StatusBadRequest},
			{"unknown connector", "/hooks/slack", good, header, http.StatusNotFound},
			{"path below the hook", "/hooks/rocketchat/x", good, header, http.StatusNotFound},
		} {
			got := w.post(test.path, test.body, test.header)
			if got.StatusCode != test.status {
				t.Errorf("%s: answered %d, want %d", test.name, got.StatusCode, test.status)
			}
			if test.status != http.StatusBadRequest && got.body != "" || strings.Contains(got.body, room) {
				t.Errorf("%s: the answer has the body %q", test.name, got.body)
			}
		}
		r := request(http.MethodGet, "/hooks/rocketchat", nil)
		if got := w.do(r); got.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET: answered %d", got.StatusCode)
		}
		w.pass(20 * time.Second)
		if n := len(w.chat.Requests()); n != 0 {
			t.Errorf("%d requests to Rocket.Chat, want none", n)
		}
		if bytes.Contains(w.storedBytes(), []byte(room)) || strings.Contains(w.log.String(), room) {
			t.Error("a refused delivery is in the store or the log")
		}
		// The genuine delivery still works.
		w.post("/hooks/rocketchat", good, header).want(t, http.StatusOK)
		w.pass(time.Second)
		w.posts("bob", 1)
	})
}

func TestAWebhookAddressMayHaveSlashesTooMany(t *testing.T) {
	for _, path := range []string{"/hooks/rocketchat/", "/hooks/rocketchat//", "//hooks/rocketchat", "//hooks/rocketchat/"} {
		t.Run(path, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				room := w.openChat(withPageKey())
				w.chat.Take(room, "bob")
				body, header := w.chat.Event("LivechatSessionTaken", room)
				forged := header.Clone()
				forged.Set("X-Rocketchat-Livechat-Token", "wrong")
				w.post(path, body, forged).want(t, http.StatusUnauthorized)
				w.post(path, body, header).want(t, http.StatusOK)
				w.pass(time.Second)
				w.posts("bob", 1)
			})
		})
	}
}

func TestADeliveryThatCannotBeStoredIsAnswered503(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		body, header := w.chat.Event("LivechatSessionTaken", room)
		w.failInserts("deliveries")
		got := w.post("/hooks/rocketchat", body, header)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || got.body != "" {
			t.Errorf("answered %d %v %q", got.StatusCode, got.Header, got.body)
		}
		w.allowInserts()
		w.post("/hooks/rocketchat", body, header).want(t, http.StatusOK)
		w.pass(time.Second)
		w.posts("bob", 1)
	})
}

func TestAConnectorMayListenAndHaveAScriptForPages(t *testing.T) {
	attempts := 0
	second := chat.Connector{
		Name: "rocketchat-emea",
		Page: []byte("tell();"),
		Listen: func(ctx context.Context, deliver func(context.Context, chat.Delivery) error) error {
			if attempts++; attempts == 1 {
				return errors.New("the connection broke")
			}
			if err := deliver(ctx, chat.Delivery{Key: "k", Body: []byte("heard")}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		},
		Read: func(_ context.Context, d chat.Delivery) (chat.Ask, error) {
			if string(d.Body) != "heard" || d.Received.IsZero() {
				t.Errorf("Read got %+v", d)
			}
			return chat.Ask{Verb: chat.Start, Chat: "c1", Agent: chat.Agent{ID: "u1", Name: "Uma"}, Clues: chat.Clues{IntegrationIDs: []string{"rocketchat:" + pageKey}}}, nil
		},
	}
	inWorld(t, func(w *world) {
		w.ann()
		w.pass(time.Second)
		w.wantTrouble("listen retrying")
		w.pass(20 * time.Second)
		w.wantCalm()
		c, err := w.store.CardOfChat(w.Context(), "rocketchat-emea", store.KindChat, "c1")
		w.must(err)
		if c.State != string(card.Ready) || c.Agent != "rocketchat-emea:u1" || attempts != 2 {
			t.Errorf("the card is %+v after %d attempts", c, attempts)
		}
		got := w.do(request(http.MethodGet, "/page/rocketchat-emea.js", nil))
		got.want(t, http.StatusOK, "tell();")
		if got.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("the headers are %v", got.Header)
		}
		for _, missing := range []string{"/page/rocketchat-apac.js", "/page/slack.js"} {
			if got := w.do(request(http.MethodGet, missing, nil)); got.StatusCode != http.StatusNotFound {
				t.Errorf("%s is answered %d", missing, got.StatusCode)
			}
		}
	}, options{config: func(c *bridge.Config) { c.Connectors = append(c.Connectors, second) }})
}

func TestHealth(t *testing.T) {
	inWorld(t, func(w *world) {
		ask := func(path string) *answer {
			r := request(http.MethodGet, path, nil)
			r.Host = "10.1.2.3:8080" // probes do not send the public host
			return w.do(r)
		}
		ask("/healthz").want(t, http.StatusOK, "ok")
		ask("/readyz").want(t, http.StatusOK, `"ready":true`, `"rocketchat":{"state":"idle"}`)
		bobHasCard(w)
		ask("/readyz").want(t, http.StatusOK, `"rocketchat":{"state":"ok"`)
	})
}

// storedBytes returns the bytes of the database file and of its write-ahead log.
func (w *world) storedBytes() []byte {
	w.Helper()
	var all []byte
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(w.file + suffix)
		w.must(err)
		all = append(all, content...)
	}
	return all
}

func TestPromise1AWatchLinkIsOnlyInTheAnswerToAPress(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		var pages strings.Builder
		see := func(a *answer) *answer { pages.WriteString(a.body); return a }
		see(bob.follow(door))
		links := []string{see(bob.press(door, map[string][]string{"visitor": {ann}})).wantWatch(t), see(bob.follow(door)).wantWatch(t)}
		w.pass(time.Second)
		see(w.browser().follow(door))
		var records strings.Builder
		for record, err := range w.store.AuditLog().After(w.Context(), 0) {
			w.must(err)
			records.WriteString(record.Detail)
		}
		var cards strings.Builder // the store seals them, so its files do not show what they hold
		stored, err := w.store.Cards(w.Context(), "")
		w.must(err)
		for _, c := range stored {
			cards.Write(c.Detail)
		}
		if !strings.Contains(cards.String(), "Ann") {
			t.Errorf("the cards are not readable: %q", cards.String())
		}
		metrics := httptest.NewRecorder()
		w.bridge.Metrics().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for _, link := range links {
			id := link[strings.LastIndex(link, "/")+1:]
			for place, text := range map[string]string{
				"log": w.log.String(), "store": string(w.storedBytes()), "cards": cards.String(), "metrics": metrics.Body.String(),
				"chat": w.posts("bob", 1), "page": pages.String(), "audit": records.String(),
			} {
				if strings.Contains(text, id) {
					t.Errorf("a watch link is in the %s", place)
				}
			}
			for _, r := range w.chat.Requests() {
				if strings.Contains(r.Body, id) {
					t.Errorf("a watch link was sent to Rocket.Chat")
				}
			}
		}
	})
}

func TestPromise3NothingIsPostedWhereAVisitorCanReadIt(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		before := len(w.chat.VisitorReads(room))
		w.deliverEvent("LivechatSessionStart", room)
		w.chat.Queue(room)
		w.deliverEvent("LivechatSessionQueued", room)
		w.bobTakes(room)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(time.Second)
		w.browser().press(w.door("eve"), map[string][]string{"visitor": {ann}}).wantWatch(t)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.deliverEvent("LivechatEdit", room)
		w.pass(20 * time.Second)
		if got := w.chat.VisitorReads(room); len(got) != before {
			t.Errorf("the visitor can read %q", got[before:])
		}
		if got := w.chat.Violations(); len(got) != 0 {
			t.Errorf("Rocket.Chat was used in a wrong way: %q", got)
		}
		for _, r := range w.chat.Requests() {
			if r.Method == http.MethodPost && strings.Contains(r.Body, `"`+room+`"`) {
				t.Errorf("%s names the room: %s", r.Path, r.Body)
			}
		}
		if got := w.chat.Previewed(); len(got) != 0 {
			t.Errorf("Rocket.Chat fetched previews of %q", got)
		}
	})
}

func TestPromise11TheTargetOfAWatchLinkIsChecked(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		for _, target := range []string{
			"http://cobrowsingapi.com/s/1", "https://cobrowsingapi.com.evil.example/s/1", "https://evilcobrowsingapi.com/s/1",
			"https://cobrowsingapi.com@evil.example/", "//evil.example/s/1", "javascript:alert(1)", "https://evil.example\\@cobrowsingapi.com/",
			"https://cobrowsingapi.com:8443/s/1", "https://cobrowsingapi.com/s/1#x", "/session/1", "https://cobrowsingapi.com/\r\nSet-Cookie: a=b",
		} {
			w.upscope.Fail(upscopetest.Watch, upscopetest.Fault{WatchURL: target}, 1)
			w.idle(67 * time.Second)
			got := bob.press(door, map[string][]string{"visitor": {ann}})
			if got.StatusCode < 500 || got.Header.Get("Location") != "" {
				t.Errorf("%q: answered %d to %q", target, got.StatusCode, got.Header.Get("Location"))
			}
		}
	})
}

func TestADeliveryWithTheIdentityEncodingIsAccepted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		body, header := w.chat.Event("LivechatSessionTaken", room)
		header = header.Clone()
		header.Set("Content-Encoding", "identity") // RFC 9110, section 12.5.3
		w.post("/hooks/rocketchat", body, header).want(t, http.StatusOK)
		w.pass(time.Second)
		w.posts("bob", 1)
	})
}
