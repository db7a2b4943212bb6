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

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// A checkup collects the findings of one check.
type checkup struct {
	*connector
	found   []chat.Finding
	limited map[string]bool // whether READER and POSTER are rate limited
}

func (k *checkup) ok(code, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, OK: fmt.Sprintf(format, args...)})
}

func (k *checkup) warning(code, remedy, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, Warning: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (k *checkup) problem(code, remedy, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, Problem: fmt.Sprintf(format, args...), Remedy: remedy})
}

// check asks the workspace whether it answers, whether both users have the rights that they
// need, and whether the poster is kept out of livechat rooms. It changes nothing.
func (c *connector) check(ctx context.Context) []chat.Finding {
	k := &checkup{connector: c, limited: make(map[string]bool)}
	if !k.reachable(ctx) {
		return k.found
	}
	k.writable(ctx)
	if roles, ok := k.signedIn(ctx, "READER", c.reader); ok {
		k.fields(ctx)
		k.readerSees(ctx, slices.Contains(roles, monitorRole))
		k.webhook(ctx)
	}
	if _, ok := k.signedIn(ctx, "POSTER", c.poster); ok {
		k.posterKeptOut(ctx)
	}
	for _, who := range []string{"READER", "POSTER"} {
		if k.limited[who] {
			k.problem("rocketchat.rate-limit", "Give that user the role bot. It has api-bypass-rate-limit, without which only ten calls a minute are allowed, and create-d, with which the poster opens direct messages.",
				"The user of %s is rate limited.", c.env(who+"_ID"))
		}
	}
	return k.found
}

// get makes a call as who, READER or POSTER, and notes whether the user is rate limited.
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
	remedy := fmt.Sprintf("Set %s to the workspace's address, with its path if it has one, and check that the bridge can reach it.", k.env("URL"))
	if _, err := k.anonymous.Get(ctx, "api/info", nil, &info); err != nil {
		k.problem("rocketchat.unreachable", rest.ProxyRemedy(err, k.env("PROXY"), remedy), "Rocket.Chat cannot be reached: %v.", err)
		return false
	}
	if info.Version == "" {
		k.problem("rocketchat.other-program", remedy, "The server at the address is not Rocket.Chat.")
		return false
	}
	version := printable(info.Version)
	if major, minor, ok := release(info.Version); ok && (major < 6 || major == 6 && minor < 12 || major > 9) {
		k.problem("rocketchat.version", "Use a version from 6.12 to 9. To try this version, look at the customer's side of a test chat first.",
			"This bridge does not support Rocket.Chat %.20s.", version)
	} else {
		k.ok("rocketchat.version", "Rocket.Chat %.20s answers.", version)
	}
	return true
}

// airGapped is the public setting with the number of days until the workspace becomes read-only
// unless it reaches Rocket.Chat's cloud: ten after a contact, and -1 with a licence that needs
// none. From airGappedWarning on the server warns its administrators
// (ee/packages/license/src/AirGappedRestriction.ts).
const (
	airGapped        = "Cloud_Workspace_AirGapped_Restrictions_Remaining_Days"
	airGappedWarning = 7
)

// writable checks whether the workspace refuses every message because it has had no contact with
// Rocket.Chat's cloud. Versions before 7.0 do not have the setting.
func (k *checkup) writable(ctx context.Context) {
	var answer struct {
		Settings []struct {
			ID    string `json:"_id"`
			Value any    `json:"value"`
		} `json:"settings"`
	}
	const remedy = "Let the workspace reach Rocket.Chat's cloud, or register it again (Administration, Workspace)."
	_, err := k.anonymous.Get(ctx, api+"settings.public", url.Values{"_id": {airGapped}}, &answer)
	switch r, _ := refused(err); {
	case r.says("invalid-params", "error-invalid-params"):
		return // an old version
	case err != nil:
		k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether the workspace is read-only: %v.", err)
		return
	}
	for _, s := range answer.Settings {
		switch days, ok := s.Value.(float64); {
		case s.ID != airGapped || !ok || days < 0 || days > airGappedWarning:
		case days == 0:
			k.problem("rocketchat.read-only", remedy, "The workspace is read-only, so cards cannot be shown: it has not reached Rocket.Chat's cloud for days.")
		default:
			k.warning("rocketchat.read-only-soon", remedy, "The workspace has not reached Rocket.Chat's cloud for a while, and becomes read-only in %.0f days.", days)
		}
	}
}

