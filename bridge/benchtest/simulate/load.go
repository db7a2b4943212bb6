package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

// chatLife is how many webhooks a chat sends: it begins, is queued, is taken, is forwarded once, ends,
// and has messages.
const chatLife = 22

// maxRunning limits how many requests of one kind run at the same time. Those above are not sent.
const maxRunning = 256

// finishLimit is how long a measurement waits at its end for the work that is left.
const finishLimit = 45 * time.Second

// A load is what is sent during a measurement, per second.
type load struct {
	webhooks, presses float64
	closes            float64 // chats of agents with an open desk that end, in addition to those of webhooks
}

// A measurement is what was counted while a load was sent.
type measurement struct {
	lasted          time.Duration
	offered, sent   int         // webhooks
	webhookStatuses map[int]int // answers by status; 0: none
	cards           []time.Duration
	pressed         int // presses that were sent
	presses         []time.Duration
	pressStatuses   map[int]int
	bridgeCPU       float64 // seconds until all work was done
	serverCPU       float64 // seconds of PostgreSQL's processes, in the same time
	lockShare       float64 // share of the active time of PostgreSQL's connections that waited for a lock
	chatCalls       int
	upscopeCalls    int
	sessionLists    int
	withoutCard     int     // chats without a card when the load ended
	oldest          float64 // for how many seconds the oldest job had been due then
	finishing       time.Duration
	unfinished      bool // work was left after finishLimit
	memory          int64
}

// A counter counts requests of one kind by their status.
type counter struct {
	mu       sync.Mutex
	statuses map[int]int
	took     []time.Duration
}

func (c *counter) add(status int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[status]++
	c.took = append(c.took, took)
}

// repeat prepares and makes calls perSecond times a second until ctx ends. It does not wait for calls
// that are slow, so that a slow bridge gets no smaller load. prepare is called for one call after the
// other, and returns nil if there is nothing to call. It returns how many calls were due and how many
// were made; of the others there were too many at the same time.
func repeat(ctx context.Context, perSecond float64, prepare func(n int) (call func())) (due, made int) {
	if perSecond == 0 {
		return 0, 0
	}
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, maxRunning)
	for began := time.Now(); ; due++ {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(float64(due) / perSecond * float64(time.Second))))):
		case <-ctx.Done():
			return due, made
		}
		select {
		case free <- struct{}{}:
		default:
			continue
		}
		call := prepare(made)
		if call == nil {
			<-free
			continue
		}
		made++
		all.Go(func() {
			call()
			<-free
		})
	}
}

// measure sends a load for a time, waits for the work that it causes, and returns what was counted.
// desks may be nil.
func (s *site) measure(ctx context.Context, lasts time.Duration, l load, d *desks) (m measurement, err error) {
	hooks, presses := &counter{statuses: map[int]int{}}, &counter{statuses: map[int]int{}}
	s.chat.resetTimes()
	chatBefore := s.chat.requests()
	upscopeBefore, listsBefore := s.upscopeCalls()
	watch, err := s.server.watch(ctx)
	if err != nil {
		return m, err
	}
	cpuBefore, began := s.cpu(), time.Now()

	timed, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var all sync.WaitGroup
	mix := &mix{site: s, desks: d}
	all.Go(func() {
		m.offered, m.sent = repeat(timed, l.webhooks, func(n int) func() {
			kind, r := mix.next(n)
			return s.sending(ctx, hooks, kind, r)
		})
	})
	all.Go(func() {
		repeat(timed, l.closes, func(int) func() { return s.sending(ctx, hooks, kindClose, mix.end()) })
	})
	all.Go(func() {
		_, m.pressed = repeat(timed, l.presses, func(int) func() { return s.pressing(ctx, presses, math.MaxInt) })
	})
	<-timed.Done()
	m.lasted = time.Since(began)
	m.withoutCard = s.chat.withoutCard()
	if m.oldest, err = s.bridges[0].oldestJob(ctx); err != nil {
		return m, err
	}
	all.Wait()
	if l.webhooks+l.presses+l.closes > 0 {
		m.finishing, err = s.finish(ctx, finishLimit)
		if m.unfinished = errors.Is(err, errNotFinished); err != nil && !m.unfinished {
			return m, err
		}
	}
	m.bridgeCPU = s.cpu() - cpuBefore
	m.serverCPU, m.lockShare = watch.end()
	m.chatCalls = s.chat.requests() - chatBefore
	m.upscopeCalls, m.sessionLists = s.upscopeCalls()
	m.upscopeCalls, m.sessionLists = m.upscopeCalls-upscopeBefore, m.sessionLists-listsBefore
	m.webhookStatuses, m.pressStatuses, m.presses, m.cards = hooks.statuses, presses.statuses, presses.took, s.chat.times()
	m.memory = s.memory()
	return m, nil
}

