package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// A checkup gathers the findings of one check.
type checkup struct {
	*connector
	found   []bridge.Finding
	limited map[string]bool // by READER or POSTER
}

func (k *checkup) ok(format string, args ...any) {
	k.found = append(k.found, bridge.Finding{OK: fmt.Sprintf(format, args...)})
}

func (k *checkup) problem(remedy, format string, args ...any) {
	k.found = append(k.found, bridge.Finding{Problem: fmt.Sprintf(format, args...), Remedy: remedy})
}

// check asks the workspace what an operator would otherwise hear from an agent:
// whether it is there, whether both users may do what they must, and whether
// the poster may not do what it must not.
func (c *connector) check(ctx context.Context) []bridge.Finding {
	k := &checkup{connector: c, limited: make(map[string]bool)}
	if !k.reachable(ctx) {
		return k.found
	}
	if k.signedIn(ctx, "READER", c.reader) {
		k.fields(ctx)
		k.readerSees(ctx)
		k.webhook(ctx)
	}
	if k.signedIn(ctx, "POSTER", c.poster) {
		k.posterKeptOut(ctx)
	}
	for _, who := range []string{"READER", "POSTER"} {
		if k.limited[who] {
			k.problem("Give that user the role bot: it has api-bypass-rate-limit, without which ten calls a minute are all, and create-d, by which the poster opens direct messages.",
				"The user of %s is rate limited.", c.env(who+"_ID"))
		}
	}
	return k.found
}

func (k *checkup) get(ctx context.Context, who string, client *rest.Client, path string, query url.Values, out any) error {
	header, err := client.Get(ctx, api+path, query, out)
	if header.Get("X-RateLimit-Limit") != "" {
		k.limited[who] = true
	}
	return err
}

func (k *checkup) reachable(ctx context.Context) bool {
	var info struct {
		Version string `json:"version"`
	}
	remedy := fmt.Sprintf("Set %s to the workspace's address, its path included, and see that the bridge may reach it.", k.env("URL"))
	if _, err := k.anyone.Get(ctx, "api/info", nil, &info); err != nil {
		k.problem(remedy, "Rocket.Chat cannot be reached: %v.", err)
		return false
	}
	if info.Version == "" {
		k.problem(remedy, "What answers at the address is not Rocket.Chat.")
		return false
	}
	version := printable(info.Version)
	if major, minor, known := release(info.Version); known && (major < 6 || major == 6 && minor < 12 || major > 9) {
		k.problem("Use a version from 6.12 to 9, or try it with care: look at the customer's side of a chat first.",
			"Rocket.Chat %.20s answers, which this bridge was not made for.", version)
	} else {
		k.ok("Rocket.Chat %.20s answers.", version)
	}
	return true
}

// release reads a version, of which those who may not view statistics are told
// major and minor only.
func release(version string) (major, minor int, known bool) {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(second)
	return major, minor, errMajor == nil && errMinor == nil
}

func (k *checkup) signedIn(ctx context.Context, who string, client *rest.Client) bool {
	var me struct {
		user
		Roles []string `json:"roles"`
	}
	err := k.get(ctx, who, client, "me", nil, &me)
	if err == nil && me.ID == "" {
		err = errors.New("the answer names nobody")
	}
	if err != nil {
		k.problem(fmt.Sprintf("Set %s and %s to the id and a personal access token of that user.", k.env(who+"_ID"), k.env(who+"_TOKEN")),
			"The user of %s cannot sign in: %v.", k.env(who+"_ID"), err)
		return false
	}
	k.ok("%s is the user %s.", k.env(who+"_ID"), printable(me.Username))
	for _, role := range []string{"admin", "livechat-agent"} {
		if slices.Contains(me.Roles, role) {
			k.problem("Take that role from the user: an administrator may do too much, and an agent is given chats.",
				"The user of %s has the role %s.", k.env(who+"_ID"), role)
		}
	}
	return true
}

