package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/upscope"
)

type checkCommand struct {
	Offline bool `xor:"scope" help:"Check the settings only, without connecting to any service."`
	Start   bool `xor:"scope" help:"Check only what bridge serve needs to start: the settings and the database, which no other bridge may use if it is a SQLite file. For init containers."`
	JSON    bool `name:"json" help:"Print JSON."`
}

// finding is one line of the output: OK, or Problem with an optional Remedy.
type finding struct {
	About   string `json:"about"`
	Problem string `json:"problem,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	OK      string `json:"ok,omitempty"`
}

// Run reads the settings, then asks each service. The exit status is 0 without
// problems, 1 with a problem, and 2 if the bridge would not start.
func (c checkCommand) Run(ctx context.Context, s streams) error {
	config, faults := readConfig(s.err)
	var all []finding
	canStart := config != nil
	for _, f := range faults {
		all = append(all, finding{About: f.Variable, Problem: f.Variable + " " + f.Problem + "."})
	}
	if config != nil {
		all = append(all, finding{About: "settings", OK: "The settings are valid."})
		all = append(all, config.accessFindings()...)
		all = append(all, config.watchHostsFinding())
		if !c.Offline {
			found, ok := checkDatabase(ctx, config)
			canStart = ok
			all = append(all, found...)
		}
		if c.Start {
			all = append(all, checkNotInUse(config.database)...)
		} else if !c.Offline {
			all = append(all, checkServices(ctx, config)...)
			all = append(all, checkFailures(ctx, config.listen)...)
		}
	}
	if err := c.print(s.out, all); err != nil {
		return err
	}
	switch {
	case !canStart:
		return exitStatus(2)
	case problems(all) > 0:
		return exitStatus(1)
	}
	return nil
}

func (c checkCommand) print(w io.Writer, all []finding) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(map[string]any{"findings": all})
	}
	for _, f := range all {
		line := "ok       " + f.OK
		if f.Problem != "" {
			line = "problem  " + f.Problem
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintln(w, "         "+f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}

func problems(all []finding) (n int) {
	for _, f := range all {
		if f.Problem != "" {
			n++
		}
	}
	return n
}

// watchHostsFinding names the hosts of watch links. The bridge cannot know to which hosts the watch
// page redirects, so the text says what happens if one is missing. Browsers check each redirect
// after a form against the form-action of the form's page: w3.org/TR/CSP3/#directive-form-action
func (c *config) watchHostsFinding() finding {
	hosts := c.watchHosts.String()
	return finding{About: "UPSCOPE_WATCH_HOSTS", OK: fmt.Sprintf("Watch links may lead to %s. If the watch page redirects to another host, such as "+
		"watch.example.org, set UPSCOPE_WATCH_HOSTS to all of them, since a value replaces the list: %s,watch.example.org. "+
		"Otherwise browsers stay on the co-browse page and show no message.", strings.ReplaceAll(hosts, ",", ", "), hosts)}
}

// checkServices asks Upscope, the identity provider and each chat service whether the
// bridge can work with them.
func checkServices(ctx context.Context, c *config) []finding {
	all := checkUpscope(ctx, c.upscope)
	if c.signIn.oidc != nil {
		all = append(all, c.checkIssuer(ctx))
	}
	for _, k := range c.connectors {
		if k.Check == nil {
			continue
		}
		for _, f := range k.Check(ctx) {
			all = append(all, finding{k.Name, f.Problem, f.Remedy, f.OK})
		}
	}
	for _, k := range c.connectors {
		for _, to := range c.connectors {
			if to.Name != k.ShowAt.Connector || to.CheckPlace == nil {
				continue
			}
			for _, f := range to.CheckPlace(ctx, k.ShowAt.Address) {
				if f.Problem != "" {
					f.Problem = settings.ConnectorPrefix(k.Name) + "_SHOW: " + f.Problem
				}
				all = append(all, finding{k.Name, f.Problem, f.Remedy, f.OK})
			}
		}
	}
	return all
}

// secretFault is the fault of a BRIDGE_SECRET with which the stored data cannot be read.
var secretFault = settings.Fault{Variable: "BRIDGE_SECRET", Problem: "is not the secret with which the stored data was encrypted: " +
	"set it to that secret, or, if you have changed the secret, set BRIDGE_SECRET_OLD to the previous one"}

// checkDatabase opens the database without changing it. canStart is false if the bridge
// would not start with this secret.
func checkDatabase(ctx context.Context, c *config) (found []finding, canStart bool) {
	problem := func(err error) []finding {
		return []finding{{About: "BRIDGE_DATABASE", Problem: "The database cannot be opened: " + err.Error() + ".", Remedy: databaseRemedy(c.database)}}
	}
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Log: c.log, Look: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{{About: "BRIDGE_DATABASE", OK: "There is no database yet: `bridge serve` makes " + strings.TrimPrefix(c.database, "sqlite:") + "."}}, true
	case err != nil:
		return problem(err), true
	}
	err = errors.Join(db.CheckSecret(ctx), db.Close())
	switch {
	case errors.Is(err, store.ErrSecret):
		return []finding{{About: secretFault.Variable, Problem: secretFault.Error() + "."}}, false
	case err != nil:
		return problem(err), true
	}
	return []finding{{About: "BRIDGE_DATABASE", OK: "The database can be opened."}}, true
}

// checkNotInUse finds another bridge that uses the SQLite file at an address.
func checkNotInUse(address string) []finding {
	const about = "BRIDGE_DATABASE"
	switch used, err := store.InUse(address); {
	case err != nil:
		return []finding{{About: about, Problem: "The bridge cannot see whether another bridge uses the database: " + settings.Cause(err) + ".", Remedy: databaseRemedy(address)}}
	case used:
		return []finding{{About: about, Problem: "Another bridge uses the database " + strings.TrimPrefix(address, "sqlite:") + ", and only one can use a SQLite file.",
			Remedy: "Run one replica and stop it before the next one starts, or set BRIDGE_DATABASE to a postgres:// address to run several."}}
	}
	return nil
}

// databaseRemedy says what to do if the database cannot be opened.
func databaseRemedy(address string) string {
	if strings.HasPrefix(address, "sqlite:") {
		return "Check the path in BRIDGE_DATABASE. It must be a file, and the user of the bridge must be able to read and write it and its folder."
	}
	return "Check that PostgreSQL runs, that this machine can reach it, and that the user, password and name of the database in BRIDGE_DATABASE are right."
}

// checkFailures asks the bridge that runs on this machine, if one does, whether something
// failed.
func checkFailures(ctx context.Context, listen string) []finding {
	answer, err := askReady(ctx, listen)
	if err != nil {
		return nil // no bridge runs
	}
	defer answer.Body.Close()
	var state struct {
		Failures *struct{ Failed, Retrying int } `json:"failures"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&state); err != nil || state.Failures == nil {
		return nil // another program listens there
	}
	const about = "failures"
	if f := *state.Failures; f.Failed+f.Retrying > 0 {
		return []finding{{About: about, Problem: fmt.Sprintf("Failed: %d. Failed and retried automatically: %d.", f.Failed, f.Retrying),
			Remedy: "`bridge deliveries list` shows them with their errors. Fix the cause, then run `bridge deliveries retry --all-failed`."}}
	}
	return []finding{{About: about, OK: "Nothing failed in the running bridge."}}
}

