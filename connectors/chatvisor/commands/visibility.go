package commands

import (
	"context"
	"fmt"

	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
)

type visibilityCommand struct {
	To  string `arg:"" optional:"" help:"show or hide; without it, print the current state."`
	Yes bool   `help:"Make the change. Without it, only print it."`
}

// Validate checks the command line.
func (v visibilityCommand) Validate() error {
	if v.To != "" && v.To != "show" && v.To != "hide" {
		return fmt.Errorf("visibility is %q: write show or hide", v.To)
	}
	return nil
}

// Run prints or changes the visibility. The vendor does not document whether it overrides
// the tenant's Action Rules.
func (v visibilityCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	if v.To == "" {
		now, err := d.visibility(ctx)
		if err == nil {
			d.out("Visibility of the chat: %q.", now)
		}
		return err
	}
	return d.setVisibility(ctx, v.To == "show", v.Yes)
}

// visibility returns the value of get_visibility as text.
func (d *console) visibility(ctx context.Context) (string, error) {
	e, answer, err := d.RunStep(ctx, rules.GetVisibility, nil, api.PersonWait)
	if err != nil {
		return "", d.Classify(err)
	}
	for _, path := range e.Result.All {
		if v := answer.Get(path); v.Exists() && !v.IsObject() && !v.IsArray() {
			return rules.Short(v.String()), nil
		}
	}
	return "", fmt.Errorf("%s: no value at result in the answer; fields of the answer: %s", e.Name, rules.Skeleton(answer))
}

func (d *console) setVisibility(ctx context.Context, visible, yes bool) error {
	if _, err := d.Step(rules.SetVisibility); err != nil {
		return err
	}
	before := "not known"
	if d.WhyOff(rules.GetVisibility) == "" {
		var err error
		if before, err = d.visibility(ctx); err != nil {
			return err
		}
	} else {
		d.out("The visibility now is not known: %s.", d.WhyOff(rules.GetVisibility))
	}
	d.out("Visibility of the chat now: %q. New visibility: %t.", before, visible)
	if !yes {
		d.out(dryRun)
		return nil
	}
	if _, _, err := d.RunStep(ctx, rules.SetVisibility, rules.Values{"visible": visible}, api.PersonWait); err != nil {
		return d.Classify(err)
	}
	d.logChange(ctx, "visibility", "old", before, "new", visible)
	d.out("Done.")
	return nil
}
