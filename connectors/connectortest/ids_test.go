package connectortest

import (
	"net/url"
	"testing"
)

func TestAnIDThatIsNotEscapedIsFound(t *testing.T) {
	for _, test := range []struct {
		address, id string
		misled      bool
	}{
		{"https://chat.example/rooms/Z%25", "Z%", false},
		{"https://chat.example/rooms/%2F%252F", "/%2F", false},
		{"https://chat.example/rooms/%2E%2E", "..", false},
		{"https://chat.example/rooms/a%2F%2E%2E%2Fb", "a/../b", false},
		{"https://chat.example/rooms?id=a%2Fb", "a/b", false},
		{"https://chat.example/rooms/a%41", "a%41", true},
		{"https://chat.example/rooms/a/b", "a/b", true},
		{"https://chat.example/rooms/../b", "../b", true},
	} {
		u, err := url.Parse(test.address)
		if err != nil {
			t.Fatal(err)
		}
		if why := misled(u, test.id); (why != "") != test.misled {
			t.Errorf("%s for %q: %q", test.address, test.id, why)
		}
	}
}
