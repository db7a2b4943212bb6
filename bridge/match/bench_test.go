package match

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/upscope"

	gocache "github.com/patrickmn/go-cache"
)

func BenchmarkP11Find(b *testing.B) {
	const entries = 100_000
	forever := func(upscope.Visitor) time.Duration { return time.Hour }
	f := &Finder{visitors: cache.New(entries, forever)}
	bare := gocache.New(time.Hour, 0)
	ids := make([]string, entries)
	for i := range ids {
		ids[i] = fmt.Sprintf("V%09d", i)
		f.visitors.Put(ids[i], upscope.Visitor{ShortID: ids[i]})
		bare.SetDefault(ids[i], upscope.Visitor{ShortID: ids[i]})
	}
	each := func(get func(id string) bool) func() time.Duration {
		return func() time.Duration {
			began := time.Now()
			for i := range entries {
				if !get(ids[i*7919%entries]) { // not in the order of the memory
					b.Fatal("an entry was not found")
				}
			}
			return time.Since(began) / entries
		}
	}
	baseline := each(func(id string) bool { _, ok := bare.Get(id); return ok })
	b.Run("Visitor", func(b *testing.B) {
		benchtest.Costs(b, "P11", baseline, each(func(id string) bool {
			v, err := f.Visitor(context.Background(), id)
			return err == nil && v.ShortID == id
		}))
	})
	b.Run("Match", func(b *testing.B) {
		benchtest.Costs(b, "P11-match", baseline, each(func(id string) bool {
			m, err := f.Find(context.Background(), chat.Clues{ShortID: id})
			return err == nil && m.OneTrusted
		}))
	})
}
