package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Config is what a Bridge is made of. Everything without a stated default is
// required.
type Config struct {
	// Origin is the public address: scheme and host, no path.
	Origin *url.URL
	// Secret is 32 random bytes. It derives the addresses of cards; OldSecret,
	// which may be nil, opens those of the secret before.
	Secret, OldSecret []byte

	Store      *store.Store
	Upscope    *upscope.Client
	WatchHosts upscope.Hosts
	Connectors []Connector
	// Eraser removes people from Upscope when an operator asks for it. With none,
	// such requests wait for a bridge that has one.
	Eraser *upscope.Eraser

	// LinkLife is how long a door opens after its card was last shown; zero
	// means 30 minutes.
	LinkLife time.Duration
	// MatchEmail lets an agent choose visitors by the e-mail address given in
	// the chat.
	MatchEmail bool
	// Sites are the host names of the operator's own pages, which stand for
	// their subdomains too. Visitors on other pages are shown with a warning;
	// with none named, nobody is.
	Sites []string
	// Retention is how long the store keeps what is done with; keys of
	// deliveries are always kept for 72 h.
	Retention store.Retention
	// TrustedProxies may say where a request comes from with X-Forwarded-For.
	TrustedProxies []netip.Prefix

	// Log is for the operator; nil drops it.
	Log *slog.Logger
}

// A Bridge joins chats to Upscope sessions. It is an http.Handler; Run does the
// work that its handlers have accepted.
type Bridge struct {
	origin     *url.URL
	store      *store.Store
	upscope    *upscope.Client
	eraser     *upscope.Eraser
	hosts      upscope.Hosts
	policy     string // Content-Security-Policy of every page
	connectors map[string]Connector
	doors      doorKeys
	subjects   subjectKeys
	doorLife   time.Duration
	proxies    []netip.Prefix
	sites      []string
	log        *slog.Logger

	finder *finder
	health *health
	router http.Handler

	// intake bounds the bytes of deliveries that are in memory at once.
	intake *semaphore.Weighted

	budgets   budgets
	limits    limits
	looks     *throttle // looks at who is online, by agent
	renewals  *throttle // fresh doors, by card
	callbacks *throttle // Upscope's calls, by card
	refreshed *throttle // looks at whether visitors are online

	// afterPage is where sessions lead when they are over.
	afterPage string
	retention store.Retention
	sessions  sessions
	soon      chan store.Job // see workSoon
	rest      rest
}

// relisten is the pause before a connector that stopped listening does again.
const relisten = 5 * time.Second

// housekeeping is how often what is no longer needed is removed, and keepKeys
// how long a delivery's key is remembered: the longest that any service repeats
// itself, with room to spare.
const (
	housekeeping = time.Hour
	keepKeys     = 72 * time.Hour
)

