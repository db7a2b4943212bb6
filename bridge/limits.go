package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store"
)

// budgets are how often what can be guessed may be guessed, and how often watch
// links, which may cost money, may be asked for.
//
// There are ten thousand lookup codes. With 50 of them on screens, one guess in
// 200 hits; at 30 wrong ones an hour that is once in seven hours, by all agents
// together. Visitors have a total of their own, so that they take nothing from
// agents; what they hit, an agent sees first.
type budgets struct {
	chatCodes    store.Limit // wrong lookup codes that one chat brings
	agentCodes   store.Limit // that one agent asks for
	addressCodes store.Limit // from one address
	typedCodes   store.Limit // by visitors altogether
	askedCodes   store.Limit // by agents altogether
	unknownDoors store.Limit // doors that do not exist, by address and by agent
	signIns      store.Limit // sign-ins that failed, by address
	watches      store.Limit // watch links, by agent
	chatEntries  store.Limit // ways into a conversation, by agent
}

func defaultBudgets() budgets {
	return budgets{
		chatCodes:    store.Limit{Name: "codes of a chat", Acts: 5, While: 10 * time.Minute},
		agentCodes:   store.Limit{Name: "codes of an agent", Acts: 5, While: 10 * time.Minute},
		addressCodes: store.Limit{Name: "codes from an address", Acts: 20, While: 10 * time.Minute},
		typedCodes:   store.Limit{Name: "codes of visitors", Acts: 30, While: time.Hour},
		askedCodes:   store.Limit{Name: "codes of agents", Acts: 30, While: time.Hour},
		unknownDoors: store.Limit{Name: "unknown doors", Acts: 20, While: 10 * time.Minute},
		signIns:      store.Limit{Name: "failed sign-ins", Acts: 20, While: 10 * time.Minute},
		// Six at once, and one more each 67 s: 60 in an hour.
		watches:     store.Limit{Name: "watch links", Acts: 6, While: 400 * time.Second},
		chatEntries: store.Limit{Name: "chat entries", Acts: 6, While: 400 * time.Second},
	}
}

// limits are what is left of budgets, which all replicas share through the store.
// What is known to be spent is not written to it again: those who guess must not
// make it work.
type limits struct {
	store   *store.Store
	metrics *metrics
	spent   *cache[time.Time]
}

func newLimits(s *store.Store, m *metrics) limits {
	return limits{s, m, newCache(cacheBound, time.Until)}
}

// spend counts acts, all or none. With none left it is errThrottled.
func (l limits) spend(ctx context.Context, acts ...store.Spending) error {
	if err := l.known(acts); err != nil {
		return err
	}
	return l.judged(l.store.Spend(ctx, acts...))
}

// left is what spend would return, and counts nothing.
func (l limits) left(ctx context.Context, acts ...store.Spending) error {
	if err := l.known(acts); err != nil {
		return err
	}
	return l.judged(l.store.Left(ctx, acts...))
}

// giveBack undoes spend.
func (l limits) giveBack(ctx context.Context, acts ...store.Spending) error {
	for _, a := range acts {
		l.spent.drop(spentKey(a))
	}
	return l.store.GiveBack(ctx, acts...)
}

// known is errThrottled if one of the acts is known to be spent.
func (l limits) known(acts []store.Spending) error {
	for _, a := range acts {
		if until, ok := l.spent.peek(spentKey(a)); ok && time.Now().Before(until) {
			return l.throttled(&store.SpentError{Act: a, Wait: time.Until(until)})
		}
	}
	return nil
}

// judged says what the store's answer means, and remembers what is spent.
func (l limits) judged(err error) error {
	spent, ok := errors.AsType[*store.SpentError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return storeFault(err)
	}
	l.spent.put(spentKey(spent.Act), time.Now().Add(spent.Wait))
	return l.throttled(spent)
}

func (l limits) throttled(err *store.SpentError) error {
	l.metrics.throttled(err.Act.Limit.Name)
	return RetryAfter(fmt.Errorf("%w: %w", errThrottled, err), err.Wait)
}

func spentKey(a store.Spending) string { return a.Limit.Name + "\x00" + a.Subject }
