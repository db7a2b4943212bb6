package main

import (
	"context"
	"fmt"
	"io"

	"cobrowse-bridge/bridge/check"
	"cobrowse-bridge/bridge/settings"
)

type checkCommand struct {
	Offline bool `xor:"scope" help:"Check the settings only, without connecting to any service."`
	Start   bool `xor:"scope" help:"Check only what bridge serve needs to start: the settings and the database, which no other bridge may use if it is a SQLite file. For init containers."`
	Strict  bool `help:"End with 1 also if there are warnings."`
	JSON    bool `name:"json" help:"Print JSON."`
}

// Run reads the settings, then looks at everything that can stop the bridge. The exit status is 0
// without problems, 1 with a problem or, with --strict, a warning, and 2 if the bridge would not start.
func (c checkCommand) Run(ctx context.Context, s streams) error {
	config, faults := readConfig(s.err)
	all, canStart := check.Faults(faults), config != nil
	if config != nil {
		target := config.checked()
		all = check.Settings(target)
		var found []check.Finding
		switch {
		case c.Start:
			found = check.Start(ctx, target)
		case !c.Offline:
			found = check.All(ctx, target)
		}
		all, canStart = append(all, found...), check.CanStart(found)
	}
	print := check.Print
	if c.JSON {
		print = check.PrintJSON
	}
	if err := print(s.out, all); err != nil {
		return err
	}
	warnings, problems := check.Count(all)
	switch {
	case !canStart:
		return exitStatus(2)
	case problems > 0 || c.Strict && warnings > 0:
		return exitStatus(1)
	}
	return nil
}

// checked returns what a check looks at.
func (c *config) checked() check.Config {
	return check.Config{
		Origin: c.origin, Route: c.route, Listen: c.listen, Metrics: c.metrics, TryListen: tryListen,
		Ask:      askHere(c.listen), //nolint:bodyclose // the check closes it
		Database: c.database, Secret: c.secret, OldSecret: c.secretOld,
		SignIn: check.SignIn{OIDC: c.signIn.oidc, Headers: c.signIn.headers}, Policy: c.policy, Proxies: c.proxies,
		StopDelay: c.stopDelay, StopTimeout: c.stopTimeout, KillAfter: c.killAfter,
		Upscope: c.upscope, WatchHosts: c.watchHosts, Connectors: c.connectors, Log: c.log,
	}
}

// logProblems logs the problems that bridge check would find at the services, for operators who do
// not run it. Some have no other sign, such as a user who may write where customers read.
func logProblems(ctx context.Context, c *config) {
	for _, f := range check.Services(ctx, c.checked()) {
		if f.OK == "" && ctx.Err() == nil {
			c.log.WarnContext(ctx, "problem found at start", "code", f.Code, "about", f.About, "problem", f.Problem+f.Warning, "remedy", f.Remedy)
		}
	}
}

// printFaults lists the faults of the settings, one per line.
func printFaults(w io.Writer, faults []settings.Fault) {
	fmt.Fprintln(w, "The settings are not valid:")
	for _, f := range faults {
		fmt.Fprintf(w, "  %s %s\n", f.Variable, f.Problem)
	}
	fmt.Fprintln(w, "`bridge env` lists every setting.")
}
