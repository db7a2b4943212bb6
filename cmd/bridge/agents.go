package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
)

type agentsCommand struct {
	List       agentsList       `cmd:"" help:"List who is signed in, the newest first."`
	SignOut    agentsSignOut    `cmd:"" help:"End the sign-ins of an agent, at once and in all replicas."`
	Disconnect agentsDisconnect `cmd:"" help:"Disconnect a chat account from its agent, so that another agent can connect it."`
}

// Answers where the bridge has no list of sign-ins.
const (
	noSignIns    = "agents do not sign in (BRIDGE_SIGNIN is link), so there is no list"
	nameOne      = "--all works only where agents sign in. With BRIDGE_SIGNIN=link, forget the browser of one agent, such as `bridge agents sign-out rocketchat:a1`"
	proxySignsIn = "the proxy signs agents in (BRIDGE_SIGNIN is header): list sign-ins and sign agents out at the proxy"
)

type agentsList struct {
	JSON bool `name:"json" help:"Print JSON, one sign-in per line."`
}

// Run lists the sign-ins.
func (c agentsList) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		switch config.signIn.by {
		case byLink:
			return c.noList(s, noSignIns)
		case byHeader:
			return c.noList(s, proxySignsIn)
		}
		all, err := signin.Sessions(ctx, db.AgentSessions())
		if err != nil {
			return err
		}
		if c.JSON {
			lines := json.NewEncoder(s.out)
			for _, session := range all {
				if err := lines.Encode(listedSession{session.ID, session.Name, session.Email, session.Began, session.Seen}); err != nil {
					return err
				}
			}
			return nil
		}
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		if len(all) == 0 {
			fmt.Fprintln(table, "Nobody is signed in.")
		} else {
			fmt.Fprintln(table, "ID\tNAME\tE-MAIL\tSIGNED IN\tLAST SEEN")
		}
		for _, session := range all {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", session.ID, oneLine(session.Name), session.Email, formatTime(session.Began), formatTime(session.Seen))
		}
		return table.Flush()
	})
}

// noList says why there is no list. With --json an empty output would mean that nobody is signed in,
// so there the reason is the output, and the exit status is 1.
func (c agentsList) noList(s streams, why string) error {
	if !c.JSON {
		_, err := fmt.Fprintln(s.err, "bridge:", why)
		return err
	}
	if err := json.NewEncoder(s.out).Encode(map[string]string{"problem": why}); err != nil {
		return err
	}
	return exitStatus(1)
}

// A listedSession is a line of `agents list --json`.
type listedSession struct {
	ID    string    `json:"id"`
	Name  string    `json:"name,omitempty"`
	Email string    `json:"email,omitempty"`
	Began time.Time `json:"began"`
	Seen  time.Time `json:"seen"`
}

type agentsSignOut struct {
	ID  string `arg:"" optional:"" help:"Id of the agent, such as oidc:login.example.org/1234. With BRIDGE_SIGNIN=link: of the chat account, such as rocketchat:a1."`
	All bool   `help:"Sign all agents out."`
}

// Run ends sign-ins. With BRIDGE_SIGNIN=link it forgets the agent's browser.
func (c agentsSignOut) Run(ctx context.Context, s streams) error {
	if c.All == (c.ID != "") {
		return errors.New("name one agent to sign out, or use --all")
	}
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		switch {
		case config.signIn.by == byHeader:
			return errors.New(proxySignsIn)
		case config.signIn.by == byLink && c.All:
			return errors.New(nameOne)
		case config.signIn.by == byLink:
			known, err := db.Remembers(ctx, c.ID)
			switch {
			case err != nil:
				return err
			case !known:
				return fmt.Errorf("no browser of %s is remembered", c.ID)
			}
			if err := auditSignOut(ctx, db, c.ID); err != nil {
				return err
			}
			if err := db.Forget(ctx, c.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.out, "forgot the browser of", c.ID)
			return err
		}
		sessions := db.AgentSessions()
		all, err := signin.Sessions(ctx, sessions)
		if err != nil {
			return err
		}
		var ids []string
		for _, session := range all {
			if c.All || session.ID == c.ID {
				ids = append(ids, session.ID)
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		switch {
		case len(ids) == 0 && c.All:
			_, err := fmt.Fprintln(s.out, "Nobody is signed in.")
			return err
		case len(ids) == 0:
			return fmt.Errorf("%q is not signed in: `bridge agents list` shows the agents who are", c.ID)
		}
		for _, id := range ids {
			if err := auditSignOut(ctx, db, id); err != nil {
				return err
			}
			n, err := signin.SignOut(ctx, sessions, id)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "signed out %s (browsers: %d)\n", id, n)
		}
		_, err = fmt.Fprintln(s.out, "An agent can sign in again. To prevent that, remove them at the identity provider, or from the groups in BRIDGE_OIDC_GROUPS.")
		return err
	})
}

// auditSignOut writes to the audit log that an operator signs an agent out. It is
// called before the sign-out.
func auditSignOut(ctx context.Context, db *store.Store, id string) error {
	return db.Commit(ctx, store.Change{Audit: []audit.Entry{{Action: "signed out", Agent: operator(), Detail: id}}})
}

type agentsDisconnect struct {
	Account string `arg:"" help:"Id of the account in the chat service, such as slack:T1/U2."`
}

// Run disconnects the account, whether its agent or an e-mail address connected it.
func (c agentsDisconnect) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(_ *config, db *store.Store) error {
		account, err := db.Account(ctx, c.Account)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("account %q is not connected to an agent: `bridge audit list --action connected` shows which accounts were", c.Account)
		}
		if err != nil {
			return err
		}
		entry := audit.Entry{Action: "disconnected", Agent: operator(), Detail: account.ID + " of " + account.Agent}
		if err := db.Commit(ctx, store.Change{Disconnect: &account, Audit: []audit.Entry{entry}}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "disconnected %s from %s\n", account.ID, account.Agent)
		return err
	})
}
