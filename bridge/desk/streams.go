package desk

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

const (
	// The changes of all open desks are read together: every readInterval, and soon after a commit of
	// this process, but not more often than every minInterval.
	readInterval = time.Second
	minInterval  = 100 * time.Millisecond
	// A desk is read at least once in rereadInterval, because some changes are not in
	// store.DeskChanges: those of a bridge of an earlier version, of rows that Purge removes, and of
	// sessions that expire.
	rereadInterval = time.Minute
	// sharedInterval is the shortest time after which a desk is read again because of a shared card,
	// which all desks show.
	sharedInterval = 2 * time.Second
	maxSilence     = 15 * time.Second

	maxStreams         = 5000
	maxStreamsPerAgent = 8
	maxReading         = 4 // desks that are read at the same time
)

// An openDesk is the event stream of an open desk page.
type openDesk struct {
	agent string
	wake  chan struct{} // has a value if the stream has something to do
	shown templates.LiveDesk

	// Guarded by streams.mu:
	topics []uint64
	stale  bool      // it must be read
	due    time.Time // when it becomes stale; zero while it is read
	soon   bool      // a shared card changed since it was last read
	last   time.Time // when it was read
	quiet  time.Time // since when nothing was sent
}

// streams are the event streams of the open desk pages of this process. EndStreams ends them, because a
// server that shuts down waits for running requests.
type streams struct {
	store   *store.Store
	policy  *policy.File
	log     *slog.Logger
	ended   chan struct{}
	end     func()
	reading chan struct{} // limits how many desks are read at the same time

	mu      sync.Mutex
	byAgent map[string]int // the number of streams
	all     map[*openDesk]bool
	topics  map[uint64][]*openDesk // the desks that depend on what changes
	changes int64                  // how often changes were read
	stop    func()                 // ends follow; nil if it does not run
}

func newStreams(db *store.Store, rules *policy.File, log *slog.Logger) *streams {
	ended := make(chan struct{})
	return &streams{
		store: db, policy: rules, log: log, ended: ended, end: sync.OnceFunc(func() { close(ended) }), reading: make(chan struct{}, maxReading),
		byAgent: map[string]int{}, all: map[*openDesk]bool{}, topics: map[uint64][]*openDesk{},
	}
}

// dependencies are what a desk shows, so that it must be read again after a change.
type dependencies struct {
	agents     []string // the signed-in agent and their accounts
	cards      []string
	shared     []string // cards that several agents see
	connectors []string // whose cards are shared
	session    string
	until      time.Time // when the page changes because time passes; zero means never
}

// expires sets until to t if t is in the future and earlier.
func (d *dependencies) expires(now, t time.Time) {
	if t.After(now) && (d.until.IsZero() || t.Before(d.until)) {
		d.until = t
	}
}

var topicSeed = maphash.MakeSeed()

// A topic is the hash of something that can change, of one kind. If two have the same, some desk is read
// in vain.
func topic(kind byte, id string) uint64 {
	return maphash.Comparable(topicSeed, struct {
		kind byte
		id   string
	}{kind, id})
}

func (d dependencies) topics() (all []uint64) {
	add := func(kind byte, ids ...string) {
		for _, id := range ids {
			if id != "" {
				all = append(all, topic(kind, id))
			}
		}
	}
	add('a', d.agents...)
	add('c', d.cards...)
	add('d', d.shared...)
	add('k', d.connectors...)
	add('s', d.session)
	slices.Sort(all)
	return slices.Clip(slices.Compact(all))
}

// add returns a new stream of the agent, or false at a limit.
func (o *streams) add(agent string) (*openDesk, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) >= maxStreams || o.byAgent[agent] >= maxStreamsPerAgent {
		return nil, false
	}
	s := &openDesk{agent: agent, wake: make(chan struct{}, 1), quiet: time.Now()}
	o.all[s] = true
	o.byAgent[agent]++
	if o.stop == nil {
		o.start()
	}
	o.markStale(s)
	return s, true
}

func (o *streams) remove(s *openDesk) {
	o.mu.Lock()
	o.setTopics(s, nil)
	delete(o.all, s)
	if o.byAgent[s.agent]--; o.byAgent[s.agent] == 0 {
		delete(o.byAgent, s.agent)
	}
	var stop func()
	if len(o.all) == 0 {
		stop, o.stop = o.stop, nil
	}
	o.mu.Unlock()
	if stop != nil {
		stop() // waits for follow, which may wait for o.mu
	}
}

