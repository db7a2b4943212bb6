package hook

import (
	"strings"
	"testing"
	"unicode/utf8"

	"cobrowse-bridge/bridge/store/sweeps"
)

func TestStoredKeysStayDifferentAndNeverEqualTheBridgesOwn(t *testing.T) {
	t.Parallel()
	for _, same := range []string{"e1", "Message/room/0a1b", "a b#/%👩", "forwarded", "found", strings.Repeat("k", maxKey)} {
		if got := storedKey(same); got != same {
			t.Errorf("%.20q is stored as %q", same, got)
		}
	}
	keys := []string{
		"found/late/00", "found/late/00/1", "forward/e3b0", "hashed/", "", "\x00", "a\x00", "a\n", "\xff", strings.Repeat("k", 4096), strings.Repeat("k", 4097),
	}
	keys = append(keys, storedKey("a\n"), storedKey("found/late/00")) // a key may look like a stored one
	seen := map[string]string{}
	for _, key := range keys {
		got := storedKey(key)
		if before, dup := seen[got]; dup {
			t.Errorf("%.20q and %.20q are both stored as %q", before, key, got)
		}
		seen[got] = key
		if len(got) > maxKey || !utf8.ValidString(got) || strings.HasPrefix(got, sweeps.FoundKey) || strings.HasPrefix(got, forwardKey) {
			t.Errorf("%.20q is stored as %q", key, got)
		}
	}
}
