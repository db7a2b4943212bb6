package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/connectors/rest"
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

// accessFindings returns who can sign in, and whether a policy file says what they may do.
func (c *config) accessFindings() []finding {
	all := []finding{c.signInFinding()}
	rules := finding{About: "BRIDGE_POLICY_FILE", OK: "The policy file is valid. `bridge policy explain` shows what it lets an agent do."}
	if c.policy.Path() == "" && c.signIn.by != byLink {
		rules.OK = "There is no policy file: every agent who signs in may watch the customers of their own cards, stop sessions and look up customers by code. No agent may open other agents' cards, see failed deliveries, read the audit log or erase people. A policy file can allow it."
	}
	if c.policy.Path() != "" || c.signIn.by != byLink {
		all = append(all, rules)
	}
	names := []string{"desk"}
	for _, k := range c.connectors {
		names = append(names, k.Name)
	}
	for _, part := range c.policy.Current().WithoutEffect(names, c.signIn.by != byLink) {
		all = append(all, finding{About: "BRIDGE_POLICY_FILE", Problem: part, Remedy: "Correct or remove this part of the policy file, or change BRIDGE_CONNECTORS or BRIDGE_SIGNIN."})
	}
	return all
}

// signInFinding returns how agents sign in.
func (c *config) signInFinding() finding {
	f := finding{About: "BRIDGE_SIGNIN"}
	switch s := c.signIn; {
	case s.by == byHeader:
		var addresses []string
		for _, p := range c.proxies {
			addresses = append(addresses, p.String())
		}
		f.OK = fmt.Sprintf("The proxy at %s signs agents in, by the headers %s. It must set or remove each of these headers in every request. Agents must not be able to reach the bridge without the proxy.",
			strings.Join(addresses, ", "), strings.Join(s.headers, ", "))
	case s.by == byOIDC && len(s.oidc.Domains)+len(s.oidc.Groups) > 0:
		f.OK = fmt.Sprintf("Agents sign in at %s, and need %s.", s.oidc.Issuer, s.requirements())
	case s.by == byOIDC && publicIssuers[s.oidc.Issuer] != "" && c.policy.Current().AllowsEveryone():
		f.Problem = "Anyone with " + publicIssuers[s.oidc.Issuer] + " can sign in, and there is no policy file that says who may do what."
		if c.policy.Path() != "" {
			f.Problem = "Anyone with " + publicIssuers[s.oidc.Issuer] + " can sign in, and the policy file has a rule without who, which allows something to everyone."
		}
		f.Remedy = "Name your own domains in BRIDGE_OIDC_DOMAINS."
	case s.by == byOIDC:
		f.OK = fmt.Sprintf("Agents sign in at %s. Anyone with an account there can sign in.", s.oidc.Issuer)
	default:
		f.OK = "Agents do not sign in (BRIDGE_SIGNIN is link): the first person who has a card's link and presses its button counts as its agent."
	}
	return f
}

// requirements lists what an agent needs to sign in.
func (s signInConfig) requirements() string {
	var all []string
	if domains := s.oidc.Domains; len(domains) > 0 {
		all = append(all, "a verified e-mail address at "+strings.Join(domains, " or "))
	}
	if groups := s.oidc.Groups; len(groups) > 0 {
		all = append(all, "membership in the group "+strings.Join(groups, " or "))
	}
	return strings.Join(all, ", and ")
}

// checkIssuer reads the issuer's configuration and compares clocks with it.
func (c *config) checkIssuer(ctx context.Context) finding {
	o, err := c.newOIDC(nil)
	if err == nil {
		err = o.Check(ctx)
	}
	f := finding{About: "sign-in"}
	callback := c.origin.JoinPath("signin/callback").String()
	switch {
	case err == nil:
		f.OK = fmt.Sprintf("The identity provider answers. The redirect address to register there is %s.", callback)
	case errors.Is(err, signin.ErrClock):
		f.Problem = "Agents cannot sign in: " + err.Error() + "."
		f.Remedy = "Set the clock of this machine, for instance with NTP."
	case errors.Is(err, signin.ErrUserinfo):
		f.Problem = "The bridge does not notice when an agent loses access, and has only the claims of the ID token: " + err.Error() + "."
		f.Remedy = "Check userinfo_endpoint in " + strings.TrimSuffix(c.signIn.oidc.Issuer, "/") + "/.well-known/openid-configuration: it must be the address of the userinfo endpoint."
	default:
		f.Problem = "Agents cannot sign in: " + err.Error() + "."
		f.Remedy = rest.ProxyRemedy(err, "BRIDGE_OIDC_PROXY", "Check BRIDGE_OIDC_ISSUER, and that this machine can reach its /.well-known/openid-configuration. Agents who are signed in stay signed in.")
	}
	return f
}
