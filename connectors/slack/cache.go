package slack

import (
	"context"
	"hash/fnv"
	"time"

	"cobrowse-bridge/bridge/cache"
)

const (
	// maxCached is the number of values in a cache. Further values are not cached.
	maxCached = 4096
	// maxAttempts is larger, because a post whose attempt is not cached may be repeated.
	maxAttempts = 1 << 16
)

// remember returns a cache that keeps each value for life.
func remember[V any](most int, life time.Duration) *cache.Cache[V] {
	return cache.New(most, func(V) time.Duration { return life })
}

// turns lets one goroutine at a time write to a channel. Slack allows about one post a second
// there, and an older state of a card must not overwrite a newer one. Several channels may
// share a turn.
type turns [64]chan struct{}

func newTurns() (t turns) {
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return t
}

// wait waits for the channel's turn. The caller calls done afterwards.
func (t *turns) wait(ctx context.Context, channel string) (done func(), err error) {
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
