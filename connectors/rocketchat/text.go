package rocketchat

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"cobrowse-bridge/bridge"
)

const (
	// maxText is the server's default for Message_MaxAllowedSize, in UTF-16 units.
	maxText  = 5000
	maxTitle = 200 // runes
	maxLabel = 60
	maxFact  = 400
	maxURL   = 1000 // bytes
)

// layout writes a card as one text: a bold title, a line for each fact, and the
// links last. Facts that do not fit are left out from the end; the links never.
func layout(card bridge.Card) (string, error) {
	var links []string
	for _, l := range append(append([]bridge.Link{card.Button}, card.More...), card.Chat) {
		if l == (bridge.Link{}) {
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
	left := maxText - units(end) - 2
	for _, l := range lines {
		left -= units(l) + 1
	}
	for _, l := range card.Lines {
		fact, label := neutral(l.Text, maxFact), neutral(l.Label, maxLabel)
		if fact == "" {
			continue
		}
		if label != "" {
			fact = label + ": " + fact
		}
		fact = unlisted(fact)
		if left -= units(fact) + 1; left < units("…")+1 {
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

// markdownLink makes [label](address). What would end the link early is
// percent-encoded in the address. The error does not hold the address, which
// may be a door's.
func markdownLink(l bridge.Link) (string, error) {
	u, err := url.Parse(l.Address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(l.Address) > maxURL {
		return "", errors.New("a link of the card is no web address")
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

// units counts as the server does, in UTF-16.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// clip cuts s at a word to at most limit runes.
func clip(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	r := []rune(s)[:limit-1]
	cut := strings.TrimRight(string(r), " ")
	// A word is not cut in two, unless it is most of the text.
	if at := strings.LastIndexByte(string(r), ' '); at > len(string(r))/2 {
		cut = string(r)[:at]
	}
	return cut + "…"
}
