package card

import (
	"slices"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A Match is the result of a search by clues.
type Match struct {
	// Visitors are the visitors who match. If there are several, the agent has to choose.
	Visitors []upscope.Visitor
	// OneTrusted says that exactly one visitor matches and that the clue may be used without asking
	// the agent.
	OneTrusted bool
	// Reason is the clue that led to them.
	Reason templates.Reason
	// CodeShared says that no visitor was found because several online have the lookup code.
	CodeShared bool
	// Steps says for the audit log what each clue that was tried led to: "integration id: none;
	// lookup code: one".
	Steps string
}

// AnyOnline reports whether one of the visitors is online.
func AnyOnline(all []upscope.Visitor) bool {
	return slices.ContainsFunc(all, func(v upscope.Visitor) bool { return v.IsOnline })
}

// stable returns the clues without the lookup code, which another visitor may have later.
func stable(c chat.Clues) chat.Clues {
	c.LookupCode = ""
	return c
}

// CluesBehind returns those of the clues that gave the reason, if they can be searched for again.
func CluesBehind(r templates.Reason, c chat.Clues) chat.Clues {
	switch r {
	case templates.ReasonIntegration:
		return chat.Clues{IntegrationIDs: c.IntegrationIDs}
	case templates.ReasonUnique:
		return chat.Clues{UniqueID: c.UniqueID}
	}
	return chat.Clues{}
}
