// Package chatvisor connects the bridge to Chatvisor, which has also been sold as
// Xaleon and as TeamViewer Engage.
//
// What the vendor documents is little: how to authenticate, a list of customers,
// and webhooks whose bodies name a customer and a status
// (developers.chatvisor.com). Everything else comes from a file of the operator's,
// and a step that it does not configure is not taken: no path is ever guessed.
//
// A conversation in Chatvisor is read by its customer, so that nothing is shown
// there; cards go where the operator says. Webhooks are not signed. They are known
// by a secret in their address, and taken as hints.
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
	"strings"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// A Config is what a tenant's administrator and the bridge agreed on.
type Config struct {
	// Name is the connector's configured name, such as "chatvisor".
	Name string
	// URL is the address of the REST API; nil means https://app.chatvisor.com/rest/v1.
	URL *url.URL
	// Token is an API key of the tenant.
	Token string
	// TokenFile is where a newer token may be found once this one is refused; empty
	// for nowhere.
	TokenFile string
	// Secrets are accepted in the address of the webhooks: one, or two while it is
	// being changed.
	Secrets []string
	// SignatureSecret proves deliveries where Rules ask for a signature.
	SignatureSecret string
	// Rules are the operator's file; nil means DefaultRules().
	Rules *Rules
	// Transport carries all requests; nil means rest.NewTransport().
	Transport http.RoundTripper
	// Log is told what an operator may wonder about; nil discards it.
	Log *slog.Logger

	now func() time.Time // nil means time.Now
}

const defaultURL = "https://app.chatvisor.com/rest/v1"

// secretForm is that of a secret that stands in an address: 22 characters hold 128
// bits in base64.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)

type connector struct {
	name            string
	secrets         [][32]byte
	printKey        [32]byte
	signatureSecret []byte
	rules           *Rules
	api             *api
	customers       customers
	now             func() time.Time
	log             *slog.Logger

	// hand takes deliveries while listen runs.
	hand atomic.Pointer[func(context.Context, bridge.Delivery) error]
}

// New checks the configuration, all of it, and returns the connector. It makes no
// request. Its errors hold no value of a secret.
func New(c Config) (bridge.Connector, error) {
	k, err := newConnector(c)
	if err != nil {
		return bridge.Connector{}, err
	}
	conn := bridge.Connector{
		Name:    c.Name,
		Title:   "Chatvisor",
		Accept:  k.accept,
		MaxBody: maxBody,
		Read:    k.read,
		Check:   k.check,
		Listen:  k.listen,
		Page:    pageScript,
	}
	if k.sweeps() {
		conn.Sweep, conn.SweepEvery = k.sweep, k.rules.sweep.interval
	}
	if e := k.rules.endpoints[agentChatURL]; e != nil && e.enabled {
		conn.EnterChat, conn.ChatHosts = k.enterChat, k.rules.chatHosts
	}
	return conn, nil
}

func newConnector(c Config) (*connector, error) {
	if c.Rules == nil {
		c.Rules = DefaultRules()
	}
	if c.URL == nil {
		c.URL, _ = url.Parse(defaultURL)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Transport == nil {
		c.Transport = rest.NewTransport()
	}
	k := &connector{
		name:            c.Name,
		printKey:        digest("print " + c.Token),
		signatureSecret: []byte(c.SignatureSecret),
		rules:           c.Rules,
		api:             newAPI(c),
		now:             c.now,
		log:             cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
	}
	if k.now == nil {
		k.now = time.Now
	}
	for _, s := range c.Secrets {
		k.secrets = append(k.secrets, digest(s))
	}
	return k, nil
}

func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("chatvisor: "+format, args...))
		}
	}
	fault(c.Name == "", "the connector has no name")
	if err := rest.CheckBase(c.URL); err != nil {
		faults = append(faults, fmt.Errorf("chatvisor: URL: %w", err))
	}
	fault(!visible(c.Token), "there is no usable token")
	fault(len(c.Secrets) == 0 || len(c.Secrets) > 2, "one secret of the webhooks is needed, or two during a change")
	for _, s := range c.Secrets {
		fault(!secretForm.MatchString(s), "a secret of the webhooks is not made of 22 to 128 letters, digits, - and _")
	}
	fault((c.Rules.signature != nil) != (c.SignatureSecret != ""), "a signature and its secret go together")
	return errors.Join(faults...)
}

// env names a variable of this connector's configuration.
func (c *connector) env(suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(c.name, "-", "_")) + "_" + suffix
}
