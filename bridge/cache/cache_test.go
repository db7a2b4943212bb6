package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func hour(int) time.Duration { return time.Hour }

func TestACacheHoldsNoMoreThanItsBound(t *testing.T) {
	t.Parallel()
	const bound, keys, writers = 1_000, 100_000, 8
	c := New(bound, hour)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < keys; i += writers {
				c.Put(fmt.Sprint(i), i)
			}
		})
	}
	all.Wait()
	if n := c.items.ItemCount(); n != bound {
		t.Errorf("%d entries after %d keys, want %d", n, keys, bound)
	}
}

func TestAFullCacheReplacesValuesAndDropsExpiredOnesForNewKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(2, func(v int) time.Duration { return time.Duration(v) * time.Minute })
		c.Put("a", 1)
		c.Put("b", 100)
		c.Put("c", 100)
		if _, ok := c.Peek("c"); ok {
			t.Error("a full cache stored a new key")
		}
		c.Put("b", 200)
		if v, _ := c.Peek("b"); v != 200 {
			t.Errorf("b is %d after it was set to 200", v)
		}
		time.Sleep(2 * time.Minute) // a has expired
		c.Put("c", 100)
		if _, ok := c.Peek("c"); !ok {
			t.Error("an expired entry was not removed for a new one")
		}
		c.Put("none", 0)
		c.Drop("b")
		for _, key := range []string{"a", "b", "none"} {
			if v, ok := c.Peek(key); ok {
				t.Errorf("%s is still cached as %d", key, v)
			}
		}
	})
}

func TestAKeyIsLoadedOnceForAllCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(10, hour)
		var loads atomic.Int64
		load := func(ctx context.Context) (int, error) {
			loads.Add(1)
			select {
			case <-time.After(time.Second):
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		first, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := c.Get(first, "a", load)
			gone <- err
		}()
		synctest.Wait()
		cancel() // the caller who started the load gives up
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller who gave up got %v", err)
		}
		for range 3 {
			if v, err := c.Get(t.Context(), "a", load); v != 7 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	t.Parallel()
	c := New(10, hour)
	fails := func(context.Context) (int, error) { return 0, errors.New("no") }
	works := func(context.Context) (int, error) { return 1, nil }
	if _, err := c.Get(t.Context(), "a", fails); err == nil {
		t.Error("the error of the load was not returned")
	}
	if v, err := c.Get(t.Context(), "a", works); v != 1 || err != nil {
		t.Errorf("after an error: %d, %v", v, err)
	}
	var none *Cache[int]
	if v, err := none.Get(t.Context(), "a", works); v != 1 || err != nil {
		t.Errorf("a nil cache: %d, %v", v, err)
	}
	if v := c.Keep("b", func() int { return 2 }); v != 2 {
		t.Errorf("Keep returned %d, want 2", v)
	}
	if v := c.Keep("b", func() int { return 3 }); v != 2 {
		t.Errorf("Keep made the value again: %d", v)
	}
}