// lacks reports a user's call that did not work: by the permission that it needs
// if it was refused.
func (k *checkup) lacks(user, permission, role, what string, err error) {
	if r, _ := refused(err); r.forbidden() {
		k.problem(fmt.Sprintf("Give the %s a role with %s (%s has it).", user, permission, role),
			"The %s cannot %s: it lacks the permission %s.", user, what, permission)
		return
	}
	k.problem("Run the check again; if it stays, look at the log of Rocket.Chat.", "Whether the %s can %s is not known: %v.", user, what, err)
}

// fields looks for the two custom fields: the server refuses one that is not
// there, and the page is not told. Without lookup codes a site does well.
func (k *checkup) fields(ctx context.Context) {
	var answer struct {
		Fields []struct {
			ID    string `json:"_id"`
			Scope string `json:"scope"`
		} `json:"customFields"`
	}
	if err := k.get(ctx, "READER", k.reader, "livechat/custom-fields", url.Values{"count": {"100"}}, &answer); err != nil {
		k.lacks("reader", "view-l-room", "livechat-monitor", "see visitors and custom fields", err)
		return
	}
	scopes := make(map[string]string)
	for _, f := range answer.Fields {
		scopes[f.ID] = f.Scope
	}
	for _, f := range []struct {
		field, variable string
		optional        bool
	}{{k.keyField, "FIELD", false}, {k.codeField, "CODE_FIELD", true}} {
		scope, there := scopes[f.field]
		remedy := fmt.Sprintf("Create it in Omnichannel, Custom Fields, with scope Visitor, or name another one in %s.", k.env(f.variable))
		switch {
		case !there && f.optional:
			k.ok("The optional custom field %s is not there: pages cannot hand over lookup codes.", f.field)
		case !there:
			k.problem(remedy, "The custom field %s does not exist.", f.field)
		case scope != "visitor":
			k.problem(remedy, "The custom field %s is not of scope Visitor.", f.field)
		default:
			k.ok("The custom field %s is there.", f.field)
		}
	}
}

func (k *checkup) readerSees(ctx context.Context) {
	if err := k.get(ctx, "READER", k.reader, "livechat/rooms", url.Values{"count": {"1"}}, nil); err != nil {
		k.lacks("reader", "view-livechat-rooms", "livechat-monitor", "see the livechat rooms", err)
	} else {
		k.ok("The reader sees the livechat rooms.")
	}
	var answer struct {
		User user `json:"user"`
	}
	err := k.get(ctx, "READER", k.reader, "users.info", url.Values{"userId": {k.posterID}}, &answer)
	switch {
	case err != nil:
		k.problem("Give the reader a role that sees users, as user or bot does.", "The reader cannot see users: %v.", err)
	case answer.User.ID == k.posterID && answer.User.Type == "":
		k.problem("Give the reader a role that sees users, as user or bot does.", "The reader is not told what kind of account a user has.")
	default:
		k.ok("The reader sees users.")
	}
}

// posterKeptOut asks for what the poster must be refused: the list of all rooms,
// and the custom fields, which also a livechat agent is shown. An agent is given
// chats and may write in those.
func (k *checkup) posterKeptOut(ctx context.Context) {
	for _, route := range []struct{ path, permission, danger string }{
		{"livechat/rooms", "view-livechat-rooms", "THE POSTER SEES LIVECHAT ROOMS"},
		{"livechat/custom-fields", "view-l-room", "THE POSTER IS LET INTO OMNICHANNEL"},
	} {
		err := k.get(ctx, "POSTER", k.poster, route.path, url.Values{"count": {"1"}}, nil)
		r, _ := refused(err)
		switch {
		case err == nil:
			k.problem("Take every role but bot from the poster, so that the server itself keeps it out of chats.",
				"%s (%s): only the bridge's own guard keeps it from posting where visitors read.", route.danger, route.permission)
			return
		case !r.forbidden() && r.Status != http.StatusUnauthorized:
			k.problem("Run the check again.", "Whether the poster is kept out of livechat rooms is not known: %v.", err)
			return
		}
	}
	k.ok("The server keeps the poster out of livechat rooms.")
}

// printable is a word of the server's for an operator's terminal: short, and
// without what terminals act on.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60])
	}
	return s
}
