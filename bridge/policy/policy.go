// Package policy decides which agent may do what, and how a session is opened. The rules are in the operator's
// policy file, and the first rule that matches decides. Start reading the code at policy.go.
package policy

import (
	"slices"
	"strings"

	"cobrowse-bridge/upscope"
)

// An Act is what a policy allows or denies an agent.
type Act string

// The acts, with their names in a policy file.
const (
	Watch   Act = "watch"    // see the screen of a card's visitor
	AnyCard Act = "any-card" // use other agents' cards like one's own
	Stop    Act = "stop"     // end a session
	LookUp  Act = "look-up"  // get a card for a visitor outside a chat, such as by a lookup code
	Operate Act = "operate"  // see the state of the bridge, and see and retry failed deliveries
	Audit   Act = "audit"    // search and export the audit log
	Erase   Act = "erase"    // erase a person
)

var acts = []Act{Watch, AnyCard, Stop, LookUp, Operate, Audit, Erase}

// Acts returns all acts.
func Acts() []Act { return slices.Clone(acts) }

// aboutBridge reports whether the act is about the whole bridge rather than a card.
func (a Act) aboutBridge() bool { return a == Operate || a == Audit || a == Erase }

// A Question asks whether an agent may act. A rule with a condition on a field that is empty here does not match.
type Question struct {
	Act Act // what the agent wants to do
	// Agent is the signed-in agent's id, such as "oidc:…", or else the id of the chat account, such as
	// "slack:T1/U2". Without it, every act is denied.
	Agent string
	// Email is the agent's address, verified by the sign-in, or empty.
	Email  string
	Groups []string // the names of the agent's groups, from the sign-in
	// Connector and Place are those of the card. They are ignored for Operate, Audit and Erase, which are
	// not about one card. Place is where the card is shown: connector, ":" and address, such as
	// "slack:C0123" or "slack:thread/C0123/1700000000.000100".
	Connector, Place string
}

// A Decision answers a Question.
type Decision struct {
	Allowed bool // whether the agent may act
	// Rule is the name of the rule that decided, such as "rule 3" for the third rule if
	// it has no name. It is empty if no rule matched.
	Rule string
	// Why explains the decision to operators, in one sentence.
	Why string
	// Profile says how to open the session. It is zero if the act is denied.
	Profile Profile
	// PageFirst has no meaning if the act is denied.
	PageFirst PageFirst
}

// PageFirst says which clicks on a card's link show the co-browse page with its button first. All
// other clicks lead straight to the visitor's screen, if the browser proves that a person clicked.
type PageFirst string

// The values of PageFirst, as in a policy file. In a file, leave page_first out for PageFirstNever.
const (
	// PageFirstNever shows the page only if the browser does not prove a click, or if several
	// visitors match and the agent must choose one.
	PageFirstNever PageFirst = ""
	// PageFirstOtherSites also shows the page if the click came from another site, or if the
	// browser does not say from where.
	PageFirstOtherSites PageFirst = "other-sites"
	// PageFirstAlways shows the page at each click.
	PageFirstAlways PageFirst = "always"
)

// A Policy is a list of rules. It never changes, so it is safe for concurrent use.
type Policy struct {
	rules  []rule
	unused []string // a sentence for each profile that no rule uses
}

// Default is the policy of a bridge without a policy file: every agent may watch, stop and look up, and nothing
// else. Sessions use Upscope's settings.
var Default = &Policy{rules: []rule{{
	name: "built-in", title: "The built-in rule",
	may: []Act{Watch, Stop, LookUp},
}}}

// Decide answers the question. The first rule that matches the agent and the card decides, whatever the act is.
// The act is denied if no rule matches, if the act does not exist, or if Agent is empty.
func (p *Policy) Decide(q Question) Decision {
	switch {
	case !slices.Contains(acts, q.Act):
		return Decision{Why: "There is no such act."}
	case q.Agent == "":
		return Decision{Why: "Nobody is signed in."}
	case q.Act.aboutBridge():
		q.Connector, q.Place = "", ""
	}
	for _, r := range p.rules {
		if !r.fits(q) {
			continue
		}
		matches := r.title + " matches first and"
		if p == Default {
			matches = "There is no policy file: the built-in rule"
		}
		if !slices.Contains(r.may, q.Act) {
			return Decision{Rule: r.name, Why: matches + " does not allow " + string(q.Act) + "."}
		}
		return Decision{
			Allowed: true, Rule: r.name, Profile: r.profile, PageFirst: r.pageFirst,
			Why: matches + " allows " + string(q.Act) + ".",
		}
	}
	return Decision{Why: "No rule matches, so nothing is allowed."}
}

// AllowsEveryone reports whether a rule without conditions on the agent allows something, so that
// everyone who can sign in may do it.
func (p *Policy) AllowsEveryone() bool {
	return slices.ContainsFunc(p.rules, func(r rule) bool {
		return len(r.may) > 0 && !slices.ContainsFunc(r.conditions, func(c condition) bool { return slices.Contains(whoKeys, c.conditionKey) })
	})
}

// WithoutEffect returns a sentence for each part of the file that has no effect in a bridge with
// these connectors, such as a profile that no rule uses. signsIn says that agents sign in: otherwise only the ids of agents are known.
func (p *Policy) WithoutEffect(connectors []string, signsIn bool) []string {
	all := slices.Clone(p.unused)
	for _, r := range p.rules {
		for _, c := range r.conditions {
			if !signsIn && c.fromSignIn {
				all = append(all, r.title+" never applies: without a sign-in, the "+c.key+" of agents are unknown.")
			}
			for i, entry := range c.entries {
				if name, _, _ := strings.Cut(entry, ":"); slices.Contains(whereKeys, c.conditionKey) && !slices.Contains(connectors, name) {
					all = append(all, r.title+" has in "+entryName(i, c.key)+" a chat service that the bridge does not have.")
				}
			}
		}
	}
	return all
}

// A Profile says how a session is opened. The zero Profile uses Upscope's own settings.
type Profile struct {
	Name         string              // empty if the rule has no profile
	Permissions  upscope.Permissions // what the agent may do in the session
	Naked        upscope.Naked       // which of Upscope's own parts are hidden
	Language     string              // such as "en" or "pt-BR"
	InitialNotes string              // a template, see Notes
}
