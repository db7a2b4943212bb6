// Package rocketchat connects the bridge to Rocket.Chat Omnichannel.
//
// It takes the workspace's Omnichannel webhook as a hint, reads the room again
// before it says anything, and shows cards as direct messages from the bridge's
// own user to the agent who serves the chat, or in a channel that the operator
// named. Nothing is ever written to a livechat room, its fields or the answer of
// the webhook: the visitor can read all of those.
//
// Two users keep that promise on the server too: the reader sees livechat rooms
// and never posts, the poster posts and sees none.
package rocketchat

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

const (
	// minSecret is the shortest webhook secret in bytes. The secret is all that
	// tells a delivery from a forged one: Rocket.Chat signs nothing.
	minSecret = 16

	// maxBody is the largest webhook body in bytes. A session event holds the
	// whole visible history of its room.
	maxBody = 8 << 20
)

// A Config is what a workspace's administrator and the bridge agreed on.
type Config struct {
	// Name is the connector's configured name, such as "rocketchat".
	Name string
	// URL is the workspace's address, possibly with a path prefix. Agents open
	// chats there too.
	URL *url.URL
	// Secrets are accepted as X-RocketChat-Livechat-Token: one, or two while
	// the secret is being changed. Each has at least 16 bytes.
	Secrets []string
	// Reader needs the permissions view-l-room and view-livechat-rooms.
	Reader Credential
	// Poster needs the role bot and must not see livechat rooms.
	Poster Credential
	// KeyField is the visitor custom field with the page's key; empty means
	// "upscope_key".
	KeyField string
	// CodeField is the visitor custom field with a lookup code; empty means
	// "upscope_code".
	CodeField string
	// Command is how agents ask by a message; its zero value is not at all.
	Command Command
	// ForwardURL gets every event of the webhook as it came; nil means nobody
	// does. It is https, or http on loopback, without a user.
	ForwardURL *url.URL
	// ForwardTransport carries requests to ForwardURL; nil means
	// rest.NewTransport().
	ForwardTransport http.RoundTripper
	// Transport carries all other requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Log is told what an operator may wonder about; nil discards it.
	Log *slog.Logger
}

// A Credential is a user's id and personal access token
// (developer.rocket.chat, "Personal Access Tokens").
type Credential struct {
	UserID string
	Token  string
}

func (c Credential) header() http.Header {
	return http.Header{"X-User-Id": {c.UserID}, "X-Auth-Token": {c.Token}}
}

// connector is what the functions of a bridge.Connector share.
type connector struct {
	name      string
	site      *url.URL
	secrets   [][32]byte
	keyField  string
	codeField string
	log       *slog.Logger

	commandToken [32]byte
	channels     map[string]bool // by id and by name; nil where there is no command
	forwards     bool

	anyone *rest.Client
	reader *rest.Client
	poster *rest.Client

	readerID   string
	posterID   string
	posterName atomic.Pointer[string] // learned once
	proven     *provenOnly

	// singular is set once a server turned out to have livechat/visitor.info
	// in place of livechat/visitors.info.
	singular atomic.Bool
}

