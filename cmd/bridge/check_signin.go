package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/signin"
)

// googleIssuer knows everybody with a Google account, whoever employs them:
// developers.google.com/identity/openid-connect/openid-connect
const googleIssuer = "https://accounts.google.com"

// whoMay says in plain words whom the settings let in, and to what.
func (c *config) whoMay() []finding {
	all := []finding{c.whoAsks()}
	rules := finding{About: "BRIDGE_POLICY_FILE", OK: "The policy file is sound; `bridge policy explain` says what it lets an agent do."}
	if c.policy.Path() == "" && c.signIn.by != byLink {
		rules.OK = "There is no policy file: everybody who signs in may watch the visitors of their own cards, stop sessions and look codes up, and nobody may operate, audit or erase on the desk."
	}
	if c.policy.Path() != "" || c.signIn.by != byLink {
		all = append(all, rules)
	}
	return all
}

// whoAsks says how it is known who is asking.
func (c *config) whoAsks() finding {
	f := finding{About: "BRIDGE_SIGNIN"}
	switch s := c.signIn; {
	case s.by == byHeader:
		var addresses []string
		for _, p := range c.proxies {
			addresses = append(addresses, p.String())
		}
		f.OK = fmt.Sprintf("Agents are whom %s names in %s. Whatever runs there must set or remove each of these headers in every request, and no agent may reach the bridge past it.",
			strings.Join(addresses, ", "), strings.Join(s.headers, ", "))
	case s.by == byOIDC && len(s.oidc.Domains)+len(s.oidc.Groups) > 0:
		f.OK = fmt.Sprintf("Agents sign in at %s, and need %s.", s.oidc.Issuer, s.needed())
	case s.by == byOIDC && s.oidc.Issuer == googleIssuer && c.policy.Path() == "":
		f.Problem = "Anybody with a Google account may sign in: neither domain nor group nor policy keeps strangers out."
		f.Remedy = "Name your own domains in BRIDGE_OIDC_DOMAINS."
	case s.by == byOIDC:
		f.OK = fmt.Sprintf("Agents sign in at %s, and everybody with an account there may.", s.oidc.Issuer)
	default:
		f.OK = "In link mode nobody signs in: whoever holds a card's link and presses its button first is taken for its agent."
	}
	return f
}

func (s signInConfig) needed() string {
	var all []string
	if domains := s.oidc.Domains; len(domains) > 0 {
		all = append(all, "a verified e-mail address at "+strings.Join(domains, " or "))
	}
	if groups := s.oidc.Groups; len(groups) > 0 {
		all = append(all, "to be in "+strings.Join(groups, " or "))
	}
	return strings.Join(all, ", and ")
}

// checkIssuer asks the issuer what it is like.
func (c *config) checkIssuer(ctx context.Context) finding {
	o, err := c.newOIDC(nil)
	if err == nil {
		err = o.Check(ctx)
	}
	f := finding{About: "sign-in"}
	callback := c.origin.JoinPath("signin/callback").String()
	switch {
	case err == nil:
		f.OK = fmt.Sprintf("The sign-in service answers. The redirect address to register there is %s.", callback)
	case errors.Is(err, signin.ErrClock):
		f.Problem = "Nobody can sign in: " + err.Error() + "."
		f.Remedy = "Set the clock of this machine, for instance with NTP."
	default:
		f.Problem = "Nobody can sign in: " + err.Error() + "."
		f.Remedy = "Check BRIDGE_OIDC_ISSUER, whose /.well-known/openid-configuration has to answer, and that this machine reaches it. Who is signed in stays so."
	}
	return f
}
