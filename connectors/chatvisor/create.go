package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge"
)

// learnTime is how long learning ids may take, also after an operator has
// interrupted the command: without them the accounts can never be changed.
const learnTime = 2 * time.Minute

// forGood is what it means that an id is not known.
const forGood = "The bridge will never rename or delete this account: to have it made anew, delete it in Chatvisor"

// A creation is one that the service was asked for.
type creation struct {
	agent
	done bool // the service said so
}

// create makes accounts, up to the first that fails, and learns their ids. It gives
// who is there then.
func (d *console) create(ctx context.Context, all, before []agent, book *ledger) ([]agent, error) {
	var begun []creation
	var failed error
	for _, a := range all {
		if err := book.begin(a.Email); err != nil {
			failed = fmt.Errorf("%s was not created, since that could not be written down: %w", a.Email, err)
			break
		}
		failed = d.act(ctx, createAgent, a)
		begun = append(begun, creation{a, failed == nil})
		if failed != nil {
			break
		}
		d.done(ctx, "agent created", "agent", a.Email)
	}
	if !d.tellsIDs() || len(begun) == 0 {
		return before, failed
	}
	after, err := d.learn(ctx, begun, before, book)
	return after, errors.Join(failed, err)
}

// agentsAtLast lists who is there, as often as the service wants to be left alone
// before it answers.
func (d *console) agentsAtLast(ctx context.Context) ([]agent, error) {
	for {
		all, err := d.agents(ctx)
		wait, told := bridge.RetryWait(err)
		if !told {
			return all, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// learn lists everybody anew, since nothing is documented of the answer to a
// creation. An id is only taken for that of an account that was created if it has
// not been seen before; all others stay unknown.
func (d *console) learn(ctx context.Context, begun []creation, before []agent, book *ledger) ([]agent, error) {
	d.out("Learning the ids of what was created.")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTime)
	defer cancel()
	after, unread := d.agentsAtLast(ctx)
	there := byEmail(after)
	old := map[string]bool{}
	for _, a := range before {
		old[a.id] = true
	}
	var errs []error
	for _, a := range begun {
		is, listed := there[a.Email]
		why := ""
		switch {
		case unread != nil:
			why = "created, or begun, and the list cannot be read"
		case !listed && !a.done, listed && book.stranger(is) == "":
			book.forget(a.Email) // nothing was made
		case !a.done:
			why = "creating this account failed, and the list has it now"
		case !listed:
			why = "created, and the list does not have it"
		case is.id == "":
			why = "created, and the list shows no id"
		case old[is.id] || book.has(is.id):
			why = "created, and the list shows an id that another account had before"
		default:
			book.learn(account{is.id, a.Email})
		}
		if why != "" {
			errs = append(errs, fmt.Errorf("%s: %s. %s", a.Email, why, forGood))
		}
	}
	if err := book.write(); err != nil {
		errs = append(errs, fmt.Errorf("the ids of what was created could not be written down. %s: %w", forGood, err))
	}
	if unread != nil {
		errs = append(errs, unread)
	}
	return after, errors.Join(errs...)
}
