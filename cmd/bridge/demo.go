package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/demo"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"

	"golang.org/x/sync/errgroup"
)

type demoCommand struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address on this machine to listen on; port 0 takes a free port. The default is ${default}."`
}

// Run serves the demo until ctx ends: the real bridge between a help desk and an
// Upscope in memory. The store is in a temporary folder, which is removed at the end.
func (c demoCommand) Run(ctx context.Context, s streams) (err error) {
	refuse := func(sentence string, args ...any) error {
		fmt.Fprintf(s.err, "bridge: "+sentence+"\n", args...)
		return exitStatus(1)
	}
	address, ok := listenAddress(c.Listen)
	if !ok {
		return refuse("--listen must be 127.0.0.1:PORT, with a port up to 65535, not %s: the demo listens on this machine only.", c.Listen)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp4", address.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return refuse("another program listens on %s. Use a free port with: bridge demo --listen 127.0.0.1:0", address)
	case err != nil:
		return refuse("cannot listen on %s: %v.", address, err)
	}
	defer listener.Close()

	folder, err := os.MkdirTemp("", "bridge-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()

	clean := bridge.NewRedactor(s.err)
	log := slog.New(dropExpected{Handler: newLog(clean, slog.LevelWarn, "text").Handler()})
	d, err := newDemo(ctx, listener.Addr().String(), folder, log)
	if err != nil {
		return err
	}
	clean.AddSecrets(d.secrets...)
	fmt.Fprintf(s.out, "The demo is ready. Open %s in a browser.\nThe demo connects to no other machine and stores nothing permanently. Stop it with Ctrl-C.\n", d.origin)
	err = serve(ctx, listener, d, log, stopping{timeout: stopTimeout, endStreams: d.endStreams}, d.run)
	return errors.Join(err, d.store.Close())
}

// listenAddress reads an address to listen on. Only IPv4 loopback is ok: other machines
// cannot reach it, and upscope.ParseHosts admits no IPv6 addresses.
func listenAddress(listen string) (address netip.AddrPort, ok bool) {
	if port, found := strings.CutPrefix(listen, "localhost:"); found {
		listen = "127.0.0.1:" + port
	}
	address, err := netip.ParseAddrPort(listen)
	return address, err == nil && address.Addr().Is4() && address.Addr().IsLoopback()
}

// demoSite serves everything at the demo's one address: the bridge, the help desk's
// page, and stand-ins for Slack, Chatvisor, Upscope and the identity provider.
type demoSite struct {
	origin  *url.URL
	mux     *http.ServeMux
	store   *store.Store
	bridge  *bridge.Bridge
	desk    *demo.HelpDesk
	slack   *slacktest.Page
	secrets []string
}

// Paths of the help desk and the stand-ins. All other paths are the bridge's.
const (
	deskPath    = "/demo"
	upscopePath = "/stand-in/upscope"
	signInPath  = "/stand-in/sign-in"
)

// demoPolicy lets Robin, who is in the group leads, do everything.
const demoPolicy = `rules:
  - name: leads
    who: {groups: [leads]}
    may: [watch, any-card, stop, look-up, operate, audit, erase]
  - name: agents
    may: [watch, stop, look-up]
`

func newDemo(ctx context.Context, host, folder string, log *slog.Logger) (_ *demoSite, err error) {
	d := &demoSite{origin: &url.URL{Scheme: "http", Host: host}, mux: http.NewServeMux()}
	key := rand.Text()
	fake := &standIn{watched: map[string]bool{}}
	fake.Server = upscopetest.New(upscopetest.Options{
		Key: key, WatchBase: d.origin.JoinPath(upscopePath).String(),
		OnEnd: func(session string) {
			if _, err := fake.SendWebhook(ctx, http.DefaultClient, session, upscopetest.Bare); err != nil {
				log.WarnContext(ctx, "end of session not sent to the bridge", "err", err)
			}
		},
	})
	d.desk = demo.NewHelpDesk(demo.Options{
		URL: d.origin.JoinPath(deskPath), Hook: d.origin.JoinPath("hooks/demo").String(), Visitors: fake,
		PageScript: rocketchat.PageScript(), Slack: slackPath + "/", Chatvisor: chatvisorPath + "/", Log: log,
	})
	fake.changed = d.desk.Refresh
	clientSecret := rand.Text()
	issuer := signintest.New(signintest.Config{
		URL: d.origin.JoinPath(signInPath).String(), Redirect: d.origin.JoinPath("signin/callback").String(),
		ClientID: "bridge", ClientSecret: clientSecret,
		Users: []signintest.User{
			{Sub: "robin", Name: "Robin", Email: demo.RobinsEmail, Groups: []string{"leads"}},
			{Sub: "sam", Name: "Sam", Email: "sam@lampandleaf.example", Groups: []string{}},
		},
	})
	d.secrets = append(d.desk.Secrets(), key, clientSecret)

	chats, err := d.desk.Connector("demo", nil)
	if err != nil {
		return nil, err
	}
	slack, err := d.addSlack(log)
	if err != nil {
		return nil, err
	}
	chatvisor, err := d.addChatvisor(log)
	if err != nil {
		return nil, err
	}
	visitors, err := upscope.New(upscope.Config{URL: d.origin.JoinPath(upscopePath).String(), Key: key})
	if err != nil {
		return nil, err
	}
	hosts, err := upscope.ParseHosts(host)
	if err != nil {
		return nil, err
	}
	rules, err := policy.Parse("the demo's policy", []byte(demoPolicy))
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	d.store, err = store.Open(ctx, "sqlite:"+filepath.Join(folder, "bridge.db"), store.Options{Secret: secret, Log: log})
	if err != nil {
		return nil, err
	}
	oidc, err := signin.NewOIDC(signin.OIDCConfig{
		Issuer: d.origin.JoinPath(signInPath).String(), ClientID: "bridge", ClientSecret: clientSecret,
		Origin: d.origin, Secret: secret, Sessions: d.store.AgentSessions(), Log: log,
	})
	if err == nil {
		d.bridge, err = bridge.New(bridge.Config{
			Origin: d.origin, Secret: secret, Store: d.store, Upscope: visitors, WatchHosts: hosts,
			Connectors: []chat.Connector{chats, slack, chatvisor}, OIDC: oidc, Policy: policy.Fixed(rules), LinkEmail: true, Version: version, Log: log,
		})
	}
	if err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	d.mux.Handle("/", d.bridge)
	d.mux.HandleFunc("GET /{$}", d.front)
	d.mux.Handle(deskPath+"/", d.desk)
	d.mux.Handle(upscopePath+"/", http.StripPrefix(upscopePath, fake))
	d.mux.Handle(signInPath+"/", issuer)
	return d, nil
}

// front serves /: the agents' desk to a browser that followed a link, and a redirect to
// the demo's page if the address was typed.
func (d *demoSite) front(w http.ResponseWriter, r *http.Request) {
	site := r.Header.Get("Sec-Fetch-Site") // a browser without this header sends a referrer for links
	if site == "none" || site == "" && r.Referer() == "" {
		http.Redirect(w, r, deskPath+"/", http.StatusFound)
		return
	}
	d.bridge.ServeHTTP(w, r)
}

// ServeHTTP serves one host name, because a site is its host name to a browser.
// Requests with another name, such as localhost, are redirected to it.
func (d *demoSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Host == d.origin.Host:
		d.mux.ServeHTTP(w, r)
	case r.Method == http.MethodGet:
		http.Redirect(w, r, d.origin.String()+deskPath+"/", http.StatusFound)
	default:
		http.Error(w, "The demo is at "+d.origin.String(), http.StatusMisdirectedRequest)
	}
}

