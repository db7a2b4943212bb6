package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/upscope"
)

type checkCommand struct {
	Offline bool `help:"Look at the settings alone, and ask no service."`
	JSON    bool `name:"json" help:"Answer in JSON."`
}

// finding is one line of the answer.
type finding struct {
	About   string `json:"about"`
	Problem string `json:"problem,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	OK      string `json:"ok,omitempty"`
}

// Run reads the settings, then asks each service. Its exit status is 0 if all is
// sound, 1 if something was found, and 2 if the bridge would not start.
func (c checkCommand) Run(ctx context.Context, s streams) error {
	config, faults := readConfig(s.err)
	var all []finding
	for _, f := range faults {
		all = append(all, finding{About: f.Variable, Problem: f.Variable + " " + f.Problem + "."})
	}
	if config != nil {
		all = append(all, finding{About: "settings", OK: "The settings are sound."})
		all = append(all, config.whoMay()...)
		all = append(all, config.whereLinksLead())
		if !c.Offline {
			all = append(all, ask(ctx, config)...)
		}
	}
	if err := c.print(s.out, all); err != nil {
		return err
	}
	switch {
	case config == nil:
		return exit(2)
	case problems(all) > 0:
		return exit(1)
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

// whereLinksLead names the hosts of watch links. To which hosts the watch page
// redirects shows only once a link is followed, so the operator is told what
// happens if one is missing. Browsers hold all redirects that follow a form
// against the form-action of its page: w3.org/TR/CSP3/#directive-form-action
func (c *config) whereLinksLead() finding {
	return finding{About: "UPSCOPE_WATCH_HOSTS", OK: fmt.Sprintf("Watch links may lead to %s. If the watch page redirects to another host, "+
		"add that host to UPSCOPE_WATCH_HOSTS: browsers otherwise stay on the co-browse page without a message, though a link was made.",
		strings.ReplaceAll(c.watchHosts.String(), ",", ", "))}
}

// ask asks Upscope, the sign-in service and each chat service whether the bridge
// can work with them.
func ask(ctx context.Context, c *config) []finding {
	all := []finding{checkUpscope(ctx, c.upscope)}
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
				all = append(all, finding{k.Name, f.Problem, f.Remedy, f.OK})
			}
		}
	}
	return all
}

// checkUpscope asks for the account's counters, the one call without any effect.
func checkUpscope(ctx context.Context, client *upscope.Client) finding {
	usage, err := client.Usage(ctx)
	var e *upscope.Error
	switch {
	case err == nil:
		return finding{About: "upscope", OK: fmt.Sprintf("Upscope answers; visitors online now: %d.", usage.Visitors.OnlineNow)}
	case errors.Is(err, upscope.ErrUnauthorized) && errors.As(err, &e) && remedies[e.Code] != "":
		return finding{About: "upscope", Problem: "Upscope does not accept UPSCOPE_API_KEY: " + e.Code + ".", Remedy: remedies[e.Code]}
	case errors.Is(err, upscope.ErrUnauthorized):
		return finding{About: "upscope", Problem: "Upscope does not accept UPSCOPE_API_KEY.", Remedy: remedies["invalid_api_key"]}
	}
	return finding{About: "upscope", Problem: "Upscope cannot be asked: " + err.Error() + ".", Remedy: "Check UPSCOPE_URL and that this machine reaches it."}
}

// remedies for the codes of cobrowsingapi.com/docs/rest-api/authentication.
var remedies = map[string]string{
	"invalid_api_key":      "Make a new secret REST key in Upscope's dashboard; the public key of the page script is another one.",
	"no_subscription":      "Renew the Upscope subscription.",
	"subscription_expired": "Renew the Upscope subscription.",
	"api_not_enabled":      "Ask Upscope for a plan with REST access.",
	"please_contact_team":  "Contact Upscope: they have restricted the account.",
}

// complain lists what is wrong with the settings, a line each.
func complain(w io.Writer, faults []settings.Fault) {
	fmt.Fprintln(w, "The bridge cannot start with these settings:")
	for _, f := range faults {
		fmt.Fprintf(w, "  %s %s\n", f.Variable, f.Problem)
	}
	fmt.Fprintln(w, "`bridge env` lists every setting.")
}

type envCommand struct{}

// Run lists the settings.
func (envCommand) Run(s streams) error { return printVariables(s.out) }
