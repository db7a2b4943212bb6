package slack

import (
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// maxCached bounds each cache. At that size it starts over, which costs a few
// calls.
const maxCached = 4096

// A cache remembers values for a while.
type cache[V any] struct {
	life time.Duration
	mu   sync.Mutex
	m    map[string]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

func (c *cache[V]) get(key string) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[key]
	if !ok || !time.Now().Before(e.until) {
		return v, false
	}
	return e.value, true
}

func (c *cache[V]) put(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxCached {
		c.m = make(map[string]entry[V])
	}
	c.m[key] = entry[V]{v, time.Now().Add(c.life)}
}

// turns lets one at a time write to a channel: Slack wants about one post a
// second there, and a card must not be overtaken by its own earlier state. A few
// channels may share a turn.
type turns [64]chan struct{}

func newTurns() (t turns) {
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for a turn; done gives it back.
func (t *turns) take(ctx context.Context, channel string) (done func(), err error) {
	h := fnv.New32a()
	h.Write([]byte(channel))
	turn := t[h.Sum32()%uint32(len(t))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
