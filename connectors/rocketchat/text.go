package rocketchat

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"cobrowse-bridge/bridge/chat"
)

const (
	// maxText is the server's default Message_MaxAllowedSize, in UTF-16 code units.
	maxText  = 5000
	maxTitle = 200 // runes
	maxLabel = 60
	maxFact  = 400
	maxURL   = 1000 // bytes
)

// layout writes a card as one text: a bold title, a line for each fact, and the links. If the
// text would be too long, the last facts are left out, never the links.
func layout(card chat.Card) (string, error) {
	var links []string
	for _, l := range append(append([]chat.Link{card.Button}, card.More...), card.Chat) {
		if l == (chat.Link{}) {
			continue
		}
		link, err := markdownLink(l)
		if err != nil {
			return "", err
		}
		links = append(links, link)
	}
	end := strings.Join(links, "  |  ")

	lines := []string{}
	if title := neutral(card.Title, maxTitle); title != "" {
		lines = append(lines, "*"+title+"*")
	}
	remaining := maxText - utf16Len(end) - 2
	for _, l := range lines {
		remaining -= utf16Len(l) + 1
	}
	for _, l := range card.Lines {
		fact, label := neutral(l.Text, maxFact), neutral(l.Label, maxLabel)
		if fact == "" {
			continue
		}
		if label != "" {
			fact = label + ": " + fact
		}
		fact = escapeListMarker(fact)
		if remaining -= utf16Len(fact) + 1; remaining < utf16Len("…")+1 {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, fact)
	}
	if end != "" {
		lines = append(lines, end)
	}
	if len(lines) == 0 {
		return "", errors.New("the card is empty")
	}
	return strings.Join(lines, "\n"), nil
}

// markdownLink makes [label](address). In the address it percent-encodes characters that
// would end the link early. The error does not hold the address, which may be secret.
func markdownLink(l chat.Link) (string, error) {
	u, err := url.Parse(l.Address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(l.Address) > maxURL {
		return "", errors.New("a link of the card is not a web address")
	}
	address := linkEscaper.Replace(u.String())
	label := neutral(l.Label, maxLabel)
	if label == "" {
		return "", errors.New("a link of the card has no label")
	}
	return "[" + label + "](" + address + ")", nil
}

var linkEscaper = strings.NewReplacer(
	"(", "%28", ")", "%29", "[", "%5B", "]", "%5D", "<", "%3C", ">", "%3E",
	"*", "%2A", "`", "%60", "|", "%7C", `\`, "%5C", `"`, "%22", " ", "%20")

// utf16Len is the length of s in UTF-16 code units, as the server counts.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// clip shortens s to at most limit runes, and cuts between words.
func clip(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	r := []rune(s)[:limit-1]
	cut := strings.TrimRight(string(r), " ")
	// Cut inside a word only if the word is more than half of the text.
	if at := strings.LastIndexByte(string(r), ' '); at > len(string(r))/2 {
		cut = string(r)[:at]
	}
	return cut + "…"
}
