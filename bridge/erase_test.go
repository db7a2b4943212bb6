package bridge_test

import (
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
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func (w *world) eraser() *bridge.Eraser {
	w.Helper()
	e, err := bridge.NewEraser(w.store, []byte(bridgeSecret), nil)
	w.must(err)
	return e
}

// erase has an operator erase somebody, at Upscope too if they say so.
func (w *world) erase(kind bridge.PersonKind, id string, atUpscope bool) store.Receipt {
	w.Helper()
	r, err := w.eraser().Erase(w.Context(), bridge.Person{Kind: kind, ID: id}, "operator:ann", atUpscope)
	w.must(err)
	return r
}

func (w *world) receipt(id string) store.Receipt {
	w.Helper()
	r, err := w.store.Receipt(w.Context(), id)
	w.must(err)
	return r
}

// later lets time pass, and the jobs that are due by then start.
func (w *world) later(d time.Duration) {
	w.idle(d)
	w.pass(10 * time.Second)
}

// files is every byte of the database, and of the log beside it.
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

// ended has ann's chat with bob come and go: found, watched, shown, and closed.
func (w *world) ended() (ann, room string) {
	w.Helper()
	ann = w.ann()
	room = w.opens(keyed())
	w.taken(room)
	w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
	w.pass(time.Second)
	w.chat.CloseChat(room)
	w.tells("LivechatSession", room)
	w.pass(time.Second)
	return ann, room
}

func TestErasingLeavesNoTraceInAnyFile(t *testing.T) {
	for _, test := range []struct {
		kind bridge.PersonKind
		id   func(ann string) string
	}{
		{bridge.ByShortID, func(ann string) string { return ann }},
		{bridge.ByUniqueID, func(string) string { return "cust-77" }},
		{bridge.ByIntegrationID, func(string) string { return "rocketchat:" + pageKey }},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			inWorld(t, func(w *world) {
				// Others, before and after, so that pages split and rows move.
				var others []string
				crowd := func(n int) {
					for range n {
						key := fmt.Sprintf("%08d-a4f1-4c1f-9d3e-2d9f1c6b1a77", len(others))
						id := w.upscope.Come(upscope.Visitor{UniqueID: fmt.Sprint("other-", key), Identities: []string{"rocketchat:" + key}})
						w.upscope.SetIntegrationIDs(id, "rocketchat:"+key)
						room := w.opens(map[string]string{"upscope_key": key})
						w.taken(room)
						others = append(others, id)
					}
				}
				crowd(25)
				ann, room := w.ended()
				crowd(25)
				canaries := map[string]string{
					"short id": ann, "unique id": "cust-77", "page key": pageKey, "name": "Ann Silva", "chat": room, "page": "shop.example.org/basket",
				}
				before := w.files()
				for _, name := range []string{"short id", "chat"} {
					if !strings.Contains(before, canaries[name]) {
						t.Fatalf("the %s is not in the files to begin with", name)
					}
				}
				head, err := w.store.AuditHead(w.Context())
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
						t.Errorf("visitor %s is gone too", id)
					}
				}
				if n, err := w.eraser().Look(w.Context(), bridge.Person{Kind: test.kind, ID: test.id(ann)}); err != nil || n != (store.Removed{}) {
					t.Errorf("there is still %+v, %v", n, err)
				}
				// That it happened is on record, and who watched still answers for it.
				if _, err := w.store.VerifyAudit(w.Context(), head); err != nil {
					t.Error(err)
				}
				seen := map[string]string{}
				for record, err := range w.store.Audit(w.Context(), 0) {
					w.must(err)
					if record.Erased || record.Action == store.ActionErased {
						seen[record.Action] = record.Agent
					}
				}
				if seen["watching"] != "rocketchat:a1" || seen["erased"] != "operator:ann" {
					t.Errorf("the record says %v", seen)
				}
			})
		})
	}
}

func TestWhoWasFoundByACodeIsErasedByTheirOtherIds(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.SetLookupCode(ann, "4821")
		room := w.opens(map[string]string{"upscope_code": "4821"})
		w.taken(room)
		if r := w.erase(bridge.ByUniqueID, "cust-77", false); r.Removed.Cards != 1 {
			t.Errorf("receipt = %+v", r)
		}
	})
}

