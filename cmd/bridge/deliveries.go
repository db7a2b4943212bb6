package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
)

type deliveriesCommand struct {
	List    deliveriesList    `cmd:"" help:"List the deliveries, cards and other work that failed or wait."`
	Show    deliveriesShow    `cmd:"" help:"Show one delivery and its failed attempts."`
	Retry   deliveriesRetry   `cmd:"" help:"Retry what failed."`
	Dismiss deliveriesDismiss `cmd:"" help:"Remove failures from the list that will not be retried."`
}

type deliveriesList struct {
	JSON bool `name:"json" help:"Print JSON, one line for each."`
}

// Run lists the deliveries that are not handled, the oldest first, and then everything else
// that failed.
func (c deliveriesList) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(_ *config, db *store.Store) error {
		print, flush := tableOf(s.out)
		if c.JSON {
			print, flush = linesOf(s.out)
		}
		delivery := map[string]bool{}
		for b, err := range db.UnfinishedDeliveries(ctx) {
			if err != nil {
				return err
			}
			delivery[b.ID] = true
			if err := print(listed(b)); err != nil {
				return err
			}
		}
		for f, err := range db.Jobs().Failures(ctx) {
			if err != nil {
				return err
			}
			if delivery[f.Subject] {
				continue
			}
			if err := print(listedFailure(f)); err != nil {
				return err
			}
		}
		return flush()
	})
}

func linesOf(w io.Writer) (print func(listedWork) error, flush func() error) {
	lines := json.NewEncoder(w)
	return func(l listedWork) error { return lines.Encode(l) }, func() error { return nil }
}

func tableOf(w io.Writer) (print func(listedWork) error, flush func() error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	begun := false
	print = func(l listedWork) error {
		if !begun {
			begun = true
			fmt.Fprintln(table, "ID\tWHAT\tCONNECTOR\tSINCE\tATTEMPTS\tSTATE\tKEY\tLAST ERROR")
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.ID, l.What, l.Connector, formatTime(l.Since), l.Attempts, l.State, oneLine(l.Key), l.LastError)
		return err
	}
	return print, func() error {
		if !begun {
			fmt.Fprintln(table, "No delivery waits, and nothing failed.")
		}
		return table.Flush()
	}
}

// A listedWork is a line of `deliveries list --json`.
type listedWork struct {
	ID        string `json:"id"`
	What      string `json:"what"`
	Connector string `json:"connector"`
	Key       string `json:"key,omitempty"`
	// Since is when a delivery was received, or when other work failed first.
	Since     time.Time  `json:"since"`
	Attempts  int        `json:"attempts"`
	State     string     `json:"state"`
	Next      *time.Time `json:"next,omitempty"`
	LastError string     `json:"last_error,omitempty"`
}

func listed(b store.DeliveryStatus) listedWork {
	return listedWork{
		ID: b.ID, What: "delivery", Connector: b.Connector, Key: b.Key, Since: b.Received, Attempts: b.Attempts, State: b.State,
		Next: optional(b.Next), LastError: lastError(b),
	}
}

func listedFailure(f jobs.Failure) listedWork {
	what, connector := bridge.NameFailure(f)
	l := listedWork{
		ID: f.ID(), What: what, Connector: connector, Since: f.First, Attempts: f.Attempts,
		State: store.DeliveryFailed, Next: optional(f.Next), LastError: oneLine(f.Cause),
	}
	if l.Next != nil {
		l.State = store.DeliveryWaiting
	}
	return l
}

// optional returns nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func lastError(b store.DeliveryStatus) string {
	if len(b.Errors) == 0 {
		return ""
	}
	return oneLine(b.Errors[len(b.Errors)-1].Error)
}

type deliveriesShow struct {
	ID   string `arg:"" help:"Id of the delivery, as deliveries list shows it."`
	Body bool   `help:"Show the content too. It may contain personal data, so this is written to the audit log."`
}

