// Package work runs the jobs: it answers deliveries and commands, shows cards, polls sessions at
// Upscope, updates presence on cards and sweeps. Read work.go first.
package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/match"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/refreshes"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/upscope"
)

// A Worker runs the jobs.
type Worker struct {
	web     *web.Web
	book    *book.Book
	matcher *match.Matcher
	erase   *erase.UpscopeEraser

	store      *store.Store
	upscope    *upscope.Client
	hosts      upscope.Hosts
	connectors map[string]chat.Connector
	policy     *policy.File
	metrics    *metrics.Metrics
	limits     web.Limits
	lookUps    *web.Throttle // look-ups of visitors, by agent
	refusals   *web.Throttle // audit entries about the same refusal
	recorded   *web.Throttle // refusals that are in the audit log, by delivery
	callbacks  *web.Throttle // Upscope's calls, by card
	log        *slog.Logger

	sessions *sessionPolls
	seen     *cache.Cache[card.Session] // sessions as Upscope's list had them lately, by id
	soon     chan jobs.Job              // see WorkSoon
	backoff  backoff
	unlisted map[string]*unlisted // by connector
}

// Config is what New needs. Every field is required.
type Config struct {
	Web     *web.Web
	Book    *book.Book
	Matcher *match.Matcher
	Erase   *erase.UpscopeEraser

	Store   *store.Store
	Upscope *upscope.Client
	// Hosts are the hosts to which links to recordings may lead.
	Hosts      upscope.Hosts
	Connectors map[string]chat.Connector
	Policy     *policy.File
	Metrics    *metrics.Metrics
	Limits     web.Limits
	// Looks limits look-ups of visitors, by agent; Refusals limits audit entries about the same
	// refusal. The co-browse page uses the same throttles.
	LookUps, Refusals *web.Throttle
	Log               *slog.Logger
}

// New returns a Worker.
func New(c Config) *Worker {
	work := &Worker{
		web: c.Web, book: c.Book, matcher: c.Matcher, erase: c.Erase,
		store: c.Store, upscope: c.Upscope, hosts: c.Hosts, connectors: c.Connectors, policy: c.Policy,
		metrics: c.Metrics, limits: c.Limits, lookUps: c.LookUps, refusals: c.Refusals, log: c.Log,
		callbacks: web.NewThrottle(1, 30*time.Second),
		recorded:  web.NewThrottle(1, 24*time.Hour), // longer than a message is tried
		sessions:  newSessionPolls(),
		seen:      cache.New(cache.Bound, func(card.Session) time.Duration { return longPollAtLeast + lateness }),
		soon:      make(chan jobs.Job, soonJobs),
		unlisted:  make(map[string]*unlisted),
	}
	for name := range c.Connectors {
		work.unlisted[name] = new(unlisted)
	}
	return work
}

// forward has the connector forward a delivery, and finishes it.
func (work *Worker) forward(ctx context.Context, c chat.Connector, j jobs.Job) error {
	d, err := work.store.Delivery(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Forward == nil {
		return chat.Permanent(fmt.Errorf("connector %s no longer forwards deliveries: set its FORWARD_URL again, or let the delivery expire", c.Name))
	}
	if err := c.Forward(ctx, chat.Delivery{Key: d.Key, Body: d.Body, Received: d.Received}); err != nil {
		return err
	}
	return work.store.Commit(ctx, store.Change{Finish: d.ID})
}

// workers is how many jobs of one connector run at once. They mostly wait for other services.
const workers = 50

// Routes adds the path that Upscope calls.
func (work *Worker) Routes(r *mux.Router) {
	r.Handle("/upscope/ended/{secret}", work.web.Machine(work.sessionEnded)).Methods(http.MethodPost)
}

// resolveSwitchedOff removes failures of work that a connector no longer does, since its settings have
// changed.
func (work *Worker) resolveSwitchedOff(ctx context.Context, c chat.Connector) {
	for kind, does := range map[string]bool{
		book.WorkSweep: c.Sweep != nil, book.WorkReconcile: c.Serving != nil, book.WorkListen: c.Listen != nil,
	} {
		if !does {
			work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: c.Name, Kind: kind}, nil)
		}
	}
}

// Run runs the jobs and the periodic work until ctx ends. It returns when the jobs that were
// running then are done.
func (work *Worker) Run(ctx context.Context) error {
	queues := map[string]jobs.Queue{book.EraseQueue: {Workers: workers, Rare: true}}
	if work.web.SignsIn() {
		queues[book.DeskName] = jobs.Queue{Workers: workers, Rare: true}
	}
	group, ctx := errgroup.WithContext(ctx)
	start := func(run func(context.Context)) {
		group.Go(func() error {
			run(ctx)
			return nil
		})
	}
	for name, c := range work.connectors {
		work.resolveSwitchedOff(ctx, c)
		queues[name] = jobs.Queue{Workers: workers}
		if c.Forward != nil {
			queues[name+book.ForwardQueueSuffix] = jobs.Queue{Workers: book.ForwardWorkers, Rare: true}
		}
		if c.Sweep != nil {
			start(func(ctx context.Context) { work.sweep(ctx, c) })
		}
		if c.Serving != nil {
			start(func(ctx context.Context) { work.reconcile(ctx, c) })
		}
	}
	start(work.watchSessions)
	start(work.watchWaits)
	start(work.watchRefreshes)
	start(work.runSoonJobs)
	start(func(ctx context.Context) { work.watchQueues(ctx, slices.Sorted(maps.Keys(queues))) })
	group.Go(func() error { return work.store.Work(ctx, queues, work.do, work.ended) })
	return group.Wait()
}

