package main

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/upscope"
)

// bridgeSettings are the variables of the bridge itself.
type bridgeSettings struct {
	Origin         string `split_words:"true" need:"yes" desc:"public https address of the bridge, without a path"`
	Listen         string `split_words:"true" default:":8080" desc:"address to listen on, in plain HTTP; :8080 is on all network interfaces, unix:/run/bridge/http.sock is a socket for a proxy of this machine"`
	MetricsListen  string `split_words:"true" default:"127.0.0.1:9090" desc:"address to serve metrics on, without a password; off: no metrics"`
	Database       string `split_words:"true" default:"sqlite:bridge.db" desc:"sqlite:FILE, or postgres://… for several replicas"`
	Secret         string `split_words:"true" need:"yes" desc:"32 random bytes in base64, as openssl rand -base64 32 makes them, to encrypt the stored data"`
	SecretOld      string `split_words:"true" desc:"previous BRIDGE_SECRET, to read data that it encrypted"`
	Connectors     string `split_words:"true" need:"yes" desc:"comma-separated chat services, such as rocketchat"`
	Signin         string `split_words:"true" default:"link" desc:"how agents sign in: oidc, header (a proxy signs them in), or link (no sign-in, to try the bridge)"`
	LinkLife       string `split_words:"true" default:"30m" desc:"how long a card's link works after the card was last shown; only with BRIDGE_SIGNIN=link"`
	CardLife       string `split_words:"true" default:"8h" desc:"how long a card's link works after the card was last shown; only with BRIDGE_SIGNIN=oidc or header"`
	LinkEmail      string `split_words:"true" default:"false" desc:"connect a chat account to the agent who signs in with the same verified e-mail address, without asking; only with BRIDGE_SIGNIN=oidc or header"`
	SessionIdle    string `split_words:"true" default:"8h" desc:"a sign-in ends after this time without use; only with BRIDGE_SIGNIN=oidc"`
	SessionLife    string `split_words:"true" default:"12h" desc:"a sign-in ends after this time in any case; only with BRIDGE_SIGNIN=oidc"`
	PolicyFile     string `split_words:"true" desc:"YAML file that says who may do what; empty: agents who sign in may watch, stop and look up"`
	KeepCards      string `split_words:"true" default:"30d" desc:"how long a card is kept after its last change"`
	KeepAudit      string `split_words:"true" default:"400d" desc:"how long the audit log is kept"`
	KeepFailed     string `split_words:"true" default:"14d" desc:"how long failed deliveries are kept for a retry"`
	MatchEmail     string `split_words:"true" default:"false" desc:"search customers by e-mail address too; the agent has to confirm each match"`
	Sites          string `split_words:"true" desc:"comma-separated host names of your own pages; customers on other pages are shown with a warning"`
	TrustedProxies string `split_words:"true" desc:"comma-separated IP addresses or networks of your proxies; the bridge believes their X-Forwarded-For and, with BRIDGE_SIGNIN=header, the headers that name the agent"`
	StopDelay      string `split_words:"true" default:"0s" desc:"how long the bridge goes on after SIGTERM while /readyz answers 503, so that proxies that ask it send no more requests"`
	StopTimeout    string `split_words:"true" default:"8s" desc:"how long running requests may take after SIGTERM and the delay"`
	CAFile         string `split_words:"true" desc:"PEM file with certificates that are trusted in addition to the system's, for all calls over HTTPS"`
	Overlap        string `split_words:"true" default:"10m" desc:"how long the former value of a webhook secret is accepted after its file has changed"`
	KillAfter      string `split_words:"true" default:"30s" desc:"after which time your supervisor kills a bridge that it has told to stop; only bridge check reads it, and warns if a stop may take longer"`
	LogLevel       string `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogFormat      string `split_words:"true" default:"json" desc:"json or text"`
}

// upscopeSettings are the variables of the Upscope client.
type upscopeSettings struct {
	APIKey     string `split_words:"true" need:"yes" desc:"secret REST key from Upscope's dashboard, not the public key of the page script"`
	URL        string `split_words:"true" default:"https://api.upscope.io" desc:"address of the REST API"`
	Version    string `split_words:"true" default:"v1.3" desc:"version of the REST API"`
	Proxy      string `split_words:"true" desc:"proxy for calls to Upscope: http://…, https://…, socks5://… or direct; empty: HTTPS_PROXY and NO_PROXY"`
	WatchHosts string `split_words:"true" desc:"comma-separated hosts, with their subdomains, of watch links and of the pages to which they redirect; empty: the hosts of Upscope's brands. A value replaces this list, so name them too; see deploy/README.md"`
}

const day = 24 * time.Hour

const listenExamples = ":8080, 127.0.0.1:8080 or unix:/run/bridge/http.sock"

// switchedOff is the value of a setting that has a default and is not wanted. An empty
// value would give the default.
const switchedOff = "off"

// config has the checked settings.
type config struct {
	origin                 *url.URL
	listen                 string
	metrics                string // address; empty for none
	database               string
	secret                 []byte
	secretOld              []byte
	signIn                 signInConfig
	policy                 *policy.File
	linkLife               time.Duration
	cardLife               time.Duration
	retention              store.Retention
	stopDelay, stopTimeout time.Duration
	killAfter              time.Duration // by the supervisor
	matchEmail             bool
	proxies                []netip.Prefix
	sites                  []string
	upscope                *upscope.Client
	eraser                 *upscope.Eraser
	watchHosts             upscope.Hosts
	connectors             []chat.Connector
	route                  network.Route
	files                  *settings.Files
	calls                  *metrics.Calls
	log                    *slog.Logger
}

// readConfig reads the settings from the environment. It returns all faults at once,
// and a nil config if there is any. The config's log writes to w, without the secrets.
func readConfig(w io.Writer) (*config, []settings.Fault) {
	var (
		r settings.Reader
		b bridgeSettings
		o oidcSettings
		h headerSettings
		u upscopeSettings
		c config
	)
	r.Group("BRIDGE", &b)
	r.Group("BRIDGE_OIDC", &o)
	r.Group("BRIDGE_HEADER", &h)
	r.Group("UPSCOPE", &u)
	c.origin = r.Origin("BRIDGE_ORIGIN", b.Origin)
	c.listen = r.Listen("BRIDGE_LISTEN", b.Listen, listenExamples)
	if b.MetricsListen != switchedOff {
		c.metrics = r.Listen("BRIDGE_METRICS_LISTEN", b.MetricsListen, "127.0.0.1:9090, or "+switchedOff)
	}
	c.database = database(&r, b.Database)
	c.secret = r.Key("BRIDGE_SECRET", b.Secret)
	c.secretOld = r.Key("BRIDGE_SECRET_OLD", b.SecretOld)
	c.linkLife = r.Duration("BRIDGE_LINK_LIFE", b.LinkLife, time.Minute, day)
	c.cardLife = r.Duration("BRIDGE_CARD_LIFE", b.CardLife, time.Minute, 7*day)
	c.retention = store.Retention{
		Cards:  r.Duration("BRIDGE_KEEP_CARDS", b.KeepCards, day, 3650*day),
		Audit:  r.Duration("BRIDGE_KEEP_AUDIT", b.KeepAudit, day, 3650*day),
		Failed: r.Duration("BRIDGE_KEEP_FAILED", b.KeepFailed, day, 30*day), // no job is kept longer
	}
	c.stopDelay = r.Duration("BRIDGE_STOP_DELAY", b.StopDelay, 0, time.Minute)
	c.stopTimeout = r.Duration("BRIDGE_STOP_TIMEOUT", b.StopTimeout, time.Second, 10*time.Minute)
	c.killAfter = r.Duration("BRIDGE_KILL_AFTER", b.KillAfter, time.Second, 30*time.Minute)
	c.matchEmail = r.Bool("BRIDGE_MATCH_EMAIL", b.MatchEmail)
	c.sites = r.Hosts("BRIDGE_SITES", b.Sites)
	c.proxies = r.Prefixes("BRIDGE_TRUSTED_PROXIES", b.TrustedProxies)
	c.route = network.Route{Roots: r.Roots("BRIDGE_CA_FILE", b.CAFile)}
	for _, s := range network.EnvironmentSecrets() {
		r.RedactInLogs(s)
	}
	c.readSignIn(&r, b, o, h)
	c.policy = policyFile(&r, b.PolicyFile)
	level := readLogLevel(&r, b.LogLevel)
	format := r.OneOf("BRIDGE_LOG_FORMAT", b.LogFormat, "json", "text")
	key := r.Secret("UPSCOPE_API_KEY", u.APIKey)
	api := r.URL("UPSCOPE_URL", u.URL)

	c.calls = metrics.NewCalls()
	clean := bridge.NewRedactor(w)
	c.log = newLog(clean, level, format)
	c.files = r.Files()
	c.files.Overlap = r.Duration("BRIDGE_OVERLAP", b.Overlap, 0, 7*day)
	c.files.Redact = func(value string) { clean.AddSecrets(value) }
	if c.signIn.oidc != nil {
		transport := c.route.Through(r.Proxy("BRIDGE_OIDC_PROXY", o.Proxy)).Transport(signin.NewTransport())
		c.signIn.oidc.Transport = rest.Logged("issuer", transport, c.log)
	}
	c.connectors = connectors.Open(&r, "BRIDGE_CONNECTORS", settings.List(b.Connectors), c.signIn.by != byLink, c.matchEmail, c.calls, c.route, c.log)
	r.Unknown(append(connectors.Prefixes(), "BRIDGE_", "UPSCOPE_")...)
	clean.AddSecrets(r.Secrets()...)
	if ignored := r.Ignored(); len(ignored) > 0 {
		c.log.Debug("variables of the platform ignored", "names", ignored)
	}

	var err error
	hosts := netaddr.ASCIIList(u.WatchHosts)
	if hosts == "" {
		hosts = upscope.DefaultWatchHosts
	}
	if c.watchHosts, err = upscope.ParseHosts(hosts); err != nil {
		r.AddFault("UPSCOPE_WATCH_HOSTS", "must be comma-separated host names with at least one dot, without https:// and without an empty entry, such as "+upscope.DefaultWatchHosts)
	}
	if key != "" && api != nil {
		transport := c.route.Through(r.Proxy("UPSCOPE_PROXY", u.Proxy)).Transport(upscope.NewTransport())
		c.upscope, c.eraser = client(&r, upscope.Config{
			URL: api.String(), Version: u.Version, Key: key, KeyNow: r.Live("UPSCOPE_API_KEY", key, keyFault).Current,
			Transport: rest.Routed(upscope.Operation, rest.Upstream("upscope", transport, c.calls, c.log)),
		})
	}
	if faults := r.Faults(); len(faults) > 0 {
		return nil, faults
	}
	return &c, nil
}

// wrongKey is the fault of a key that cannot be sent in a header.
const wrongKey = "contains a space or another character that no key has: copy it again"

// keyFault returns why a value cannot be a key of Upscope, or "".
func keyFault(key string) string {
	if _, err := upscope.New(upscope.Config{Key: key}); err != nil {
		return wrongKey
	}
	return ""
}

// readLogLevel returns the level of the log, which follows the file of BRIDGE_LOG_LEVEL.
func readLogLevel(r *settings.Reader, value string) *slog.LevelVar {
	const variable = "BRIDGE_LOG_LEVEL"
	choices := []string{"debug", "info", "warn", "error"}
	level := new(slog.LevelVar)
	set := func(value string) string {
		if !slices.Contains(choices, strings.ToLower(value)) || level.UnmarshalText([]byte(value)) != nil {
			return "must be one of: " + strings.Join(choices, ", ")
		}
		return ""
	}
	if problem := set(value); problem != "" {
		r.AddFault(variable, problem)
	}
	r.OnChange(variable, set)
	return level
}

// client makes the Upscope client and eraser. It first tries each setting alone, so
// that a fault names its variable.
func client(r *settings.Reader, c upscope.Config) (*upscope.Client, *upscope.Eraser) {
	for _, alone := range []struct {
		variable, problem string
		upscope.Config
	}{
		{"UPSCOPE_API_KEY", wrongKey, upscope.Config{Key: c.Key}},
		{"UPSCOPE_URL", "is not the address of a REST API, such as " + upscope.DefaultURL, upscope.Config{Key: "any", URL: c.URL}},
		{"UPSCOPE_VERSION", "must be v1.2 or a later v1, such as " + upscope.DefaultVersion, upscope.Config{Key: "any", Version: c.Version}},
	} {
		if _, err := upscope.New(alone.Config); err != nil {
			r.AddFault(alone.variable, alone.problem)
		}
	}
	made, err := upscope.New(c)
	eraser, e := upscope.NewEraser(c)
	if err := errors.Join(err, e); err != nil && len(r.Faults()) == 0 {
		r.AddFault("UPSCOPE_URL", "is not valid together with UPSCOPE_API_KEY and UPSCOPE_VERSION: "+err.Error())
	}
	return made, eraser
}

// database checks the address of the store and hides its passwords from the log.
func database(r *settings.Reader, value string) string {
	secrets, err := store.CheckAddress(value)
	if err != nil {
		r.AddFault("BRIDGE_DATABASE", err.Error())
		return ""
	}
	for _, s := range secrets {
		r.RedactInLogs(s)
	}
	return value
}

func newLog(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	options := slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(requestid.Handler(slog.NewTextHandler(w, &options)))
	}
	return slog.New(requestid.Handler(slog.NewJSONHandler(w, &options)))
}
