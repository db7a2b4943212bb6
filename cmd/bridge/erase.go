package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/store"
)

// personFlags name a person by one id.
type personFlags struct {
	Visitor       string `xor:"who" aliases:"customer" placeholder:"ID" help:"Upscope's short id of the customer."`
	UniqueID      string `xor:"who" name:"unique-id" placeholder:"ID" help:"The id that your site gives the customer."`
	IntegrationID string `xor:"who" name:"integration-id" placeholder:"ID" help:"The id that the page script gives the customer, such as rocketchat:KEY."`
}

// person returns the person, or an error if no flag names one or the id cannot be one.
func (f personFlags) person() (p card.Person, err error) {
	flag := "--visitor"
	switch {
	case f.UniqueID != "":
		flag, p = "--unique-id", card.Person{Kind: card.ByUniqueID, ID: f.UniqueID}
	case f.IntegrationID != "":
		flag, p = "--integration-id", card.Person{Kind: card.ByIntegrationID, ID: f.IntegrationID}
	case f.Visitor != "":
		p = card.Person{Kind: card.ByShortID, ID: f.Visitor}
	default:
		return p, usageError("name the person with --visitor, --unique-id or --integration-id")
	}
	if err := p.Check(); err != nil {
		return p, usageError(flag + ": " + err.Error())
	}
	return p, nil
}

type eraseCommand struct {
	personFlags
	Receipt string `xor:"who" placeholder:"ID" help:"Erase nobody; show the progress of the erasure with this receipt."`
	Upscope bool   `help:"Remove the customer from Upscope too, as soon as they are offline."`
	Yes     bool   `help:"Erase. Without this flag the command only counts what it would erase."`
}

// Run erases a person, counts the data about them, or shows an erasure's progress.
func (c eraseCommand) Run(ctx context.Context, s streams) error {
	var person card.Person
	if c.Receipt == "" {
		var err error
		if person, err = c.person(); err != nil {
			return err
		}
	}
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		if c.Receipt != "" {
			return showReceipt(ctx, db, s.out, c.Receipt)
		}
		return explainSealed(c.erase(ctx, config, db, person, s.out))
	})
}

// explainSealed says what to do about data that another secret encrypted.
func explainSealed(err error) error {
	if errors.Is(err, store.ErrSealed) {
		return fmt.Errorf("%w: set BRIDGE_SECRET_OLD to the previous secret, or wait until the data that it encrypted is deleted (BRIDGE_KEEP_CARDS, BRIDGE_KEEP_FAILED)", err)
	}
	return err
}

func (c eraseCommand) erase(ctx context.Context, config *config, db *store.Store, person card.Person, w io.Writer) error {
	eraser, err := erase.NewEraser(db, config.secret, config.secretOld)
	if err != nil {
		return err
	}
	if !c.Yes {
		n, err := eraser.Count(ctx, person)
		if err != nil {
			return err
		}
		if n == (store.Removed{}) {
			fmt.Fprintln(w, "The bridge has no data about this person. To remove them from Upscope, use --upscope --yes.")
			return nil
		}
		fmt.Fprintf(w, "The bridge has %s, %s, %s and %s about this person.\n",
			count(n.Cards, "card", "cards"), count(n.Deliveries, "delivery", "deliveries"), count(n.Jobs, "job", "jobs"), count(n.Records, "audit record", "audit records"))
		fmt.Fprintln(w, "Nothing was erased. Use --yes to erase them.")
		return exitStatus(1)
	}
	r, err := eraser.Erase(ctx, person, operator(), c.Upscope)
	if !r.Changed.IsZero() {
		printReceipt(w, r) // after a failure too: part of the data may be erased
	}
	return err
}

func showReceipt(ctx context.Context, db *store.Store, w io.Writer, id string) error {
	r, err := db.Receipt(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("receipt %q not found: receipts are kept as long as the audit log (BRIDGE_KEEP_AUDIT)", id)
	}
	if err != nil {
		return err
	}
	printReceipt(w, r)
	if r.State == store.ErasureFailed {
		return exitStatus(1)
	}
	return nil
}

func printReceipt(w io.Writer, r store.Receipt) {
	fmt.Fprintf(w, "receipt    %s\nrequested  %s\nstate      %s\nremoved    %s\n", r.ID, formatTime(r.Created), r.State, formatRemoved(r.Removed))
	if r.Removed.Visitors > 0 {
		fmt.Fprintf(w, "upscope    %d customers removed\n", r.Removed.Visitors)
	}
	if r.Note != "" {
		fmt.Fprintf(w, "note       %s\n", r.Note)
	}
	if r.Retryable() {
		fmt.Fprintf(w, "next       Fix the cause, then run `bridge deliveries retry %s`.\n", r.ID)
	}
}

func formatRemoved(n store.Removed) string {
	return fmt.Sprintf("%d cards, %d messages with cards, %d requests to be told that the person is back, %d deliveries, %d jobs, personal data in %d audit records (the records stay)",
		n.Cards, n.Posts, n.Waits, n.Deliveries, n.Jobs, n.Records)
}
