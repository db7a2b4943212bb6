package mention

import (
	"slices"
	"testing"
)

func TestIDsAreFoundAsWholeWordsOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, word string
		want       bool
	}{
		{`{"room":"room12345"}`, "room12345", true},
		{`{"room":"room123456"}`, "room12345", false},
		{`{"room":"aroom12345"}`, "room12345", false},
		{"Message/room12345/0a0b", "room12345", true},
		{"visitor room12345: not found", "room12345", true},
		{"room123456, then room12345", "room12345", true},
		{"room12345", "room12345", true},
		{`{"n":42,"at":"2026-01-42"}`, "42", false},
		{`{"id":"42"}`, "42", true},
		{`"{\"id\":\"42\"}"`, "42", true},
		{"", "42", false},
		{"héé room12345é", "room12345", true},
	} {
		if got := Of([]string{"", test.word}).In(test.text); got != test.want {
			t.Errorf("%q in %q: %v", test.word, test.text, got)
		}
	}
}

func TestKeysFindEveryTextThatMentionsAnID(t *testing.T) {
	t.Parallel()
	ids := []string{
		"ANN4821", "42", "a", "chat-of-ann", "ann@shop.com", "bob@ab.de", "o'neil@x.y", "rocketchat:key-0123456789", "a b", "日本語の名前", "-", "\"x\"", "a.b.c.d", "<ann>", "@ann", "x_1",
	}
	around := [][2]string{{"", ""}, {`"`, `"`}, {`{\"room\":\"`, `\"}`}, {"Taken/", "/77"}, {"find ", ": 503"}, {"日", "本"}, {"(", ")"}, {`"`, `\u0022`}, {"x", ""}}
	found, scanned := 0, 0
	for _, id := range ids {
		all := Of([]string{id})
		keys, ok := all.Keys()
		if !ok {
			scanned++
			continue
		}
		for _, a := range around {
			for _, word := range all.words {
				text := a[0] + word + a[1]
				if !all.In(text) {
					continue
				}
				found++
				words := Words(text)
				if !slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(words, k) }) {
					t.Errorf("%q is in %q, whose words %q have none of %q", id, text, words, keys)
				}
			}
		}
	}
	if found < 50 || scanned == 0 || scanned > 5 {
		t.Errorf("%d texts were found by keys, and for %d ids all texts must be read", found, scanned)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("ann@shop.com", `"`, `"`)
	f.Add("chat-of-ann", "Taken/", "/77")
	f.Fuzz(func(t *testing.T, id, before, after string) {
		all := Of([]string{id})
		keys, ok := all.Keys()
		text := before + id + after
		if !ok || !all.In(text) {
			return
		}
		words := Words(text)
		if !slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(words, k) }) {
			t.Errorf("%q is in %q, whose words %q have none of %q", id, text, words, keys)
		}
	})
}
