package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

type tagCommand struct {
	Customer   string   `arg:"" help:"Chatvisor's id of the customer."`
	Label      []string `sep:"none" help:"A label to add; may be repeated."`
	ExternalID string   `name:"external-id" help:"Your own system's id of this person. Tagging with it joins the customer to that person's history."`
	First      bool     `help:"Take a customer who has nothing at labels_path for one without labels."`
	Yes        bool     `help:"Do it. Without this, only say what would be done."`
}

// Run adds labels and takes none away.
func (t tagCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.tag(ctx, t)
}

// tag reads, merges and writes, since whether labels that are sent replace those
// that there are is not documented.
func (d *console) tag(ctx context.Context, t tagCommand) error {
	e, err := d.step(tagCustomer)
	if err != nil {
		return err
	}
	if err := t.validate(e); err != nil {
		return err
	}
	_, customer, err := d.take(ctx, getCustomer, map[placeholder]any{"customerId": t.Customer}, true)
	if err != nil {
		return d.explain(err)
	}
	before, err := d.rules.customerLabels(customer)
	switch {
	case errors.Is(err, errNoLabels) && !t.First:
		return fmt.Errorf("%w: either the path is wrong, and labels would be lost, or there are none yet, and --first says so; the customer looks like %s",
			err, skeleton(customer))
	case err != nil && !errors.Is(err, errNoLabels):
		return fmt.Errorf("%w; look at the customer, which looks like %s", err, skeleton(customer))
	}
	labels := slices.Clone(before)
	for _, label := range t.Label {
		if !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	values := map[placeholder]any{"customerId": t.Customer, "labels": append([]string{}, labels...)}
	oldID := d.rules.externalID.text(customer)
	if t.ExternalID != "" {
		switch {
		case len(d.rules.externalID.all) == 0:
			return fmt.Errorf("external_id_path is not in the file of %s, so whether the customer is known as somebody else cannot be told: set it", d.env("CONFIG"))
		case oldID != "" && oldID != t.ExternalID:
			return errors.New("the customer has another external id already: tagging with a second would join two people")
		}
		if values["id"], err = d.rules.externalValue(t.ExternalID); err != nil {
			return err
		}
	}
	if len(labels) == len(before) && (t.ExternalID == "" || oldID == t.ExternalID) {
		d.out("The customer has all of that already: %s.", listed(before))
		return nil
	}
	d.out("The customer's labels are %s and would become %s.", listed(before), listed(labels))
	if t.ExternalID != "" && oldID == "" {
		d.out("The customer has no external id, and would become known by the one you gave.")
	}
	if !t.Yes {
		d.out(dryRun)
		return nil
	}
	if _, _, err := d.take(ctx, tagCustomer, values, true); err != nil {
		return d.explain(err)
	}
	d.done(ctx, "labels of a customer", "customer", t.Customer, "old", before, "new", labels, "id_given", t.ExternalID != "")
	d.out("Done.")
	return nil
}

func (t tagCommand) validate(e *endpoint) error {
	switch {
	case !plausible(t.Customer):
		return errors.New("the customer is no id: it may have letters, digits and . _ : @ = + ~ -")
	case len(t.Label) == 0 && t.ExternalID == "":
		return errors.New("say what to add: --label, or --external-id")
	case t.ExternalID != "" && !e.has("id"):
		return errors.New("endpoints.tag_customer does not say where {id} goes: put it into its body")
	}
	for _, label := range t.Label {
		if strings.TrimSpace(label) == "" || len(label) > 100 || !printable(label) {
			return errors.New("a label is empty, longer than 100 bytes, or holds something that cannot be printed")
		}
	}
	return nil
}

// externalValue is an id as the tenant's tags have it.
func (r *Rules) externalValue(id string) (any, error) {
	if !plausible(id) {
		return nil, errors.New("--external-id may have letters, digits and . _ : @ = + ~ -, up to 128")
	}
	if !r.numericID {
		return id, nil
	}
	n, err := strconv.Atoi(id)
	if err != nil || strconv.Itoa(n) != id {
		return nil, errors.New("--external-id is no number, and external_id_type says that it must be one")
	}
	return n, nil
}

func listed(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	var quoted []string
	for _, one := range all {
		quoted = append(quoted, strconv.Quote(short(one)))
	}
	return strings.Join(quoted, ", ")
}
