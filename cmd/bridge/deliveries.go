package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"cobrowse-bridge/bridge/store"
)

type deliveriesCommand struct {
	List  deliveriesList  `cmd:"" help:"List the deliveries that failed or wait."`
	Show  deliveriesShow  `cmd:"" help:"Show one delivery and each attempt that failed."`
	Retry deliveriesRetry `cmd:"" help:"Send deliveries through again."`
}

type deliveriesList struct {
	JSON bool `name:"json" help:"Answer in JSON, a delivery a line."`
}

// Run lists what is not handled, the oldest first.
func (c deliveriesList) Run(ctx context.Context, s streams) error {
	return beside(ctx, s, func(_ *config, db *store.Store) error {
		print, flush := tableOf(s.out)
		if c.JSON {
			print, flush = linesOf(s.out)
		}
		for b, err := range db.Backlog(ctx) {
			if err != nil {
				return err
			}
			if err := print(b); err != nil {
				return err
			}
		}
		return flush()
	})
}

func linesOf(w io.Writer) (print func(store.Backlog) error, flush func() error) {
	lines := json.NewEncoder(w)
	return func(b store.Backlog) error { return lines.Encode(listed(b)) }, func() error { return nil }
}

func tableOf(w io.Writer) (print func(store.Backlog) error, flush func() error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	begun := false
	print = func(b store.Backlog) error {
		if !begun {
			begun = true
			fmt.Fprintln(table, "ID\tCONNECTOR\tRECEIVED\tATTEMPTS\tSTATE\tKEY\tLAST ERROR")
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", b.ID, b.Connector, when(b.Received), b.Attempts, b.State, oneLine(b.Key), lastError(b))
		return err
	}
	return print, func() error {
		if !begun {
			fmt.Fprintln(table, "No delivery failed or waits.")
		}
		return table.Flush()
	}
}

// A listedDelivery is a line of `deliveries list --json`.
type listedDelivery struct {
	ID        string     `json:"id"`
	Connector string     `json:"connector"`
	Key       string     `json:"key"`
	Received  time.Time  `json:"received"`
	Attempts  int        `json:"attempts"`
	State     string     `json:"state"`
	Next      *time.Time `json:"next,omitempty"`
	LastError string     `json:"last_error,omitempty"`
}

func listed(b store.Backlog) listedDelivery {
	l := listedDelivery{
		ID: b.ID, Connector: b.Connector, Key: b.Key, Received: b.Received, Attempts: b.Attempts, State: b.State, LastError: lastError(b),
	}
	if !b.Next.IsZero() {
		next := b.Next.UTC()
		l.Next = &next
	}
	return l
}

func lastError(b store.Backlog) string {
	if len(b.Errors) == 0 {
		return ""
	}
	return oneLine(b.Errors[len(b.Errors)-1].Error)
}

type deliveriesShow struct {
	ID   string `arg:"" help:"Id of the delivery, as deliveries list shows it."`
	Body bool   `help:"Show what was delivered too, which may be about a person. The audit trail records it."`
}

// Run shows one delivery.
func (c deliveriesShow) Run(ctx context.Context, s streams) error {
	return beside(ctx, s, func(config *config, db *store.Store) error {
		b, err := db.BacklogOf(ctx, c.ID)
		if err != nil {
			return explainDelivery(config, c.ID, err)
		}
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "id\t%s\nconnector\t%s\nkey\t%s\nreceived\t%s\nstate\t%s\nattempts\t%d\n",
			b.ID, b.Connector, b.Key, when(b.Received), b.State, b.Attempts)
		if !b.Next.IsZero() {
			fmt.Fprintf(table, "next attempt\t%s\n", when(b.Next))
		}
		if !b.Finished.IsZero() {
			fmt.Fprintf(table, "handled\t%s\n", when(b.Finished))
		}
		for _, a := range b.Errors {
			fmt.Fprintf(table, "attempt %d\t%s\t%s\n", a.Number, when(a.At), oneLine(a.Error))
		}
		if err := table.Flush(); err != nil || !c.Body {
			return err
		}
		if b.State == store.DeliveryDone {
			return fmt.Errorf("delivery %s was handled, and its content is gone", c.ID)
		}
		// First the record, then the look.
		seen := store.Entry{Action: "delivery shown", Agent: operator(), Connector: b.Connector, Detail: c.ID}
		if err := db.Commit(ctx, store.Change{Audit: []store.Entry{seen}}); err != nil {
			return err
		}
		d, err := db.Delivery(ctx, c.ID)
		if err != nil {
			return explainDelivery(config, c.ID, err)
		}
		_, err = fmt.Fprintf(s.out, "\n%s\n", d.Body)
		return err
	})
}

type deliveriesRetry struct {
	IDs       []string `arg:"" optional:"" name:"id" help:"Ids of deliveries, as deliveries list shows them."`
	AllFailed bool     `help:"Retry every delivery that failed."`
}

// Run makes the jobs of deliveries start at once, in the bridge that runs or that
// is started next.
func (c deliveriesRetry) Run(ctx context.Context, s streams) error {
	if c.AllFailed == (len(c.IDs) > 0) {
		return errors.New("name the deliveries to retry, or say --all-failed")
	}
	return beside(ctx, s, func(config *config, db *store.Store) error {
		ids := c.IDs
		if c.AllFailed {
			for b, err := range db.Backlog(ctx) {
				if err != nil {
					return err
				}
				if b.State == store.DeliveryFailed {
					ids = append(ids, b.ID)
				}
			}
		}
		if len(ids) == 0 {
			fmt.Fprintln(s.out, "No delivery failed.")
		}
		failed := false
		for _, id := range ids {
			if err := db.Retry(ctx, id, operator()); err != nil {
				failed = true
				fmt.Fprintln(s.err, "bridge:", explainDelivery(config, id, err))
				continue
			}
			fmt.Fprintln(s.out, "retried", id)
		}
		if failed {
			return exit(1)
		}
		return nil
	})
}

// explainDelivery says why a delivery is not to be had.
func explainDelivery(c *config, id string, err error) error {
	came := store.Came(id)
	switch {
	case errors.Is(err, store.ErrDone):
		return fmt.Errorf("delivery %s was handled: there is nothing to retry", id)
	case errors.Is(err, store.ErrLeased):
		return fmt.Errorf("delivery %s is being handled just now", id)
	case !errors.Is(err, store.ErrNotFound):
		return err
	case came.IsZero():
		return fmt.Errorf("%q is not the id of a delivery: `bridge deliveries list` shows them", id)
	case time.Since(came) > c.retention.Failed:
		return fmt.Errorf("delivery %s came %s and has been removed: BRIDGE_KEEP_FAILED keeps what failed for %v", id, when(came), days(c.retention.Failed))
	}
	return fmt.Errorf("there is no delivery %s: it was handled and removed, erased, or never came here", id)
}
