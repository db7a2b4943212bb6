package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/tidwall/gjson"
)

type tagCommand struct {
	Customer        string   `arg:"" help:"Chatvisor's id of the customer."`
	Label           []string `sep:"none" help:"A label to add; may be repeated."`
	ExternalID      string   `name:"external-id" help:"Your own system's id of this person. Tagging with it joins the customer to that person's history."`
	HasNoLabels     bool     `help:"You have looked: the customer has no labels yet, and that is why there is nothing at labels_path."`
	HasNoExternalID bool     `name:"has-no-external-id" help:"You have looked: the customer has no external id yet, and that is why there is nothing at external_id_path."`
	Yes             bool     `help:"Do it. Without this, only say what would be done."`
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
// that there are is not documented. Then it reads again.
func (d *console) tag(ctx context.Context, t tagCommand) error {
	e, err := d.step(tagCustomer)
	if err != nil {
		return err
	}
	if err := t.validate(e); err != nil {
		return err
	}
	_, customer, err := d.take(ctx, getCustomer, map[placeholder]any{"customerId": t.Customer}, maxPrompt)
	if err != nil {
		return d.classify(err)
	}
	before, err := d.rules.customerLabels(customer)
	switch {
	case errors.Is(err, errNoLabels) && !t.HasNoLabels:
		return fmt.Errorf("%w: either the path is wrong, and labels would be lost, or there are none yet, and --has-no-labels says so; the customer looks like %s",
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
	oldID := ""
	if t.ExternalID != "" {
		if oldID, err = d.oldID(t, customer); err != nil {
			return err
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
	if _, _, err := d.take(ctx, tagCustomer, values, maxPrompt); err != nil {
		return d.classify(err)
	}
	d.done(ctx, "labels of a customer", "customer", t.Customer, "old", before, "new", labels, "id_given", t.ExternalID != "")
	if err := d.readBack(ctx, t, labels); err != nil {
		return err
	}
	d.out("Done.")
	return nil
}

// oldID is the external id that the customer has, if it is certain that it may
// become the one that is given.
func (d *console) oldID(t tagCommand, customer gjson.Result) (string, error) {
	if len(d.rules.externalID.all) == 0 {
		return "", fmt.Errorf("external_id_path is not in the file of %s, so whether the customer is known as somebody else cannot be told: set it", d.env("CONFIG"))
	}
	id, err := d.rules.customerExternalID(customer)
	switch {
	case errors.Is(err, errNoExternalID) && !t.HasNoExternalID:
		return "", fmt.Errorf("%w: either the path is wrong, and the customer may be known as somebody else, with whom the person you mean would be joined, "+
			"or there is no id yet, and --has-no-external-id says so; the customer looks like %s", err, skeleton(customer))
	case err != nil && !errors.Is(err, errNoExternalID):
		return "", fmt.Errorf("%w; look at the customer, which looks like %s", err, skeleton(customer))
	case id != "" && id != t.ExternalID:
		return "", errors.New("the customer has another external id already: tagging with a second would join two people")
	}
	return id, nil
}

// readBack reads the customer again and compares.
func (d *console) readBack(ctx context.Context, t tagCommand, labels []string) error {
	_, customer, err := d.take(ctx, getCustomer, map[placeholder]any{"customerId": t.Customer}, maxPrompt)
	if err != nil {
		return fmt.Errorf("the change was accepted, and the customer could not be read again, so whether it was made is not known: look without --yes; %w", d.classify(err))
	}
	var wrong []string
	after, err := d.rules.customerLabels(customer)
	missing := slices.DeleteFunc(slices.Clone(labels), func(label string) bool { return slices.Contains(after, label) })
	switch {
	case err != nil && len(labels) > 0:
		wrong = append(wrong, err.Error())
	case len(missing) > 0:
		wrong = append(wrong, "at labels_path there is no "+listed(missing))
	}
	risk := ""
	if id, err := d.rules.customerExternalID(customer); t.ExternalID != "" && id != t.ExternalID {
		what := "at external_id_path there is not the id that you gave"
		if err != nil {
			what = err.Error()
		}
		wrong = append(wrong, what)
		risk = "If external_id_path is wrong, the customer may have had another id, and two people be joined now: look in Chatvisor whose history it is. "
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the change was accepted, and the customer, read again, does not show it: %s. Either the path is wrong, or Chatvisor did not take it, "+
		"or shows it later: look again without --yes. %sThe customer looks like %s", strings.Join(wrong, ", and "), risk, skeleton(customer))
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
