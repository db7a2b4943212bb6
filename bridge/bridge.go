package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
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

	// OIDC or Header says who is asking. With neither, whoever holds a card's
	// address is its agent.
	OIDC   *signin.OIDC
	Header *signin.Header
	// Policy says which agents may do what; nil means policy.Default.
	Policy *policy.File
	// LinkEmail makes an account of a chat service that of whoever signs in with the
	// e-mail address which the service has confirmed. Without it, agents say so
	// themselves.
	LinkEmail bool

	// LinkLife is how long a door opens after its card was last shown where nobody
	// signs in, and CardLife where they do; zero means 30 minutes and 8 hours.
	LinkLife, CardLife time.Duration
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

	// Version of the program is for the metrics.
	Version string
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
	csp        string // Content-Security-Policy of every page
	connectors map[string]Connector
	chats      map[string]upscope.Hosts // where conversations are, by connector
	doors      doorKeys
	subjects   subjectKeys
	doorLife   time.Duration
	oidc       *signin.OIDC
	header     *signin.Header
	policy     *policy.File
	linkEmail  bool
	proxies    []netip.Prefix
	sites      []string
	log        *slog.Logger

	finder  *finder
	health  *health
	metrics *metrics
	router  http.Handler

	// intake bounds the bytes of deliveries that are in memory at once.
	intake *semaphore.Weighted

	overPlan  atomic.Int64 // until when in µs; see overPlanRest
	streams   *streams
	budgets   budgets
	limits    limits
	repeats   *repeats
	looks     *throttle // looks at who is online, by agent
	renewals  *throttle // fresh doors, by card
	callbacks *throttle // Upscope's calls, by card
	refreshed *throttle // looks at whether visitors are online
	refusals  *throttle // records of the same refusal

	// afterPage is where sessions lead when they are over.
	afterPage string
	retention store.Retention
	sessions  sessions
	soon      chan store.Job // see workSoon
	rest      rest
}

