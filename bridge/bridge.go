package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/desk"
	"cobrowse-bridge/bridge/door"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/hook"
	"cobrowse-bridge/bridge/match"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/proof"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/bridge/work"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// Config is what New needs. Fields without a stated default are required.
type Config struct {
	// Origin is the public address: scheme and host, no path.
	Origin *url.URL
	// Secret is 32 random bytes, from which the addresses of cards are derived. OldSecret is the
	// previous secret, whose addresses still work; it may be nil.
	Secret, OldSecret []byte

	Store      *store.Store
	Upscope    *upscope.Client
	WatchHosts upscope.Hosts // to which watch links may lead
	Connectors []chat.Connector
	// Eraser deletes people at Upscope when a lead or operator erases them. If it is nil, such
	// requests stay pending until a bridge with an Eraser is started, for at most 30 days.
	Eraser *upscope.Eraser

	// OIDC, or Header (of a proxy that signs agents in), identifies agents. If both are nil, a
	// person with a card's address counts as its agent.
	OIDC   *signin.OIDC
	Header *signin.Header
	// Policy says which agents may do what; nil means policy.Default.
	Policy *policy.File
	// LinkEmail connects a chat account to the agent who signs in with the e-mail address that
	// the chat service has confirmed for it. Without it, agents confirm their account on a page.
	LinkEmail bool

	// A card's address works for LinkLife after the card was last shown where agents do not sign in,
	// and for CardLife where they do.
	LinkLife time.Duration // zero means 30 minutes
	CardLife time.Duration // zero means 8 hours
	// MatchEmail makes the bridge also search visitors by e-mail address. The agent has to
	// confirm each such match.
	MatchEmail bool
	// Sites are the host names of the operator's own pages; subdomains count too. Visitors on other
	// pages are shown with a warning. Without any Sites there are no warnings.
	Sites []string
	// Retention is how long the store keeps finished data. New sets its Keys (of deliveries) to 72 hours.
	Retention store.Retention
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is trusted.
	TrustedProxies []netip.Prefix

	// SettingsFault reports whether a file of settings has a fault, so that the value of before is in use. It
	// is for the metrics; nil means that there is none.
	SettingsFault func() bool
	// Calls are the metrics of calls to services and the database. Nil means that there are none.
	Calls *metrics.Calls
	// Version is the program's version, for the metrics.
	Version string
	// Log is the log for operators; nil discards it.
	Log *slog.Logger

	// For benchmarks: budgets, if set, modifies the default limits, and lookUps, if not zero,
	// replaces lookUpsPerMinute.
	budgets func(*web.Budgets)
	lookUps int
}

// A Bridge connects chats with Upscope sessions. Its HTTP handler stores deliveries, and Run handles
// them.
type Bridge struct {
	web  *web.Web
	hook *hook.Hook
	work *work.Worker
	door *door.Door
	desk *desk.Desk

	store         *store.Store
	upscope       *upscope.Client
	eraser        *erase.Eraser
	connectors    map[string]chat.Connector
	policy        *policy.File
	settingsFault func() bool // may be nil
	retention     store.Retention
	health        *web.Health
	stopping      atomic.Bool
	origin        *url.URL
	proofKeys     proof.Keys
	proofs        *web.Throttle
	metrics       *metrics.Metrics
	router        http.Handler
	log           *slog.Logger
}

const (
	purgeEvery = time.Hour      // how often expired data is deleted
	tidyEvery  = purgeEvery / 6 // how often finished work is deleted, and the index for erasures is continued
	keepKeys   = 72 * time.Hour // of deliveries: longer than any chat service repeats one
	// An agent may make lookUpsPerMinute look-ups of visitors. The same refusal gets at most one
	// audit entry in refusalPause.
	lookUpsPerMinute = 20
	refusalPause     = 10 * time.Second
)