// checkUpscope reads the account's counters, because that call has no effect, and compares clocks
// with Upscope.
func checkUpscope(ctx context.Context, client *upscope.Client) []finding {
	usage, err := client.Usage(ctx)
	if err != nil {
		return []finding{upscopeFault(err)}
	}
	found := []finding{{About: "upscope", OK: fmt.Sprintf("Upscope answers. Customers online now: %d.", usage.Visitors.OnlineNow)}}
	if ahead := client.ClockAhead(); ahead.Abs() > rest.ClockTolerance {
		found = append(found, finding{About: "upscope", Problem: "This machine's clock is " + rest.ClockDifference(ahead) + " Upscope's.",
			Remedy: "Set the clock of this machine, for instance with NTP. Co-browsing works, but the times in the audit log and in links are wrong."})
	}
	return found
}

// upscopeFault says why Upscope cannot be used.
func upscopeFault(err error) finding {
	var e *upscope.Error
	switch {
	case errors.Is(err, upscope.ErrUnauthorized) && errors.As(err, &e) && remedies[e.Code] != "":
		return finding{About: "upscope", Problem: "Upscope does not accept UPSCOPE_API_KEY: " + e.Code + ".", Remedy: remedies[e.Code]}
	case errors.Is(err, upscope.ErrUnauthorized):
		return finding{About: "upscope", Problem: "Upscope does not accept UPSCOPE_API_KEY.", Remedy: remedies["invalid_api_key"]}
	}
	return finding{About: "upscope", Problem: "The request to Upscope failed: " + strings.TrimPrefix(strings.TrimPrefix(err.Error(), "upscope: usage: "), "service failed or sent an unexpected answer: ") + ".", Remedy: rest.ProxyRemedy(err, "UPSCOPE_PROXY", "Check UPSCOPE_URL, and that this machine can reach it, if necessary through a proxy: see UPSCOPE_PROXY.")}
}

// remedies are for the error codes of cobrowsingapi.com/docs/rest-api/authentication.
var remedies = map[string]string{
	"invalid_api_key":      "Make a new secret REST key in Upscope's dashboard (cobrowsingapi.com/docs/rest-api/authentication). Do not use the public key of the page script.",
	"no_subscription":      "Renew the Upscope subscription.",
	"subscription_expired": "Renew the Upscope subscription.",
	"api_not_enabled":      "Ask Upscope for a plan with REST access.",
	"please_contact_team":  "Contact Upscope: they have restricted the account.",
}

// printFaults lists the faults of the settings, one per line.
func printFaults(w io.Writer, faults []settings.Fault) {
	fmt.Fprintln(w, "The settings are not valid:")
	for _, f := range faults {
		fmt.Fprintf(w, "  %s %s\n", f.Variable, f.Problem)
	}
	fmt.Fprintln(w, "`bridge env` lists every setting.")
}
