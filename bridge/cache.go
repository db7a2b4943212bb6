package bridge

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
)

// A cache remembers answers for a moment. It is typed, holds at most max
// entries, and loads a key once however many ask for it at the same time.
// go-cache alone has no bound, and its sweeper cannot be stopped; so nothing
// is swept in the background here, and a full cache lets expired entries go
// or does without the new one.
type cache[V any] struct {
	items  *gocache.Cache
	flight singleflight.Group
	max    int

	putting sync.Mutex // so that no two take the last room
	swept   time.Time

	// life says how long an answer is good for; zero keeps it out.
	life func(V) time.Duration
}

// loadTimeout bounds a load, which outlives the caller that began it so that
// the others who wait for it are not cut off.
const loadTimeout = 10 * time.Second

func newCache[V any](maxEntries int, life func(V) time.Duration) *cache[V] {
	return &cache[V]{items: gocache.New(gocache.NoExpiration, 0), max: maxEntries, life: life}
}

// get returns the value of key, from load where it is not known. A nil cache knows nothing
// and keeps nothing.
func (c *cache[V]) get(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	if c == nil {
		return load(ctx)
	}
	if v, ok := c.items.Get(key); ok {
		return v.(V), nil
	}
	done := c.flight.DoChan(key, func() (any, error) {
		if v, ok := c.items.Get(key); ok {
			return v, nil // another flight ended between the look and this one
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		v, err := load(ctx)
		if err == nil {
			c.put(key, v)
		}
		return v, err
	})
	select {
	case got := <-done:
		return got.Val.(V), got.Err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// peek returns the value of key if it is known.
func (c *cache[V]) peek(key string) (v V, ok bool) {
	if found, known := c.items.Get(key); known {
		return found.(V), true
	}
	return v, false
}

func (c *cache[V]) put(key string, v V) {
	life := c.life(v)
	if life <= 0 {
		return
	}
	c.putting.Lock()
	defer c.putting.Unlock()
	if c.items.ItemCount() >= c.max && !c.sweep() {
		return
	}
	// Entries stored together should not expire together.
	jitter := time.Duration(rand.Int64N(int64(life)/5+1)) - life/10
	c.items.Set(key, v, life+jitter)
}

// sweep lets expired entries go and reports whether that made room. It looks at
// every entry, so whoever floods the cache with keys gets it once a second.
func (c *cache[V]) sweep() bool {
	if time.Since(c.swept) < time.Second {
		return false
	}
	c.swept = time.Now()
	c.items.DeleteExpired()
	return c.items.ItemCount() < c.max
}

// drop lets a key go.
func (c *cache[V]) drop(key string) { c.items.Delete(key) }

// keep returns the value of key, or makes one and keeps that. A full cache
// makes a new one each time.
func (c *cache[V]) keep(key string, make func() V) V {
	if v, ok := c.items.Get(key); ok {
		return v.(V)
	}
	v, _, _ := c.flight.Do(key, func() (any, error) {
		if v, ok := c.items.Get(key); ok {
			return v, nil
		}
		v := make()
		c.put(key, v)
		return v, nil
	})
	return v.(V)
}
