package chatvisor

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"
)

type visibilityCommand struct {
	To  string `arg:"" optional:"" enum:"show,hide," default:"" help:"show or hide; without it, only say how it is."`
	Yes bool   `help:"Do it. Without this, only say what would be done."`
}

// Run never sets what it was not told to, and leaves it as it is for good: whether
// it wins over the tenant's own rules is not documented.
func (v visibilityCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	if v.To == "" {
		now, err := d.visibility(ctx)
		if err == nil {
			d.out("The chat's visibility is %q.", now)
		}
		return err
	}
	return d.setVisibility(ctx, v.To == "show", v.Yes)
}

// visibility is what the service says of it, in its own words.
func (d *console) visibility(ctx context.Context) (string, error) {
	e, answer, err := d.take(ctx, getVisibility, nil, maxPrompt)
	if err != nil {
		return "", d.classify(err)
	}
	for _, path := range e.result.all {
		if v := answer.Get(path); v.Exists() && !v.IsObject() && !v.IsArray() {
			return short(v.String()), nil
		}
	}
	return "", fmt.Errorf("what %s answers has no value at result; it looks like %s", e.name, skeleton(answer))
}

func (d *console) setVisibility(ctx context.Context, visible, yes bool) error {
	if _, err := d.step(setVisibility); err != nil {
		return err
	}
	before := "not known"
	if d.rules.off(getVisibility, "") == "" {
		var err error
		if before, err = d.visibility(ctx); err != nil {
			return err
		}
	} else {
		d.out("%s", d.rules.off(getVisibility, d.env("CONFIG")))
	}
	d.out("The chat's visibility is %q and would become %t.", before, visible)
	if !yes {
		d.out(dryRun)
		return nil
	}
	if _, _, err := d.take(ctx, setVisibility, map[placeholder]any{"visible": visible}, maxPrompt); err != nil {
		return d.classify(err)
	}
	d.done(ctx, "visibility", "old", before, "new", visible)
	d.out("Done.")
	return nil
}
