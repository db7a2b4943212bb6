package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
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
	book, err := readLedger(s.Ledger, d.api.base)
	if err != nil {
		return err
	}
	have, err := d.agents(ctx)
	if err != nil {
		return err
	}
	p := plans(want, have, book.ours())
	if err := d.able(p, s.AllowDelete); err != nil {
		return err
	}
	d.announce(p, s.AllowDelete)
	if !s.Yes {
		d.out(dryRun)
		return nil
	}
	return d.carryOut(ctx, p, book, s.AllowDelete)
}

// agents lists who is there.
func (d *console) agents(ctx context.Context) ([]agent, error) {
	e, err := d.step(listAgents)
	if err != nil {
		return nil, err
	}
	var all []agent
	first := ""
	for n := range maxPages {
		_, answer, err := d.take(ctx, listAgents, map[placeholder]any{"page": e.firstPage + n, "pageSize": d.rules.sweep.pageSize}, false)
		if err != nil {
			return nil, d.explain(err)
		}
		rows, err := e.rows(answer)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 || n > 0 && rows[0].Raw == first {
			return all, nil
		}
		first = rows[0].Raw
		for _, row := range rows {
			a := agent{
				Email: strings.ToLower(e.fields.Email.text(row)), id: e.fields.ID.text(row),
				Firstname: e.fields.Firstname.text(row), Lastname: e.fields.Lastname.text(row),
				named: len(e.fields.Firstname.all) > 0 && len(e.fields.Lastname.all) > 0,
			}
			if !address(a.Email) {
				return nil, fmt.Errorf("%s lists an agent without an e-mail address, who cannot be told apart; one looks like %s", e.name, skeleton(row))
			}
			all = append(all, a)
		}
		if !e.has("page") {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s has no end after %d pages: nothing is done with a part", e.name, maxPages)
}

// able says which setting is missing for a plan, before any of it is done.
func (d *console) able(p plan, deletes bool) error {
	var missing []error
	for _, need := range []struct {
		step string
		all  []agent
	}{{createAgent, p.create}, {updateAgent, p.update}, {deleteAgent, p.remove}} {
		if len(need.all) == 0 || need.step == deleteAgent && !deletes {
			continue
		}
		e, err := d.step(need.step)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		for _, a := range need.all {
			if e.has("agentId") && a.id == "" {
				missing = append(missing, fmt.Errorf("endpoints.%s has {agentId}, and fields.id of %s does not lead to one", need.step, listAgents))
				break
			}
		}
	}
	return errors.Join(missing...)
}

func (d *console) announce(p plan, deletes bool) {
	for _, a := range p.create {
		d.out("create  %s", a)
	}
	for _, a := range p.update {
		d.out("rename  %s", a)
	}
	for _, a := range p.remove {
		if deletes {
			d.out("delete  %s", a)
		} else {
			d.out("keep    %s: not in the file any more; --allow-delete would delete this account, which the bridge made", a)
		}
	}
	for _, a := range p.foreign {
		d.out("leave   %s: not made by the bridge", a)
	}
	if len(p.create)+len(p.update)+len(p.remove) == 0 {
		d.out("There is nothing to do.")
	}
}

// String is for the operator's terminal.
func (a agent) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s", a.Email, short(strings.TrimSpace(a.Firstname+" "+a.Lastname))))
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

// carryOut stops at the first failure; what was done until then is in the ledger.
func (d *console) carryOut(ctx context.Context, p plan, book *ledger, deletes bool) error {
	act := func(step string, a agent) error {
		if _, _, err := d.take(ctx, step, a.values(), false); err != nil {
			return fmt.Errorf("%s: %w", a.Email, d.explain(err))
		}
		return nil
	}
	for _, a := range p.create {
		if err := act(createAgent, a); err != nil {
			return err
		}
		d.done(ctx, "agent created", "agent", a.Email)
		if err := book.add(a.Email); err != nil {
			return fmt.Errorf("%s was created, and could not be written down as ours: %w", a.Email, err)
		}
	}
	for _, a := range p.update {
		if err := act(updateAgent, a); err != nil {
			return err
		}
		d.done(ctx, "agent renamed", "agent", a.Email, "old", a.before, "new", a.Firstname+" "+a.Lastname)
	}
	if !deletes {
		return nil
	}
	for _, a := range p.remove {
		if err := act(deleteAgent, a); err != nil {
			return err
		}
		d.done(ctx, "agent deleted", "agent", a.Email, "old", a.Firstname+" "+a.Lastname)
		if err := book.drop(a.Email); err != nil {
			return err
		}
	}
	return nil
}
