package signin

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// slackIssuer is the issuer of "Sign in with Slack"; its claims are those of
// https://docs.slack.dev/authentication/sign-in-with-slack
const slackIssuer = "https://slack.com"

var (
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

// isTrue reports whether a claim is true; some issuers send it as text.
func (c claims) isTrue(name string) bool {
	value := string(c[name])
	return value == `true` || value == `"true"`
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
		id.Groups = c.names("groups")
	}
	if o.config.Issuer == slackIssuer {
		team, user := c.text("https://slack.com/team_id"), c.text("https://slack.com/user_id")
		if slackTeam.MatchString(team) && slackUser.MatchString(user) {
			id.Slack = team + "/" + user
		}
	}
}

// admit returns ErrDomain or ErrGroup if the person may not sign in.
func (o *OIDC) admit(who Identity) error {
	if len(o.domains) > 0 {
		_, domain, _ := strings.Cut(who.Email, "@")
		if !slices.Contains(o.domains, domain) {
			return ErrDomain
		}
	}
	isMember := func(group string) bool { return slices.Contains(who.Groups, group) }
	if len(o.config.Groups) > 0 && !slices.ContainsFunc(o.config.Groups, isMember) {
		return ErrGroup
	}
	return nil
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
