package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	}
	if k.signedIn(ctx, "POSTER", c.poster) {
		k.posterKeptOut(ctx)
	}
	for _, who := range []string{"READER", "POSTER"} {
		if k.limited[who] {
			k.problem("Give that user the role bot, which has api-bypass-rate-limit: ten calls a minute are too few for a desk.",
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
	k.ok("Rocket.Chat %.20s answers.", printable(info.Version))
	return true
}

func (k *checkup) signedIn(ctx context.Context, who string, client *rest.Client) bool {
	var me user
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
	return true
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
		k.problem("Give the reader a role with view-l-room (livechat-monitor has it).",
			"The reader cannot see the custom fields: %v.", err)
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
		k.problem("Give the reader a role with view-l-room and view-livechat-rooms (livechat-monitor has both).",
			"The reader cannot see the livechat rooms: %v.", err)
		return
	}
	k.ok("The reader sees the livechat rooms.")
}

func (k *checkup) posterKeptOut(ctx context.Context) {
	err := k.get(ctx, "POSTER", k.poster, "livechat/rooms", url.Values{"count": {"1"}}, nil)
	r, _ := refused(err)
	switch {
	case err == nil:
		k.problem("Take every role but bot from the poster, so that the server itself keeps it out of chats.",
			"THE POSTER SEES LIVECHAT ROOMS: only the bridge's own guard keeps it from posting where visitors read.")
	case r.forbidden() || r.Status == http.StatusUnauthorized:
		k.ok("The server keeps the poster out of livechat rooms.")
	default:
		k.problem("Run the check again.", "Whether the poster is kept out of livechat rooms is not known: %v.", err)
	}
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
