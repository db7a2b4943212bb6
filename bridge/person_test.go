package bridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/export"
	"cobrowse-bridge/upscope"
)

// export has an operator export a person, and returns the export and its JSON.
func (w *world) export(kind card.PersonKind, id string) (export.Person, string) {
	w.Helper()
	p, err := export.Make(w.Context(), w.store, w.eraser(), card.Person{Kind: kind, ID: id}, "operator:ann")
	w.must(err)
	text, err := json.Marshal(p)
	w.must(err)
	return p, string(text)
}

// lacks checks that a text has none of the words.
func lacks(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if word == "" || strings.Contains(text, word) {
			t.Errorf("the export contains %q", word)
		}
	}
}

func TestAnExportHasWhatAnErasureRemoves(t *testing.T) {
	for _, open := range []bool{true, false} {
		for _, kind := range []card.PersonKind{card.ByShortID, card.ByUniqueID, card.ByIntegrationID} {
			t.Run(string(kind), func(t *testing.T) {
				inWorld(t, func(w *world) {
					other := w.upscope.Come(upscope.Visitor{Name: "Otto Other", UniqueID: "cust-88", Identities: []string{"rocketchat:another-key-0123456789"}})
					w.upscope.SetIntegrationIDs(other, "rocketchat:another-key-0123456789")
					w.bobTakes(w.openChat(map[string]string{"upscope_key": "another-key-0123456789"}))
					ann := w.ann()
					room := w.openChat(withPageKey())
					w.bobTakes(room)
					door := w.door("bob")
					link := w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(w)
					w.pass(time.Second)
					if !open {
						w.chat.CloseChat(room)
						w.deliverEvent("LivechatSession", room)
						w.pass(time.Second)
					}
					id := map[card.PersonKind]string{card.ByShortID: ann, card.ByUniqueID: "cust-77", card.ByIntegrationID: "rocketchat:" + pageKey}[kind]
					want, err := w.eraser().Count(w.Context(), card.Person{Kind: kind, ID: id})
					w.must(err)

					p, text := w.export(kind, id)
					if int64(len(p.Cards)) != want.Cards || int64(len(p.Deliveries)) != want.Deliveries || int64(len(p.Jobs)) != want.Jobs || int64(len(p.Audit)) != want.Records || want.Cards != 1 {
						t.Errorf("the export has %d cards, %d deliveries, %d jobs, %d records, and an erasure removes %+v", len(p.Cards), len(p.Deliveries), len(p.Jobs), len(p.Audit), want)
					}
					c := p.Cards[0]
					if c.OnlyMatched || c.Visitor != ann || c.Chat != room || c.NameInChat != "Ann" || c.Agent != "rocketchat:a1" {
						t.Errorf("the card is %+v", c)
					}
					if open && (c.AtUpscope == nil || c.AtUpscope.Name != "Ann Silva" || c.AtUpscope.UniqueID != "cust-77" || len(c.IDs) != 3) {
						t.Errorf("the card of an open chat is %+v, at Upscope %+v", c, c.AtUpscope)
					}
					lacks(t, text, "Otto", other, "cust-88", "another-key", "Bob Baker", door, strings.TrimPrefix(door, "/w/"), link, "cobrowsingapi.com", bridgeSecret, w.chat.Secret)

					// It is in the audit log, and a later erasure finds the short id there.
					var last string
					for r, err := range w.store.AuditLog().After(w.Context(), 0) {
						w.must(err)
						if last = ""; r.Action == "exported" && r.Agent == "operator:ann" {
							last = r.Visitor + " " + r.Detail
						}
					}
					wantLast := ` {"cards":1,`
					if kind == card.ByShortID {
						wantLast = ann + wantLast
					}
					if !strings.HasPrefix(last, wantLast) {
						t.Errorf("the last audit record is %q, want %q", last, wantLast)
					}
					w.erase(kind, id, false)
					if p, _ := w.export(kind, id); len(p.Cards)+len(p.Deliveries)+len(p.Jobs)+len(p.Audit) != 0 {
						t.Errorf("after an erasure the export is %+v", p)
					}
				})
			})
		}
	}
}

func TestAnExportSaysNothingAboutOthersWhoMatched(t *testing.T) {
	inWorld(t, func(w *world) {
		var ids []string
		for _, name := range []string{"Cora First", "Carl Second"} {
			id := w.upscope.Come(upscope.Visitor{Name: name, Identities: []string{"rocketchat:" + pageKey}})
			w.upscope.SetIntegrationIDs(id, "rocketchat:"+pageKey)
			ids = append(ids, id)
		}
		w.bobTakes(w.openChat(withPageKey()))
		p, text := w.export(card.ByShortID, ids[0])
		if len(p.Cards) != 1 || !p.Cards[0].OnlyMatched || p.Cards[0].Chat != "" {
			t.Errorf("the export has the cards %+v", p.Cards)
		}
		lacks(t, text, ids[1], "Carl", pageKey)

		// The agent chooses the first: then the card is hers.
		bob := w.browser()
		page := bob.loads(w.door("bob"))
		_, value, _ := strings.Cut(page.body, `name="visitor" value="`+ids[0])
		value, _, _ = strings.Cut(value, `"`)
		bob.press(w.door("bob"), url.Values{"visitor": {ids[0] + value}}).wantWatch(w)
		w.pass(time.Second)
		p, text = w.export(card.ByShortID, ids[0])
		if len(p.Cards) != 1 || p.Cards[0].OnlyMatched || p.Cards[0].NameInChat != "Ann" {
			t.Errorf("the export has the cards %+v", p.Cards)
		}
		lacks(t, text, ids[1], "Carl")
		if p, text = w.export(card.ByShortID, ids[1]); len(p.Cards) != 0 {
			t.Errorf("the export of the other has the cards %+v", p.Cards)
		}
		lacks(t, text, ids[0], "Cora", `"Ann"`)
	})
}

// A card whose customer was replaced by another is about the other. Once the chat is closed the card
// has only keyed hashes of the ids of both.
func TestAnExportSaysNothingAboutTheCustomerWhoReplacedThePerson(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprint("closed ", closed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann := w.ann()
				room := w.openChat(withPageKey())
				w.bobTakes(room)
				door := w.door("bob")
				w.upscope.Expire(ann)
				ben := w.upscope.Come(upscope.Visitor{Name: "Ben Next", UniqueID: "cust-99", Identities: []string{"rocketchat:" + pageKey}})
				w.upscope.SetIntegrationIDs(ben, "rocketchat:"+pageKey)
				bob := w.browser()
				bob.press(door, url.Values{"look": {"1"}}).want(t, http.StatusOK, "Ben Next")
				bob.press(door, url.Values{"visitor": {ben}}).wantWatch(w)
				w.pass(time.Second)
				if closed {
					w.chat.CloseChat(room)
					w.deliverEvent("LivechatSession", room)
					w.pass(time.Second)
				}
				p, text := w.export(card.ByUniqueID, "cust-77")
				if len(p.Cards) != 1 || !p.Cards[0].OnlyMatched {
					t.Errorf("the export of the person who was replaced has the cards %+v", p.Cards)
				}
				lacks(t, text, ben, "Ben", "cust-99", `"Ann"`)
				if p, _ = w.export(card.ByUniqueID, "cust-99"); len(p.Cards) != 1 || p.Cards[0].OnlyMatched || p.Cards[0].Visitor != ben {
					t.Errorf("the export of the customer has the cards %+v", p.Cards)
				}
			})
		})
	}
}
