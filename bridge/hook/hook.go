// Package hook receives deliveries: it has the connector verify them, stores them with a job and
// acknowledges them.
package hook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/sweeps"
	"cobrowse-bridge/bridge/web"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"
)

// A Hook receives the deliveries of all connectors.
type Hook struct {
	web        *web.Web
	store      *store.Store
	connectors map[string]chat.Connector
	metrics    *metrics.Metrics
	log        *slog.Logger
	intakes    map[string]*intake // by connector
}

// New returns a Hook.
func New(wrap *web.Web, s *store.Store, connectors map[string]chat.Connector, counts *metrics.Metrics, log *slog.Logger) *Hook {
	hook := &Hook{web: wrap, store: s, connectors: connectors, metrics: counts, log: log, intakes: map[string]*intake{}}
	for name, c := range connectors {
		hook.intakes[name] = newIntake(c.MaxBody)
	}
	return hook
}

// Routes adds the paths that chat services call. Two slashes at the beginning come from an operator
// who appended the path to an address that ends with a slash.
func (hook *Hook) Routes(r *mux.Router) {
	for _, start := range []string{"/hooks/{connector}", "//hooks/{connector}"} {
		r.Handle(start, hook.web.Machine(hook.serve))
		r.PathPrefix(start + "/").Handler(hook.web.Machine(hook.serve))
	}
}

var errNoKey = errors.New("a delivery from Listen has no key")

const (
	// relistenAfter is the pause before Listen is called again after it returned.
	relistenAfter = 5 * time.Second
	// listeningEvery is how often a connector is asked whether deliveries can arrive.
	listeningEvery = 10 * time.Second
)

var errStopped = errors.New("the connector stopped listening")

// Run calls Listen of the connectors that have it, until ctx ends.
func (hook *Hook) Run(ctx context.Context) {
	var listening sync.WaitGroup
	for _, c := range hook.connectors {
		if c.Listen != nil {
			listening.Go(func() { hook.listen(ctx, c) })
		}
	}
	listening.Wait()
}

// listen keeps a connector listening. Its errors do not affect other connectors.
func (hook *Hook) listen(ctx context.Context, c chat.Connector) {
	failure := func() jobs.Failure {
		return jobs.Failure{Queue: c.Name, Kind: book.WorkListen, Next: time.Now().Add(listeningEvery)}
	}
	for ctx.Err() == nil {
		running, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() {
			for tick := time.Tick(listeningEvery); ; {
				select {
				case <-running.Done():
					return
				case <-tick:
				}
				var err error
				if c.Listening != nil {
					err = c.Listening()
				}
				hook.store.Jobs().NoteResult(running, failure(), err)
			}
		})
		err := c.Listen(ctx, func(ctx context.Context, d chat.Delivery) error {
			if d.Key == "" {
				return errNoKey
			}
			return hook.storeCounted(requestid.With(ctx, cmp.Or(requestid.ID(ctx), requestid.New())), c.Name, d, "")
		})
		stop()
		watching.Wait()
		if ctx.Err() == nil {
			hook.log.ErrorContext(ctx, "connector stopped listening", "connector", c.Name, "wait", relistenAfter, "err", err)
			hook.store.Jobs().NoteResult(ctx, failure(), cmp.Or(err, errStopped))
		}
		select {
		case <-time.After(relistenAfter):
		case <-ctx.Done():
		}
	}
}

// serve verifies a delivery, stores it with its job and acknowledges it, in this order. The job
// does the work later.
func (hook *Hook) serve(w http.ResponseWriter, r *http.Request) error {
	name := mux.Vars(r)["connector"]
	c, ok := hook.connectors[name]
	if !ok || c.Accept == nil {
		return fmt.Errorf("%w: no connector of BRIDGE_CONNECTORS has the name %.64q", chat.ErrNoRoute, name)
	}
	r.URL.Path = "/" + strings.Trim(r.URL.Path, "/") // the form that connectors compare
	err := hook.receive(w, r, c)
	if err != nil && !web.ClientLeft(err) {
		hook.metrics.Delivery(c.Name, web.OutcomeOfError(err))
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return err
}

func (hook *Hook) receive(w http.ResponseWriter, r *http.Request, c chat.Connector) error {
	if r.Method != http.MethodPost {
		return web.ErrMethod
	}
	proven, err := permit(r, c)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"", "identity"}, strings.ToLower(r.Header.Get("Content-Encoding"))) {
		return web.ErrEncoded
	}
	body, free, err := hook.intakes[c.Name].read(w, r, proven)
	if err != nil {
		return err
	}
	defer free()
	receipt, err := c.Accept(r, body)
	switch {
	case errors.Is(err, chat.ErrForged), errors.Is(err, chat.ErrNoRoute):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", web.ErrUnreadable, err)
	}
	if receipt.Note != "" {
		about := []any{"connector", c.Name, "note", receipt.Note}
		if receipt.Key != "" {
			about = append(about, "delivery", receipt.Key)
		}
		hook.log.InfoContext(r.Context(), "note from connector", about...)
	}
	if receipt.Key == "" {
		hook.metrics.Delivery(c.Name, metrics.DeliveryIgnored)
	}
	if err := hook.storeReceipt(r.Context(), c.Name, receipt, body); err != nil {
		return err
	}
	if receipt.AnswerType != "" {
		w.Header().Set("Content-Type", receipt.AnswerType)
	}
	_, err = w.Write(receipt.Answer)
	return web.SendFault(err)
}