// check returns the connectors by name and the hosts of their chats, or all faults.
func (c *Config) check() (connectors map[string]chat.Connector, chatHosts map[string]upscope.Hosts, err error) {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("bridge: "+format, args...))
		}
	}
	fault(c.Origin == nil || c.Origin.Host == "" || c.Origin.Path != "", "origin must be scheme and host")
	fault(len(c.Secret) != 32, "secret must be 32 bytes")
	fault(c.OldSecret != nil && len(c.OldSecret) != 32, "old secret must be 32 bytes")
	fault(c.Store == nil, "no store")
	fault(c.Upscope == nil, "no Upscope client")
	fault(c.OIDC != nil && c.Header != nil, "OIDC and Header are both set")
	fault(len(c.Connectors) == 0, "no connector")
	connectors, chatHosts = map[string]chat.Connector{}, map[string]upscope.Hosts{}
	for _, conn := range c.Connectors {
		fault(conn.Name == "", "a connector has no name")
		receives := conn.Accept != nil || conn.Listen != nil || conn.Sweep != nil
		fault(receives && conn.Read == nil, "connector %s has Accept, Listen or Sweep, but no Read", conn.Name)
		fault(!receives && conn.Read != nil, "connector %s has Read, but no Accept, Listen or Sweep", conn.Name)
		_, twice := connectors[conn.Name]
		fault(twice, "two connectors have the name %s", conn.Name)
		conn.SweepEvery = cmp.Or(conn.SweepEvery, 2*time.Minute)
		connectors[conn.Name] = conn
		if conn.OpenChat != nil {
			chatHosts[conn.Name], err = upscope.ParseHosts(strings.Join(conn.ChatHosts, ","))
			fault(err != nil, "connector %s: hosts of its chats: %v", conn.Name, err)
		}
	}
	for _, err := range chat.CheckPlaces(connectors, c.signsIn()) {
		fault(true, "%w", err)
	}
	return connectors, chatHosts, errors.Join(faults...)
}

func (c *Config) signsIn() bool { return c.OIDC != nil || c.Header != nil }

// doorLife returns how long a card's address works after the card was last shown.
func (c *Config) doorLife() time.Duration {
	if c.signsIn() {
		return cmp.Or(c.CardLife, 8*time.Hour)
	}
	return cmp.Or(c.LinkLife, 30*time.Minute)
}

