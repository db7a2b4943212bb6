package slack

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// A golden file has the last call of a test case, as Slack received it. A test below checks
// the files with Slack's limits, and testdata/types/run.sh with Slack's own types.
type golden struct {
	Method string         `json:"method"`
	Args   map[string]any `json:"args"`
}

func cards() map[string]chat.Card {
	live := exampleCard()
	live.Title, live.Button.Label = "Session with Ann is running", "Join"
	live.Lines = append(live.Lines, chat.Line{Label: "Session", Text: "Running, Bob Baker"})
	live.More = []chat.Link{{Label: "End session", Address: testDoor + "?stop"}}
	live.Chat = chat.Link{Label: "Open the chat", Address: "https://chat.example.org/live/1"}

	over := chat.Card{ID: "c1", Title: "Session with Ann has ended", Lines: []chat.Line{{Label: "Session", Text: "6 min, Bob Baker"}}}
	over.Button = chat.Link{Label: "Co-browse again", Address: testDoor}
	over.More = []chat.Link{{Label: "Recording", Address: "https://upscope.io/recordings/1"}}

	hostile := exampleCard()
	hostile.Title = "Co-browse with <!channel> *&* <https://evil.example|Ann> \u202eelgoog\u2066 :tada:\n@here"
	hostile.Lines = []chat.Line{
		{Label: "Page", Text: "<@U1> `code` ~x~ &lt;script&gt; javascript://alert(1)"},
		{Label: "", Text: "no label\x00\x1b[31m\u200b"},
		{Label: "Empty", Text: "\u200b"},
	}
	long := exampleCard()
	long.Title = strings.Repeat("Ann the very long ", 40)
	for range 40 {
		long.Lines = append(long.Lines, chat.Line{Label: strings.Repeat("label ", 40), Text: strings.Repeat("fact & 𝄞 ", 200)})
	}
	long.Button.Label = strings.Repeat("Co-browse ", 30)
	for range 40 {
		long.More = append(long.More, chat.Link{Label: "More", Address: testDoor})
	}
	return map[string]chat.Card{
		"ready": exampleCard(), "live": live, "over": over, "hostile": hostile, "long": long,
		"help": {ID: "d1", Title: "Co-browse with a customer", Lines: []chat.Line{
			{Label: "First", Text: "Ask the customer to read out the four-digit code on your page."}, {Label: "Then type", Text: "/cobrowse 4821"},
		}},
		"bare": {ID: "d2", Title: "Chat closed"},
	}
}

func TestMessagesMatchTheGoldenFiles(t *testing.T) {
	t.Parallel()
	check := func(name string, do func(d *desk)) {
		t.Helper()
		d := newDesk(t)
		do(d)
		all := d.Requests()
		last := all[len(all)-1]
		compare(t, name, golden{last.Method, last.Args})
	}
	for name, card := range cards() {
		check(name, func(d *desk) { d.show(t, "dm/U1", card) })
	}
	check("edited", func(d *desk) {
		card := exampleCard()
		card.Ref = d.show(t, "dm/U1", card)
		d.Write("U1", "DU1", "", "the stamp of the post differs each time")
		card.Title = "Ann is offline"
		d.show(t, "dm/U1", card)
	})
	check("channel", func(d *desk) { d.show(t, "channel/C1", sharedCard()) })
	check("thread", func(d *desk) { d.show(t, "thread/C1/1700000000.000001", sharedCard()) })
	check("outsiders", func(d *desk) { d.show(t, "channel/C3", sharedCard()) })
	check("channel-public", func(d *desk) { d.show(t, "channel/C1", publicCard()) })
	check("thread-public", func(d *desk) { d.show(t, "thread/C1/1700000000.000001", publicCard()) })
	check("outsiders-public", func(d *desk) { d.show(t, "channel/C3", publicCard()) })
	check("outsiders-thread-public", func(d *desk) { d.show(t, "thread/C3/1700000000.000001", publicCard()) })
	check("home-public", func(d *desk) { d.show(t, "home/U1", publicCard()) })
	check("reply", func(d *desk) { d.show(t, d.mustAsk(t, d.Command("U1", "C1", "4821")).Place.Address, exampleCard()) })
	check("reply-in-thread", func(d *desk) {
		d.show(t, d.mustAsk(t, d.Mention("U1", "C1", "1700000000.000001", "4821")).Place.Address, exampleCard())
	})
	check("home", func(d *desk) { d.show(t, "home/U1", cards()["live"]) })
	check("dialog", func(d *desk) { d.mustAsk(t, d.Shortcut("U1", shortcutGlobal)) })
	check("dialog-refused", func(d *desk) { d.mustAsk(t, d.Shortcut("U3GUEST", shortcutGlobal)) })
	check("offer", func(d *desk) {
		d.Fail("views.open", slacktest.Fault{Error: "expired_trigger_id"}, 1)
		d.mustAsk(t, d.Shortcut("U1", shortcutGlobal))
	})
	check("dialog-waiting", func(d *desk) {
		d.Fail("views.open", slacktest.Fault{Done: true, Error: "internal_error"}, 1)
		if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err == nil {
			t.Error("no error")
		}
	})
}

