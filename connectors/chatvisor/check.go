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
	answer, err := c.api.Customers(ctx, 1)
	switch status := api.StatusOf(err); {
	case err == nil && !answer.Get("results").IsArray():
		findings = append(findings, chat.Finding{
			Problem: fmt.Sprintf("The server at %s is not Chatvisor: its answer has no list of customers.", c.api.Env("URL")),
			Remedy:  fmt.Sprintf("Set %s to the address of the REST API. It usually ends in /rest/v1.", c.api.Env("URL")),
		})
	case err == nil:
		findings = append(findings, chat.Finding{OK: "Chatvisor accepts the token. Fields of the list of customers: " + rules.Skeleton(answer) + "."})
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		findings = append(findings, chat.Finding{
			Problem: fmt.Sprintf("Chatvisor does not accept the token: %v.", err),
			Remedy:  fmt.Sprintf("Create an API key as an admin (Settings → API → Keys, or Settings → Developer tools → API keys) and set %s.", c.api.Env("TOKEN")),
		})
	default:
		findings = append(findings, chat.Finding{
			Problem: fmt.Sprintf("The request to Chatvisor failed: %v.", err),
			Remedy:  rest.ProxyRemedy(err, c.api.Env("PROXY"), fmt.Sprintf("Set %s to the address of the REST API, and check that the bridge can reach it.", c.api.Env("URL"))),
		})
	}
	for _, line := range c.stepLines() {
		findings = append(findings, chat.Finding{OK: line})
	}
	if !c.rules.ExternalID.Given() && slices.Contains(c.rules.Join, rules.JoinExternal) {
		findings = append(findings, chat.Finding{OK: "external_id_path is not set: customers are found by " +
			"the ids and codes in webhooks, not by the site's own id."})
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