// release reads a version such as "7.1.0". Without the right to view statistics the server
// tells only major and minor.
func release(version string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(second)
	return major, minor, errMajor == nil && errMinor == nil
}

// signedIn checks whether the server accepts a user's token, and returns the user's roles.
func (k *checkup) signedIn(ctx context.Context, who string, client *rest.Client) (roles []string, ok bool) {
	var me struct {
		user
		Roles []string `json:"roles"`
	}
	err := k.get(ctx, who, client, "me", nil, &me)
	if err == nil && me.ID == "" {
		err = errors.New("the answer has no user id")
	}
	if r, _ := refused(err); r.secondFactor() {
		k.secondFactor(who)
		return nil, false
	}
	if err != nil {
		k.problem("rocketchat.user", fmt.Sprintf("Set %s and %s to the id and a personal access token of that user.", k.env(who+"_ID"), k.env(who+"_TOKEN")),
			"The user of %s cannot sign in: %v.", k.env(who+"_ID"), err)
		return nil, false
	}
	k.ok("rocketchat.user", "%s is the user %s.", k.env(who+"_ID"), printable(me.Username))
	for _, role := range []string{"admin", "livechat-agent"} {
		if slices.Contains(me.Roles, role) {
			k.problem("rocketchat.role", "Remove that role: an administrator has too many rights, and an agent is assigned chats.",
				"The user of %s has the role %s.", k.env(who+"_ID"), role)
		}
	}
	return me.Roles, true
}

func (k *checkup) secondFactor(who string) {
	k.problem("rocketchat.second-factor", fmt.Sprintf("Make a personal access token with Ignore Two Factor Authentication, and set %s to it.", k.env(who+"_TOKEN")),
		"The token of %s asks for two-factor authentication.", k.env(who+"_ID"))
}

// reportMissing reports a call of the reader that failed. If the server refused it, the finding
// names the permission and a role that has it.
func (k *checkup) reportMissing(permission, role, what string, err error) {
	switch r, _ := refused(err); {
	case r.secondFactor():
		k.secondFactor("READER")
	case r.forbidden():
		k.problem("rocketchat.permission", fmt.Sprintf("Give the reader a role with %s (%s has it).", permission, role),
			"The reader cannot %s: it lacks the permission %s.", what, permission)
	default:
		k.problem("rocketchat.unchecked", "Run the check again. If it fails again, look at the log of Rocket.Chat.", "Could not check whether the reader can %s: %v.", what, err)
	}
}

// fields checks that the two custom fields exist. The server refuses a value for a missing
// field without telling the page. The field for lookup codes is optional.
func (k *checkup) fields(ctx context.Context) {
	var answer struct {
		Fields []struct {
			ID    string `json:"_id"`
			Scope string `json:"scope"`
		} `json:"customFields"`
	}
	if err := k.get(ctx, "READER", k.reader, "livechat/custom-fields", url.Values{"count": {"100"}}, &answer); err != nil {
		k.reportMissing("view-l-room", monitorRole, "see visitors and custom fields", err)
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
		scope, exists := scopes[f.field]
		remedy := fmt.Sprintf("Create it in Omnichannel, Custom Fields, with scope Visitor, or set %s to another field.", k.env(f.variable))
		switch {
		case !exists && f.optional:
			k.ok("rocketchat.field", "The optional custom field %s does not exist: pages cannot send lookup codes.", f.field)
		case !exists:
			k.problem("rocketchat.field", remedy, "The custom field %s does not exist.", f.field)
		case scope != "visitor":
			k.problem("rocketchat.field", remedy, "The custom field %s does not have the scope Visitor.", f.field)
		default:
			k.ok("rocketchat.field", "The custom field %s exists.", f.field)
		}
	}
}

