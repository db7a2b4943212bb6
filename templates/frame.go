package templates

import (
	"cmp"
	"strings"

	"cobrowse-bridge/templates/clean"
)

// An Agent is a person who is signed in.
type Agent struct {
	Name, Email string
	// ID is their ID in the audit log.
	ID string
}

// A SignedInAgent is the agent who opens a page of the desk, and which of its pages
// they may open.
type SignedInAgent struct {
	Agent Agent
	// CanSignOut is false where a proxy in front signs people in.
	CanSignOut                     bool
	CanOperate, CanAudit, CanErase bool
}

// The addresses of the desk's pages.
const (
	deskPath       = "/"
	operationsPath = "/desk/operations"
	auditPath      = "/desk/audit"
	erasePath      = "/desk/erase"
)

// deskFrame is what the desk's pages show around their content besides frame.
type deskFrame struct {
	// Here is the page's own address; empty on all pages that are not the desk's.
	Here string
	// Nav links to the desk's pages. A single link is not shown.
	Nav        []Link
	Agent      Agent
	CanSignOut bool
	CanAudit   bool
	Note       noteText
}

func (s SignedInAgent) frame(title, here string, n Note) frame {
	nav := []Link{{navDesk, deskPath}}
	for _, l := range []struct {
		allowed bool
		link    Link
	}{
		{s.CanOperate, Link{navOperations, operationsPath}},
		{s.CanAudit, Link{navAudit, auditPath}},
		{s.CanErase, Link{navErase, erasePath}},
	} {
		if l.allowed {
			nav = append(nav, l.link)
		}
	}
	return frame{Title: title, Desk: deskFrame{
		Here: here, Nav: nav, Agent: s.Agent.view(), CanSignOut: s.CanSignOut, CanAudit: s.CanAudit, Note: notes[n],
	}}
}

// view returns the agent with cleaned texts. Its Name is the e-mail address or the
// ID if there is no name.
func (a Agent) view() Agent {
	a = Agent{Name: clean.Text(a.Name, maxName), Email: clean.Text(a.Email, maxFact), ID: clean.Text(a.ID, maxID)}
	switch {
	case a.Name != "":
	case a.Email != "":
		a.Name, a.Email = a.Email, ""
	default:
		// The ID of an agent whom a proxy names is "header:sam", and of one who signs in
		// "oidc:issuer/subject".
		_, a.Name, _ = strings.Cut(a.ID, ":")
		a.Name = cmp.Or(a.Name, a.ID)
	}
	return a
}
