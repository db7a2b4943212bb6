package check

import (
	"strings"

	"cobrowse-bridge/bridge/signin"
)

// publicIssuers sign in everyone with an account that anyone can have, of any employer or none:
// developers.google.com/identity/openid-connect/openid-connect,
// docs.gitlab.com/integration/openid_connect_provider, and the tenant of personal accounts in
// learn.microsoft.com/entra/identity-platform/id-token-claims-reference, claim tid.
var publicIssuers = map[string]string{
	"https://accounts.google.com": "a Google account",
	"https://gitlab.com":          "a GitLab account",
	"https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": "a personal Microsoft account",
}

const aboutPolicy = "BRIDGE_POLICY_FILE"

// access returns who can sign in, and whether a policy file says what they may do.
func access(c Config) []Finding {
	all := []Finding{whoSignsIn(c)}
	switch {
	case c.Policy.Path() != "":
		all = append(all, ok("policy.valid", aboutPolicy, "The policy file is valid. `bridge policy explain` shows what it lets an agent do."))
	case !c.SignIn.byLink():
		all = append(all, ok("policy.none", aboutPolicy, "There is no policy file: every agent who signs in may watch the customers of their own cards, stop sessions and look up customers by code. No agent may open other agents' cards, see failed deliveries, read the audit log or erase people. A policy file can allow it."))
	}
	names := []string{"desk"}
	for _, k := range c.Connectors {
		names = append(names, k.Name)
	}
	for _, part := range c.Policy.Current().WithoutEffect(names, !c.SignIn.byLink()) {
		all = append(all, problem("policy.no-effect", aboutPolicy, "Correct or remove this part of the policy file, or change BRIDGE_CONNECTORS or BRIDGE_SIGNIN.", "%s", part))
	}
	return all
}

// whoSignsIn returns how agents sign in.
func whoSignsIn(c Config) Finding {
	const code, about = "signin.mode", "BRIDGE_SIGNIN"
	oidc := c.SignIn.OIDC
	switch {
	case c.SignIn.Headers != nil:
		var addresses []string
		for _, p := range c.Proxies {
			addresses = append(addresses, p.String())
		}
		return ok(code, about, "The proxy at %s signs agents in, by the headers %s. It must set or remove each of these headers in every request. Agents must not be able to reach the bridge without the proxy.",
			strings.Join(addresses, ", "), strings.Join(c.SignIn.Headers, ", "))
	case oidc == nil:
		return ok(code, about, "Agents do not sign in (BRIDGE_SIGNIN is link): the first person who has a card's link and presses its button counts as its agent.")
	case len(oidc.Domains)+len(oidc.Groups) > 0:
		return ok(code, about, "Agents sign in at %s, and need %s.", oidc.Issuer, requirements(oidc))
	case publicIssuers[oidc.Issuer] != "" && c.Policy.Current().AllowsEveryone():
		why := "there is no policy file that says who may do what"
		if c.Policy.Path() != "" {
			why = "the policy file has a rule without who, which allows something to everyone"
		}
		return problem("signin.public", about, "Name your own domains in BRIDGE_OIDC_DOMAINS.", "Anyone with %s can sign in, and %s.", publicIssuers[oidc.Issuer], why)
	}
	return ok(code, about, "Agents sign in at %s. Anyone with an account there can sign in.", oidc.Issuer)
}

// requirements lists what an agent needs to sign in.
func requirements(oidc *signin.OIDCConfig) string {
	var all []string
	if len(oidc.Domains) > 0 {
		all = append(all, "a verified e-mail address at "+strings.Join(oidc.Domains, " or "))
	}
	if len(oidc.Groups) > 0 {
		all = append(all, "membership in the group "+strings.Join(oidc.Groups, " or "))
	}
	return strings.Join(all, ", and ")
}
