package slacktest

import (
	"encoding/json"
	"testing"
)

// For any blocks, each button on the page must press the button at the same position.
func FuzzBlocksOnThePage(f *testing.F) {
	f.Add(`[{"type":"header","text":{"type":"plain_text","text":"x"}},{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"a"},"action_id":"1","value":"v"},{"type":"button","url":"https://a.example"}]}]`)
	f.Add(`[{"type":"context","elements":[{},null,7]},{"type":"actions","elements":["x",{"value":"v"}]}]`)
	f.Add(`[{"type":"input","block_id":"b","label":{"text":"l"},"element":{"action_id":"i","max_length":12}}]`)
	f.Add(`{"blocks":[]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		buttons, n := Buttons(json.RawMessage(raw)), 0
		for _, b := range parseBlocks(json.RawMessage(raw)) {
			if b.Max < 1 && b.Kind == "input" {
				t.Fatalf("an input of at most %d characters", b.Max)
			}
			for _, p := range b.Buttons {
				if p.N != n || p.Button != buttons[n] {
					t.Fatalf("button %d is %+v, and %+v is pressed", n, p, buttons[p.N])
				}
				n++
			}
		}
		if n > len(buttons) {
			t.Fatalf("%d buttons are shown, of %d", n, len(buttons))
		}
	})
}
