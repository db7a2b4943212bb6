package mention

import "testing"

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