// varying are the fields that differ from run to run.
var varying = []string{"ts", "trigger_id", "external_id"}

func compare(t *testing.T, name string, g golden) {
	t.Helper()
	for _, args := range []any{g.Args, g.Args["view"]} {
		if args, ok := args.(map[string]any); ok {
			for _, v := range varying {
				if args[v] != nil {
					args[v] = "…"
				}
			}
		}
	}
	if meta, ok := g.Args["metadata"].(map[string]any); ok && strings.Contains(name, "offer") {
		meta["event_payload"] = map[string]any{"card": "…"}
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(g); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "golden", name+".json")
	if *rewrite {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s has changed (update it with -rewrite):\n%s", path, got.String())
	}
}

func TestGoldenFilesAreWithinSlacksLimits(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(paths) < 23 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Method string
			Args   map[string]json.RawMessage
		}
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatal(err)
		}
		surface, raw := "message", g.Args["blocks"]
		switch g.Method {
		case "views.publish":
			surface, raw = "home", g.Args["view"]
		case "views.open", "views.update":
			surface, raw = "modal", g.Args["view"]
		}
		for _, fault := range slacktest.Lint(surface, raw) {
			t.Errorf("%s: %s", path, fault)
		}
		if surface != "message" {
			continue
		}
		var text string
		if err := json.Unmarshal(g.Args["text"], &text); err != nil || text == "" || utf8.RuneCountInString(text) > 4000 {
			t.Errorf("%s: text of %d characters, %v", path, utf8.RuneCountInString(text), err)
		}
		if strings.Contains(text, "://") || strings.Contains(text, "/w/") || strings.ContainsAny(text, "<>\n") {
			t.Errorf("%s: the text is %q", path, text)
		}
		for _, flag := range []string{"unfurl_links", "unfurl_media"} {
			if v := strings.Trim(string(g.Args[flag]), `"`); v != "false" && g.Method != "chat.update" {
				t.Errorf("%s: %s is %s", path, flag, v)
			}
		}
		if meta := string(g.Args["metadata"]); strings.Contains(meta, "0197f3b2") || strings.Contains(meta, "Ann") {
			t.Errorf("%s: metadata %s", path, meta)
		}
	}
}

func TestCardsThatCannotBeShown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, card := range map[string]chat.Card{
		"no title":                {ID: "c"},
		"an invisible title":      {ID: "c", Title: "\u200b"},
		"no label":                {ID: "c", Title: "x", Button: chat.Link{Address: testDoor}},
		"a script":                {ID: "c", Title: "x", Button: chat.Link{Label: "x", Address: "javascript:alert(1)"}},
		"no host":                 {ID: "c", Title: "x", Button: chat.Link{Label: "x", Address: "https:///w/1"}},
		"a user":                  {ID: "c", Title: "x", Button: chat.Link{Label: "x", Address: "https://a:b@bridge.example.org/w/1"}},
		"a long address":          {ID: "c", Title: "x", Button: chat.Link{Label: "x", Address: "https://a.example/w/" + strings.Repeat("x", 3000)}},
		"an invalid id":           {ID: "a b", Title: "x", Button: chat.Link{Label: "x"}},
		"an invalid further link": {ID: "c", Title: "x", More: []chat.Link{{Label: "x", Address: "/w/1"}}},
	} {
		_, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, card)
		if !chat.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		clean(t, name, err.Error())
	}
	if len(d.Requests()) != 0 {
		t.Errorf("%v", d.methods(0))
	}
}

func FuzzLayout(f *testing.F) {
	for _, c := range cards() {
		f.Add(c.Title, c.Button.Label, "label", "text", 3)
	}
	f.Fuzz(func(t *testing.T, title, button, label, text string, n int) {
		card := chat.Card{ID: "c", Title: title, Button: chat.Link{Label: button, Address: testDoor}}
		for range min(max(n, 0), 60) {
			card.Lines = append(card.Lines, chat.Line{Label: label, Text: text})
		}
		for i, who := range []audience{oneAgent, several, outsiders, several, outsiders} {
			card.Public = i > 2
			m, err := layout(card, who)
			if err != nil {
				continue
			}
			blocks, err := json.Marshal(m.blocks)
			if err != nil {
				t.Fatal(err)
			}
			if faults := slacktest.Lint("message", blocks); len(faults) > 0 {
				t.Fatal(faults)
			}
			if hidden := who != oneAgent && !card.Public; hidden && bytes.Contains(blocks, []byte(testDoor)) {
				t.Fatalf("several people see the address of a card that is not public: %s", blocks)
			}
			if utf16Len(m.text) > 3600 || m.text == "" || strings.ContainsAny(m.text, "<>\n") || !utf8.ValidString(m.text) {
				t.Fatalf("text %q", m.text)
			}
		}
	})
}
