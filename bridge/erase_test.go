package bridge_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func (w *world) eraser() *erase.Eraser {
	w.Helper()
	e, err := erase.NewEraser(w.store, []byte(bridgeSecret), nil)
	w.must(err)
	return e
}

// erase has an operator erase a person, also at Upscope if atUpscope is set.
func (w *world) erase(kind card.PersonKind, id string, atUpscope bool) store.Receipt {
	w.Helper()
	r, err := w.eraser().Erase(w.Context(), card.Person{Kind: kind, ID: id}, "operator:ann", atUpscope)
	w.must(err)
	return r
}

func (w *world) receipt(id string) store.Receipt {
	w.Helper()
	r, err := w.store.Receipt(w.Context(), id)
	w.must(err)
	return r
}

// later lets a long time pass without workers, and then starts the jobs that are due.
func (w *world) later(d time.Duration) {
	w.idle(d)
	w.pass(10 * time.Second)
}

// files returns the bytes of the database file and of its write-ahead log.
func (w *world) files() string {
	w.Helper()
	names, err := filepath.Glob(w.file + "*")
	w.must(err)
	var all strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(name)
		w.must(err)
		all.Write(content)
	}
	return all.String()
}

// finishedChat has ann found, watched by bob and shown on his card, and closes the chat.
func (w *world) finishedChat() (ann, room string) {
	w.Helper()
	ann = w.ann()
	room = w.openChat(withPageKey())
	w.bobTakes(room)
	w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
	w.pass(time.Second)
	w.chat.CloseChat(room)
	w.deliverEvent("LivechatSession", room)
	w.pass(time.Second)
	return ann, room
}

func TestErasingLeavesNoTraceInAnyFile(t *testing.T) {
	for _, test := range []struct {
		kind card.PersonKind
		id   func(ann string) string
	}{
		{card.ByShortID, func(ann string) string { return ann }},
		{card.ByUniqueID, func(string) string { return "cust-77" }},
		{card.ByIntegrationID, func(string) string { return "rocketchat:" + pageKey }},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			inWorld(t, func(w *world) {
				// Other visitors before and after, so that database pages split and rows move.
				var others []string
				crowd := func(n int) {
					for range n {
						key := fmt.Sprintf("%08d-a4f1-4c1f-9d3e-2d9f1c6b1a77", len(others))
						id := w.upscope.Come(upscope.Visitor{UniqueID: fmt.Sprint("other-", key), Identities: []string{"rocketchat:" + key}})
						w.upscope.SetIntegrationIDs(id, "rocketchat:"+key)
						room := w.openChat(map[string]string{"upscope_key": key})
						w.bobTakes(room)
						others = append(others, id)
					}
				}
				crowd(25)
				ann, room := w.finishedChat()
				crowd(25)
				canaries := map[string]string{
					"short id": ann, "unique id": "cust-77", "page key": pageKey, "name": "Ann Silva", "chat": room, "page": "shop.example.org/basket",
				}
				w.must(w.eraser().Index(w.Context()))
				canaries["hash of the id in the index"] = indexHash(t, card.Person{Kind: test.kind, ID: test.id(ann)})
				before := w.files()
				for _, name := range []string{"short id", "chat", "hash of the id in the index"} {
					if !strings.Contains(before, canaries[name]) {
						t.Fatalf("the %s is not in the files before the erasure", name)
					}
				}
				head, err := w.store.AuditLog().Head(w.Context())
				w.must(err)

				r := w.erase(test.kind, test.id(ann), false)
				if r.State != store.ErasureDone || r.Removed.Cards != 1 || r.Removed.Posts == 0 || r.Removed.Deliveries == 0 || r.Removed.Records < 3 {
					t.Errorf("receipt = %+v", r)
				}
				after := w.files()
				for name, canary := range canaries {
					if strings.Contains(after, canary) {
						t.Errorf("the %s is still in the files", name)
					}
				}
				for _, id := range others {
					if !strings.Contains(after, id) {
						t.Errorf("visitor %s was erased too", id)
					}
				}
				if n, err := w.eraser().Count(w.Context(), card.Person{Kind: test.kind, ID: test.id(ann)}); err != nil || n != (store.Removed{}) {
					t.Errorf("after the erasure Look finds %+v, %v", n, err)
				}
				// The audit log says that a person was erased, and still names the agents.
				if _, err := w.store.AuditLog().Verify(w.Context(), head); err != nil {
					t.Error(err)
				}
				agents := map[string]string{}
				for record, err := range w.store.AuditLog().After(w.Context(), 0) {
					w.must(err)
					if record.Erased || record.Action == audit.ActionErased {
						agents[record.Action] = record.Agent
					}
				}
				if agents["watching"] != "rocketchat:a1" || agents["erased"] != "operator:ann" {
					t.Errorf("the agents by action are %v", agents)
				}
			})
		})
	}
}

// indexHash returns what the index for erasures has about a person, as SQLite stores numbers.
func indexHash(t *testing.T, p card.Person) string {
	t.Helper()
	keys, err := book.NewSubjectKeys([]byte(bridgeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return string(binary.BigEndian.AppendUint64(nil, uint64(keys.Hashes([]card.Person{p})[0])))
}

func TestAVisitorFoundByACodeIsErasedByTheirOtherIDs(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.SetLookupCode(ann, "4821")
		room := w.openChat(map[string]string{"upscope_code": "4821"})
		w.bobTakes(room)
		if r := w.erase(card.ByUniqueID, "cust-77", false); r.Removed.Cards != 1 {
			t.Errorf("receipt = %+v", r)
		}
	})
}