func (d *demoSite) endStreams() {
	d.bridge.EndStreams()
	d.slack.EndStreams()
}

func (d *demoSite) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.bridge.Run(ctx) })
	group.Go(func() error { return d.desk.Run(ctx) })
	return group.Wait()
}

// standIn is Upscope in memory, and knows which visitors are being watched.
type standIn struct {
	*upscopetest.Server
	changed func() // called when a session begins or ends

	mu      sync.Mutex
	watched map[string]bool // by the visitor's id
}

// ServeHTTP answers as Upscope and updates watched.
func (u *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &statusWriter{ResponseWriter: w}
	u.Server.ServeHTTP(answer, r)
	session, ended := strings.CutSuffix(r.URL.Path, "/end")
	if !strings.HasPrefix(session, "/session/") || r.Method == http.MethodHead || answer.status >= 400 {
		return
	}
	for _, link := range u.Watches() {
		if strings.HasSuffix(link.URL, session) {
			u.mu.Lock()
			u.watched[link.VisitorID] = !ended
			u.mu.Unlock()
		}
	}
	u.changed()
}

// Watched reports whether an agent watches the visitor.
func (u *standIn) Watched(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.watched[id]
}

// Arrive adds a visitor with this browser and returns the short id.
func (u *standIn) Arrive(b demo.Browser) string {
	id := u.Come(upscope.Visitor{
		Name: b.Name, LastURL: b.Page, LocationCity: b.City, LocationCountryName: b.Country,
		BrowserName: b.Software, DeviceName: b.Device, Identities: []string{b.IntegrationID},
	})
	u.SetIntegrationIDs(id, integrationIDs(b)...)
	if b.Code != "" {
		u.SetLookupCode(id, b.Code)
	}
	return id
}

