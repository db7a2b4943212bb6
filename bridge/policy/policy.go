// Package policy says which agent may do what, and how a session is then opened:
// by the rules of an operator's file, of which the first that fits decides.
package policy

import (
	"slices"

	"cobrowse-bridge/upscope"
)

// An Act is what an agent wants to do.
type Act string

// The acts. A file names them by these words.
const (
	Watch   Act = "watch"    // see the screen of the visitor of a card
	AnyCard Act = "any-card" // do with other agents' cards what one may do with one's own
	Stop    Act = "stop"     // end a session
	LookUp  Act = "look-up"  // make a card for a visitor by a lookup code
	Operate Act = "operate"  // see what failed and how the bridge is, and have it tried again
	Audit   Act = "audit"    // search and export the record of who watched whom
	Erase   Act = "erase"    // remove a person
)

var acts = []Act{Watch, AnyCard, Stop, LookUp, Operate, Audit, Erase}

// Acts returns every act there is.
func Acts() []Act { return slices.Clone(acts) }

// wide reports whether the act is about the whole bridge rather than a card.
func (a Act) wide() bool { return a == Operate || a == Audit || a == Erase }

// A Question is whether an agent may act. Agent is required: nobody is allowed
// nothing. What else is unknown stays empty, and then fits no rule that asks for it.
type Question struct {
	Act   Act
	Agent string // the stable id, such as "slack:T1/U2" or "oidc:…"
	// Email is an address that the sign-in has proven to be the agent's, or empty.
	Email  string
	Groups []string // as the sign-in names them
	// Connector and Place are those of the card. They are not looked at for
	// Operate, Audit and Erase, which are about all cards.
	Connector string
	Place     string // "slack:C0123", or "slack:thread/C0123/1700000000.000100"
}

// A Decision answers a Question.
type Decision struct {
	Allowed bool
	// Rule is the name of the rule that decided, or "rule 3" for one without a
	// name. It is empty where none fits.
	Rule string
	// Why is a sentence for operators.
	Why string
	// Profile is how to open the session. It is zero where the act is denied.
	Profile Profile
	// PageFirst says which clicks show the page before the session opens. It is zero
	// where the act is denied.
	PageFirst PageFirst
}

// PageFirst says which clicks on a card's link show the page with its button
// first. All others lead an agent straight to the customer's screen, if it is
// proven that a person clicked.
type PageFirst string

// The values. A file names them by these words, and leaves PageFirstNever out.
const (
	// PageFirstNever shows the page only where no click is proven, or where the agent
	// has to decide something.
	PageFirstNever PageFirst = ""
	// PageFirstOtherSites shows the page for a link that stands on another site, and
	// for one of which the browser does not say where it stands.
	PageFirstOtherSites PageFirst = "other-sites"
	// PageFirstAlways shows the page at each click.
	PageFirstAlways PageFirst = "always"
)

// A Policy is a list of rules. It never changes, so that one Policy may serve all
// goroutines.
type Policy struct{ rules []rule }

// Default is for a bridge without a policy file: whoever is signed in may watch,
// stop and look up, with Upscope's own settings, and nothing else.
var Default = &Policy{[]rule{{
	name: "built-in", title: "The built-in rule of a bridge without a policy file",
	may: []Act{Watch, Stop, LookUp},
}}}

// Decide answers the question by the first rule that fits the agent and the
// card, whatever the act. What no rule allows is denied, and so is an act that
// does not exist.
func (p *Policy) Decide(q Question) Decision {
	switch {
	case !slices.Contains(acts, q.Act):
		return Decision{Why: "There is no such act."}
	case q.Agent == "":
		return Decision{Why: "Nobody is signed in."}
	case q.Act.wide():
		q.Connector, q.Place = "", ""
	}
	for _, r := range p.rules {
		if !r.fits(q) {
			continue
		}
		if !slices.Contains(r.may, q.Act) {
			return Decision{Rule: r.name, Why: r.title + " fits first, and does not allow " + string(q.Act) + "."}
		}
		return Decision{
			Allowed: true, Rule: r.name, Profile: r.profile, PageFirst: r.pageFirst,
			Why: r.title + " fits first, and allows " + string(q.Act) + ".",
		}
	}
	return Decision{Why: "No rule fits, so nothing is allowed."}
}

// A Profile is how a session is opened. Its zero value leaves everything to
// Upscope's own settings.
type Profile struct {
	Name         string // empty where the rule names no profile
	Permissions  upscope.Permissions
	Naked        upscope.Naked
	Language     string // such as "en" or "pt-BR"
	InitialNotes string // a template, see Notes
}
