//go:build !race

// Under the race detector, sync.Pool drops items at random, so allocations cannot be counted.

package book

import (
	"bytes"
	"testing"

	"cobrowse-bridge/bridge/store"
)

func TestCheckingAHandleAllocatesLittle(t *testing.T) {
	doors, err := NewDoorKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	row := store.Card{ID: "0199a5b0-0000-7000-8000-000000000001"}
	row.HandleHash = doors.NewHandle(row.ID).Hash()
	text := doors.NewHandle(row.ID).String()
	got := testing.AllocsPerRun(200, func() {
		h, err := ParseHandle(text)
		if _, ok := doors.GenerationOf(row, h); err != nil || !ok || h.Hash() != row.HandleHash {
			t.Fatal("the handle does not open its card's door")
		}
	})
	if got > 4 {
		t.Errorf("%v allocations, want at most 4", got)
	}
}
