package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// idTimeout limits how long reading new ids may take. It also applies after the operator
// interrupted the command: without ids the accounts can never be changed.
const idTimeout = 2 * time.Minute

// neverTouched says what follows if the id of an account is not known.
const neverTouched = "The bridge will never rename or delete this account. To have the bridge create it again, delete it in Chatvisor"

// A creation is an account whose creation was requested.
type creation struct {
	agent
	confirmed bool // by the answer
}

// create creates accounts up to the first failure, and records their ids. It returns all
// agents of the service after that.
func (d *console) create(ctx context.Context, all, before []agent, record *ledger) ([]agent, error) {
	var started []creation
	var failed error
	for _, a := range all {
		if err := record.recordStart(a.Email); err != nil {
			failed = fmt.Errorf("%s was not created, since the ledger cannot be written: %w", a.Email, err)
			break
		}
		failed = d.runForAgent(ctx, rules.CreateAgent, a)
		started = append(started, creation{a, failed == nil})
		if failed != nil {
			break
		}
		d.logChange(ctx, "agent created", "agent", a.Email)
	}
	if !d.listHasIDs() || len(started) == 0 {
		return before, failed
	}
	after, err := d.recordNewIDs(ctx, started, before, record)
	return after, errors.Join(failed, err)
}

// agentsAfterWait lists all agents. It retries for as long as the service asks to wait.
func (d *console) agentsAfterWait(ctx context.Context) ([]agent, error) {
	for {
		all, err := d.agents(ctx)
		wait, waits := chat.RetryWait(err)
		if !waits {
			return all, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// recordNewIDs lists all agents again and records the ids of the created accounts, since the
// answer to a creation is not documented. It records only ids that no account had before.
func (d *console) recordNewIDs(ctx context.Context, started []creation, before []agent, record *ledger) ([]agent, error) {
	d.out("Reading the ids of the created agents.")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idTimeout)
	defer cancel()
	after, listErr := d.agentsAfterWait(ctx)
	byAddress := byEmail(after)
	oldIDs := map[string]bool{}
	for _, a := range before {
		oldIDs[a.id] = true
	}
	var errs []error
	for _, a := range started {
		listedAgent, listed := byAddress[a.Email]
		why := ""
		switch {
		case listErr != nil:
			why = "possibly created, but the list of agents cannot be read"
		case !listed && !a.confirmed, listed && record.whyNotOurs(listedAgent) == "":
			record.removeUnknown(a.Email) // not created
		case !a.confirmed:
			why = "creating this account failed, but the list contains it now"
		case !listed:
			why = "created, but the list does not contain it"
		case listedAgent.id == "":
			why = "created, but the list has no id for it"
		case oldIDs[listedAgent.id] || record.hasID(listedAgent.id):
			why = "created, but the list has an id for it that another account had before"
		default:
			record.recordID(account{listedAgent.id, a.Email})
		}
		if why != "" {
			errs = append(errs, fmt.Errorf("%s: %s. %s", a.Email, why, neverTouched))
		}
	}
	if err := record.write(); err != nil {
		errs = append(errs, fmt.Errorf("the ledger cannot be written, and the ids of the created agents are lost. %s: %w", neverTouched, err))
	}
	if listErr != nil {
		errs = append(errs, listErr)
	}
	return after, errors.Join(errs...)
}
