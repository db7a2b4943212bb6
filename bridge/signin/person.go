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

// claims are what an issuer says of a person. They are read by their exact
// names, and one of an unexpected type says nothing.
type claims map[string]json.RawMessage

func (c claims) has(name string) bool {
	value, ok := c[name]
	return ok && string(value) != "null"
}

func (c claims) text(name string) string {
	var text string
	if json.Unmarshal(c[name], &text) != nil {
		return ""
	}
	return text
}

// yes reports whether a claim is true; some issuers make text of it.
func (c claims) yes(name string) bool {
	value := string(c[name])
	return value == `true` || value == `"true"`
}

// names are a list of text, or one text.
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
		if text := (claims{name: item}).text(name); text != "" {
			names = append(names, text)
		}
	}
	return names
}

// identify makes the id of a subject of the issuer. The subject is
// percent-encoded, so that a slash in it cannot make it another issuer's.
func identify(issuer *url.URL, subject string) string {
	return idPrefix(issuer) + url.PathEscape(subject)
}

// identifies reports whether id is of a subject of the issuer.
func identifies(issuer *url.URL, id string) bool {
	subject, ours := strings.CutPrefix(id, idPrefix(issuer))
	return ours && !strings.Contains(subject, "/")
}

func idPrefix(issuer *url.URL) string {
	return "oidc:" + issuer.Host + strings.TrimSuffix(issuer.Path, "/") + "/"
}

// learn brings who up to date with claims. What they do not speak of stays.
func (o *OIDC) learn(who *Identity, c claims) {
	if name := cleanName(c.text("name")); name != "" {
		who.Name = name
	} else if who.Name == "" {
		who.Name = cleanName(c.text("preferred_username"))
	}
	switch {
	case c.has("email"):
		address := cleanEmail(c.text("email"))
		// An address that was verified stays so until the issuer takes it back.
		known := address == who.Email && !c.has("email_verified")
		if !known && !c.yes("email_verified") {
			address = ""
		}
		who.Email = address
	case c.has("email_verified") && !c.yes("email_verified"):
		who.Email = ""
	}
	if c.has("groups") {
		who.Groups = c.names("groups")
	}
	if o.config.Issuer == slackIssuer {
		team, user := c.text("https://slack.com/team_id"), c.text("https://slack.com/user_id")
		if slackTeam.MatchString(team) && slackUser.MatchString(user) {
			who.Slack = team + "/" + user
		}
	}
}

// admit applies the policy of domains and groups.
func (o *OIDC) admit(who Identity) error {
	if len(o.domains) > 0 {
		_, domain, _ := strings.Cut(who.Email, "@")
		if !slices.Contains(o.domains, domain) {
			return ErrDomain
		}
	}
	in := func(group string) bool { return slices.Contains(who.Groups, group) }
	if len(o.config.Groups) > 0 && !slices.ContainsFunc(o.config.Groups, in) {
		return ErrGroup
	}
	return nil
}

// plainEmail is an address nobody can read in two ways: one @, ASCII only. Some
// letters beyond become ASCII ones in lower case, and so another address.
var plainEmail = regexp.MustCompile("^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}$")

// cleanEmail returns the address in lower case, or nothing if it is not plain.
func cleanEmail(address string) string {
	if !plainEmail.MatchString(address) {
		return ""
	}
	return strings.ToLower(address)
}

const maxName = 100 // characters

// cleanName makes a name fit to be shown: no control characters, none that turn
// the writing direction of what stands beside it, and not too long.
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
