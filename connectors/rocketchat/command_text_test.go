package rocketchat

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
)

func TestCommandText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, trigger, word, arg string
		ok                       bool
	}{
		{"!cobrowse 4821", "!cobrowse", "!cobrowse", "4821", true},
		{"!cobrowse 4821", "", "!cobrowse", "4821", true},
		{"/watch help", "", "/watch", "help", true},
		{"!watch crm:17", "", "!watch", "crm:17", true},
		{"!watch", "", "", "", false},
		{"watch 4821", "", "", "", false},
		{"- 4821", "", "", "", false},
		{"co browse 4821", "co browse", "co browse", "4821", true},
		{"kobrowse: 4821", "kobrowse:", "kobrowse:", "4821", true},
		{"!cobrowse4821", "!cobrowse", "", "", false},
		{"", "", "", "", false},
		{"", "!cobrowse", "", "", false},
		{"!cobrowse\u00a04821", "!cobrowse", "!cobrowse", "4821", true},
		{"!cobrowse code 4821 please ", "!cobrowse", "!cobrowse", "code 4821 please", true},
		{"!cobrowse ４８２１。", "", "!cobrowse", "４８２１。", true},
		{"!cobrowse jane@acme.com", "", "!cobrowse", "jane@acme.com", true},
		{"/watch HELP", "", "/watch", "HELP", true},
		{"/me 4821 jumps", "", "", "", false},
		{"/me code 4821", "", "", "", false},
		{"/me laughs", "", "", "", false},
		{"/shrug", "", "", "", false},
		{strings.Repeat("x", maxWord+1) + " 4821", strings.Repeat("x", maxWord+1), "", "", false},
	} {
		word, arg, ok := commandText(c.text, c.trigger)
		if word != c.word || arg != c.arg || ok != c.ok {
			t.Errorf("%q with trigger %q: %q, %q, %v", c.text, c.trigger, word, arg, ok)
		}
	}
}

func FuzzCommandText(f *testing.F) {
	f.Add("!cobrowse 4821", "!cobrowse")
	f.Add("!cobrowse rocketchat:"+testKey, "")
	f.Add(" !cobrowse\thelp\n", "!cobrowse")
	f.Add("\u2028!x \xff", "!x")
	f.Add("co browse", "co  browse")
	f.Fuzz(func(t *testing.T, text, trigger string) {
		word, arg, ok := commandText(text, trigger)
		if !ok {
			if word != "" || arg != "" {
				t.Fatalf("not a command, but %q %q", word, arg)
			}
			return
		}
		if word == "" || strings.ContainsFunc(word, unprintable) || len([]rune(word)) > maxWord {
			t.Fatalf("word %q", word)
		}
		if !strings.HasPrefix(strings.TrimSpace(text), word) || !strings.Contains(text, arg) {
			t.Fatalf("%q became %q and %q", text, word, arg)
		}
		if strings.TrimSpace(trigger) != "" && word != strings.TrimSpace(trigger) {
			t.Fatalf("word %q of trigger %q", word, trigger)
		}
		if chat.IsLookupCode(arg) && chat.IsIntegrationID(arg) {
			t.Fatalf("%q is both", arg)
		}
	})
}

func FuzzAcceptCommand(f *testing.F) {
	f.Add(invoked(f, nil))
	f.Add(invoked(f, map[string]any{"text": "!cobrowse rocketchat:" + testKey}))
	f.Add(invoked(f, map[string]any{"bot": map[string]any{"i": "x"}, "isEdited": 1}))
	f.Add(invoked(f, map[string]any{"channel_name": "\u202e\U000e0001x"}))
	f.Add([]byte("{"))
	c, err := New(Config{
		Name: "rocketchat", URL: mustURL("https://chat.example.org"), Secrets: secret.All(testSecret),
		Reader: Credential{"r", secret.New("t1")}, Poster: Credential{"p", secret.New("t2")},
		Command: Command{Token: secret.New(commandToken), Channels: []string{"cobrowse-desk"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := c.Accept(httptest.NewRequest(http.MethodPost, "/hooks/rocketchat/command", nil), body)
		if err != nil {
			if !errors.Is(err, chat.ErrForged) || r.Answer != nil || r.Key != "" {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		if string(r.Answer) != "{}" || r.AnswerType != "application/json" || r.Forward != nil {
			t.Fatalf("answered %q as %q", r.Answer, r.AnswerType)
		}
		if len(r.Note) > 300 || strings.ContainsAny(r.Key+r.Note, "\r\n\x00") || strings.Contains(r.Note+r.Key+string(r.Body), commandToken) {
			t.Fatalf("key %q, note %q, body %q", r.Key, r.Note, r.Body)
		}
		if r.Key == "" {
			return
		}
		var keep command
		if json.Unmarshal(r.Body, &keep) != nil || keep.Type != typeCommand || !plausible(keep.Message) || !plausible(keep.Agent) || len(r.Body) > 2000 {
			t.Fatalf("stored %q", r.Body)
		}
	})
}
