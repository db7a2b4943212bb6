// Package slack connects the bridge to Slack: a slash command, shortcuts, a mention, the
// app's Home tab, and cards with a button. Open this file first.
//
// Slack sends everything to one address, or through Socket Mode. Both become the same small
// deliveries: who asked for which customer, and where, but no other text. The signature of a
// request proves that Slack sent it for this app, since each app has its own signing secret.
// Slack names the agent, and users.info says whether they may ask: guests, people of other
// companies, bots and closed accounts are refused.
//
// The answer to an agent is an ephemeral message with the button, where they asked, sent
// through the response_url. Slack can neither edit nor find it again, so it stays unchanged
// and is sent only within the first seconds. After the first change, or if it is not known
// whether it was shown, the card continues as a direct message from the app, which is edited
// until the session has ended. The card's Ref says which of the two it is.
//
// Everyone in a channel can press a button there, including people of other companies. So a
// card that is not public has a button without an address in a channel: Slack reports the
// press, signed, and the agent who pressed gets their own answer. If people of other
// companies are or may be in the channel, its cards do not name the visitor.
//
// Slack has no idempotency key for posts, so each post is made once. If its outcome is not
// known, the connector searches for the message by its metadata. That needs im:history for
// direct messages, and channels:history or groups:history for channels. Without the scope
// the post is reported as perhaps posted.
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

	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/rest"

	slackapi "github.com/slack-go/slack"
)

// minSecret is the length of the shortest signing secret in bytes. Slack's have 32.
const minSecret = 16

// callTimeout limits each call of Slack's API.
const callTimeout = 10 * time.Second

// A Config is the configuration of one Slack app.
type Config struct {
	// Name is the connector's configured name, such as "slack".
	Name string
	// Secrets are the accepted signing secrets: one, or two during a change. Each has at
	// least 16 bytes.
	Secrets []*secret.Value
	// BotToken begins with xoxb-.
	BotToken *secret.Value
	// AppToken begins with xapp- and switches Socket Mode on; empty means that Slack calls
	// the bridge.
	AppToken *secret.Value
	// URL is the address of Slack's Web API; nil means https://slack.com/api/.
	URL *url.URL
	// ResponseHosts are the allowed hosts of a response_url; nil means hooks.slack.com and
	// hooks.slack-gov.com.
	ResponseHosts []string
	// AllowGuests lets single-channel and multi-channel guests ask.
	AllowGuests bool
	// Emails says that the bridge looks customers up by their e-mail address, so that the dialog
	// offers it.
	Emails bool
	// Transport carries all requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Route is how the connections of Socket Mode leave this machine.
	Route network.Route
	// Log receives messages for operators; nil discards them.
	Log *slog.Logger
}

// connector holds what the functions of a chat.Connector share.
type connector struct {
	name        string
	secrets     []*secret.Value
	hosts       []string
	allowGuests bool
	emails      bool
	log         *slog.Logger

	http     *http.Client
	base     string // address of the Web API, with a slash at its end
	botToken *secret.Value
	appToken *secret.Value
	route    network.Route

	installations *cache.Cache[installation] // has one value, with the key ""
	agents        *cache.Cache[person]       // by user id
	external      *cache.Cache[bool]         // by channel: whether people of other companies are in it
	directs       *cache.Cache[string]       // by user id: the channel of the direct message
	attempts      *cache.Cache[attempt]      // by digest of card and place
	uses          *cache.Cache[int]          // posts to a response_url so far, by its digest
	turns         turns
	clock         *rest.Clock // of Slack
	connections   openConnections
}

// New checks the configuration and returns the connector. It makes no request. Its error
// reports every fault and holds no secret.
func New(c Config) (chat.Connector, error) {
	c.URL = cmp.Or(c.URL, &url.URL{Scheme: "https", Host: "slack.com", Path: "/api/"})
	if err := c.validate(); err != nil {
		return chat.Connector{}, err
	}
	if c.Transport == nil {
		c.Transport = rest.NewTransport()
	}
	if c.ResponseHosts == nil {
		c.ResponseHosts = []string{"hooks.slack.com", "hooks.slack-gov.com"}
	}
	clock := new(rest.Clock)
	k := &connector{
		name: c.Name, clock: clock, hosts: c.ResponseHosts, allowGuests: c.AllowGuests, emails: c.Emails,
		log:      cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		botToken: c.BotToken, appToken: c.AppToken, secrets: c.Secrets, route: c.Route,
		// slack-go appends the method to the address without adding a slash.
		base: strings.TrimSuffix(c.URL.String(), "/") + "/",
		http: &http.Client{
			Transport: careful{c.Transport, clock},
			Timeout:   callTimeout,
			// Requests carry credentials, so they go only to the configured host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		installations: remember[installation](maxCached, time.Hour),
		agents:        remember[person](maxCached, 10*time.Minute),
		external:      remember[bool](maxCached, time.Minute),
		directs:       remember[string](maxCached, 24*time.Hour),
		attempts:      remember[attempt](maxAttempts, 24*time.Hour),
		uses:          remember[int](maxCached, 2*replyTime),
		turns:         newTurns(),
	}
	conn := chat.Connector{
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
	if c.AppToken != nil {
		conn.Listen, conn.Listening = k.listen, k.connections.down
	}
	return conn, nil
}

// api returns a client with the tokens of now.
func (c *connector) api() *slackapi.Client {
	return slackapi.New(c.botToken.Current(),
		slackapi.OptionHTTPClient(c.http), slackapi.OptionAPIURL(c.base), slackapi.OptionAppLevelToken(c.appToken.Current()))
}

// The forms of tokens (docs.slack.dev/authentication/tokens).
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
		fault(len(strings.TrimSpace(s.Current())) < minSecret, "slack: a signing secret is shorter than %d bytes", minSecret)
	}
	fault(!botToken.MatchString(c.BotToken.Current()), "slack: the bot token does not begin with xoxb-")
	fault(c.AppToken != nil && !appToken.MatchString(c.AppToken.Current()), "slack: the app token does not begin with xapp-")
	if err := rest.CheckBase(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("slack: URL: %w", err))
	}
	fault(c.ResponseHosts != nil && len(c.ResponseHosts) == 0, "slack: no host is allowed for response_url")
	return errors.Join(faults...)
}

// env returns the name of a variable of this connector, such as "SLACK_BOT_TOKEN".
func (c *connector) env(suffix string) string {
	return settings.ConnectorPrefix(c.name) + "_" + suffix
}