func (o *streams) markStale(s *openDesk) {
	s.stale = true
	s.signal()
}

// dueBy makes s stale at t, if that is earlier than s.due. A desk that is being read gets its time afterwards.
func (s *openDesk) dueBy(t time.Time) {
	if !s.due.IsZero() && t.Before(s.due) {
		s.due = t
	}
}

// signal wakes the stream. It must be called with streams.mu held.
func (s *openDesk) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take reports whether s must be read, which the caller then does, and whether nothing was sent for maxSilence.
func (o *streams) take(s *openDesk) (stale, silent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if stale, s.stale = s.stale, false; stale {
		s.soon, s.due = false, time.Time{}
	}
	return stale, time.Since(s.quiet) >= maxSilence
}

// sent says that something was sent on s.
func (o *streams) sent(s *openDesk) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.quiet = time.Now()
}

func (o *streams) changesSoFar() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changes
}

// wasRead says what s shows. before is the result of changesSoFar before it was read: if changes were
// read since, one may be about something that s did not depend on before.
func (o *streams) wasRead(s *openDesk, d dependencies, before int64) {
	topics := d.topics()
	o.mu.Lock()
	defer o.mu.Unlock()
	s.last = time.Now()
	s.due = s.last.Add(rereadInterval/2 + rand.N(rereadInterval/2)) // spread, so that desks are not read all at once
	if !d.until.IsZero() && d.until.Before(s.due) {
		s.due = d.until
	}
	if s.soon {
		s.dueBy(s.last.Add(sharedInterval))
	}
	if slices.Equal(topics, s.topics) {
		return
	}
	o.setTopics(s, topics)
	if o.changes != before {
		o.markStale(s)
	}
}

func (o *streams) setTopics(s *openDesk, topics []uint64) {
	for _, t := range s.topics {
		desks := o.topics[t]
		if i := slices.Index(desks, s); i >= 0 {
			desks[i] = desks[len(desks)-1]
			desks[len(desks)-1] = nil
			desks = desks[:len(desks)-1]
		}
		if len(desks) == 0 {
			delete(o.topics, t)
		} else {
			o.topics[t] = desks
		}
	}
	for _, t := range topics {
		o.topics[t] = append(o.topics[t], s)
	}
	s.topics = topics
}

// start starts follow. o.mu is held.
func (o *streams) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.follow(ctx)
	}()
	o.stop = func() {
		cancel()
		<-done
	}
}

// follow reads changes and wakes the desks concerned until ctx ends.
func (o *streams) follow(ctx context.Context) {
	committed := make(chan struct{}, 1)
	defer o.store.OnDeskChange(func() {
		select {
		case committed <- struct{}{}:
		default:
		}
	})()
	reader := changeReader{store: o.store}
	rules := o.policy.Current()
	failing := false
	var last time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-committed:
			timer.Reset(time.Until(last.Add(minInterval)))
			continue
		case <-timer.C:
		}
		last = time.Now()
		fresh, err := reader.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			o.log.WarnContext(ctx, "open desks not updated", "err", err)
		}
		failing = err != nil
		now := o.policy.Current()
		o.wakeConcerned(fresh, now != rules)
		rules = now
		timer.Reset(readInterval)
	}
}

// wakeConcerned marks the desks that changes concern as stale, or all of them if everything may have
// changed, and wakes those that are due and those whose connections were silent for maxSilence.
func (o *streams) wakeConcerned(changes []store.DeskChange, everything bool) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(changes) > 0 {
		o.changes++
	}
	for _, c := range changes {
		for _, t := range (dependencies{agents: []string{c.Agent}, cards: []string{c.Card}, session: c.Session}).topics() {
			for _, s := range o.topics[t] {
				o.markStale(s)
			}
		}
		for _, t := range (dependencies{shared: []string{c.Card}, connectors: []string{c.Connector}}).topics() {
			for _, s := range o.topics[t] {
				s.soon = true
				s.dueBy(s.last.Add(sharedInterval))
			}
		}
	}
	for s := range o.all {
		switch {
		case everything, !s.due.IsZero() && !now.Before(s.due):
			o.markStale(s)
		case now.Sub(s.quiet) >= maxSilence:
			s.signal()
		}
	}
}