// integrationIDs are the integration ids of a browser. The browser with a lookup code
// is Ann's at the shop, and has her id at Chatvisor too.
func integrationIDs(b demo.Browser) []string {
	if b.Code == "" {
		return []string{b.IntegrationID}
	}
	return []string{b.IntegrationID, "chatvisor:" + annsID}
}

// Reset replaces the browser's visitor by a new one and returns the new short id.
func (u *standIn) Reset(id string, b demo.Browser) string {
	fresh := u.Server.Reset(id)
	u.SetIntegrationIDs(fresh, integrationIDs(b)...)
	u.SetIdentities(fresh, b.IntegrationID)
	if b.Code != "" {
		u.SetLookupCode(fresh, b.Code)
	}
	return fresh
}

// Identify replaces the visitor's integration ids and identities.
func (u *standIn) Identify(id string, integrations, identities []string) {
	u.SetIntegrationIDs(id, integrations...)
	u.SetIdentities(id, identities...)
}

// SetDown makes all calls fail with 503, or lets them succeed again.
func (u *standIn) SetDown(down bool) {
	u.Heal()
	if down {
		u.Fail(upscopetest.Any, upscopetest.Fault{Status: http.StatusServiceUnavailable}, -1)
	}
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(status)
}

// dropExpected drops log lines about failures of Upscope, which in the demo fails only after a press
// of the button for it, and the page shows the effect. It also drops the line about the new database.
type dropExpected struct {
	slog.Handler
	drop bool
}

func (h dropExpected) Handle(ctx context.Context, r slog.Record) error {
	drop := h.drop || r.Message == store.NewDatabase
	r.Attrs(func(a slog.Attr) bool {
		drop = drop || isUpscopeFailure(a)
		return !drop
	})
	if drop {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h dropExpected) WithAttrs(attrs []slog.Attr) slog.Handler {
	return dropExpected{h.Handler.WithAttrs(attrs), h.drop || slices.ContainsFunc(attrs, isUpscopeFailure)}
}

func (h dropExpected) WithGroup(name string) slog.Handler {
	return dropExpected{h.Handler.WithGroup(name), h.drop}
}

func isUpscopeFailure(a slog.Attr) bool {
	err, ok := a.Value.Any().(error)
	return ok && (errors.Is(err, upscope.ErrOverPlan) || errors.Is(err, upscope.ErrUpstream))
}