func TestWhoIsWatchedUnderANewIdIsErasedByItToo(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, room := w.ann(), w.opens(keyed())
		w.taken(room)
		bob := w.browser()
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
		w.pass(time.Second)
		// She logs in, and bob goes on watching; then the chat is over.
		w.upscope.SetUniqueID(ann, "cust-99")
		w.pass(5 * time.Second)
		page := bob.press(w.door("bob"), url.Values{"visitor": {ann}})
		shown := regexp.MustCompile(`name="visitor" value="([^"]+)"`).FindStringSubmatch(page.body)
		if shown == nil {
			t.Fatalf("the page does not ask again: %d %s", page.StatusCode, page.body)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {shown[1]}}).wantWatch(w)
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)
		for _, id := range []string{"cust-77", "cust-99"} {
			if n, err := w.eraser().Look(w.Context(), bridge.Person{Kind: bridge.ByUniqueID, ID: id}); err != nil || n.Cards != 1 {
				t.Errorf("%s leads to %+v, %v", id, n, err)
			}
		}
	})
}

func TestUpscopeForgetsAVisitorAsSoonAsTheyAreOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, _ := w.ended()
		bystander := w.upscope.Come(upscope.Visitor{UniqueID: "cust-78"})
		r := w.erase(bridge.ByUniqueID, "cust-77", true)
		if r.State != store.ErasurePending || r.Note == "" {
			t.Errorf("receipt = %+v", r)
		}
		w.pass(time.Second)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "online") {
			t.Errorf("while the visitor is online: %+v", r)
		}
		if strings.Contains(w.log.String(), "not erased at Upscope yet") == false || strings.Contains(w.files(), ann) {
			t.Error("the log is silent, or the files name the visitor while Upscope is waited for")
		}
		w.upscope.Go(ann)
		// Meanwhile Upscope fails, once.
		w.upscope.Fail(upscopetest.DeleteVisitor, upscopetest.Fault{Status: http.StatusBadGateway}, 1)
		w.later(2 * time.Minute)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "HTTP 502") || strings.Contains(r.Note, ann) {
			t.Errorf("after a failure: %+v", r)
		}
		w.later(5 * time.Minute)
		r = w.receipt(r.ID)
		if r.State != store.ErasureDone || r.Removed.Visitors != 1 || r.Subject != nil || r.Note != "" {
			t.Errorf("in the end: %+v", r)
		}
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: bridge.InProcess(w.upscope)})
		w.must(err)
		if _, err := client.Visitor(w.Context(), ann); err == nil {
			t.Error("Upscope still has the visitor")
		}
		if _, err := client.Visitor(w.Context(), bystander); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		if _, err := w.store.VerifyAudit(w.Context(), store.AuditHead{}); err != nil {
			t.Error(err)
		}
	})
}

func TestAnErasureThatNeverSucceedsIsGivenUpAndSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a month")
	}
	inWorld(t, func(w *world) {
		ann := w.ann()
		r := w.erase(bridge.ByShortID, ann, true)
		for range 70 {
			w.later(11 * time.Hour)
		}
		r = w.receipt(r.ID)
		if r.State != store.ErasureFailed || r.Subject != nil || !strings.Contains(r.Note, "run the command again") {
			t.Errorf("receipt = %+v", r)
		}
		if n := w.asked(upscopetest.DeleteVisitor); n > 150 || n < 30 {
			t.Errorf("Upscope was asked %d times in a month", n)
		}
	})
}

func TestOnlyWhoIsProvenIsErasedAtUpscope(t *testing.T) {
	inWorld(t, func(w *world) {
		// Two under one integration id, and no page said whose it is.
		var ids []string
		for range 2 {
			id := w.upscope.Come(upscope.Visitor{})
			w.upscope.SetIntegrationIDs(id, "intercom:one")
			w.upscope.Go(id)
			ids = append(ids, id)
		}
		r := w.erase(bridge.ByIntegrationID, "intercom:one", true)
		w.pass(time.Second)
		if r = w.receipt(r.ID); r.State != store.ErasurePending || !strings.Contains(r.Note, "several visitors") {
			t.Errorf("receipt = %+v", r)
		}
		if n := w.asked(upscopetest.DeleteVisitor); n != 0 {
			t.Errorf("%d visitors were erased who may be anybody", n)
		}
		// One of them is.
		w.upscope.SetIdentities(ids[0], "intercom:one")
		w.later(2 * time.Minute)
		if r = w.receipt(r.ID); r.State != store.ErasureDone || r.Removed.Visitors != 1 {
			t.Errorf("receipt = %+v", r)
		}
		if n := w.asked(upscopetest.DeleteVisitor); n != 1 {
			t.Errorf("%d visitors were erased", n)
		}
	})
}
