package store

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestAPostIsKeptForEachCardAndPlace(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		one, two := Place{"slack", "C1"}, Place{"slack", "C2"}
		commit := func(posts ...Post) {
			t.Helper()
			if err := s.Commit(ctx, Change{Posts: posts}); err != nil {
				t.Fatal(err)
			}
		}
		commit(Post{Card: "card", Place: one, Current: true}, Post{Card: "other", Place: one, Current: true, Ref: "given", Shown: "three"})
		if err := s.SavePost(ctx, Post{Card: "card", Place: one, Ref: "ts 1", Shown: "five"}); err != nil {
			t.Fatal(err)
		}
		commit(Post{Card: "card", Place: two, Current: true}, Post{Card: "card", Place: one, Current: false, Ref: "ignored", Shown: "ignored"})
		if err := s.SavePost(ctx, Post{Card: "card", Place: one, Ref: "ts 2", Shown: "four"}); err != nil {
			t.Fatal(err)
		}

		got, err := s.Posts(ctx, "card")
		want := []Post{{"card", one, false, "ts 2", "four"}, {"card", two, true, "", ""}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Posts = %+v, %v; want %+v", got, err, want)
		}
		if got, err := s.Posts(ctx, "other"); err != nil || !slices.Equal(got, []Post{{"other", one, true, "given", "three"}}) {
			t.Errorf("Posts of the other card = %+v, %v", got, err)
		}
		if got, err := s.Posts(ctx, "none"); err != nil || len(got) != 0 {
			t.Errorf("Posts of no card = %+v, %v", got, err)
		}
		if err := s.SavePost(ctx, Post{Card: "card", Place: Place{"slack", "C3"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown post was saved: %v", err)
		}
	})
}

func TestOneWorkerAtATimeShowsAPost(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		place := Place{"slack", "C1"}
		if err := s.Commit(ctx, Change{Posts: []Post{{Card: "card", Place: place}, {Card: "other", Place: place}}}); err != nil {
			t.Fatal(err)
		}
		lease := func(until time.Duration, want error) {
			t.Helper()
			if _, err := s.LeasePost(ctx, "card", place, time.Now().Add(until)); !errors.Is(err, want) {
				t.Errorf("LeasePost = %v, want %v", err, want)
			}
		}
		lease(time.Minute, nil)
		lease(time.Minute, ErrLeased)
		if _, err := s.LeasePost(ctx, "other", place, time.Now().Add(time.Minute)); err != nil {
			t.Errorf("the post of another card: %v", err)
		}
		if err := s.SavePost(ctx, Post{Card: "card", Place: place, Ref: "r", Shown: "one"}); err != nil {
			t.Fatal(err)
		}
		lease(time.Minute, nil)
		if err := s.ReleasePost(ctx, "card", place); err != nil {
			t.Fatal(err)
		}
		lease(-time.Second, nil) // expires at once
		lease(time.Minute, nil)
		if _, err := s.LeasePost(ctx, "card", Place{"slack", "C2"}, time.Now()); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown post: %v", err)
		}

		if err := s.ReleasePost(ctx, "card", place); err != nil {
			t.Fatal(err)
		}
		var workers []func() error
		for range 20 {
			workers = append(workers, func() error { _, err := s.LeasePost(ctx, "card", place, time.Now().Add(time.Minute)); return err })
		}
		free := 0
		for _, err := range together(t, s, gate(s), workers...) {
			if err == nil {
				free++
			} else if !errors.Is(err, ErrLeased) {
				t.Error(err)
			}
		}
		if free != 1 {
			t.Errorf("%d of 20 workers got the post", free)
		}
	})
}