// title is what people call a chat service, and which of several it is.
func (b *Bridge) title(connector string) string {
	title := cmp.Or(b.connectors[connector].Title, connector)
	if _, which, ok := strings.Cut(connector, "-"); ok && title != connector {
		title += " (" + which + ")"
	}
	return title
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
	fault(c.OIDC != nil && c.Header != nil, "two ways to sign in")
	fault(len(c.Connectors) == 0, "no connector")
	connectors := map[string]Connector{}
	for _, conn := range c.Connectors {
		fault(conn.Name == "", "a connector has no name")
		hears := conn.Accept != nil || conn.Listen != nil || conn.Sweep != nil
		fault(hears != (conn.Read != nil), "connector %s cannot read what it hears, or hears nothing to read", conn.Name)
		_, twice := connectors[conn.Name]
		fault(twice, "two connectors are called %s", conn.Name)
		conn.SweepEvery = cmp.Or(conn.SweepEvery, 2*time.Minute)
		connectors[conn.Name] = conn
	}
	for _, conn := range c.Connectors {
		if at := conn.ShowAt; at != (Place{}) {
			to := connectors[at.Connector]
			fault(to.Show == nil, "connector %s cannot show its cards at %s", conn.Name, at.Connector)
			fault(to.Shared != nil && to.Shared(at.Address) && !to.SignsPresses && c.OIDC == nil && c.Header == nil,
				"connector %s cannot show its cards at %s:%s unless agents sign in: nobody would know who presses", conn.Name, at.Connector, at.Address)
		}
	}
	chats, leads := map[string]upscope.Hosts{}, []upscope.Hosts{c.WatchHosts}
	for _, conn := range c.Connectors {
		if conn.EnterChat != nil {
			hosts, err := upscope.ParseHosts(strings.Join(conn.ChatHosts, ","))
			fault(err != nil, "connector %s: hosts of its chats: %v", conn.Name, err)
			chats[conn.Name], leads = hosts, append(leads, hosts)
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
	life := cmp.Or(c.LinkLife, 30*time.Minute)
	if c.OIDC != nil || c.Header != nil {
		life = cmp.Or(c.CardLife, 8*time.Hour)
	}
	if c.Policy == nil {
		c.Policy = policy.Fixed(policy.Default)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bridge{
		origin: c.Origin, store: c.Store, upscope: c.Upscope, hosts: c.WatchHosts, csp: contentPolicy(leads...), chats: chats,
		eraser: c.Eraser, connectors: connectors, doors: doors, subjects: subjects, doorLife: life,
		oidc: c.OIDC, header: c.Header, policy: c.Policy, linkEmail: c.LinkEmail, proxies: c.TrustedProxies, sites: c.Sites, log: c.Log,
		finder:    newFinder(c.Upscope, c.MatchEmail),
		health:    newHealth(connectors),
		intake:    semaphore.NewWeighted(intakeBytes),
		budgets:   defaultBudgets(),
		looks:     newThrottle(20, time.Minute),
		renewals:  newThrottle(1, time.Minute),
		callbacks: newThrottle(1, 30*time.Second),
		refreshed: newThrottle(refreshesPerMinute, time.Minute),
		refusals:  newThrottle(1, 10*time.Second),
		streams:   newStreams(),
		repeats:   newRepeats(),
		retention: c.Retention,
		afterPage: c.Origin.JoinPath("after").String(),
		soon:      make(chan store.Job, soonJobs),
		sessions:  sessions{kick: make(chan struct{}, 1)},
	}
	b.metrics = newMetrics(c.Version, b.health, b.policy)
	b.limits = newLimits(c.Store, b.metrics)
	b.retention.Keys = keepKeys
	b.router = b.routes()
	return b, nil
}

// Run does the work that comes in until ctx ends, and returns when the jobs that
// were running then are done.
func (b *Bridge) Run(ctx context.Context) error {
	queues := map[string]int{eraseQueue: workers}
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
		if c.Sweep != nil {
			group.Go(func() error {
				b.sweep(ctx, c)
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
	if b.signsIn() {
		queues[deskName] = workers
	}
	group.Go(func() error {
		b.policy.Follow(ctx, b.log)
		return nil
	})
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
			return b.acceptCounted(ctx, c.Name, d, "")
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

// Metrics serves what is counted, for Prometheus. It is for operators alone.
func (b *Bridge) Metrics() http.Handler { return b.metrics.handler() }

// ServeHTTP serves the public routes.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.router.ServeHTTP(w, r) }

func (b *Bridge) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.Handle("/hooks/{connector}", b.machine(b.hook))
	r.PathPrefix("/hooks/{connector}/").Handler(b.machine(b.hook))
	r.Handle("/healthz", b.machine(b.alive)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/readyz", b.machine(b.ready)).Methods(http.MethodGet, http.MethodHead)

	r.Handle(doorPath+"{handle}", b.page(b.peekDoor)).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
	r.Handle(doorPath+"{handle}", b.onPress(b.renewDoor)).Methods(http.MethodPost).Queries("renew", "1")
	r.Handle(doorPath+"{handle}", b.onPress(b.pressDoor)).Methods(http.MethodPost)
	r.Handle(doorPath+"{handle}/renew", b.onPress(b.renewDoor)).Methods(http.MethodPost)
	r.Handle("/upscope/ended/{secret}", b.machine(b.ended)).Methods(http.MethodPost)
	r.Handle(deskPath, b.atDesk(b.desk)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/events", b.atDesk(b.deskEvents)).Methods(http.MethodGet)
	r.Handle(cardPath+"{id}", b.atDesk(b.deskDoor)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/look-up", b.atDeskFor(policy.LookUp, b.deskLookUp)).Methods(http.MethodPost)
	r.Handle("/desk/tell", b.atDesk(b.deskTell)).Methods(http.MethodPost)
	r.Handle("/desk/unlink", b.atDesk(b.deskUnlink)).Methods(http.MethodPost)
	r.Handle(operationsPath, b.atDeskFor(policy.Operate, b.operations)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/retry", b.atDeskFor(policy.Operate, b.retry)).Methods(http.MethodPost)
	r.Handle("/desk/audit", b.atDeskFor(policy.Audit, b.audit)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/desk/audit/export", b.atDeskFor(policy.Audit, b.exportAudit)).Methods(http.MethodGet)
	r.Handle("/desk/erase", b.atDeskFor(policy.Erase, b.erasePage)).Methods(http.MethodGet, http.MethodHead, http.MethodPost)
	r.Handle(signInPath, b.page(b.signIn)).Methods(http.MethodGet)
	r.Handle("/signin/callback", b.page(b.signedIn)).Methods(http.MethodGet)
	r.Handle("/signout", b.page(b.signOut)).Methods(http.MethodPost)
	r.Handle("/after", b.page(b.after)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/page/{connector}.js", b.machine(b.script)).Methods(http.MethodGet, http.MethodHead)
	r.PathPrefix("/static/").Handler(b.page(b.static)).Methods(http.MethodGet, http.MethodHead)

	r.NotFoundHandler = b.page(func(http.ResponseWriter, *http.Request) error { return errNoPage })
	r.MethodNotAllowedHandler = b.page(func(http.ResponseWriter, *http.Request) error { return errMethod })
	return r
}
