package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/connectortest"
)

func TestChatsWithAnyIDsGetTheirOwnCardDoorAndEnd(t *testing.T) {
	r := connectortest.Rand(t)
	const n = 40
	ids, keys := connectortest.IDs(r, n), connectortest.IDs(r, 2*n)
	onBoard(t, func(b *board) {
		at := func(i int) string { return fmt.Sprintf("agent-%02d", i) }
		guest := func(i int) string { return fmt.Sprintf("Guest-%02d", i) }
		titles := map[int]string{} // of the posts about each chat
		refused := 0
		for i, id := range ids {
			b.deliver(boardEvent{Key: keys[i], Chat: id, Agent: at(i), Visitor: guest(i), Place: at(i)})
			if chat.CheckChatID(id) != nil {
				refused++
				titles[i] = ""
				continue
			}
			titles[i] = "Co-browse with " + guest(i)
		}
		check := func(when string) {
			t.Helper()
			for i, id := range ids {
				if got := strings.Join(b.titles(at(i)), " | "); got != titles[i] {
					t.Errorf("%s, chat %.60q: %q is shown, want %q", when, id, got, titles[i])
				}
			}
		}
		b.pass(5 * time.Second)
		check("open")

		doors := map[string]int{}
		for i, id := range ids {
			if titles[i] == "" {
				continue
			}
			door := b.doorAt(at(i))
			if before, dup := doors[door]; dup {
				t.Errorf("chats %.60q and %.60q have the same door", ids[before], id)
			}
			doors[door] = i
			if page := b.browser().follow(door); page.StatusCode != http.StatusOK || !strings.Contains(page.body, guest(i)) {
				t.Errorf("the door of chat %.60q is answered %d, or does not name %s", id, page.StatusCode, guest(i))
			}
		}

		// The bridge asks the service for a chat by the service's own id.
		pressed := 0
		for i, id := range ids {
			if titles[i] == "" || pressed == 5 {
				continue
			}
			pressed++
			b.browser().press(b.doorAt(at(i)), url.Values{"visitor": {b.visitor}})
			b.mu.Lock()
			if !b.asked[id] {
				t.Errorf("the bridge did not ask who serves chat %.60q", id)
			}
			b.mu.Unlock()
		}
		b.pass(2 * time.Second)

		// A delivery with a key that came before is a repeat, even if its body differs.
		b.deliver(boardEvent{Key: keys[1], Chat: ids[1], Done: true})
		b.pass(2 * time.Second)
		check("after a repeat")

		for i, id := range ids {
			if i%2 == 0 {
				continue
			}
			b.deliver(boardEvent{Key: keys[n+i], Chat: id, Done: true})
			if titles[i] != "" {
				titles[i] += " | Chat closed"
			} else {
				refused++
			}
		}
		b.pass(5 * time.Second)
		check("closed")

		failed := 0
		for d, err := range b.store.UnfinishedDeliveries(b.Context()) {
			b.must(err)
			if len(d.Errors) != 1 || d.State != "failed" || !strings.Contains(d.Errors[0].Error, "connector board: chat id: it ") {
				t.Errorf("delivery %.60q is %s: %+v", d.Key, d.State, d.Errors)
			}
			failed++
		}
		if failed != refused || refused == 0 {
			t.Errorf("%d deliveries failed, want %d", failed, refused)
		}
		b.wantTrouble(slices.Repeat([]string{"answer failed"}, refused)...)
	}, nil)
}
