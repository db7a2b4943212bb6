package chat

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxChatID is the greatest length of Ask.Chat in bytes. SQLite and
// PostgreSQL can index an id of this length.
const MaxChatID = 1024

// CheckChatID returns an error if the bridge cannot use s as Ask.Chat: if s is empty, longer than
// MaxChatID, not UTF-8, or contains control characters. Every other text is stored unchanged. The
// error does not repeat s.
func CheckChatID(s string) error {
	switch {
	case s == "":
		return errors.New("chat id: it is empty")
	case len(s) > MaxChatID:
		return fmt.Errorf("chat id: it has %d bytes; at most %d are allowed", len(s), MaxChatID)
	case !utf8.ValidString(s):
		return errors.New("chat id: it is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("chat id: it contains a control character")
	}
	return nil
}
