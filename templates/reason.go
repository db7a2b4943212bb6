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

var reasons = map[Reason]string{
	"":                "",
	ReasonShortID:     "Their page told this chat which Upscope visitor they are.",
	ReasonIntegration: "Their page gave this chat and Upscope the same key.",
	ReasonCode:        "They read out the four-digit code that their page shows.",
	ReasonUnique:      "Your site gave this chat and Upscope the same customer ID.",
	ReasonEmail:       "Only by the e-mail address they typed. Anyone can type an address: check before you start.",
	ReasonChosen:      "An agent picked this visitor from several.",
}

// Sentence says in one or two sentences how the visitor was found. It is empty
// for the zero Reason and for one that is not among the constants.
func (r Reason) Sentence() string { return reasons[r] }

// anothers are for a second visitor who is found by the same clue.
var anothers = map[Reason]string{
	ReasonIntegration: "Another visitor came online with the same key.",
	ReasonCode:        "Another visitor came online with the same code.",
	ReasonUnique:      "Another visitor came online with the same customer ID.",
	ReasonEmail:       "Another visitor came online with the same e-mail address.",
}

// another says that a second visitor was found by the same clue.
func (r Reason) another() string {
	return cmp.Or(anothers[r], "Another visitor who matches this chat came online.")
}

// doubtful reports whether the agent should check who it is before starting.
func (r Reason) doubtful() bool { return r == ReasonEmail }