// sending prepares a webhook about a chat, or nothing for nil.
func (s *site) sending(ctx context.Context, c *counter, kind string, r *room) (call func()) {
	if r == nil {
		return nil
	}
	return func() {
		began := time.Now()
		status, _ := s.send(ctx, kind, r) // 0 after an error
		c.add(status, time.Since(began))
	}
}

// pressing prepares a press of the next of the n oldest cards, or nothing if there is none.
func (s *site) pressing(ctx context.Context, c *counter, n int) (call func()) {
	r := s.chat.reserve(n)
	if r == nil {
		return nil
	}
	return func() {
		took, status, _ := s.press(ctx, r) // the status is 0 after an error
		c.add(status, took)
	}
}

// A mix chooses the webhooks of chats in the order and shares in which they occur, while the number
// of open chats stays the same. Messages come in pairs, as a question and an answer: the bridge handles
// one message of a chat in 30 seconds.
type mix struct {
	site    *site
	desks   *desks // may be nil
	new     *room  // that is not taken yet
	talking *room  // in which the last message was; nil after a pair
}

// next returns what the webhook with the number n is about. The chat is nil if there is none.
func (m *mix) next(n int) (kind string, r *room) {
	chat := m.site.chat
	switch n % chatLife {
	case 0:
		m.new = chat.start()
		comeOnline(m.site.upscope, m.new)
		return kindStart, m.new
	case 1:
		return kindQueued, m.new
	case 2:
		chat.take(m.new)
		return kindTaken, m.new
	case chatLife / 2:
		return kindForward, chat.forward()
	case chatLife - 1:
		return kindClose, m.end()
	}
	if r = m.talking; r != nil {
		m.talking = nil
		return kindMessage, r
	}
	m.talking = chat.another()
	return kindMessage, m.talking
}

// end ends the oldest chat and returns it, or nil.
func (m *mix) end() *room { return m.site.chat.closeOldest(m.desks.await) }

// openChats opens chats until there are n, with a few webhooks at the same time, and waits for their
// cards.
func (s *site) openChats(ctx context.Context, n int, limit time.Duration) error {
	missing := n - s.chat.openRooms()
	if missing <= 0 {
		return nil
	}
	if err := s.burst(ctx, missing); err != nil {
		return err
	}
	_, err := s.finish(ctx, limit)
	return err
}

// burst sends the webhooks of n new chats that agents have taken, as fast as the bridge answers.
func (s *site) burst(ctx context.Context, n int) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var faults error
	numbers := make(chan struct{}, n)
	for range n {
		numbers <- struct{}{}
	}
	close(numbers)
	for range 16 {
		all.Go(func() {
			for range numbers {
				r := s.chat.start()
				comeOnline(s.upscope, r)
				s.chat.take(r)
				if status, err := s.send(ctx, kindTaken, r); status != 200 {
					mu.Lock()
					faults = errors.Join(err, fmt.Errorf("a webhook was answered %d", status))
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return faults
}

// milliseconds formats percentiles of durations, such as "12 / 30".
func milliseconds(all []time.Duration, percents ...int) string {
	if len(all) == 0 {
		return "–"
	}
	var texts []string
	for _, percent := range percents {
		texts = append(texts, fmt.Sprintf("%d", benchtest.Percentile(all, percent).Milliseconds()))
	}
	return strings.Join(texts, " / ")
}

// others formats statuses other than the expected one, such as ", 3 answered 503".
func others(statuses map[int]int, expected int) (text string) {
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		switch status {
		case expected:
		case 0:
			text += fmt.Sprintf(", %d not answered", statuses[status])
		default:
			text += fmt.Sprintf(", %d answered %d", statuses[status], status)
		}
	}
	return text
}