// monitorRole is the built-in role for the reader.
const monitorRole = "livechat-monitor"

// readerSees checks which livechat rooms and users the reader sees.
func (k *checkup) readerSees(ctx context.Context, monitor bool) {
	var rooms struct {
		Total int `json:"total"`
	}
	switch err := k.get(ctx, "READER", k.reader, "livechat/rooms", url.Values{"count": {"1"}}, &rooms); {
	case err != nil:
		k.reportMissing("view-livechat-rooms", monitorRole, "see the livechat rooms", err)
	case monitor && k.hasUnits(ctx):
		k.problem("rocketchat.units", unitsRemedy, "The workspace has business units, and the role %s shows the reader only the chats of its own units: chats whose events were lost are not found.", monitorRole)
	case rooms.Total == 0 && monitor:
		k.ok("rocketchat.rooms", "The reader may list the livechat rooms, but the list is empty. If there have been chats, the workspace has business units that hide them. %s", unitsRemedy)
	case rooms.Total == 0:
		k.ok("rocketchat.rooms", "The reader may list the livechat rooms, but the list is empty: start a test chat and run the check again.")
	default:
		k.ok("rocketchat.rooms", "The reader sees the livechat rooms: %d open and closed ones.", rooms.Total)
	}
	var answer struct {
		User user `json:"user"`
	}
	err := k.get(ctx, "READER", k.reader, "users.info", url.Values{"userId": {k.posterID}}, &answer)
	switch {
	case err != nil:
		k.problem("rocketchat.users", "Give the reader a role that can see users, such as user or bot.", "The reader cannot see users: %v.", err)
	case answer.User.ID == k.posterID && answer.User.Type == "":
		k.problem("rocketchat.users", "Give the reader a role that can see users, such as user or bot.", "The reader cannot see the type of a user's account.")
	default:
		k.ok("rocketchat.users", "The reader sees users.")
	}
}

const unitsRemedy = "Add the reader to every unit as a monitor, or give it a custom role with view-l-room and view-livechat-rooms instead."

// hasUnits reports whether the server tells the reader that there are business units. Only paid
// editions have the route, and the reader may lack the permission for it.
func (k *checkup) hasUnits(ctx context.Context) bool {
	var units struct {
		Total int `json:"total"`
	}
	err := k.get(ctx, "READER", k.reader, "livechat/units", url.Values{"count": {"1"}}, &units)
	if r, _ := refused(err); err != nil && !r.forbidden() && !r.missing() {
		k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether the workspace has business units: %v.", err)
	}
	return err == nil && units.Total > 0
}

// posterKeptOut checks that the server refuses the poster the list of all livechat rooms, and
// the custom fields. A livechat agent can see custom fields too, is assigned chats, and may
// write in them.
func (k *checkup) posterKeptOut(ctx context.Context) {
	for _, route := range []struct{ path, permission, danger string }{
		{"livechat/rooms", "view-livechat-rooms", "The poster sees livechat rooms"},
		{"livechat/custom-fields", "view-l-room", "The poster has access to Omnichannel"},
	} {
		err := k.get(ctx, "POSTER", k.poster, route.path, url.Values{"count": {"1"}}, nil)
		r, _ := refused(err)
		switch {
		case err == nil:
			k.problem("rocketchat.poster-rights", "Remove every role except bot from the poster, so that the server itself keeps it out of chats.",
				"%s (%s), so Rocket.Chat would let it write where customers read.", route.danger, route.permission)
			return
		case !r.forbidden() && r.Status != http.StatusUnauthorized:
			k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether the poster is kept out of livechat rooms: %v.", err)
			return
		}
	}
	k.ok("rocketchat.poster-rights", "The server keeps the poster out of livechat rooms.")
}

// printable makes a text of the server safe for an operator's terminal: at most 60
// characters, all of them printable.
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
