package signin

import (
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// slackIssuer is the issuer of "Sign in with Slack"; its claims are those of
// https://docs.slack.dev/authentication/sign-in-with-slack
const slackIssuer = "https://slack.com"

// groupsLeftOut says why an issuer sends a sign of groups and no groups.
const groupsLeftOut = "the identity provider left the groups out, because the person is in too many"

var (
	slackOrg  = regexp.MustCompile(`^E[A-Z0-9]{1,30}$`)
	slackTeam = regexp.MustCompile(`^[TE][A-Z0-9]{1,30}$`)
	slackUser = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
)

// claims is a JSON object whose members are decoded when needed, such as the claims of a token. Names are
// case-sensitive. text, isTrue and names ignore a member of an unexpected type; has does not.
type claims map[string]json.RawMessage

// has reports whether a claim is present and not null.
func (c claims) has(name string) bool {
	value, ok := c[name]
	return ok && string(value) != "null"
}

// text returns a claim that is a text, or "".
func (c claims) text(name string) string { return asText(c[name]) }

func asText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// isTrue reports whether a claim is true. Some issuers send it as text or as the number 1; the spellings of
// strconv.ParseBool count.
func (c claims) isTrue(name string) bool {
	is, err := strconv.ParseBool(cmp.Or(c.text(name), string(c[name])))
	return err == nil && is
}

// leavesGroupsOut reports whether the claims say that groups are left out because there are too many: by
// _claim_names (OpenID Connect Core, 5.6.2) or hasgroups, as Entra does
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference#groups-overage-claim).
func (c claims) leavesGroupsOut() bool {
	elsewhere := claims{}
	return json.Unmarshal(c["_claim_names"], &elsewhere) == nil && elsewhere.has("groups") || c.isTrue("hasgroups")
}

// names returns a claim that is a list of texts, or a single text.
func (c claims) names(name string) []string {
	if one := c.text(name); one != "" {
		return []string{one}
	}
	var items []json.RawMessage
	if json.Unmarshal(c[name], &items) != nil {
		return nil
	}
	var names []string
	for _, item := range items {
		if text := asText(item); text != "" {
			names = append(names, text)
		}
	}
	return names
}

// idOf returns the id of a subject of the issuer. The subject is percent-encoded, so that
// a slash in it cannot make it the id of another issuer.
func idOf(issuer *url.URL, subject string) string {
	return idPrefix(issuer) + url.PathEscape(subject)
}

// isIDOf reports whether id belongs to the issuer.
func isIDOf(issuer *url.URL, id string) bool {
	subject, found := strings.CutPrefix(id, idPrefix(issuer))
	return found && !strings.Contains(subject, "/")
}

func idPrefix(issuer *url.URL) string {
	return "oidc:" + issuer.Host + strings.TrimSuffix(issuer.Path, "/") + "/"
}

// update sets the fields of id for which c has a claim. preferred_username is used only if there is no name.
func (o *OIDC) update(id *Identity, c claims) {
	if name := cleanName(c.text("name")); name != "" {
		id.Name = name
	} else if id.Name == "" {
		id.Name = cleanName(c.text("preferred_username"))
	}
	switch {
	case c.has("email"):
		address := cleanEmail(c.text("email"))
		// The same address stays verified if the claims do not mention email_verified.
		verified := c.isTrue("email_verified") || address == id.Email && !c.has("email_verified")
		if !verified {
			address = ""
		}
		id.Email = address
	case c.has("email_verified") && !c.isTrue("email_verified"):
		id.Email = ""
	}
	if c.has("groups") {
		id.Groups, id.GroupsLeftOut = c.names("groups"), c.leavesGroupsOut()
	} else if c.leavesGroupsOut() {
		id.GroupsLeftOut = true
	}
	if o.config.Issuer == slackIssuer {
		team, user := c.text("https://slack.com/team_id"), c.text("https://slack.com/user_id")
		if slackTeam.MatchString(team) && slackUser.MatchString(user) {
			id.Slack = team + "/" + user
		}
		org := c.text("https://slack.com/enterprise_id")
		if slackOrg.MatchString(org) && slackUser.MatchString(user) {
			id.SlackOrg = org + "/" + user
		}
	}
}

// admit returns ErrDomain, ErrGroup or ErrGroupsLeftOut if the person may not sign in. At the level debug it logs what
// it compared.
func (o *OIDC) admit(who Identity) error {
	if len(o.domains) > 0 {
		_, domain, _ := strings.Cut(who.Email, "@")
		if !slices.Contains(o.domains, domain) {
			o.log.Debug("agent refused for the e-mail domain", "agent", who.ID, "verified_domain", domain, "permitted", o.domains)
			return ErrDomain
		}
	}
	isMember := func(group string) bool { return slices.Contains(who.Groups, group) }
	if len(o.config.Groups) == 0 || slices.ContainsFunc(o.config.Groups, isMember) {
		return nil
	}
	o.log.Debug("agent refused for the groups", "agent", who.ID, "groups", loggedGroups(who.Groups), "count", len(who.Groups), "permitted", o.config.Groups)
	if who.GroupsLeftOut {
		return ErrGroupsLeftOut
	}
	return ErrGroup
}

// maxLoggedGroups limits how many groups of a person are logged.
const maxLoggedGroups = 50

// loggedGroups returns the first groups, each cleaned and shortened like a name.
func loggedGroups(groups []string) []string {
	logged := make([]string, 0, min(len(groups), maxLoggedGroups))
	for _, group := range groups[:cap(logged)] {
		logged = append(logged, cleanName(group))
	}
	return logged
}

// plainEmail is an address with one @ and ASCII letters only. Some Unicode letters become ASCII in lower case
// (the Kelvin sign becomes k), which would make it another person's address.
var plainEmail = regexp.MustCompile("^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}$")

// cleanEmail returns the address in lower case, or "" if it does not match plainEmail.
func cleanEmail(address string) string {
	if !plainEmail.MatchString(address) {
		return ""
	}
	return strings.ToLower(address)
}

const maxName = 100 // characters

// cleanName makes a name safe to show: it removes control characters and those that change the writing
// direction, replaces white space by single spaces, and shortens the name.
func cleanName(name string) string {
	name = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Bidi_Control, c), c == unicode.ReplacementChar:
			return -1
		}
		return c
	}, name)
	runes := []rune(strings.Join(strings.Fields(name), " "))
	return string(runes[:min(len(runes), maxName)])
}
