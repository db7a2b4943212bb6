package chat

import (
	"strings"
	"testing"
)

func TestCheckChatIDSaysWhyAndDoesNotRepeatTheID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"c1", "a b", "#1/%2F?&=", "../agents", "👩‍💻", "found/late/1", strings.Repeat("x", MaxChatID), "\u00a0"} {
		if err := CheckChatID(id); err != nil {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	for id, says := range map[string]string{
		"": "empty", strings.Repeat("secret", 700): "4200 bytes", "secret\x00": "control character", "secret\n": "control character",
		"secret\u0085": "control character", "secret\xff": "not UTF-8",
	} {
		err := CheckChatID(id)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: got %v, want an error that says %q", id, err, says)
		}
	}
}
