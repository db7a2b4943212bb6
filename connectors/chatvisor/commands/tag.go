package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
	"github.com/tidwall/gjson"
)

type tagCommand struct {
	Customer        string   `arg:"" help:"Chatvisor's id of the customer."`
	Label           []string `sep:"none" help:"Label to add; may be repeated."`
	ExternalID      string   `name:"external-id" help:"Id of this person in your system. Chatvisor then joins the customer with that person's history."`
	HasNoLabels     bool     `help:"Confirm that the customer has no labels yet, if there is nothing at labels_path."`
	HasNoExternalID bool     `name:"has-no-external-id" help:"Confirm that the customer has no external id yet, if there is nothing at external_id_path."`
	Yes             bool     `help:"Make the change. Without it, only print it."`
}

// Validate checks the command line.
func (t tagCommand) Validate() error {
	if len(t.Label) == 0 && t.ExternalID == "" {
		return errors.New("nothing to add: use --label or --external-id")
	}
	return nil
}

// Run adds labels and removes none.
func (t tagCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.tag(ctx, t)
}

// tag reads the labels, adds the new ones, sends all of them, and reads them again. The
// vendor does not document whether sent labels replace the old ones.
func (d *console) tag(ctx context.Context, t tagCommand) error {
	e, err := d.Step(rules.TagCustomer)
	if err != nil {
		return err
	}
	if err := t.validate(e); err != nil {
		return err
	}
	_, customer, err := d.RunStep(ctx, rules.GetCustomer, rules.Values{"customerId": t.Customer}, api.PersonWait)
	if err != nil {
		return d.Classify(err)
	}
	before, err := customerLabels(d.Rules, customer)
	switch {
	case errors.Is(err, errNoLabels) && !t.HasNoLabels:
		return fmt.Errorf("%w: if the path is wrong, labels would be lost: correct it. If the customer has no labels yet, add --has-no-labels. Fields of the customer: %s",
			err, rules.Skeleton(customer))
	case err != nil && !errors.Is(err, errNoLabels):
		return fmt.Errorf("%w; fields of the customer: %s", err, rules.Skeleton(customer))
	}
	labels := slices.Clone(before)
	for _, label := range t.Label {
		if !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	values := rules.Values{"customerId": t.Customer, "labels": append([]string{}, labels...)}
	oldID := ""
	if t.ExternalID != "" {
		if oldID, err = d.currentID(t, customer); err != nil {
			return err
		}
		if values["id"], err = externalValue(d.Rules, t.ExternalID); err != nil {
			return err
		}
	}
	if len(labels) == len(before) && (t.ExternalID == "" || oldID == t.ExternalID) {
		d.out("Nothing to do: the customer has these labels already: %s.", quoteAll(before))
		return nil
	}
	d.out("Labels now: %s. New labels: %s.", quoteAll(before), quoteAll(labels))
	if t.ExternalID != "" && oldID == "" {
		d.out("The customer has no external id and gets the one from --external-id.")
	}
	if !t.Yes {
		d.out(dryRun)
		return nil
	}
	if _, _, err := d.RunStep(ctx, rules.TagCustomer, values, api.PersonWait); err != nil {
		return d.Classify(err)
	}
	d.logChange(ctx, "labels of a customer", "customer", t.Customer, "old", before, "new", labels, "id_given", t.ExternalID != "")
	if err := d.readBack(ctx, t, labels); err != nil {
		return err
	}
	d.out("Done.")
	return nil
}

// currentID returns the customer's external id, or an error if it cannot be read or is
// another one than --external-id.
func (d *console) currentID(t tagCommand, customer gjson.Result) (string, error) {
	if !d.Rules.ExternalID.Given() {
		return "", fmt.Errorf("external_id_path is not in the file of %s: set it, so that the bridge can check that the customer has no other id", d.Env("CONFIG"))
	}
	id, err := customerExternalID(d.Rules, customer)
	switch {
	case errors.Is(err, errNoExternalID) && !t.HasNoExternalID:
		return "", fmt.Errorf("%w: if the path is wrong, the customer may have another id, and two people would be joined: correct it. "+
			"If the customer has no id yet, add --has-no-external-id. Fields of the customer: %s", err, rules.Skeleton(customer))
	case err != nil && !errors.Is(err, errNoExternalID):
		return "", fmt.Errorf("%w; fields of the customer: %s", err, rules.Skeleton(customer))
	case id != "" && id != t.ExternalID:
		return "", errors.New("the customer has another external id already: a second one would join two people")
	}
	return id, nil
}

// readBack reads the customer again and checks that the change is there.
func (d *console) readBack(ctx context.Context, t tagCommand, labels []string) error {
	_, customer, err := d.RunStep(ctx, rules.GetCustomer, rules.Values{"customerId": t.Customer}, api.PersonWait)
	if err != nil {
		return fmt.Errorf("the change was accepted, but the customer could not be read again: run the command without --yes to check; %w", d.Classify(err))
	}
	var faults []string
	after, err := customerLabels(d.Rules, customer)
	missing := slices.DeleteFunc(slices.Clone(labels), func(label string) bool { return slices.Contains(after, label) })
	switch {
	case err != nil && len(labels) > 0:
		faults = append(faults, err.Error())
	case len(missing) > 0:
		faults = append(faults, "labels missing at labels_path: "+quoteAll(missing))
	}
	risk := ""
	if id, err := customerExternalID(d.Rules, customer); t.ExternalID != "" && id != t.ExternalID {
		what := "the value at external_id_path is not the given id"
		if err != nil {
			what = err.Error()
		}
		faults = append(faults, what)
		risk = "If external_id_path is wrong, the customer may have had another id, and two people may be joined now: check the customer's history in Chatvisor. "
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("the change was accepted, but the customer does not show it: %s. The path is wrong, Chatvisor ignored the change, "+
		"or it shows it later: run the command without --yes to check. %sFields of the customer: %s", strings.Join(faults, "; "), risk, rules.Skeleton(customer))
}

func (t tagCommand) validate(e *rules.Endpoint) error {
	switch {
	case !rules.PlausibleID(t.Customer):
		return errors.New("the customer id must be 1 to 128 letters, digits and . _ : @ = + ~ -")
	case t.ExternalID != "" && !e.Has("id"):
		return errors.New("endpoints.tag_customer does not use {id}: put it into its body")
	}
	for _, label := range t.Label {
		if strings.TrimSpace(label) == "" || len(label) > 100 || !rules.Printable(label) {
			return errors.New("a label is empty, longer than 100 bytes, or has a character that cannot be printed")
		}
	}
	return nil
}

func quoteAll(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	var quoted []string
	for _, one := range all {
		quoted = append(quoted, strconv.Quote(rules.Short(one)))
	}
	return strings.Join(quoted, ", ")
}
