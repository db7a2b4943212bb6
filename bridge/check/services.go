package check

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/upscope"
)

// services returns a task for each service that the bridge calls.
func services(c Config) []task {
	tasks := []task{{"upscope", func(ctx context.Context) []Finding { return checkUpscope(ctx, c.Upscope) }}}
	if c.SignIn.OIDC != nil {
		tasks = append(tasks, task{aboutIssuer, func(ctx context.Context) []Finding { return checkIssuer(ctx, c) }})
	}
	for _, k := range c.Connectors {
		tasks = append(tasks, task{k.Name, func(ctx context.Context) []Finding { return checkConnector(ctx, c, k) }})
	}
	return tasks
}

// checkConnector asks a chat service whether the connector can work with it and, if it answers, whether
// cards can be shown at the places there.
func checkConnector(ctx context.Context, c Config, k chat.Connector) (all []Finding) {
	if k.Check != nil {
		for _, f := range k.Check(ctx) {
			all = append(all, Finding{k.Name, f})
		}
	}
	if slices.ContainsFunc(all, isOut) || k.CheckPlace == nil {
		return all
	}
	for _, from := range c.Connectors {
		if from.ShowAt.Connector == k.Name {
			all = append(all, checkPlace(ctx, from, k)...)
		}
	}
	return all
}

// isOut reports whether a finding says that nothing else can be asked of a chat service.
func isOut(f Finding) bool {
	_, what, _ := strings.Cut(f.Code, ".")
	return f.Problem != "" && slices.Contains([]string{"unreachable", "other-program", "token", "user"}, what)
}

// checkPlace asks the connector to whether it can show the cards of k at the place that the operator
// chose.
func checkPlace(ctx context.Context, k, to chat.Connector) (all []Finding) {
	variable := settings.ConnectorPrefix(k.Name) + "_SHOW: "
	for _, f := range to.CheckPlace(ctx, k.ShowAt.Address) {
		if f.Problem != "" {
			f.Problem = variable + f.Problem
		}
		if f.Warning != "" {
			f.Warning = variable + f.Warning
		}
		all = append(all, Finding{k.Name, f})
	}
	return all
}

// checkUpscope reads the account's counters, because that call has no effect, and compares clocks
// with Upscope.
func checkUpscope(ctx context.Context, client *upscope.Client) []Finding {
	usage, err := client.Usage(ctx)
	if err != nil {
		return []Finding{upscopeFault(err)}
	}
	found := []Finding{ok("upscope.answers", "upscope", "Upscope answers. Customers online now: %d.", usage.Visitors.OnlineNow)}
	if ahead, _ := client.ClockAhead(); ahead.Abs() > rest.ClockTolerance {
		found = append(found, warning("upscope.clock", "upscope", clockRemedy+" Co-browsing works, but the times in the audit log and in links are wrong.",
			"This machine's clock is %s Upscope's.", rest.ClockDifference(ahead)))
	}
	return found
}

// upscopeFault says why Upscope cannot be used. The codes of refusals are those of
// cobrowsingapi.com/docs/rest-api/authentication.
func upscopeFault(err error) Finding {
	const about, renew = "upscope", "Renew the Upscope subscription."
	refused, _ := errors.AsType[*upscope.Error](err)
	reason := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "upscope: usage: "), "service failed or sent an unexpected answer: ")
	switch {
	case errors.Is(err, upscope.ErrUnauthorized):
		switch refused.Code {
		case "no_subscription", "subscription_expired":
			return problem("upscope.subscription", about, renew, "Upscope does not accept UPSCOPE_API_KEY: %s.", refused.Code)
		case "api_not_enabled":
			return problem("upscope.plan", about, "Ask Upscope for a plan with REST access.", "Upscope does not accept UPSCOPE_API_KEY: %s.", refused.Code)
		case "please_contact_team":
			return problem("upscope.account", about, "Contact Upscope: they have restricted the account.", "Upscope does not accept UPSCOPE_API_KEY: %s.", refused.Code)
		}
		detail := ""
		if refused.Code == "invalid_api_key" { // a code that is not known is left out
			detail = ": " + refused.Code
		}
		return problem("upscope.key", about, "Make a new secret REST key in Upscope's dashboard (cobrowsingapi.com/docs/rest-api/authentication). Do not use the public key of the page script.",
			"Upscope does not accept UPSCOPE_API_KEY%s.", detail)
	case errors.Is(err, upscope.ErrRateLimited):
		return warning("upscope.busy", about, "Run the check again in a minute.", "Upscope answers that there are too many requests.")
	case refused != nil && refused.Status == http.StatusOK, refused != nil && refused.Status >= 300 && refused.Status < 500:
		return problem("upscope.other", about, "Check UPSCOPE_URL: it must be the address of Upscope's REST API.", "The request to Upscope failed: %s.", reason)
	}
	return problem("upscope.unreachable", about, rest.ProxyRemedy(err, "UPSCOPE_PROXY", "Check UPSCOPE_URL, and that this machine can reach it, if necessary through a proxy: see UPSCOPE_PROXY."), "The request to Upscope failed: %s.", reason)
}

const aboutIssuer = "sign-in"

// checkIssuer reads the issuer's configuration and compares clocks with it.
func checkIssuer(ctx context.Context, c Config) []Finding {
	config := *c.SignIn.OIDC
	config.Log = c.Log
	o, err := signin.NewOIDC(config)
	if err != nil {
		return []Finding{problem("settings.invalid", aboutIssuer, "", "%s.", err)}
	}
	configuration := strings.TrimSuffix(config.Issuer, "/") + "/.well-known/openid-configuration"
	ahead, err := o.Check(ctx)
	switch {
	case errors.Is(err, signin.ErrClock):
		return []Finding{problem("signin.clock", aboutIssuer, clockRemedy, "Agents cannot sign in: %s.", err)}
	case errors.Is(err, signin.ErrUserinfo):
		return []Finding{problem("signin.userinfo", aboutIssuer, "Check userinfo_endpoint in "+configuration+": it must be the address of the userinfo endpoint.",
			"The bridge does not notice when an agent loses access, and has only the claims of the ID token: %s.", err)}
	case err != nil:
		return []Finding{problem("signin.issuer", aboutIssuer, rest.ProxyRemedy(err, "BRIDGE_OIDC_PROXY", "Check BRIDGE_OIDC_ISSUER, and that this machine can reach its /.well-known/openid-configuration. Agents who are signed in stay signed in."),
			"Agents cannot sign in: %s.", err)}
	}
	found := []Finding{ok("signin.answers", aboutIssuer, "The identity provider answers. The redirect address to register there is %s.", c.Origin.JoinPath("signin/callback"))}
	if ahead.Abs() > rest.ClockTolerance {
		found = append(found, warning("signin.clock", aboutIssuer, clockRemedy+" If the difference is more than a minute, agents cannot sign in.",
			"This machine's clock is %s the identity provider's.", rest.ClockDifference(ahead)))
	}
	return found
}
