// Package rocketchat connects the bridge to Rocket.Chat Omnichannel. Open this file first.
//
// A delivery of the Omnichannel webhook only says that something changed: the connector then
// reads the room from the workspace. It shows a card as a direct message from the bridge's
// own user to the agent who serves the chat, or in a channel that the operator configured.
// It never writes to a livechat room, to its fields or into the answer of the webhook,
// because the visitor can read all of those.
//
// It uses two users, so that the server enforces this too: the reader sees livechat rooms
// and never posts, the poster posts and cannot see livechat rooms.
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
	"time"
	"unicode"

	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/rest"
)

const (
	// minSecret is the length of the shortest webhook secret in bytes. Rocket.Chat signs
	// nothing, so the secret alone tells a genuine delivery from a forged one.
	minSecret = 16

	// maxBody is the size of the largest webhook body in bytes. A LivechatSession event
	// holds the whole visible history of its room: 40,000 messages are 9 MB.
	maxBody = 16 << 20
)

// A Config is the configuration of one workspace.
type Config struct {
	// Name is the connector's configured name, such as "rocketchat".
	Name string
	// URL is the workspace's address, possibly with a path. Links to chats begin with it.
	URL *url.URL
	// Secrets are the accepted values of X-RocketChat-Livechat-Token: one, or two
	// during a change. Each has at least 16 bytes.
	Secrets []*secret.Value
	// Reader needs the permissions view-l-room and view-livechat-rooms.
	Reader Credential
	// Poster needs the role bot and must not see livechat rooms.
	Poster Credential
	// KeyField is the visitor custom field with the page's key; empty means "upscope_key".
	KeyField string
	// CodeField is the visitor custom field with a lookup code; empty means "upscope_code".
	CodeField string
	// Command configures the command for agents; the zero value switches it off.
	Command Command
	// ForwardURL receives an unchanged copy of every event of the webhook; nil means that
	// events are not forwarded. It is https, or http on loopback, without a user.
	ForwardURL *url.URL
	// ForwardTransport carries requests to ForwardURL; nil means
	// rest.NewTransport().
	ForwardTransport http.RoundTripper
	// Transport carries all other requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Log receives messages for operators; nil discards them.
	Log *slog.Logger
}

// A Credential is the id and the personal access token of a user (developer.rocket.chat,
// "Personal Access Tokens").
type Credential struct {
	UserID string
	Token  *secret.Value
}

func (c Credential) authorize(h http.Header) {
	h["X-User-Id"], h["X-Auth-Token"] = []string{c.UserID}, []string{c.Token.Current()}
}

// connector holds what the functions of a chat.Connector share.
type connector struct {
	name      string
	site      *url.URL
	secrets   []*secret.Value
	keyField  string
	codeField string
	log       *slog.Logger

	commandToken *secret.Value
	channels     map[string]bool // of the command, by id or name; nil if there is no command
	forwards     bool

	anonymous *rest.Client // without credentials
	reader    *rest.Client
	poster    *rest.Client

	readerID   string
	posterID   string
	posterName atomic.Pointer[string] // the poster's user name; nil until ownName has read it
	proven     *provenOnly
	agents     *cache.Cache[user] // by id

	// singular is set if the server has livechat/visitor.info instead of
	// livechat/visitors.info.
	singular atomic.Bool
}

// New checks the configuration and returns the connector. It makes no request. Its error
// reports every fault and holds no secret.
func New(c Config) (chat.Connector, error) {
	if err := c.validate(); err != nil {
		return chat.Connector{}, err
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
		secrets:   c.Secrets,
		proven:    newProvenOnly(c.Transport),
		agents:    cache.New(cache.Bound, func(user) time.Duration { return agentLife }),
	}
	if c.Command.Token != nil {
		k.commandToken, k.channels = c.Command.Token, make(map[string]bool)
		for _, channel := range c.Command.Channels {
			k.channels[strings.TrimPrefix(channel, "#")] = true
		}
	}
	for _, client := range []struct {
		to        **rest.Client
		authorize func(http.Header)
		transport http.RoundTripper
	}{
		{&k.anonymous, nil, getOnly{c.Transport}},
		{&k.reader, c.Reader.authorize, getOnly{c.Transport}},
		{&k.poster, c.Poster.authorize, k.proven},
	} {
		made, err := rest.New(rest.Config{Base: c.URL, Authorize: client.authorize, Transport: client.transport})
		if err != nil {
			return chat.Connector{}, err
		}
		*client.to = made
	}
	conn := chat.Connector{
		Name:    c.Name,
		Title:   "Rocket.Chat",
		Permit:  k.permit,
		Accept:  k.accept,
		MaxBody: maxBody,
		Read:    k.read,
		Show:    k.show,
		Shared:  isChannel,
		Serving: k.serving,
		Check:   k.check,
		Page:    pageScript,

		CheckPlace: k.checkPlace,
		Sweep:      k.sweep,
		SweepEvery: sweepEvery,
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
	for _, v := range c.Secrets {
		s := v.Current()
		fault(len(strings.TrimSpace(s)) < minSecret, "rocketchat: a webhook secret is shorter than %d bytes", minSecret)
		fault(!headerValue(s), "rocketchat: a webhook secret has characters that a header cannot carry")
	}
	for _, u := range []struct {
		who string
		Credential
	}{{"reader", c.Reader}, {"poster", c.Poster}} {
		fault(u.UserID == "" || !headerValue(u.UserID), "rocketchat: the %s has no usable user id", u.who)
		fault(u.Token.Current() == "" || !headerValue(u.Token.Current()), "rocketchat: the %s has no usable token", u.who)
	}
	fault(c.Reader.UserID != "" && c.Reader.UserID == c.Poster.UserID,
		"rocketchat: reader and poster are the same user, which could then post where visitors read")
	command := c.Command.Token.Current()
	fault(c.Command.Token != nil && len(strings.TrimSpace(command)) < minSecret,
		"rocketchat: the command token is shorter than %d bytes", minSecret)
	fault(c.Command.Token != nil && slices.Contains(secret.AcceptedOf(c.Secrets), command), "rocketchat: the command token is the same as the webhook secret")
	fault((c.Command.Token == nil) != (len(c.Command.Channels) == 0), "rocketchat: the command needs both a token and at least one channel")
	for _, channel := range c.Command.Channels {
		fault(!channelName(channel), "rocketchat: a command channel is neither an id nor a name")
	}
	if c.ForwardURL != nil {
		// The addresses of many receivers have a query.
		to := *c.ForwardURL
		to.RawQuery = ""
		if err := rest.CheckBase(&to); err != nil {
			faults = append(faults, fmt.Errorf("rocketchat: forward URL: %w", err))
		}
	}
	return errors.Join(faults...)
}

// channelName reports whether s can be the id or the name of a channel, with or without a
// leading #. A leading @ stands for a user, so it is not accepted.
func channelName(s string) bool {
	s = strings.TrimPrefix(s, "#")
	return s != "" && len(s) <= 128 && s[0] != '@' && s[0] != '#' &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// headerValue reports whether s is printable ASCII without leading and trailing spaces, so
// that a header carries it unchanged.
func headerValue(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}

// env returns the name of a variable of this connector, such as "ROCKETCHAT_URL".
func (c *connector) env(suffix string) string {
	return settings.ConnectorPrefix(c.name) + "_" + suffix
}
