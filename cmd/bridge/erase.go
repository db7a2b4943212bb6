package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
)

type eraseCommand struct {
	Visitor       string `xor:"who" placeholder:"ID" help:"Upscope's short id of the visitor."`
	UniqueID      string `xor:"who" name:"unique-id" placeholder:"ID" help:"The id that your site gives the visitor."`
	IntegrationID string `xor:"who" name:"integration-id" placeholder:"ID" help:"The id that the page script gives the visitor, such as rocketchat:KEY."`
	Receipt       string `xor:"who" placeholder:"ID" help:"Erase nobody, and say how far the erasure with this receipt is."`
	Upscope       bool   `help:"Remove the visitor from Upscope too, as soon as they are not online."`
	Yes           bool   `help:"Do it. Without this, only say what there is."`
}

// Run removes a person, or says what there is of them, or how far an erasure is.
func (c eraseCommand) Run(ctx context.Context, s streams) error {
	person := c.person()
	if person.ID == "" && c.Receipt == "" {
		return errors.New("say who: --visitor, --unique-id or --integration-id; or --receipt for how far an erasure is")
	}
	if c.Receipt == "" {
		if err := person.Valid(); err != nil {
			return err
		}
	}
	return beside(ctx, s, func(config *config, db *store.Store) error {
		if c.Receipt != "" {
			return showReceipt(ctx, db, s.out, c.Receipt)
		}
		err := c.erase(ctx, config, db, person, s.out)
		if errors.Is(err, store.ErrSealed) {
			return fmt.Errorf("%w: set BRIDGE_SECRET_OLD to the secret before, or wait until what it sealed is gone (BRIDGE_KEEP_CARDS)", err)
		}
		return err
	})
}

func (c eraseCommand) erase(ctx context.Context, config *config, db *store.Store, person bridge.Person, w io.Writer) error {
	eraser, err := bridge.NewEraser(db, config.secret, config.secretOld)
	if err != nil {
		return err
	}
	if !c.Yes {
		n, err := eraser.Look(ctx, person)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "There are %d cards, %d deliveries, %d jobs and %d audit records about this person.\n", n.Cards, n.Deliveries, n.Jobs, n.Records)
		fmt.Fprintln(w, "Nothing was removed: say --yes to remove them.")
		return exit(1)
	}
	r, err := eraser.Erase(ctx, person, operator(), c.Upscope)
	if !r.Changed.IsZero() {
		printReceipt(w, r) // also of what was done before it failed
	}
	return err
}

func (c eraseCommand) person() bridge.Person {
	switch {
	case c.UniqueID != "":
		return bridge.Person{Kind: bridge.ByUniqueID, ID: c.UniqueID}
	case c.IntegrationID != "":
		return bridge.Person{Kind: bridge.ByIntegrationID, ID: c.IntegrationID}
	}
	return bridge.Person{Kind: bridge.ByShortID, ID: c.Visitor}
}

func showReceipt(ctx context.Context, db *store.Store, w io.Writer, id string) error {
	r, err := db.Receipt(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no receipt %q: receipts are kept as long as the audit trail", id)
	}
	if err != nil {
		return err
	}
	printReceipt(w, r)
	if r.State == store.ErasureFailed {
		return exit(1)
	}
	return nil
}

func printReceipt(w io.Writer, r store.Receipt) {
	fmt.Fprintf(w, "receipt  %s\nasked    %s\nstate    %s\nremoved  %s\n", r.ID, when(r.Created), r.State, counted(r.Removed))
	if r.Removed.Visitors > 0 {
		fmt.Fprintf(w, "upscope  %d visitors\n", r.Removed.Visitors)
	}
	if r.Note != "" {
		fmt.Fprintf(w, "note     %s\n", r.Note)
	}
}

func counted(n store.Removed) string {
	return fmt.Sprintf("%d cards, %d posts, %d waits, %d deliveries, %d jobs, %d audit records (kept without who it was)",
		n.Cards, n.Posts, n.Waits, n.Deliveries, n.Jobs, n.Records)
}
