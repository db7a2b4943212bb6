package chatvisor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/rest"
)

// check makes the one documented call, which changes nothing. It shows the fields of the
// answer, so that the operator can write paths, and lists which steps are configured.
func (c *connector) check(ctx context.Context) []chat.Finding {
	var findings []chat.Finding
	ok := func(code, text string) { findings = append(findings, chat.Finding{Code: code, OK: text}) }
	problem := func(code, remedy, text string) {
		findings = append(findings, chat.Finding{Code: code, Problem: text, Remedy: remedy})
	}
	answer, err := c.api.Customers(ctx, 1)
	switch status := api.StatusOf(err); {
	case err == nil && !answer.Get("results").IsArray():
		problem("chatvisor.other-program", fmt.Sprintf("Set %s to the address of the REST API. It usually ends in /rest/v1.", c.api.Env("URL")),
			fmt.Sprintf("The server at %s is not Chatvisor: its answer has no list of customers.", c.api.Env("URL")))
	case err == nil:
		ok("chatvisor.token", "Chatvisor accepts the token. Fields of the list of customers: "+rules.Skeleton(answer)+".")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		problem("chatvisor.token", fmt.Sprintf("Create an API key as an admin (Settings → API → Keys, or Settings → Developer tools → API keys) and set %s.", c.api.Env("TOKEN")),
			fmt.Sprintf("Chatvisor does not accept the token: %v.", err))
	default:
		problem("chatvisor.unreachable", rest.ProxyRemedy(err, c.api.Env("PROXY"), fmt.Sprintf("Set %s to the address of the REST API, and check that the bridge can reach it.", c.api.Env("URL"))),
			fmt.Sprintf("The request to Chatvisor failed: %v.", err))
	}
	for _, line := range c.stepLines() {
		ok("chatvisor.step", line)
	}
	if !c.rules.ExternalID.Given() && slices.Contains(c.rules.Join, rules.JoinExternal) {
		ok("chatvisor.external-id", "external_id_path is not set: customers are found by "+
			"the ids and codes in webhooks, not by the site's own id.")
	}
	return findings
}

// stepLines says of each step whether it works without configuration, is configured, or is not.
func (c *connector) stepLines() []string {
	lines := []string{"list_customers: works without configuration."}
	var off []string
	for _, s := range rules.Steps {
		switch e := c.rules.Endpoints[s.Name]; {
		case e == nil:
			off = append(off, s.Name)
		case e.Enabled:
			lines = append(lines, fmt.Sprintf("%s: configured, %s %s.", s.Name, e.Method, e.Where()))
		default:
			lines = append(lines, s.Name+": configured but not enabled; the bridge does not "+s.Does+".")
		}
	}
	if len(off) > 0 {
		lines = append(lines, fmt.Sprintf("Optional calls that are not configured: %s. See section 6 of connectors/chatvisor/README.md.", strings.Join(off, ", ")))
	}
	return lines
}
