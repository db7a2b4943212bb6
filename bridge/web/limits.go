package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/limit"
)

// Budgets are the limits on guesses, and on watch links, which may cost money. A budget that one
// chat or one agent has refuses. A total, which others can use up, refuses nobody: it only makes
// guesses slower. match/codes.go says how, and what that limits.
type Budgets struct {
	ChatCodes     limit.Limit // wrong lookup codes in one chat
	AgentCodes    limit.Limit // wrong lookup codes of one agent
	AddressCodes  limit.Limit // wrong lookup codes from one IP address, a total: an office may share one
	AllChatCodes  limit.Limit // wrong lookup codes in all chats, a total
	AllAgentCodes limit.Limit // wrong lookup codes of all agents, a total
	SlowCodes     limit.Limit // wrong lookup codes of one agent while a total is used up
	UnknownDoors  limit.Limit // addresses of cards that do not exist, by agent, or by IP address where agents do not sign in
	SignIns       limit.Limit // failed sign-ins, by IP address
	Watches       limit.Limit // watch links, by agent
	ChatOpenings  limit.Limit // links into conversations, by agent
}

// DefaultBudgets returns the budgets of the program.
func DefaultBudgets() Budgets {
	return Budgets{
		ChatCodes:     limit.Limit{Name: "codes of a chat", Acts: 5, While: 10 * time.Minute},
		AgentCodes:    limit.Limit{Name: "codes of one agent", Acts: 5, While: 10 * time.Minute},
		AddressCodes:  limit.Limit{Name: "codes from an address", Acts: 20, While: 10 * time.Minute},
		AllChatCodes:  limit.Limit{Name: "codes of all customers", Acts: 30, While: time.Hour},
		AllAgentCodes: limit.Limit{Name: "codes of all agents", Acts: 30, While: time.Hour},
		SlowCodes:     limit.Limit{Name: "codes of one agent, slowed", Acts: 1, While: 5 * time.Minute},
		UnknownDoors:  limit.Limit{Name: "unknown links", Acts: 20, While: 10 * time.Minute},
		SignIns:       limit.Limit{Name: "failed sign-ins", Acts: 20, While: 10 * time.Minute},
		// Six at once, and then one every 67 s: about 60 in an hour.
		Watches:      limit.Limit{Name: "watch links", Acts: 6, While: 400 * time.Second},
		ChatOpenings: limit.Limit{Name: "chats opened", Acts: 6, While: 400 * time.Second},
	}
}

// Names returns the names of all limits.
func (b Budgets) Names() (names []string) {
	for _, l := range []limit.Limit{
		b.ChatCodes, b.AgentCodes, b.AddressCodes, b.AllChatCodes, b.AllAgentCodes, b.SlowCodes, b.UnknownDoors, b.SignIns, b.Watches, b.ChatOpenings,
	} {
		names = append(names, l.Name)
	}
	return names
}

// ByAddress returns the act that counts against the limit of an IP address. It returns none for "":
// people whose address is not known must not use up each other's limit.
func ByAddress(l limit.Limit, address string) []limit.Spending {
	if address == "" {
		return nil
	}
	return []limit.Spending{{Limit: l, Subject: address}}
}

// Limits counts acts against budgets in the store, which all replicas share. It remembers limits
// that are used up and then refuses without the store, so that guessing puts no load on the store.
type Limits struct {
	store     *store.Store
	metrics   *metrics.Metrics
	exhausted *cache.Cache[time.Time]
}

// NewLimits returns Limits that count in s.
func NewLimits(s *store.Store, m *metrics.Metrics) Limits {
	return Limits{s, m, cache.New(cache.Bound, time.Until)}
}

// Spend counts all acts, or none. It returns ErrThrottled if one of their limits is used up.
func (l Limits) Spend(ctx context.Context, acts ...limit.Spending) error {
	if len(acts) == 0 {
		return nil
	}
	if err := l.CheckCached(acts); err != nil {
		return err
	}
	return l.FromStore(l.store.Spend(ctx, acts...))
}

// Check returns what Spend would return, but counts nothing.
func (l Limits) Check(ctx context.Context, acts ...limit.Spending) error {
	if err := l.CheckCached(acts); err != nil {
		return err
	}
	return l.FromStore(l.store.CheckSpend(ctx, acts...))
}