// Run shows one delivery.
func (c deliveriesShow) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		b, err := db.DeliveryStatus(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) && isListed(ctx, db, c.ID) {
			return fmt.Errorf("%s is not a delivery: `bridge deliveries list` has all that is stored about it", c.ID)
		}
		if err != nil {
			return explainDelivery(config, c.ID, err)
		}
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "id\t%s\nconnector\t%s\nkey\t%s\nreceived\t%s\nstate\t%s\nattempts\t%d\n",
			b.ID, b.Connector, b.Key, formatTime(b.Received), b.State, b.Attempts)
		if !b.Next.IsZero() {
			fmt.Fprintf(table, "next attempt\t%s\n", formatTime(b.Next))
		}
		if !b.Finished.IsZero() {
			fmt.Fprintf(table, "handled\t%s\n", formatTime(b.Finished))
		}
		for _, a := range b.Errors {
			fmt.Fprintf(table, "attempt %d\t%s\t%s\n", a.Number, formatTime(a.At), oneLine(a.Error))
		}
		if err := table.Flush(); err != nil || !c.Body {
			return err
		}
		if b.State == store.DeliveryDone {
			return fmt.Errorf("delivery %s was handled, and its content was deleted", c.ID)
		}
		// The audit entry is written before the content is shown.
		entry := audit.Entry{Action: "delivery shown", Agent: operator(), Connector: b.Connector, Detail: c.ID}
		if err := db.Commit(ctx, store.Change{Audit: []audit.Entry{entry}}); err != nil {
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
	IDs       []string `arg:"" optional:"" name:"id" help:"Ids, as deliveries list shows them."`
	AllFailed bool     `help:"Retry everything that failed and is not retried automatically."`
}

// Run makes the jobs due now. The running bridge does them, or the next one that starts.
func (c deliveriesRetry) Run(ctx context.Context, s streams) error {
	if c.AllFailed == (len(c.IDs) > 0) {
		return usageError("name what to retry, or use --all-failed")
	}
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		if c.AllFailed {
			n, err := db.RetryAll(ctx, operator())
			if n > 0 || err == nil {
				fmt.Fprintf(s.out, "Retried: %d.\n", n)
			}
			return err
		}
		return eachID(config, s, c.IDs, "retried", func(id string) error { return db.Retry(ctx, id, operator()) })
	})
}

type deliveriesDismiss struct {
	IDs []string `arg:"" name:"id" help:"Ids, as deliveries list shows them."`
}

// Run removes failures, and the content of the deliveries among them.
func (c deliveriesDismiss) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		return eachID(config, s, c.IDs, "dismissed", func(id string) error { return db.Dismiss(ctx, id, operator()) })
	})
}

// eachID calls do for each id, and prints what was done or why not.
func eachID(config *config, s streams, ids []string, done string, do func(id string) error) error {
	failed := false
	for _, id := range ids {
		if err := do(id); err != nil {
			failed = true
			fmt.Fprintln(s.err, "bridge:", explainDelivery(config, id, err))
			continue
		}
		fmt.Fprintln(s.out, done, id)
	}
	if failed {
		return exitStatus(1)
	}
	return nil
}

// isListed reports whether `bridge deliveries list` has the id.
func isListed(ctx context.Context, db *store.Store, id string) bool {
	for f, err := range db.Jobs().Failures(ctx) {
		if err != nil {
			return false
		}
		if f.ID() == id {
			return true
		}
	}
	return false
}

// explainDelivery turns an error of the store into a sentence about the delivery.
func explainDelivery(c *config, id string, err error) error {
	received := store.DeliveryTime(id)
	switch {
	case errors.Is(err, store.ErrDone):
		return fmt.Errorf("delivery %s was handled: there is nothing to retry or to dismiss", id)
	case errors.Is(err, store.ErrNotFailed):
		return fmt.Errorf("delivery %s has not failed: it waits for its first attempt, or is being handled", id)
	case errors.Is(err, store.ErrNoRetry):
		return fmt.Errorf("%s cannot be retried: fix the cause, then dismiss it", id)
	case errors.Is(err, store.ErrLeased):
		return fmt.Errorf("%s is retried automatically: there is nothing to retry or to dismiss", id)
	case !errors.Is(err, store.ErrNotFound):
		return err
	case received.IsZero():
		return fmt.Errorf("nothing that failed has the id %q: `bridge deliveries list` shows the ids", id)
	case time.Since(received) > c.retention.Failed:
		return fmt.Errorf("delivery %s was received %s and has been deleted: failed deliveries are kept for %v (BRIDGE_KEEP_FAILED)", id, formatTime(received), days(c.retention.Failed))
	}
	return fmt.Errorf("%s not found: it has not failed, or it was handled and deleted, or erased", id)
}
