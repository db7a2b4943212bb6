// Package chatvisor connects the bridge to Chatvisor, which has also been sold as
// Xaleon and as TeamViewer Engage.
//
// The vendor documents only how to authenticate, a list of customers, and webhooks
// whose bodies name a customer and a status (developers.chatvisor.com). The operator's
// file configures everything else. The bridge uses no endpoint that is not configured.
//
// Customers read their conversation, so cards are shown elsewhere, at CHATVISOR_SHOW. Webhooks are
// not signed; a secret in their address authenticates them. Read accept.go first, then read.go.
package chatvisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/rest"
)

// A Config has the settings of one tenant of Chatvisor.
type Config struct {
	// Name is the connector's configured name, such as "chatvisor".
	Name string
	// URL is the address of the REST API; nil means https://app.chatvisor.com/rest/v1.
	URL *url.URL
	// Token is an API key of the tenant.
	Token *secret.Value
	// TokenFile is a file that is read again when Chatvisor refuses the token. Empty
	// means that there is none.
	TokenFile string
	// Secrets are accepted in the address of the webhooks: one, or two while the
	// operator changes it.
	Secrets []*secret.Value
	// Rules are the operator's file; nil means rules.Default().
	Rules *rules.Rules
	// Transport carries all requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Log receives log messages; nil discards them.
	Log *slog.Logger

	now func() time.Time // nil means time.Now
}

// DefaultURL is the address of the REST API that the vendor documents.
const DefaultURL = "https://app.chatvisor.com/rest/v1"

// secretForm matches a secret of the webhooks. It is part of an address; 22 characters
// hold 128 bits in base64.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)

type connector struct {
	name           string
	secrets        []*secret.Value
	fingerprintKey [32]byte
	rules          *rules.Rules
	clients        *netaddr.Clients
	api            *api.Client
	customers      *customers
	now            func() time.Time
	log            *slog.Logger

	// deliver stores a delivery. It is nil unless listen runs.
	deliver atomic.Pointer[func(context.Context, chat.Delivery) error]
}

// New checks the whole configuration and returns the connector. It makes no request.
// Its error reports every fault and contains no secret.
func New(c Config) (chat.Connector, error) {
	k, err := newConnector(c)
	if err != nil {
		return chat.Connector{}, err
	}
	conn := chat.Connector{
		Name:    c.Name,
		Title:   "Chatvisor",
		Permit:  k.permit,
		Accept:  k.accept,
		MaxBody: maxBody,
		Read:    k.read,
		Check:   k.check,
		Listen:  k.listen,
		Page:    pageScript,
	}
	if k.canSweep() {
		conn.Sweep, conn.SweepEvery = k.sweep, k.rules.Sweep.Interval
	}
	if e := k.rules.Endpoints[rules.AgentChatURL]; e != nil && e.Enabled {
		conn.OpenChat, conn.ChatHosts = k.openChat, k.rules.ChatHosts
	}
	return conn, nil
}

func newConnector(c Config) (*connector, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	k := &connector{
		name:           c.Name,
		secrets:        c.Secrets,
		fingerprintKey: digest("print " + c.Token.Current()),
		rules:          client.Rules,
		api:            client,
		customers:      newCustomers(),
		now:            c.now,
		log:            cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
	}
	if k.now == nil {
		k.now = time.Now
	}
	k.clients = netaddr.NewClients(k.rules.Proxies, "webhook.trusted_proxies in the file of CHATVISOR_CONFIG", "allow_cidrs refuses its webhooks", k.log)
	return k, nil
}

// Client checks the whole configuration and returns a client of the tenant's API.
func (c Config) Client() (*api.Client, error) {
	if c.Rules == nil {
		c.Rules = rules.Default()
	}
	if c.URL == nil {
		c.URL, _ = url.Parse(DefaultURL)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Transport == nil {
		c.Transport = rest.NewTransport()
	}
	return api.New(api.Config{
		Name: c.Name, URL: c.URL, Token: c.Token, TokenFile: c.TokenFile, Rules: c.Rules, Transport: c.Transport,
	}), nil
}

func (c Config) validate() error {
	var faults []error
	fault := func(failed bool, format string, args ...any) {
		if failed {
			faults = append(faults, fmt.Errorf("chatvisor: "+format, args...))
		}
	}
	fault(c.Name == "", "the connector has no name")
	if err := rest.CheckBase(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("chatvisor: URL: %w", err))
	}
	fault(!rules.Visible(c.Token.Current()), "the token is empty or contains spaces or other characters that are not visible ASCII")
	fault(len(c.Secrets) == 0 || len(c.Secrets) > 2, "set one webhook secret, or two while you change it")
	for _, s := range c.Secrets {
		fault(!secretForm.MatchString(s.Current()), "a webhook secret is not 22 to 128 letters, digits, - and _")
	}
	return errors.Join(faults...)
}
