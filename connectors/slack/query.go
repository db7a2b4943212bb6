package slack

import (
	"html"
	"regexp"
	"strings"

	"cobrowse-bridge/bridge/chat"
)

// A query is the meaning of what an agent typed. The zero query means that it was not
// understood.
type query struct {
	Word        string       `json:"word,omitzero"` // help, status, stop or usage
	Code        string       `json:"code,omitzero"`
	Integration string       `json:"integration,omitzero"`
	Email       string       `json:"email,omitzero"`
	Unclear     chat.Unclear `json:"unclear,omitzero"`
}

func (q query) clues() chat.Clues {
	c := chat.Clues{LookupCode: q.Code, Email: q.Email}
	if q.Integration != "" {
		c.IntegrationIDs = []string{q.Integration}
	}
	return c
}

// hasClue reports whether the query names a visitor.
func (q query) hasClue() bool { return q.Code != "" || q.Integration != "" || q.Email != "" }

// maxQuery is how many bytes of a text are read.
const maxQuery = 4096

// verbs has the words that are commands, with their synonyms.
var verbs = map[string]string{
	"help": "help", "?": "help", "status": "status", "stop": "stop", "end": "stop", "usage": "usage",
}

// parseQuery reads the text of a command or a mention. No text means help.
func parseQuery(text string) query {
	text = typedText(text)
	words := strings.Fields(text)
	if len(words) == 0 {
		return query{Word: "help"}
	}
	first := strings.ToLower(words[0])
	word, ok := verbs[first]
	if !ok {
		word, ok = verbs[strings.Trim(first, "\"'`*_~.,!“”")]
	}
	switch {
	case ok && len(words) == 1:
		return query{Word: word}
	case ok && word != "help":
		return query{Unclear: chat.UnclearText} // such as "stop 4821", which is no look-up
	}
	return readQuery(text)
}

// findQuery searches for a clue in the text of a message.
func findQuery(text string) query { return readQuery(typedText(text)) }

func readQuery(text string) query {
	clues, why := chat.Typed(text)
	return query{Code: clues.LookupCode, Integration: strings.Join(clues.IntegrationIDs, ""), Email: clues.Email, Unclear: why}
}

// Slack's markup of mentions, of addresses, and of domain names that it made a link of
// (docs.slack.dev/messaging/formatting-message-text).
var (
	mentionForm = regexp.MustCompile(`<@[UW][A-Z0-9]+(\|[^>]*)?>[:,]?`)
	addressForm = regexp.MustCompile(`<(?:mailto|tel):([^|>\s]+)(?:\|[^>]*)?>`)
	linkForm    = regexp.MustCompile(`<https?://([^|>\s]+)\|([^|>\s]+)>`)
)

// typedText returns a text as the agent typed it, without mentions and without Slack's markup.
// Slack may mark up only a part of a word, as in "o'<mailto:brien@…|brien@…>", so nothing is put
// around what the markup had.
func typedText(text string) string {
	if len(text) > maxQuery {
		text = text[:strings.LastIndexByte(text[:maxQuery], ' ')+1] // a part of a word could be another clue
	}
	text = mentionForm.ReplaceAllString(text, " ")
	text = addressForm.ReplaceAllString(text, "$1")
	text = linkForm.ReplaceAllStringFunc(text, func(link string) string {
		if parts := linkForm.FindStringSubmatch(link); parts[1] == parts[2] {
			return parts[2]
		}
		return link
	})
	return chat.Fold(html.UnescapeString(text))
}
