package templates

// An Agent is somebody who is signed in.
type Agent struct {
	Name, Email string
	// ID is what the audit trail calls them.
	ID string
}

// A Seat is who sits at the desk, and which of its pages they may open.
type Seat struct {
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

// deskFrame is what the desk's pages have around their content besides frame.
type deskFrame struct {
	// Here is the page's own address. It is empty on every page that is not the
	// desk's.
	Here string
	// Nav leads to the desk's pages; one alone is not shown.
	Nav        []Link
	Agent      Agent
	CanSignOut bool
	Note       noteWords
}

func (s Seat) frame(title, here string, n Note) frame {
	nav := []Link{{"Desk", deskPath}}
	for _, l := range []struct {
		allowed bool
		link    Link
	}{
		{s.CanOperate, Link{"Operations", operationsPath}},
		{s.CanAudit, Link{"Audit", auditPath}},
		{s.CanErase, Link{"Erase", erasePath}},
	} {
		if l.allowed {
			nav = append(nav, l.link)
		}
	}
	return frame{Title: title, Desk: deskFrame{
		Here: here, Nav: nav, Agent: s.Agent.view(), CanSignOut: s.CanSignOut, Note: notes[n],
	}}
}

// view has a name in any case.
func (a Agent) view() Agent {
	a = Agent{Name: clean(a.Name, maxName), Email: clean(a.Email, maxFact), ID: clean(a.ID, maxID)}
	switch {
	case a.Name != "":
	case a.Email != "":
		a.Name, a.Email = a.Email, ""
	default:
		a.Name = a.ID
	}
	return a
}