// ended counts and logs the end of an attempt at a job.
func (work *Worker) ended(ctx context.Context, e jobs.End) {
	connector := book.ConnectorOf(e.Job.Queue)
	work.metrics.Job(connector, e.Job.Kind, string(e.Outcome), e.Took)
	log := work.log.With("connector", connector, "job", e.Job.Kind, "subject", e.Job.Subject, "attempt", e.Job.Attempt, "err", e.Err)
	switch {
	case e.Outcome == jobs.Failed:
		log.ErrorContext(ctx, "job failed for good")
	case e.Outcome == jobs.Waits && e.Wait > againWait:
		log.WarnContext(ctx, "job postponed", "wait", e.Wait.String())
	case e.Outcome == jobs.Again:
		log.WarnContext(ctx, "job failed", "effect", "it is retried")
	}
}

// do runs one job. Its error tells the store whether to retry.
func (work *Worker) do(ctx context.Context, j jobs.Job) error {
	if j.Kind == book.JobErase {
		return work.erase.Erase(ctx, j)
	}
	name := book.ConnectorOf(j.Queue)
	c, ok := work.connectors[name]
	if name == book.DeskName && !ok {
		c, ok = chat.Connector{Name: book.DeskName}, true // earlier versions made refresh jobs for cards of the desk
	}
	if !ok {
		return jobs.Cancel(fmt.Errorf("connector %q is not configured: add it to BRIDGE_CONNECTORS, then retry", j.Queue))
	}
	var err error
	switch j.Kind {
	case book.JobAnswer:
		err = work.answer(ctx, c, j)
	case book.JobShow:
		err = work.show(ctx, c, j.Subject)
	case book.JobRefresh:
		err = work.store.Commit(ctx, store.Change{Refresh: &refreshes.Refresh{Card: j.Subject, Step: j.Step, Due: time.Now()}})
	case book.JobTell:
		err = work.tell(ctx, c, j)
	case book.JobForward:
		err = work.forward(ctx, c, j)
	default:
		return jobs.Cancel(fmt.Errorf("unknown kind of job %q", j.Kind))
	}
	return mark(err)
}

// mark tells the store what to do after an error of a job: never again, again after a pause, or retry.
func mark(err error) error {
	if errors.Is(err, web.ErrAgain) {
		return jobs.Snooze(err, againWait)
	}
	if chat.IsPermanent(err) || errors.Is(err, upscope.ErrInvalid) { // the same request stays invalid
		return jobs.Cancel(err)
	}
	if wait, ok := web.RetryWait(err); ok {
		return jobs.Snooze(err, wait)
	}
	return err
}

const (
	// soonJobs is how many jobs may wait in memory, soonWorkers how many of them run at once,
	// soonTimeout how long each may take, and soonPause the pause after the store failed.
	soonJobs    = 1000
	soonWorkers = 16
	soonTimeout = 8 * time.Second
	soonPause   = 5 * time.Second
)

// WorkSoon runs jobs without storing them first, so a press need not wait for the store. If this
// process dies, the next poll of sessions updates the card. A job that fails, even for good, or for
// which there is no room, is stored as an ordinary job. So its failure is noted.
func (work *Worker) WorkSoon(ctx context.Context, all []jobs.Job) {
	for _, j := range all {
		j.Request = requestid.ID(ctx)
		select {
		case work.soon <- j:
		default:
			work.postpone(ctx, j)
		}
	}
}

// postpone stores a job of WorkSoon. If the store fails, the job goes back into memory.
func (work *Worker) postpone(ctx context.Context, j jobs.Job) {
	err := work.store.Commit(context.WithoutCancel(ctx), store.Change{Jobs: []jobs.Job{j}})
	if err == nil {
		return
	}
	work.log.ErrorContext(ctx, "job not stored", "job", j.Kind, "subject", j.Subject, "wait", soonPause, "err", err)
	time.AfterFunc(soonPause, func() {
		select {
		case work.soon <- j:
		default:
			work.log.ErrorContext(ctx, "job dropped: too many wait for the store", "job", j.Kind, "subject", j.Subject)
		}
	})
}

// DropSoon drops the jobs of WorkSoon, for benchmarks without Run.
func (work *Worker) DropSoon() {
	for range work.soon {
	}
}

// runSoonJobs runs the jobs of WorkSoon until ctx ends, and then stores the rest.
func (work *Worker) runSoonJobs(ctx context.Context) {
	var busy errgroup.Group
	busy.SetLimit(soonWorkers)
	for {
		select {
		case j := <-work.soon:
			busy.Go(func() error {
				ctx, cancel := context.WithTimeout(requestid.With(store.Patient(context.WithoutCancel(ctx)), j.Request), soonTimeout)
				defer cancel()
				began := time.Now()
				err := work.do(ctx, j)
				if err == nil {
					work.ended(ctx, jobs.End{Job: j, Outcome: jobs.Done, Took: time.Since(began)})
					return nil
				}
				// Whether it failed, the stored job decides and counts.
				work.log.WarnContext(ctx, "job failed", "effect", "it is stored and retried", "job", j.Kind, "subject", j.Subject, "err", err)
				if wait, ok := web.RetryWait(err); ok {
					j.At = time.Now().Add(wait)
				}
				work.postpone(ctx, j)
				return nil
			})
		case <-ctx.Done():
			_ = busy.Wait()
			for {
				select {
				case j := <-work.soon:
					work.postpone(ctx, j)
				default:
					return
				}
			}
		}
	}
}

// againWait is the pause before a job whose card was changed meanwhile runs again.
const againWait = 250 * time.Millisecond
