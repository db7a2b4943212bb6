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
)

type agentsCommand struct {
	List       agentsList       `cmd:"" help:"List who is signed in, the newest first."`
	SignOut    agentsSignOut    `cmd:"" help:"End the sign-ins of an agent, at once and in all replicas."`
	Disconnect agentsDisconnect `cmd:"" help:"Take a chat account from the agent that it is connected to, for another to claim."`
}

// What there is to know where the bridge itself signs nobody in.
const (
	remembered = "nobody signs in (BRIDGE_SIGNIN is link): the browser of each agent is remembered for 12 hours by a hash, and cannot be listed; `bridge agents sign-out ID` forgets that of an agent such as rocketchat:a1"
	atTheProxy = "the proxy in front signs agents in (BRIDGE_SIGNIN is header), and it alone knows who is signed in: look, and sign out, there"
)

type agentsList struct {
	JSON bool `name:"json" help:"Answer in JSON, a sign-in a line."`
}

// Run lists the sessions there are.
func (c agentsList) Run(ctx context.Context, s streams) error {
	return beside(ctx, s, func(config *config, db *store.Store) error {
		switch config.signIn.by {
		case byLink:
			fmt.Fprintln(s.err, "bridge:", remembered)
			return nil
		case byHeader:
			fmt.Fprintln(s.err, "bridge:", atTheProxy)
			return nil
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
			fmt.Fprintln(table, "ID\tNAME\tE-MAIL\tBEGAN\tSEEN")
		}
		for _, session := range all {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", session.ID, oneLine(session.Name), session.Email, when(session.Began), when(session.Seen))
		}
		return table.Flush()
	})
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
	ID  string `arg:"" optional:"" help:"Id of the agent, as agents list shows it."`
	All bool   `help:"Sign everybody out."`
}

// Run ends sessions or, where nobody signs in, forgets a browser.
func (c agentsSignOut) Run(ctx context.Context, s streams) error {
	if c.All == (c.ID != "") {
		return errors.New("name the agent to sign out, or say --all")
	}
	return beside(ctx, s, func(config *config, db *store.Store) error {
		switch {
		case config.signIn.by == byHeader:
			return errors.New(atTheProxy)
		case config.signIn.by == byLink && c.All:
			return errors.New(remembered)
		case config.signIn.by == byLink:
			if err := signedOut(ctx, db, c.ID); err != nil {
				return err
			}
			if err := db.Forget(ctx, c.ID); err != nil {
				return err
			}
			_, err := fmt.Fprintln(s.out, "forgot the browser of", c.ID)
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
			return fmt.Errorf("%q is not signed in: `bridge agents list` shows who is", c.ID)
		}
		for _, id := range ids {
			if err := signedOut(ctx, db, id); err != nil {
				return err
			}
			n, err := signin.SignOut(ctx, sessions, id)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "signed out %s (browsers: %d)\n", id, n)
		}
		_, err = fmt.Fprintln(s.out, "Whom the sign-in service and the policy still let in can sign in again.")
		return err
	})
}

// signedOut records that an operator signs an agent out, before it is done.
func signedOut(ctx context.Context, db *store.Store, id string) error {
	return db.Commit(ctx, store.Change{Audit: []store.Entry{{Action: "signed out", Agent: operator(), Detail: id}}})
}

type agentsDisconnect struct {
	Account string `arg:"" help:"Id of the account in the chat service, such as slack:T1/U2."`
}

// Run undoes what an agent, or an e-mail address, connected.
func (c agentsDisconnect) Run(ctx context.Context, s streams) error {
	return beside(ctx, s, func(_ *config, db *store.Store) error {
		account, err := db.Account(ctx, c.Account)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("account %q is nobody's: `bridge audit list --action connected` shows those that are", c.Account)
		}
		if err != nil {
			return err
		}
		entry := store.Entry{Action: "disconnected", Agent: operator(), Detail: account.ID + " of " + account.Agent}
		if err := db.Commit(ctx, store.Change{Disconnect: &account, Audit: []store.Entry{entry}}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "disconnected %s from %s\n", account.ID, account.Agent)
		return err
	})
}