// GiveBack undoes Spend.
func (l Limits) GiveBack(ctx context.Context, acts ...limit.Spending) error {
	err := l.store.GiveBack(ctx, acts...)
	for _, a := range acts { // afterwards, or a refusal from before could be remembered
		l.exhausted.Drop(exhaustedKey(a))
	}
	return err
}

// CheckCached returns ErrThrottled if this process remembers that a limit of the acts is used up. It
// does not read the store.
func (l Limits) CheckCached(acts []limit.Spending) error {
	for _, a := range acts {
		if until, ok := l.exhausted.Peek(exhaustedKey(a)); ok && time.Now().Before(until) {
			return l.throttled(&limit.SpentError{Act: a, Wait: time.Until(until)})
		}
	}
	return nil
}

// FromStore turns an error of the store into ErrThrottled, if a limit is used up, or ErrStore. It
// remembers the limit that is used up.
func (l Limits) FromStore(err error) error {
	spent, ok := errors.AsType[*limit.SpentError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return StoreFault(err)
	}
	// One correct guess in another process would be given back there, and not forgotten here.
	if spent.Act.Limit.Acts > 1 {
		l.exhausted.Put(exhaustedKey(spent.Act), time.Now().Add(spent.Wait))
	}
	return l.throttled(spent)
}

func (l Limits) throttled(err *limit.SpentError) error {
	l.metrics.Throttled(err.Act.Limit.Name)
	return chat.RetryAfter(fmt.Errorf("%w: %w", ErrThrottled, err), err.Wait)
}

func exhaustedKey(a limit.Spending) string { return a.Limit.Name + "\x00" + a.Subject }

// Prepaid counts acts against one limit with fewer writes: it spends a fifth of the limit at once, and
// this process then counts the acts in memory. So the limit holds for all replicas together, but what a
// replica has spent and not used is lost to the others.
type Prepaid struct {
	limits Limits
	part   limit.Limit // each of its acts is acts of those that are counted
	acts   int
	left   *cache.Cache[*leftActs] // by subject
}

// leftActs is how many acts are paid for and not done.
type leftActs struct {
	mu sync.Mutex
	n  int
}

// NewPrepaid returns a Prepaid that counts against l.
func NewPrepaid(limits Limits, l limit.Limit) *Prepaid {
	const parts = 5
	return &Prepaid{
		limits: limits, part: limit.Limit{Name: l.Name, Acts: min(parts, l.Acts), While: l.While}, acts: max(l.Acts/parts, 1),
		left: cache.New(cache.Bound, func(*leftActs) time.Duration { return l.While }),
	}
}

// Spend counts an act of the subject. It returns ErrThrottled if the limit is used up.
func (p *Prepaid) Spend(ctx context.Context, subject string) error {
	left := p.left.Keep(subject, func() *leftActs { return new(leftActs) })
	left.mu.Lock()
	defer left.mu.Unlock()
	if left.n == 0 {
		if err := p.limits.Spend(ctx, limit.Spending{Limit: p.part, Subject: subject}); err != nil {
			return err
		}
		left.n = p.acts
	}
	left.n--
	return nil
}

// A Throttle limits how often each subject may act, in this process only; Limits counts for all
// replicas. It remembers at most cache.Bound subjects, each for twice the period. With more
// subjects, acts of new ones are not counted; only senders with many addresses can cause that.
type Throttle struct {
	limits *cache.Cache[*rate.Limiter]
	burst  int
	every  time.Duration
}

// NewThrottle returns a Throttle of acts in the period while.
func NewThrottle(acts int, while time.Duration) *Throttle {
	return &Throttle{
		limits: cache.New(cache.Bound, func(*rate.Limiter) time.Duration { return 2 * while }),
		burst:  acts,
		every:  while / time.Duration(acts),
	}
}

// Allow counts an act of the subject, and reports whether it may be done.
func (t *Throttle) Allow(subject string) bool {
	l := t.limits.Keep(subject, func() *rate.Limiter {
		return rate.NewLimiter(rate.Every(t.every), t.burst)
	})
	if !l.Allow() {
		return false
	}
	t.limits.Put(subject, l) // remember it for as long as this act counts
	return true
}

// Forget removes all acts of a subject, for example because its last act had no effect.
func (t *Throttle) Forget(subject string) { t.limits.Drop(subject) }
