package slack

import (
	"html"
	"regexp"
	"strings"
	"unicode"

	"cobrowse-bridge/bridge"
)

// A query is what an agent typed, understood. Its zero value is nothing that
// could be understood.
type query struct {
	Word        string `json:"word,omitzero"` // help, status, stop or usage
	Code        string `json:"code,omitzero"`
	Integration string `json:"integration,omitzero"`
	Email       string `json:"email,omitzero"`
}

func (q query) clues() bridge.Clues {
	c := bridge.Clues{LookupCode: q.Code, Email: q.Email}
	if q.Integration != "" {
		c.IntegrationIDs = []string{q.Integration}
	}
	return c
}

// names reports whether the query says who is looked for.
func (q query) names() bool { return q.Code != "" || q.Integration != "" || q.Email != "" }

// maxQuery is how much of a text is looked into, in bytes.
const maxQuery = 4096

// words are the verbs and what else people call them.
var words = map[string]string{
	"help": "help", "?": "help", "status": "status", "stop": "stop", "end": "stop", "usage": "usage",
}

// parseQuery understands the text of a command or a mention: one word, after a
// mention of the app if there is one. Anything else is the zero query.
func parseQuery(text string) query {
	list := tokens(text)
	if len(list) > 0 && mentionForm.MatchString(list[0]) {
		list = list[1:]
	}
	if len(list) != 1 {
		return query{}
	}
	if word, ok := words[strings.ToLower(list[0])]; ok {
		return query{Word: word}
	}
	return clue(list[0])
}

// findQuery looks for a clue in a message that somebody wrote. It is the zero
// query unless the message holds exactly one.
func findQuery(text string) query {
	var found query
	for _, word := range tokens(text) {
		q := clue(strings.TrimRight(word, ".,;:!?)]"))
		switch {
		case !q.names() || q == found:
		case found.names():
			return query{}
		default:
			found = q
		}
	}
	return found
}

var (
	mentionForm = regexp.MustCompile(`^<@[UW][A-Z0-9]+(\|[^>]*)?>$`)
	mailtoForm  = regexp.MustCompile(`<mailto:([^|>\s]+)(\|[^>]*)?>`)
	emailForm   = regexp.MustCompile(`^[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
)

// clue takes one word as a name of a visitor.
func clue(word string) query {
	switch {
	case bridge.IsLookupCode(word):
		return query{Code: word}
	case bridge.IsIntegrationID(word):
		return query{Integration: word}
	case len(word) <= 254 && emailForm.MatchString(word):
		return query{Email: word}
	}
	return query{}
}

// tokens splits what was typed into words, without what phones, copies and Slack
// put around them: quotes of all kinds, backticks, spaces that look like nothing,
// and <mailto:…|…> (docs.slack.dev/messaging/formatting-message-text).
func tokens(text string) []string {
	if len(text) > maxQuery {
		text = text[:maxQuery]
	}
	text = mailtoForm.ReplaceAllString(strings.ToValidUTF8(text, " "), " $1 ")
	var list []string
	for _, word := range strings.FieldsFunc(text, unicode.IsSpace) {
		if !mentionForm.MatchString(word) {
			word = html.UnescapeString(word)
		}
		word = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
				return -1
			}
			return r
		}, word)
		if word = strings.Trim(word, "\"'`*~()[]“”„‟‘’‚‛«»‹›"); word != "" {
			list = append(list, word)
		}
	}
	return list
}
