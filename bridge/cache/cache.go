// Package cache remembers answers in memory for a short time.
package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
)

// Cache remembers values by key for a limited time. It holds a limited number of
// entries, and loads a key once however many callers ask for it at the same time.
//
// go-cache alone has no limit, and its sweeper cannot be stopped. So Cache runs
// nothing in the background: a full cache deletes expired entries, or does not keep
// the new entry. Create a Cache with New.
type Cache[V any] struct {
	items  *gocache.Cache
	flight singleflight.Group
	max    int

	putting sync.Mutex // so that two callers do not both use the last free entry
	swept   time.Time

	life func(V) time.Duration
}

// Bound is the maximum number of entries of each cache in the bridge's packages.
const Bound = 10_000

// loadTimeout limits a load. If the caller that started a load gives up, the load goes on for
// the other callers who wait for its result.
const loadTimeout = 10 * time.Second

// New returns a cache of at most maxEntries entries. life says how long a value is
// kept; a value with a life of zero or less is not kept.
func New[V any](maxEntries int, life func(V) time.Duration) *Cache[V] {
	return &Cache[V]{items: gocache.New(gocache.NoExpiration, 0), max: maxEntries, life: life}
}

// Get returns the value of key. If the cache does not have it, Get calls load and
// keeps the result; errors are not kept. On a nil Cache, Get always calls load.
func (c *Cache[V]) Get(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	if c == nil {
		return load(ctx)
	}
	if v, ok := c.items.Get(key); ok {
		return v.(V), nil
	}
	done := c.flight.DoChan(key, func() (any, error) {
		if v, ok := c.items.Get(key); ok {
			return v, nil // another load ended meanwhile
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		v, err := load(ctx)
		if err == nil {
			c.Put(key, v)
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

// Peek returns the value of key and true, or false if the cache does not have it.
func (c *Cache[V]) Peek(key string) (v V, ok bool) {
	if found, ok := c.items.Get(key); ok {
		return found.(V), true
	}
	return v, false
}

// Put sets the value of key. The entry expires after its life, or up to a fifth sooner,
// so that entries stored together do not expire together. A full cache drops a new
// key; it still replaces the value of a key that it has.
func (c *Cache[V]) Put(key string, v V) {
	life := c.life(v)
	if life <= 0 {
		return
	}
	c.putting.Lock()
	defer c.putting.Unlock()
	if _, replaces := c.items.Get(key); !replaces && c.items.ItemCount() >= c.max && !c.sweep() {
		return
	}
	c.items.Set(key, v, life-time.Duration(rand.Int64N(int64(life)/5+1)))
}

// sweep deletes expired entries and reports whether there is room now. It looks at
// every entry, so it runs at most once a second.
func (c *Cache[V]) sweep() bool {
	if time.Since(c.swept) < time.Second {
		return false
	}
	c.swept = time.Now()
	c.items.DeleteExpired()
	return c.items.ItemCount() < c.max
}

// Drop removes key.
func (c *Cache[V]) Drop(key string) { c.items.Delete(key) }

// Keep returns the value of key. If the cache does not have it, Keep calls make and
// keeps the result. A full cache calls make each time.
func (c *Cache[V]) Keep(key string, make func() V) V {
	if v, ok := c.items.Get(key); ok {
		return v.(V)
	}
	v, _, _ := c.flight.Do(key, func() (any, error) {
		if v, ok := c.items.Get(key); ok {
			return v, nil
		}
		v := make()
		c.Put(key, v)
		return v, nil
	})
	return v.(V)
}