func TestAVisitorWhoseIDChangedIsErasedByEitherID(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, room := w.ann(), w.openChat(withPageKey())
		w.bobTakes(room)
		bob := w.browser()
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
		w.pass(time.Second)
		// She signs in as another customer, bob goes on watching, and the chat is closed.
		w.upscope.SetUniqueID(ann, "cust-99")
		w.pass(5 * time.Second)
		page := bob.press(w.door("bob"), url.Values{"visitor": {ann}})
		shown := regexp.MustCompile(`name="visitor" value="([^"]+)"`).FindStringSubmatch(page.body)
		if shown == nil {
			t.Fatalf("the page has no visitor to confirm: %d %s", page.StatusCode, page.body)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {shown[1]}}).wantWatch(w)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		for _, id := range []string{"cust-77", "cust-99"} {
			if n, err := w.eraser().Count(w.Context(), card.Person{Kind: card.ByUniqueID, ID: id}); err != nil || n.Cards != 1 {
				t.Errorf("for %s Look finds %+v, %v", id, n, err)
			}
		}
	})
}

func TestAVisitorIsErasedAtUpscopeOnceTheyAreOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, _ := w.finishedChat()
		bystander := w.upscope.Come(upscope.Visitor{UniqueID: "cust-78"})
		r := w.erase(card.ByUniqueID, "cust-77", true)
		if r.State != store.ErasurePending || r.Note == "" {
			t.Errorf("receipt = %+v", r)
		}
		w.pass(time.Second)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "online") {
			t.Errorf("while the visitor is online: %+v", r)
		}
		if strings.Contains(w.log.String(), "not erased at Upscope yet") == false || strings.Contains(w.files(), ann) {
			t.Error("the log does not say so, or the files name the visitor while the erasure is pending")
		}
		w.upscope.Go(ann)
		// The next call to Upscope fails.
		w.upscope.Fail(upscopetest.DeleteVisitor, upscopetest.Fault{Status: http.StatusBadGateway}, 1)
		w.later(2 * time.Minute)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "HTTP 502") || strings.Contains(r.Note, ann) {
			t.Errorf("after a failure: %+v", r)
		}
		w.later(5 * time.Minute)
		r = w.receipt(r.ID)
		if r.State != store.ErasureDone || r.Removed.Visitors != 1 || r.Subject != nil || r.Note != "" {
			t.Errorf("after the retry: %+v", r)
		}
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: bridge.InProcess(w.upscope)})
		w.must(err)
		if _, err := client.Visitor(w.Context(), ann); err == nil {
			t.Error("Upscope still has the visitor")
		}
		if _, err := client.Visitor(w.Context(), bystander); err != nil {
			t.Errorf("another visitor: %v", err)
		}
		if _, err := w.store.AuditLog().Verify(w.Context(), audit.Head{}); err != nil {
			t.Error(err)
		}
	})
}

func TestAnErasureThatNeverSucceedsIsMarkedAsFailed(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a month")
	}
	inWorld(t, func(w *world) {
		ann := w.ann()
		r := w.erase(card.ByShortID, ann, true)
		w.later(time.Minute)
		w.wantTrouble("erasure retrying")
		for range 70 {
			w.later(11 * time.Hour)
		}
		r = w.receipt(r.ID)
		if r.State != store.ErasureFailed || r.Subject == nil || !strings.HasSuffix(r.Note, "after 30 days.") || !r.Retryable() {
			t.Errorf("receipt = %+v", r)
		}
		w.wantTrouble("erase failed")
		w.must(w.store.Retry(w.Context(), r.ID, "operator:ann"))
		w.later(time.Minute)
		w.wantTrouble("erase failed") // she is still online
		w.upscope.Go(ann)
		w.must(w.store.Retry(w.Context(), r.ID, "operator:ann"))
		w.later(time.Minute)
		if r = w.receipt(r.ID); r.State != store.ErasureDone || r.Subject != nil {
			t.Errorf("after the retry, receipt = %+v", r)
		}
		w.wantCalm()
		if n := w.callsTo(upscopetest.DeleteVisitor); n > 150 || n < 30 {
			t.Errorf("%d calls to Upscope in a month, want 30 to 150", n)
		}
	})
}

func TestOnlyAVisitorWithAConfirmedIDIsErasedAtUpscope(t *testing.T) {
	inWorld(t, func(w *world) {
		// Two visitors have the integration id, and the page of neither confirmed it.
		var ids []string
		for range 2 {
			id := w.upscope.Come(upscope.Visitor{})
			w.upscope.SetIntegrationIDs(id, "intercom:one")
			w.upscope.Go(id)
			ids = append(ids, id)
		}
		r := w.erase(card.ByIntegrationID, "intercom:one", true)
		w.pass(time.Second)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "Several customers") {
			t.Errorf("receipt = %+v", r)
		}
		if n := w.callsTo(upscopetest.DeleteVisitor); n != 0 {
			t.Errorf("%d visitors were erased whose id was not confirmed", n)
		}
		// The page of one of them confirms it.
		w.upscope.SetIdentities(ids[0], "intercom:one")
		w.later(2 * time.Minute)
		if r = w.receipt(r.ID); r.State != store.ErasureDone || r.Removed.Visitors != 1 {
			t.Errorf("receipt = %+v", r)
		}
		if n := w.callsTo(upscopetest.DeleteVisitor); n != 1 {
			t.Errorf("%d visitors were erased, want 1", n)
		}
	})
}
