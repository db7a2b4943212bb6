package templates

import "cmp"

// A Reason says by which clue a visitor was found.
type Reason string

// The reasons, the most trustworthy first. The zero Reason says nothing.
const (
	ReasonShortID     Reason = "short-id"    // Upscope's own id, told by the visitor's page
	ReasonIntegration Reason = "integration" // a key that chat and Upscope share
	ReasonCode        Reason = "code"        // the four digits that a visitor reads out
	ReasonUnique      Reason = "unique-id"   // the id that the site gave the visitor
	ReasonEmail       Reason = "email"       // an e-mail address, typed by the visitor
	ReasonChosen      Reason = "chosen"      // an agent picked the visitor from several
)

// Sentence says in one or two sentences how the visitor was found. It is empty
// for the zero Reason and for one that is not among the constants.
func (r Reason) Sentence() string { return reasonTexts[r] }

// sentence is Sentence; asked says that an agent looked the visitor up outside a chat.
func (r Reason) sentence(asked bool) string {
	if asked && r == ReasonIntegration {
		return typedIDText
	}
	return r.Sentence()
}

// secondMatch says that a second visitor was found by the same clue.
func (r Reason) secondMatch(asked bool) string {
	if asked && r == ReasonIntegration {
		r = "" // there is no chat
	}
	return cmp.Or(secondMatchTexts[r], secondMatchTexts[""])
}

// doubtful reports whether the agent should check who it is before starting.
func (r Reason) doubtful() bool { return r == ReasonEmail }