// New checks the configuration and returns a Bridge. It starts nothing; see Run.
func New(c Config) (*Bridge, error) {
	connectors, chatHosts, err := c.check()
	if err != nil {
		return nil, err
	}
	targets := []upscope.Hosts{c.WatchHosts}
	for _, name := range slices.Sorted(maps.Keys(chatHosts)) {
		targets = append(targets, chatHosts[name])
	}
	doors, err := book.NewDoorKeys(c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	proofKeys, err := proof.NewKeys(c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	subjects, err := book.NewSubjectKeys(c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	if c.Policy == nil {
		c.Policy = policy.Fixed(policy.Default)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	eraser, err := erase.NewEraser(c.Store, c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	health, budgets := web.NewHealth(c.Store, slices.Sorted(maps.Keys(connectors)), book.ConnectorOf), web.DefaultBudgets()
	if c.budgets != nil {
		c.budgets(&budgets)
	}
	counts := newMetrics(metrics.Config{Version: c.Version, Policy: c.Policy.State, SettingsFault: c.SettingsFault, Calls: c.Calls}, health.Connectors(), budgets)
	reads := scrape{counts, health, c.Store.Figures(), connectors}
	counts.AddParts(c.Log, reads.failures, reads.waiting, reads.cards, reads.sweeps, reads.sessions, reads.auditLog, reads.size)
	limits := web.NewLimits(c.Store, counts)
	lookUps, refusals := web.NewThrottle(cmp.Or(c.lookUps, lookUpsPerMinute), time.Minute), web.NewThrottle(1, refusalPause)

	webServer := web.New(web.Config{
		Origin: c.Origin, CSP: web.ContentPolicy(targets...), OIDC: c.OIDC, Header: c.Header, Proxies: c.TrustedProxies, Metrics: counts, Log: c.Log,
	})
	matcher := match.New(c.Upscope, c.MatchEmail, c.Store, budgets, limits, c.Log)
	cardBook := book.New(book.Config{
		Origin: c.Origin, Store: c.Store, Connectors: connectors, Doors: doors, Subjects: subjects, DoorLife: c.doorLife(), Metrics: counts, Log: c.Log,
	})
	worker := work.New(work.Config{
		Web: webServer, Book: cardBook, Matcher: matcher, Erase: erase.NewUpscopeEraser(c.Store, eraser, c.Upscope, c.Eraser, c.Log),
		Store: c.Store, Upscope: c.Upscope, Hosts: c.WatchHosts, Connectors: connectors, Policy: c.Policy,
		Metrics: counts, Limits: limits, LookUps: lookUps, Refusals: refusals, Log: c.Log,
	})
	doorServer := door.New(door.Config{
		Web: webServer, Book: cardBook, Matcher: matcher, Work: worker,
		Origin: c.Origin, Store: c.Store, Upscope: c.Upscope, Hosts: c.WatchHosts, ChatHosts: chatHosts, Connectors: connectors,
		Policy: c.Policy, LinkEmail: c.LinkEmail, Sites: c.Sites, Metrics: counts, Budgets: budgets, Limits: limits,
		LookUps: lookUps, Refusals: refusals, Log: c.Log,
	})
	b := &Bridge{
		web: webServer, work: worker, door: doorServer,
		hook: hook.New(webServer, c.Store, connectors, counts, c.Log),
		desk: desk.New(desk.Config{
			Web: webServer, Book: cardBook, Matcher: matcher, Work: worker, Door: doorServer,
			Store: c.Store, Connectors: connectors, Hosts: c.WatchHosts, Policy: c.Policy, Health: health,
			Budgets: budgets, Limits: limits, LookUps: lookUps, Eraser: eraser, Metrics: counts, Log: c.Log,
		}),
		store: c.Store, upscope: c.Upscope, eraser: eraser, connectors: connectors, policy: c.Policy, settingsFault: c.SettingsFault, retention: c.Retention, health: health, metrics: counts, log: c.Log,
		origin: c.Origin, proofKeys: proofKeys, proofs: web.NewThrottle(proofsPerMinute, time.Minute),
	}
	b.retention.Keys = keepKeys
	b.router = b.routes()
	return b, nil
}

// Run runs jobs and periodic work until ctx ends. It returns when the jobs that were running then
// are done.
func (b *Bridge) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context){
		b.hook.Run, b.purge, func(ctx context.Context) { b.policy.Follow(ctx, b.log) },
	} {
		group.Go(func() error {
			run(ctx)
			return nil
		})
	}
	group.Go(func() error { return b.work.Run(ctx) })
	return group.Wait()
}

// purge deletes expired data until ctx ends. It deletes nothing while the clock may be wrong; see checkClock.
func (b *Bridge) purge(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	unsure := 0 // how often in a row the clock may have been wrong
	var purged error
	for wait := 0; ; {
		indexed := b.eraser.Index(ctx)
		err := b.checkClock(ctx)
		if err != nil {
			unsure++
		} else {
			unsure = 0
			err = errors.Join(b.store.Jobs().Purge(store.Patient(ctx), time.Now()), b.store.ReduceHandled(ctx, time.Now()))
			if wait == 0 {
				purged, wait = b.store.Purge(ctx, time.Now(), b.retention), int(purgeEvery/tidyEvery)
			}
			wait--
			err = errors.Join(err, purged)
		}
		if err = errors.Join(err, indexed); err != nil && ctx.Err() == nil {
			b.log.ErrorContext(ctx, "expired data not deleted, or index for erasures not continued", "wait", tidyEvery.String(), "err", err)
		}
		if unsure != 1 { // at the start Upscope may not answer for a moment
			b.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: book.BridgeQueue, Kind: book.WorkPurge, Next: time.Now().Add(tidyEvery)}, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// maxClockAhead is how far this machine's clock may be ahead of Upscope's while expired data is deleted.
const maxClockAhead = 24 * time.Hour

// checkClock returns an error if this machine's clock may be so far ahead that data would be deleted before its
// time. It compares the clock with Upscope's, and not with stored times: a bridge with a wrong clock writes such
// times itself. It calls Upscope only if the difference is not known, or too large.
func (b *Bridge) checkClock(ctx context.Context) error {
	ahead, known := b.upscope.ClockAhead()
	if known && ahead < maxClockAhead {
		return nil
	}
	_, failed := b.upscope.Usage(ctx)
	switch ahead, known = b.upscope.ClockAhead(); {
	case known && ahead < maxClockAhead:
		return nil
	case known:
		return fmt.Errorf("the clock of this machine is %s ahead of Upscope's: set it, for instance with NTP", ahead.Round(time.Minute))
	case failed != nil:
		return fmt.Errorf("the clock of this machine cannot be compared with Upscope's: %w", failed)
	}
	return errors.New("the clock of this machine cannot be compared with Upscope's: its answers have no date, or are from a cache")
}

// Metrics serves the metrics for Prometheus, and the probes. Do not serve it to the public.
func (b *Bridge) Metrics() http.Handler {
	served := http.NewServeMux()
	served.Handle("GET /metrics", b.metrics.Handler())
	served.Handle("GET "+web.AlivePath, b)
	served.Handle("GET "+web.ReadyPath, b)
	return served
}

// Stopping makes /readyz answer 503 from now on. Everything else is still answered.
func (b *Bridge) Stopping() { b.stopping.Store(true) }

// EndStreams ends the event streams of open desk pages. Pass it to http.Server.RegisterOnShutdown.
func (b *Bridge) EndStreams() { b.desk.EndStreams() }

// ServeHTTP serves the public routes.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.router.ServeHTTP(w, r) }

func (b *Bridge) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	b.door.Routes(r) // the router tries routes in this order, and most requests are for these two
	b.hook.Routes(r)
	r.Handle(web.AlivePath, b.web.Machine(b.alive)).Methods(http.MethodGet, http.MethodHead)
	r.Handle(web.ReadyPath, b.web.Machine(b.ready)).Methods(http.MethodGet, http.MethodHead)
	r.Handle(proof.Path, b.web.Machine(b.prove)).Methods(http.MethodGet)
	b.work.Routes(r)
	b.desk.Routes(r)
	r.Handle(web.AfterPath, b.web.Page(b.after)).Methods(http.MethodGet, http.MethodHead)
	r.Handle(web.AfterPath+"/{card:[0-9a-f-]{36}}", b.web.Page(b.retry)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/page/{connector}.js", b.web.Machine(b.script)).Methods(http.MethodGet, http.MethodHead)
	r.PathPrefix("/static/").Handler(b.web.Page(b.static)).Methods(http.MethodGet, http.MethodHead)

	r.NotFoundHandler = b.web.Page(func(http.ResponseWriter, *http.Request) error { return web.ErrNoPage })
	b.web.CountRoutes(r)
	r.MethodNotAllowedHandler = b.web.Page(func(http.ResponseWriter, *http.Request) error { return web.ErrMethod })
	return r
}

// retry leads an agent who is signed in back to the card from which a session did not start. Upscope
// offers this address to visitors too, and everybody else sees the page of after, whatever the card.
func (b *Bridge) retry(w http.ResponseWriter, r *http.Request) error {
	if !b.web.SignsIn() || r.Method == http.MethodHead || web.Prefetching(r) || web.Robot(r) {
		return b.after(w, r)
	}
	if _, err := b.web.SignedInAgent(r); err != nil {
		return b.after(w, r)
	}
	web.RedirectWithoutReferrer(w, web.CardPath+mux.Vars(r)["card"]+web.SignedInPage) // to the page, not straight to the screen
	return nil
}

// after is the page to which Upscope leads when a session is over or did not start. Visitors may
// see it too, so it contains nothing about people.
func (b *Bridge) after(w http.ResponseWriter, _ *http.Request) error {
	return b.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindAfter})
}
