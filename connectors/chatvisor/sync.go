package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/tidwall/gjson"
)

type agentsCommand struct {
	File        string `arg:"" help:"CSV with the columns email, firstname, lastname; or a JSON list of objects with these."`
	Ledger      string `required:"" placeholder:"FILE" help:"Where the bridge writes down which agents it made. Only they are changed or deleted."`
	AllowDelete bool   `help:"Delete agents that the bridge made and that are not in the file any more."`
	Yes         bool   `help:"Do it. Without this, only say what would be done."`
}

// Run goes one way: the file says, and Chatvisor follows.
func (s agentsCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.syncAgents(ctx, s)
}

func (d *console) syncAgents(ctx context.Context, s agentsCommand) error {
	if _, err := d.step(listAgents); err != nil {
		return err
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	want, err := readAgents(data)
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	if s.Yes {
		release, err := lockLedger(s.Ledger)
		if err != nil {
			return err
		}
		defer release()
	}
	book, err := readLedger(s.Ledger, d.api.base)
	if err != nil {
		return err
	}
	have, err := d.agents(ctx)
	if err != nil {
		return err
	}
	p := plans(want, have, book, d.tellsIDs(), s.AllowDelete)
	if err := d.able(p); err != nil {
		return err
	}
	d.announce(p)
	if !s.Yes {
		d.out(dryRun)
		return nil
	}
	return d.carryOut(ctx, p, have, book)
}

// tellsIDs reports whether the list says where an agent's id is.
func (d *console) tellsIDs() bool { return len(d.rules.endpoints[listAgents].fields.ID.all) > 0 }

// idSetting is what renaming and deleting need besides their endpoints.
const idSetting = "endpoints." + listAgents + ".fields.id"

// agents lists who is there. No two have one address or one id.
func (d *console) agents(ctx context.Context) ([]agent, error) {
	e, err := d.step(listAgents)
	if err != nil {
		return nil, err
	}
	var all []agent
	looks := "" // an agent
	for p, err := range d.pages(ctx, listAgents, maxPages, maxPatience) {
		if part, ok := errors.AsType[*partError](err); ok {
			return nil, fmt.Errorf("whether the list of agents is whole cannot be told, and nothing is done with a part: %s", part.why)
		}
		if err != nil {
			return nil, err
		}
		for _, row := range p.rows {
			email := e.fields.Email.text(row)
			if !address(email) { // before anything else becomes ASCII in lower case
				return nil, fmt.Errorf("%s lists an agent without an e-mail address, who cannot be told apart; one looks like %s", e.name, skeleton(row))
			}
			all = append(all, agent{
				Email: strings.ToLower(email), id: e.fields.ID.text(row),
				Firstname: e.fields.Firstname.text(row), Lastname: e.fields.Lastname.text(row),
				named: len(e.fields.Firstname.all) > 0 && len(e.fields.Lastname.all) > 0,
			})
			looks = row.Raw
		}
	}
	return all, d.distinct(all, looks)
}

// distinct refuses a list in which agents cannot be told apart, or none has an id
// though the file says where ids are.
func (d *console) distinct(all []agent, row string) error {
	seen := map[string]bool{}
	ids := 0
	for _, a := range all {
		what := ""
		switch {
		case seen["@"+a.Email]:
			what = "address"
		case a.id != "" && seen["#"+a.id]:
			what = "id"
		}
		if what != "" {
			return fmt.Errorf("%s lists the %s of %s twice, and which account is meant cannot be told, so the bridge stops: "+
				"either two accounts have it, or the list changed while it was read; look there, and try again", listAgents, what, a.Email)
		}
		seen["@"+a.Email] = true
		if a.id != "" {
			seen["#"+a.id] = true
			ids++
		}
	}
	if d.tellsIDs() && len(all) > 0 && ids == 0 {
		return fmt.Errorf("%s leads to nothing in any agent of the list, so the bridge stops: mend it; an agent looks like %s", idSetting, skeleton(gjson.Parse(row)))
	}
	return nil
}

// able says which setting is missing for a plan, before any of it is done.
func (d *console) able(p plan) error {
	var missing []error
	for _, need := range []struct {
		step string
		all  []agent
	}{{createAgent, p.create}, {updateAgent, p.update}, {deleteAgent, p.remove}} {
		if len(need.all) > 0 {
			_, err := d.step(need.step)
			missing = append(missing, err)
		}
	}
	if len(p.blind) > 0 {
		missing = append(missing, fmt.Errorf("%s is not in the file of %s, and is needed to rename or delete agents: without it, %s cannot be told from an "+
			"account that somebody made anew with the same address; set it", idSetting, d.env("CONFIG"), p.blind[0].Email))
	}
	return errors.Join(missing...)
}

func (d *console) announce(p plan) {
	for _, a := range p.create {
		d.out("create  %s", a)
	}
	for _, a := range p.update {
		d.out("rename  %s %q to %q", a.Email, short(a.before), short(a.name()))
	}
	for _, a := range p.remove {
		d.out("delete  %s", a)
	}
	for _, a := range p.keep {
		d.out("keep    %s: not in the file any more; --allow-delete would delete this account, which the bridge made", a)
	}
	for _, a := range p.left {
		d.out("leave   %s: %s", a.agent, a.why)
	}
	if len(p.create) > 0 && !d.tellsIDs() {
		d.out("What is created will never be renamed or deleted by the bridge, which does not learn the ids: %s is not in the file of %s.",
			idSetting, d.env("CONFIG"))
	}
	if len(p.create)+len(p.update)+len(p.remove)+len(p.keep) == 0 {
		d.out("There is nothing to do.")
	}
}

// String is for the operator's terminal.
func (a agent) String() string {
	return strings.TrimSpace(a.Email + " " + short(a.name()))
}

// values are what an agent fills endpoints with. A name that is empty is none.
func (a agent) values() map[placeholder]any {
	values := map[placeholder]any{}
	for name, v := range map[placeholder]string{"email": a.Email, "firstname": a.Firstname, "lastname": a.Lastname, "agentId": a.id} {
		if v != "" {
			values[name] = v
		}
	}
	return values
}

// act does a step for one agent.
func (d *console) act(ctx context.Context, step string, a agent) error {
	if _, _, err := d.take(ctx, step, a.values(), maxPause); err != nil {
		return fmt.Errorf("%s: %w", a.Email, d.classify(err))
	}
	return nil
}

// carryOut stops at the first failure; what was done until then is in the ledger.
func (d *console) carryOut(ctx context.Context, p plan, have []agent, book *ledger) error {
	if len(p.create) > 0 {
		var err error
		if have, err = d.create(ctx, p.create, have, book); err != nil {
			return err
		}
	}
	// Creating takes a while, in which accounts may have become somebody else's.
	there := byEmail(have)
	still := func(a agent) bool {
		same := there[a.Email].id == a.id
		if !same {
			d.out("leave   %s: somebody changed this account meanwhile", a)
		}
		return same
	}
	for _, a := range p.update {
		if !still(a) {
			continue
		}
		if err := d.act(ctx, updateAgent, a); err != nil {
			return err
		}
		d.done(ctx, "agent renamed", "agent", a.Email, "old", a.before, "new", a.name())
	}
	for _, a := range p.remove {
		if !still(a) {
			continue
		}
		if err := d.act(ctx, deleteAgent, a); err != nil {
			return err
		}
		d.done(ctx, "agent deleted", "agent", a.Email, "old", a.name())
		if err := book.drop(account{a.id, a.Email}); err != nil {
			return fmt.Errorf("%s was deleted, and the ledger still has this account: %w", a.Email, err)
		}
	}
	return nil
}
