package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestPurgeKeepsCardsThatAreInUse(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		now := time.Now()
		old, recent, later := now.Add(-40*24*time.Hour), now.Add(-time.Hour), now.Add(time.Hour)
		id := func(at time.Time) string { return idsFrom(at) + "-7" + uuid.NewString()[15:] }
		want := map[string]bool{}
		for name, c := range map[string]Card{
			"old":                       {ID: id(old), Updated: old},
			"old, with news expected":   {ID: id(old), Updated: old, NextCheck: later},
			"old, with a valid door":    {ID: id(old), Updated: old, DoorUntil: later},
			"old, but changed recently": {ID: id(old), Updated: recent},
			"recent":                    {ID: id(recent), Updated: recent},
		} {
			c.Connector, c.Chat, c.Created = "c", name, old
			if err := s.Commit(ctx, Change{Card: &c, Posts: []Post{{Card: c.ID, Place: Place{"c", "bob"}}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.StartWait(ctx, Wait{c.ID, "c:bob", later}, later); err != nil {
				t.Fatal(err)
			}
			want[name] = name != "old"
		}
		if err := s.Purge(ctx, now, Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM cards`); n != 5 {
			t.Errorf("%d cards are left, want all 5", n)
		}
		if err := s.Purge(ctx, now, Retention{Cards: 30 * 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		for name, kept := range want {
			if _, err := s.CardOfChat(ctx, "c", KindChat, name); errors.Is(err, ErrNotFound) == kept {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, table := range []string{"posts", "waits"} {
			if n := number(t, s, `SELECT count(*) FROM `+table); n != 4 {
				t.Errorf("%d %s are left", n, table)
			}
		}
	})
}