// New checks the configuration and makes a Bridge of it. It starts nothing.
func New(c Config) (*Bridge, error) {
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
	fault(len(c.Connectors) == 0, "no connector")
	connectors := map[string]Connector{}
	for _, conn := range c.Connectors {
		fault(conn.Name == "", "a connector has no name")
		fault((conn.Accept == nil) != (conn.Read == nil) && conn.Listen == nil, "connector %s has only one of Accept and Read", conn.Name)
		_, twice := connectors[conn.Name]
		fault(twice, "two connectors are called %s", conn.Name)
		connectors[conn.Name] = conn
	}
	for _, conn := range c.Connectors {
		if at := conn.ShowAt; at != (Place{}) {
			fault(connectors[at.Connector].Show == nil, "connector %s cannot show its cards at %s", conn.Name, at.Connector)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	doors, err := newDoorKeys(c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	subjects, err := newSubjectKeys(c.Secret, c.OldSecret)
	if err != nil {
		return nil, err
	}
	if c.LinkLife == 0 {
		c.LinkLife = 30 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bridge{
		origin: c.Origin, store: c.Store, upscope: c.Upscope, hosts: c.WatchHosts, policy: contentPolicy(c.WatchHosts),
		eraser: c.Eraser, connectors: connectors, doors: doors, subjects: subjects, doorLife: c.LinkLife, proxies: c.TrustedProxies, sites: c.Sites, log: c.Log,
		finder:    newFinder(c.Upscope, c.MatchEmail),
		health:    newHealth(connectors),
		intake:    semaphore.NewWeighted(intakeBytes),
		budgets:   defaultBudgets(),
		limits:    newLimits(c.Store),
		looks:     newThrottle(20, time.Minute),
		renewals:  newThrottle(1, time.Minute),
		callbacks: newThrottle(1, 30*time.Second),
		refreshed: newThrottle(refreshesPerMinute, time.Minute),
		retention: c.Retention,
		afterPage: c.Origin.JoinPath("after").String(),
		soon:      make(chan store.Job, soonJobs),
		sessions:  sessions{kick: make(chan struct{}, 1)},
	}
	b.retention.Keys = keepKeys
	b.router = b.routes()
	return b, nil
}

// Run does the work that comes in until ctx ends, and returns when the jobs that
// were running then are done.
func (b *Bridge) Run(ctx context.Context) error {
	queues := map[string]int{}
	group, ctx := errgroup.WithContext(ctx)
	for name, c := range b.connectors {
		queues[name] = workers
		if c.Forward != nil {
			queues[name+forwardQueue] = forwardWorkers
		}
		if c.Listen != nil {
			group.Go(func() error {
				b.listen(ctx, c)
				return nil
			})
		}
		if c.Serving != nil {
			group.Go(func() error {
				b.reconcile(ctx, c)
				return nil
			})
		}
	}
	for _, follow := range []func(context.Context){b.keepHouse, b.watchSessions, b.watchReturns, b.workOn} {
		group.Go(func() error {
			follow(ctx)
			return nil
		})
	}
	group.Go(func() error { return b.store.Work(ctx, queues, b.work) })
	return group.Wait()
}

// listen keeps a connector listening. Its failures are its own: the others, and
// the work, go on.
func (b *Bridge) listen(ctx context.Context, c Connector) {
	for ctx.Err() == nil {
		err := c.Listen(ctx, func(ctx context.Context, d Delivery) error {
			return b.accept(ctx, c.Name, d, store.Job{Queue: c.Name, Kind: jobAnswer})
		})
		if ctx.Err() == nil {
			b.log.ErrorContext(ctx, "connector stopped listening", "connector", c.Name, "err", err)
		}
		select {
		case <-time.After(relisten):
		case <-ctx.Done():
		}
	}
}

func (b *Bridge) keepHouse(ctx context.Context) {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		if err := b.store.Purge(ctx, time.Now(), b.retention); err != nil && ctx.Err() == nil {
			b.log.ErrorContext(ctx, "what is past its time could not be removed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ServeHTTP serves the public routes.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.router.ServeHTTP(w, r) }

func (b *Bridge) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.Handle("/hooks/{connector}", b.machine(b.hook))
	r.PathPrefix("/hooks/{connector}/").Handler(b.machine(b.hook))
	r.Handle("/healthz", b.machine(b.alive)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/readyz", b.machine(b.ready)).Methods(http.MethodGet, http.MethodHead)

	r.Handle("/w/{handle}", b.page(b.peekDoor)).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
	r.Handle("/w/{handle}", b.page(b.renewDoor)).Methods(http.MethodPost).Queries("renew", "1")
	r.Handle("/w/{handle}", b.page(b.pressDoor)).Methods(http.MethodPost)
	r.Handle("/w/{handle}/renew", b.page(b.renewDoor)).Methods(http.MethodPost)
	r.Handle("/upscope/ended/{secret}", b.machine(b.ended)).Methods(http.MethodPost)
	r.Handle("/after", b.page(b.after)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/page/{connector}.js", b.machine(b.script)).Methods(http.MethodGet, http.MethodHead)
	r.PathPrefix("/static/").Handler(b.page(b.static)).Methods(http.MethodGet, http.MethodHead)

	r.NotFoundHandler = b.page(func(http.ResponseWriter, *http.Request) error { return errNoPage })
	r.MethodNotAllowedHandler = b.page(func(http.ResponseWriter, *http.Request) error { return errMethod })
	return r
}
