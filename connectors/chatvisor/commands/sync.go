package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
	"github.com/tidwall/gjson"
)

type agentsCommand struct {
	File        string `arg:"" help:"CSV file with the columns email, firstname, lastname, or a JSON list of objects with these keys."`
	Ledger      string `required:"" placeholder:"FILE" help:"File in which the bridge records the agents that it created. It renames and deletes only these."`
	AllowDelete bool   `help:"Delete agents that the bridge created and that are not in the file any more."`
	Yes         bool   `help:"Make the changes. Without it, only print them."`
}

// Run changes Chatvisor to match the file, never the file.
func (s agentsCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.syncAgents(ctx, s)
}

func (d *console) syncAgents(ctx context.Context, s agentsCommand) error {
	if _, err := d.Step(rules.ListAgents); err != nil {
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
	record, err := readLedger(s.Ledger, d.Address())
	if err != nil {
		return err
	}
	have, err := d.agents(ctx)
	if err != nil {
		return err
	}
	p := planSync(want, have, record, d.listHasIDs(), s.AllowDelete)
	if err := d.checkSteps(p); err != nil {
		return err
	}
	d.printPlan(p)
	if !s.Yes {
		d.out(dryRun)
		return nil
	}
	return d.execute(ctx, p, have, record)
}

// listHasIDs reports whether the file has the path of an agent's id.
func (d *console) listHasIDs() bool {
	return len(d.Rules.Endpoints[rules.ListAgents].Fields.ID.All) > 0
}

// idSetting is the setting that renaming and deleting need besides their endpoints.
const idSetting = "endpoints." + rules.ListAgents + ".fields.id"

// agents lists all agents. It fails if two have the same address or id.
func (d *console) agents(ctx context.Context) ([]agent, error) {
	e, err := d.Step(rules.ListAgents)
	if err != nil {
		return nil, err
	}
	var all []agent
	lastRow := "" // for errors
	for p, err := range d.Pages(ctx, rules.ListAgents, rules.MaxPages, api.SweepWait) {
		if part, ok := errors.AsType[*api.IncompleteError](err); ok {
			return nil, fmt.Errorf("the list of agents may be incomplete, so nothing was changed: %s", part.Why)
		}
		if err != nil {
			return nil, err
		}
		for _, row := range p.Rows {
			email := e.Fields.Email.Text(row)
			if !validAddress(email) { // before ToLower, which can turn other letters into ASCII
				return nil, fmt.Errorf("%s: an agent in the list has no e-mail address; fields of the agent: %s", e.Name, rules.Skeleton(row))
			}
			all = append(all, agent{
				Email: strings.ToLower(email), id: e.Fields.ID.Text(row),
				Firstname: e.Fields.Firstname.Text(row), Lastname: e.Fields.Lastname.Text(row),
				hasNames: e.Fields.Firstname.Given() && e.Fields.Lastname.Given(),
			})
			lastRow = row.Raw
		}
	}
	return all, d.checkDistinct(all, lastRow)
}

// checkDistinct returns an error if two agents have the same address or id, or if no agent
// has an id although the file has its path.
func (d *console) checkDistinct(all []agent, row string) error {
	seen := map[string]bool{}
	ids := 0
	for _, a := range all {
		duplicate := ""
		switch {
		case seen["@"+a.Email]:
			duplicate = "address"
		case a.id != "" && seen["#"+a.id]:
			duplicate = "id"
		}
		if duplicate != "" {
			return fmt.Errorf("%s: the list has the %s of %s twice, so nothing was changed. "+
				"Two accounts have it, or the list changed while it was read: check in Chatvisor, then try again", rules.ListAgents, duplicate, a.Email)
		}
		seen["@"+a.Email] = true
		if a.id != "" {
			seen["#"+a.id] = true
			ids++
		}
	}
	if d.listHasIDs() && len(all) > 0 && ids == 0 {
		return fmt.Errorf("%s: no agent in the list has a value at this path, so nothing was changed: correct the path; fields of an agent: %s", idSetting, rules.Skeleton(gjson.Parse(row)))
	}
	return nil
}

// checkSteps returns an error that names the missing settings of a plan.
func (d *console) checkSteps(p plan) error {
	var missing []error
	for _, need := range []struct {
		step string
		all  []agent
	}{{rules.CreateAgent, p.create}, {rules.UpdateAgent, p.update}, {rules.DeleteAgent, p.remove}} {
		if len(need.all) > 0 {
			_, err := d.Step(need.step)
			missing = append(missing, err)
		}
	}
	if len(p.needIDs) > 0 {
		missing = append(missing, fmt.Errorf("%s is not in the file of %s: set it to rename or delete agents. Without ids, the account %s may be "+
			"another one with the same address", idSetting, d.Env("CONFIG"), p.needIDs[0].Email))
	}
	return errors.Join(missing...)
}

func (d *console) printPlan(p plan) {
	for _, a := range p.create {
		d.out("create  %s", a)
	}
	for _, a := range p.update {
		d.out("rename  %s %q to %q", a.Email, rules.Short(a.oldName), rules.Short(a.name()))
	}
	for _, a := range p.remove {
		d.out("delete  %s", a)
	}
	for _, a := range p.keep {
		d.out("keep    %s: created by the bridge, not in the file any more; add --allow-delete to delete it", a)
	}
	for _, a := range p.skipped {
		d.out("leave   %s: %s", a.agent, a.why)
	}
	if len(p.create) > 0 && !d.listHasIDs() {
		d.out("The bridge will never rename or delete the created agents, since it cannot read their ids: %s is not in the file of %s.",
			idSetting, d.Env("CONFIG"))
	}
	if len(p.create)+len(p.update)+len(p.remove)+len(p.keep) == 0 {
		d.out("Nothing to do.")
	}
}

// String returns address and name for the operator's terminal.
func (a agent) String() string {
	return strings.TrimSpace(a.Email + " " + rules.Short(a.name()))
}

// values returns the values for placeholders, without empty ones.
func (a agent) values() rules.Values {
	values := rules.Values{}
	for name, v := range map[rules.Placeholder]string{"email": a.Email, "firstname": a.Firstname, "lastname": a.Lastname, "agentId": a.id} {
		if v != "" {
			values[name] = v
		}
	}
	return values
}

// runForAgent runs a step for one agent.
func (d *console) runForAgent(ctx context.Context, step string, a agent) error {
	if _, _, err := d.RunStep(ctx, step, a.values(), api.BackgroundWait); err != nil {
		return fmt.Errorf("%s: %w", a.Email, d.Classify(err))
	}
	return nil
}

// execute makes the changes of a plan. It stops at the first failure; the ledger contains
// the changes until then.
func (d *console) execute(ctx context.Context, p plan, have []agent, record *ledger) error {
	if len(p.create) > 0 {
		var err error
		if have, err = d.create(ctx, p.create, have, record); err != nil {
			return err
		}
	}
	// Creating agents takes minutes, in which a person may replace accounts.
	byAddress := byEmail(have)
	unchanged := func(a agent) bool {
		same := byAddress[a.Email].id == a.id
		if !same {
			d.out("leave   %s: this account was changed in Chatvisor meanwhile", a)
		}
		return same
	}
	for _, a := range p.update {
		if !unchanged(a) {
			continue
		}
		if err := d.runForAgent(ctx, rules.UpdateAgent, a); err != nil {
			return err
		}
		d.logChange(ctx, "agent renamed", "agent", a.Email, "old", a.oldName, "new", a.name())
	}
	for _, a := range p.remove {
		if !unchanged(a) {
			continue
		}
		if err := d.runForAgent(ctx, rules.DeleteAgent, a); err != nil {
			return err
		}
		d.logChange(ctx, "agent deleted", "agent", a.Email, "old", a.name())
		if err := record.remove(account{a.id, a.Email}); err != nil {
			return fmt.Errorf("%s was deleted, but could not be removed from the ledger: %w", a.Email, err)
		}
	}
	return nil
}