// New checks the configuration, all of it, and returns the connector. It makes
// no request. Its errors hold no value of a secret.
func New(c Config) (bridge.Connector, error) {
	if err := c.validate(); err != nil {
		return bridge.Connector{}, err
	}
	if c.Transport == nil {
		c.Transport = rest.NewTransport()
	}
	k := &connector{
		name:      c.Name,
		site:      c.URL,
		keyField:  cmp.Or(c.KeyField, "upscope_key"),
		codeField: cmp.Or(c.CodeField, "upscope_code"),
		log:       cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		readerID:  c.Reader.UserID,
		posterID:  c.Poster.UserID,
		proven:    newProvenOnly(c.Transport),
	}
	for _, s := range c.Secrets {
		k.secrets = append(k.secrets, digest(s))
	}
	if c.Command.Token != "" {
		k.commandToken, k.channels = digest(c.Command.Token), make(map[string]bool)
		for _, channel := range c.Command.Channels {
			k.channels[strings.TrimPrefix(channel, "#")] = true
		}
	}
	for _, client := range []struct {
		to        **rest.Client
		header    http.Header
		transport http.RoundTripper
	}{
		{&k.anyone, nil, getOnly{c.Transport}},
		{&k.reader, c.Reader.header(), getOnly{c.Transport}},
		{&k.poster, c.Poster.header(), k.proven},
	} {
		made, err := rest.New(rest.Config{Base: c.URL, Header: client.header, Transport: client.transport})
		if err != nil {
			return bridge.Connector{}, err
		}
		*client.to = made
	}
	conn := bridge.Connector{
		Name:    c.Name,
		Title:   "Rocket.Chat",
		Accept:  k.accept,
		MaxBody: maxBody,
		Read:    k.read,
		Show:    k.show,
		Shared:  isChannel,
		Serving: k.serving,
		Check:   k.check,
		Page:    pageScript,
		Listen:  k.listen,

		CheckPlace: k.checkPlace,
	}
	if c.ForwardURL != nil {
		k.forwards = true
		conn.Forward = newForwarder(c.ForwardURL, c.ForwardTransport).forward
	}
	return conn, nil
}

func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Name == "", "rocketchat: the connector has no name")
	if err := rest.CheckBase(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("rocketchat: URL: %w", err))
	}
	fault(len(c.Secrets) == 0 || len(c.Secrets) > 2, "rocketchat: one webhook secret is needed, or two during a change")
	for _, s := range c.Secrets {
		fault(len(strings.TrimSpace(s)) < minSecret, "rocketchat: a webhook secret is shorter than %d bytes", minSecret)
		fault(!headerValue(s), "rocketchat: a webhook secret holds characters that no header can carry")
	}
	for _, u := range []struct {
		who string
		Credential
	}{{"reader", c.Reader}, {"poster", c.Poster}} {
		fault(u.UserID == "" || !headerValue(u.UserID), "rocketchat: the %s has no usable user id", u.who)
		fault(u.Token == "" || !headerValue(u.Token), "rocketchat: the %s has no usable token", u.who)
	}
	fault(c.Reader.UserID != "" && c.Reader.UserID == c.Poster.UserID,
		"rocketchat: reader and poster are one user: it could post where visitors read")
	fault(c.Command.Token != "" && len(strings.TrimSpace(c.Command.Token)) < minSecret,
		"rocketchat: the token of the command is shorter than %d bytes", minSecret)
	fault(c.Command.Token != "" && slices.Contains(c.Secrets, c.Command.Token), "rocketchat: the token of the command is the webhook's secret")
	fault((c.Command.Token == "") != (len(c.Command.Channels) == 0), "rocketchat: a command has a token and at least one channel, or neither")
	for _, channel := range c.Command.Channels {
		fault(!channelName(channel), "rocketchat: a channel of the command is neither an id nor a name")
	}
	if c.ForwardURL != nil {
		// A query is part of many receivers' addresses.
		to := *c.ForwardURL
		to.RawQuery = ""
		if err := rest.CheckBase(&to); err != nil {
			faults = append(faults, fmt.Errorf("rocketchat: forward URL: %w", err))
		}
	}
	return errors.Join(faults...)
}

// channelName reports whether s can be the id or the name of a channel, with or
// without the # before it. An @ would name a person: a direct message has an id
// only.
func channelName(s string) bool {
	s = strings.TrimPrefix(s, "#")
	return s != "" && len(s) <= 128 && s[0] != '@' && s[0] != '#' &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// headerValue reports whether s is printable ASCII without outer spaces, so that
// it arrives in a header as it was written.
func headerValue(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}

// env names a variable of this connector's configuration.
func (c *connector) env(suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(c.name, "-", "_")) + "_" + suffix
}
