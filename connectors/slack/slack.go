// Package slack connects the bridge to Slack: a slash command, shortcuts, a
// mention, the app's Home tab, and cards with a button.
//
// Everything that Slack sends comes to one address, or through Socket Mode, and
// becomes the same small deliveries: who asked for whom, where, and nothing else
// of what was written. That a request is Slack's, its signature proves, and with
// it which app's: the signing secret is one app's own. Who an agent is, Slack
// says; whether they may ask is read from users.info. Guests, other companies'
// people, bots and closed accounts are refused.
//
// What an agent asked for is answered where they asked and seen by them alone: an
// ephemeral message through the response_url, with the button. Slack can neither
// edit nor find that message again, so it stays as it was, and is made within the
// first seconds only. From the first change on, or where it is not known whether it
// came, the card goes on as a direct message from the app, which is found and
// edited until the session is over. The card's Ref says which of the two it is.
//
// In a channel everybody can press a button, people of other companies included.
// So unless the card's door asks who comes, a card in a channel has a button
// without an address: the press comes back signed, and whoever pressed gets an
// answer of their own. Where people of other companies are in the channel, or may
// be, its cards say nothing of the visitor.
//
// Slack's posts have no idempotency key. A post is made once; when its outcome is
// not known, the app's own message is looked for by its metadata where Slack
// lets it (direct messages with im:history, channels with channels:history or
// groups:history), and otherwise it is left as perhaps posted.
package slack

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// minSecret is the shortest signing secret in bytes. Slack's have 32.
const minSecret = 16

// callTimeout bounds each call of Slack's API.
const callTimeout = 10 * time.Second

// A Config is what a Slack app and the bridge agreed on.
type Config struct {
	// Name is the connector's configured name, such as "slack".
	Name string
	// Secrets are signing secrets: one, or two while it is being changed. Each
	// has at least 16 bytes.
	Secrets []string
	// BotToken begins with xoxb-.
	BotToken string
	// AppToken begins with xapp- and switches Socket Mode on; empty means that
	// Slack calls the bridge.
	AppToken string
	// URL is the address of Slack's Web API; nil means https://slack.com/api/.
	URL *url.URL
	// ResponseHosts are where a response_url may lead; nil means
	// hooks.slack.com and hooks.slack-gov.com.
	ResponseHosts []string
	// AllowGuests lets single- and multi-channel guests ask.
	AllowGuests bool
	// Transport carries all requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Log is told what an operator may wonder about; nil discards it.
	Log *slog.Logger
}

// connector is what the functions of a bridge.Connector share.
type connector struct {
	name        string
	secrets     [][]byte
	hosts       []string
	allowGuests bool
	log         *slog.Logger

	api      *slackapi.Client
	http     *http.Client
	base     string // of the Web API's addresses
	botToken string
	appToken string

	selves   cache[installation] // one, by ""
	agents   cache[person]       // by user id
	shared   cache[bool]         // whether a channel has people of other companies
	directs  cache[string]       // user id → channel of the direct message
	attempts cache[attempt]      // by card and place
	uses     cache[int]          // of response_urls, by their print
	turns    turns
}

// New checks the configuration, all of it, and returns the connector. It makes
// no request. Its errors hold no value of a secret.
func New(c Config) (bridge.Connector, error) {
	c.URL = cmp.Or(c.URL, &url.URL{Scheme: "https", Host: "slack.com", Path: "/api/"})
	if err := c.validate(); err != nil {
		return bridge.Connector{}, err
	}
	if c.Transport == nil {
		c.Transport = rest.NewTransport()
	}
	if c.ResponseHosts == nil {
		c.ResponseHosts = []string{"hooks.slack.com", "hooks.slack-gov.com"}
	}
	k := &connector{
		name: c.Name, hosts: c.ResponseHosts, allowGuests: c.AllowGuests,
		log:      cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		botToken: c.BotToken, appToken: c.AppToken,
		// slack-go joins the address and the method without a slash between.
		base: strings.TrimSuffix(c.URL.String(), "/") + "/",
		http: &http.Client{
			Transport: careful{c.Transport},
			Timeout:   callTimeout,
			// Requests carry credentials; they go nowhere that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		selves:   cache[installation]{life: time.Hour},
		agents:   cache[person]{life: 10 * time.Minute},
		shared:   cache[bool]{life: time.Minute},
		directs:  cache[string]{life: 24 * time.Hour},
		attempts: cache[attempt]{life: 24 * time.Hour},
		uses:     cache[int]{life: 2 * atOnce},
		turns:    newTurns(),
	}
	for _, s := range c.Secrets {
		k.secrets = append(k.secrets, []byte(s))
	}
	k.api = slackapi.New(c.BotToken,
		slackapi.OptionHTTPClient(k.http), slackapi.OptionAPIURL(k.base), slackapi.OptionAppLevelToken(c.AppToken))
	conn := bridge.Connector{
		Name:   c.Name,
		Title:  "Slack",
		Accept: k.accept,
		Read:   k.read,
		Show:   k.show,
		Shared: isShared,
		Check:  k.check,

		CheckPlace:   k.checkPlace,
		SignsPresses: true,
		SameAccount:  sameAccount,
	}
	if c.AppToken != "" {
		conn.Listen = k.listen
	}
	return conn, nil
}

// Tokens as Slack makes them (docs.slack.dev/authentication/tokens).
var (
	botToken = regexp.MustCompile(`^xoxb-[0-9A-Za-z-]{8,}$`)
	appToken = regexp.MustCompile(`^xapp-[0-9A-Za-z-]{8,}$`)
)

func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Name == "", "slack: the connector has no name")
	fault(len(c.Secrets) == 0 || len(c.Secrets) > 2, "slack: one signing secret is needed, or two during a change")
	for _, s := range c.Secrets {
		fault(len(strings.TrimSpace(s)) < minSecret, "slack: a signing secret is shorter than %d bytes", minSecret)
	}
	fault(!botToken.MatchString(c.BotToken), "slack: the bot token does not begin with xoxb-")
	fault(c.AppToken != "" && !appToken.MatchString(c.AppToken), "slack: the app token does not begin with xapp-")
	if err := rest.CheckBase(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("slack: URL: %w", err))
	}
	fault(c.ResponseHosts != nil && len(c.ResponseHosts) == 0, "slack: no host is allowed for response_url")
	return errors.Join(faults...)
}

// env names a variable of this connector's configuration.
func (c *connector) env(suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(c.name, "-", "_")) + "_" + suffix
}
