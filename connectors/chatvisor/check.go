package chatvisor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cobrowse-bridge/bridge"
)

// check makes the one call that is documented and changes nothing, shows what a
// customer looks like so that paths can be written, and says of each step whether
// it is taken.
func (c *connector) check(ctx context.Context) []bridge.Finding {
	var found []bridge.Finding
	answer, err := c.api.do(ctx, customersPage(1))
	switch status := refusal(err); {
	case err == nil && !answer.Get("results").IsArray():
		found = append(found, bridge.Finding{
			Problem: fmt.Sprintf("What answers at %s is not Chatvisor: it has no list of customers.", c.env("URL")),
			Remedy:  fmt.Sprintf("Set %s to the address of the REST API, which ends in /rest/v1 as a rule.", c.env("URL")),
		})
	case err == nil:
		found = append(found, bridge.Finding{OK: "Chatvisor answers and accepts the token; a list of customers looks like " + skeleton(answer) + "."})
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		found = append(found, bridge.Finding{
			Problem: fmt.Sprintf("Chatvisor does not accept the token: %v.", err),
			Remedy:  fmt.Sprintf("Make an API key as an admin, in Settings under API, Keys or Developer tools, API keys, and set %s.", c.env("TOKEN")),
		})
	default:
		found = append(found, bridge.Finding{
			Problem: fmt.Sprintf("Chatvisor cannot be asked: %v.", err),
			Remedy:  fmt.Sprintf("Set %s to the address of the REST API, and see that the bridge may reach it.", c.env("URL")),
		})
	}
	for _, line := range c.stepLines() {
		found = append(found, bridge.Finding{OK: line})
	}
	if len(c.rules.externalID.all) == 0 && slices.Contains(c.rules.join, joinExternal) {
		found = append(found, bridge.Finding{OK: "external_id_path is not set: customers are found by " +
			"the ids and codes that webhooks bring, and not by the site's own id."})
	}
	return found
}

// customersPage is the one documented read (developers.chatvisor.com, "List all
// customers").
func customersPage(size int) request {
	return request{
		name: "GET /customer", method: http.MethodGet, path: "/customer", most: maxPrompt,
		query: url.Values{"pageNumber": {"0"}, "pageSize": {strconv.Itoa(size)}},
	}
}

// stepLines say of each step whether it is taken, and where it comes from.
func (c *connector) stepLines() []string {
	lines := []string{"list_customers: documented."}
	for _, s := range steps {
		line := s.name + ": not configured; the bridge does not " + s.does + "."
		if e := c.rules.endpoints[s.name]; e != nil && e.enabled {
			line = fmt.Sprintf("%s: set by you, %s %s.", s.name, e.method, e.where())
		} else if e != nil {
			line = s.name + ": set by you, but not enabled; the bridge does not " + s.does + "."
		}
		lines = append(lines, line)
	}
	return lines
}

// where is the endpoint's path as the file has it.
func (e *endpoint) where() string {
	var b strings.Builder
	for _, s := range e.path {
		b.WriteString("/" + s.String())
	}
	return b.String()
}