// permit asks the connector whether the body is to be read, and whether the sender is proven already.
// The connector gets a copy of the request without the body.
func permit(r *http.Request, c chat.Connector) (proven bool, err error) {
	if c.Permit == nil {
		return false, nil
	}
	head := *r
	head.Body = http.NoBody
	proven, err = c.Permit(&head)
	if err != nil && !errors.Is(err, chat.ErrForged) && !errors.Is(err, chat.ErrNoRoute) {
		return false, fmt.Errorf("%w: %w", chat.ErrForged, err)
	}
	return proven, err
}

// storeReceipt stores what a genuine delivery asks for: the delivery itself, a copy to forward, or
// both. Usually one commit stores both. If only one is stored, the answer is an error, so that the
// sender sends again.
func (hook *Hook) storeReceipt(ctx context.Context, connector string, receipt chat.Receipt, body []byte) error {
	var group errgroup.Group
	if receipt.Key != "" {
		kept := receipt.Body
		if kept == nil {
			kept = body
		}
		group.Go(func() error {
			return hook.storeCounted(ctx, connector, chat.Delivery{Key: receipt.Key, Body: kept, Changes: receipt.Changes}, receipt.SweepKey)
		})
	}
	if receipt.Forward != nil {
		sum := sha256.Sum256(receipt.Forward)
		key := forwardKey + hex.EncodeToString(sum[:])
		group.Go(func() error {
			_, err := hook.storeDelivery(ctx, connector, chat.Delivery{Key: key, Body: receipt.Forward}, "", jobs.Job{Queue: connector + book.ForwardQueueSuffix, Kind: book.JobForward})
			return err
		})
	}
	return group.Wait()
}

// storeCounted stores a delivery with the job that answers it, and counts it.
func (hook *Hook) storeCounted(ctx context.Context, connector string, d chat.Delivery, sweepKey string) error {
	d.Key = storedKey(d.Key)
	// A chat with such an id gets no card either: the worker refuses what Read returns for it.
	d.Changes = slices.DeleteFunc(slices.Clone(d.Changes), func(c chat.ChatChange) bool { return chat.CheckChatID(c.Chat) != nil })
	job := jobs.Job{Queue: connector, Kind: book.JobAnswer}
	if slices.ContainsFunc(d.Changes, func(c chat.ChatChange) bool { return c.Closed }) {
		job.Priority = jobs.Soon // it needs no search, and its card must not stay open behind those that do
	}
	fresh, err := hook.storeDelivery(ctx, connector, d, sweepKey, job)
	if err != nil {
		return err
	}
	outcome := metrics.DeliveryRepeated
	if fresh {
		outcome = metrics.DeliveryStored
	}
	hook.metrics.Delivery(connector, outcome)
	return nil
}

// storeDelivery stores a delivery with its job in one transaction. If a delivery with the same key
// is stored already, it stores nothing and fresh is false. sweepKey is Receipt.SweepKey.
func (hook *Hook) storeDelivery(ctx context.Context, connector string, d chat.Delivery, sweepKey string, j jobs.Job) (fresh bool, err error) {
	if d.Received.IsZero() {
		d.Received = time.Now()
	}
	stored := store.Delivery{Connector: connector, Key: d.Key, Body: d.Body, Received: d.Received, SweepKey: sweepKey}
	for _, change := range d.Changes {
		stored.Changes = append(stored.Changes, store.ChatChange(change))
	}
	fresh, err = hook.store.StoreDelivery(ctx, stored, j)
	if err != nil {
		return false, web.StoreFault(err)
	}
	hook.log.DebugContext(ctx, "delivery stored", "connector", connector, "delivery", d.Key, "fresh", fresh)
	return fresh, nil
}

// The prefixes of keys that the bridge makes itself.
const (
	forwardKey = "forward/" // for deliveries that are forwarded
	hashedKey  = "hashed/"  // for a connector's keys that cannot be stored unchanged
)

// maxKey is the maximum length in bytes of a key that is stored unchanged. Databases index keys,
// and operators read them.
const maxKey = 512

// storedKey returns the key under which a connector's delivery is stored. Different keys stay
// different, and none is equal to a key that the bridge makes itself.
func storedKey(key string) string {
	reserved := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
	if len(key) <= maxKey && utf8.ValidString(key) && !strings.ContainsFunc(key, unicode.IsControl) &&
		!slices.ContainsFunc([]string{forwardKey, hashedKey, sweeps.FoundKey}, reserved) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hashedKey + hex.EncodeToString(sum[:])
}
