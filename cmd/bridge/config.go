package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors"
	"cobrowse-bridge/upscope"
)

// bridgeSettings are the variables of the bridge itself.
type bridgeSettings struct {
	Origin         string `split_words:"true" need:"yes" desc:"public https address of the bridge, without a path"`
	Listen         string `split_words:"true" default:":8080" desc:"address to listen on"`
	MetricsListen  string `split_words:"true" default:"127.0.0.1:9090" desc:"address to serve metrics on, which asks for no password; off for none"`
	Database       string `split_words:"true" default:"sqlite:bridge.db" desc:"sqlite:FILE, or postgres://… for several replicas"`
	Secret         string `split_words:"true" need:"yes" desc:"32 random bytes in base64; seals what is stored"`
	SecretOld      string `split_words:"true" desc:"the secret before, still opening what it sealed"`
	Connectors     string `split_words:"true" need:"yes" desc:"comma list of chat services, such as rocketchat"`
	Signin         string `split_words:"true" default:"link" desc:"who is asking: link (nobody signs in, and a card goes only to the agent it is for), oidc, or header"`
	LinkLife       string `split_words:"true" default:"30m" desc:"how long a card's address works after the card was last shown, where nobody signs in"`
	CardLife       string `split_words:"true" default:"8h" desc:"the same where agents sign in"`
	LinkEmail      string `split_words:"true" default:"false" desc:"connect chat accounts to who signs in with the same confirmed e-mail address, without asking"`
	SessionIdle    string `split_words:"true" default:"8h" desc:"how long a sign-in lasts unused (oidc)"`
	SessionLife    string `split_words:"true" default:"12h" desc:"how long a sign-in lasts (oidc)"`
	PolicyFile     string `split_words:"true" desc:"YAML file that says who may do what; empty: who signs in may watch, stop and look up"`
	KeepCards      string `split_words:"true" default:"30d" desc:"how long a card is kept after its last change"`
	KeepAudit      string `split_words:"true" default:"400d" desc:"how long the record of who watched whom is kept"`
	KeepFailed     string `split_words:"true" default:"14d" desc:"how long deliveries that failed are kept for a retry"`
	MatchEmail     string `split_words:"true" default:"false" desc:"let agents choose visitors by the e-mail address typed in the chat"`
	Sites          string `split_words:"true" desc:"host names of your own pages; visitors on others are shown with a warning"`
	TrustedProxies string `split_words:"true" desc:"proxies in front that may say where a request comes from and, with header, from whom"`
	LogLevel       string `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogFormat      string `split_words:"true" default:"json" desc:"json or text"`
}

// upscopeSettings are the variables of the way to Upscope.
type upscopeSettings struct {
	APIKey     string `split_words:"true" need:"yes" desc:"secret REST key"`
	URL        string `split_words:"true" default:"https://api.upscope.io" desc:"address of the REST API"`
	Version    string `split_words:"true" default:"v1.3" desc:"version of the REST API"`
	WatchHosts string `split_words:"true" desc:"hosts, with their subdomains, that a watch link may lead to, and those that the watch page redirects to: browsers apply form-action to every redirect, and otherwise stay on the co-browse page without a message though a link was made; empty: those of Upscope's brands"`
}

const day = 24 * time.Hour

// switchedOff is the value of a setting whose default is not wanted: an empty one
// counts as not set.
const switchedOff = "off"

// config is what the environment says, checked.
type config struct {
	origin     *url.URL
	listen     string
	metrics    string // address; empty for none
	database   string
	secret     []byte
	secretOld  []byte
	signIn     signInConfig
	policy     *policy.File
	linkLife   time.Duration
	cardLife   time.Duration
	retention  store.Retention
	matchEmail bool
	proxies    []netip.Prefix
	sites      []string
	upscope    *upscope.Client
	eraser     *upscope.Eraser
	watchHosts upscope.Hosts
	connectors []bridge.Connector
	log        *slog.Logger
}

// readConfig reads the environment. All faults are found at once; with any,
// there is no config. Logs go to w, without the secrets.
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
	c.listen = r.Listen("BRIDGE_LISTEN", b.Listen)
	if b.MetricsListen != switchedOff {
		c.metrics = r.Listen("BRIDGE_METRICS_LISTEN", b.MetricsListen)
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
	c.matchEmail = r.Bool("BRIDGE_MATCH_EMAIL", b.MatchEmail)
	c.sites = r.Hosts("BRIDGE_SITES", b.Sites)
	c.proxies = r.Prefixes("BRIDGE_TRUSTED_PROXIES", b.TrustedProxies)
	c.readSignIn(&r, b, o, h)
	c.policy = policyFile(&r, b.PolicyFile)
	level := r.OneOf("BRIDGE_LOG_LEVEL", strings.ToLower(b.LogLevel), "debug", "info", "warn", "error")
	format := r.OneOf("BRIDGE_LOG_FORMAT", b.LogFormat, "json", "text")
	key := r.Secret("UPSCOPE_API_KEY", u.APIKey)
	api := r.URL("UPSCOPE_URL", u.URL)

	clean := bridge.Redact(w)
	c.log = newLog(clean, level, format)
	c.connectors = connectors.Open(&r, "BRIDGE_CONNECTORS", settings.List(b.Connectors), c.signIn.by != byLink, c.log)
	r.Unknown(append(connectors.Prefixes(), "BRIDGE_", "UPSCOPE_")...)
	clean.Hide(r.Secrets()...)

	var err error
	hosts := u.WatchHosts
	if hosts == "" {
		hosts = upscope.DefaultWatchHosts
	}
	if c.watchHosts, err = upscope.ParseHosts(hosts); err != nil {
		r.Fault("UPSCOPE_WATCH_HOSTS", "must be a comma list of host names")
	}
	if key != "" && api != nil {
		c.upscope, c.eraser = client(&r, upscope.Config{
			URL: api.String(), Version: u.Version, Key: key,
			Transport: bridge.Upstream("upscope", upscope.NewTransport(), c.log),
		})
	}
	if faults := r.Faults(); len(faults) > 0 {
		return nil, faults
	}
	return &c, nil
}

// client makes the ways to Upscope. Each setting is tried alone first, so that a
// fault names its variable.
func client(r *settings.Reader, c upscope.Config) (*upscope.Client, *upscope.Eraser) {
	for _, alone := range []struct {
		variable string
		upscope.Config
	}{
		{"UPSCOPE_API_KEY", upscope.Config{Key: c.Key}},
		{"UPSCOPE_URL", upscope.Config{Key: "any", URL: c.URL}},
		{"UPSCOPE_VERSION", upscope.Config{Key: "any", Version: c.Version}},
	} {
		if _, err := upscope.New(alone.Config); err != nil {
			r.Fault(alone.variable, "does not fit: "+strings.TrimPrefix(err.Error(), "upscope: "))
		}
	}
	made, err := upscope.New(c)
	eraser, e := upscope.NewEraser(c)
	if err := errors.Join(err, e); err != nil && len(r.Faults()) == 0 {
		r.Fault("UPSCOPE_…", "does not fit together: "+err.Error())
	}
	return made, eraser
}

// database checks the address of the store, which may hold a password and is
// therefore a secret as a whole.
func database(r *settings.Reader, value string) string {
	scheme, rest, _ := strings.Cut(value, ":")
	switch {
	case scheme == "sqlite" && rest != "":
		return value
	case scheme == "postgres" || scheme == "postgresql":
		if u, err := url.Parse(value); err == nil && u.Host != "" {
			password, _ := u.User.Password()
			r.Hide(password)
			for _, name := range []string{"password", "sslpassword"} { // pgx takes them here as well
				r.Hide(u.Query().Get(name))
			}
			return value
		}
	}
	r.Fault("BRIDGE_DATABASE", "must be sqlite:FILE or postgres://USER@HOST/DATABASE")
	return ""
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var options slog.HandlerOptions
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		options.Level = l
	}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, &options))
	}
	return slog.New(slog.NewJSONHandler(w, &options))
}

// printVariables lists every variable there is.
func printVariables(w io.Writer) error {
	all := settings.Variables("BRIDGE", &bridgeSettings{})
	all = append(all, settings.Variables("BRIDGE_OIDC", &oidcSettings{})...)
	all = append(all, settings.Variables("BRIDGE_HEADER", &headerSettings{})...)
	all = append(all, settings.Variables("UPSCOPE", &upscopeSettings{})...)
	for _, name := range connectors.Names() {
		all = append(all, connectors.Variables(name)...)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tDEFAULT\tREQUIRED\tMEANING")
	for _, v := range all {
		needed := "no"
		if v.Needed {
			needed = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Name, v.Default, needed, v.Meaning)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, "\nEach may be given as NAME_FILE instead: the path of a file with the value.\n"+
		"A second Rocket.Chat named rocketchat-emea has variables that begin with ROCKETCHAT_EMEA_.\n")
	return err
}
