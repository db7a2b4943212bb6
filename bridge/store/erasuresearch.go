package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"cobrowse-bridge/bridge/store/erasing"
)

// An ErasureQuery says how to find a person's data in the store.
type ErasureQuery struct {
	// Cards are the person's cards. Their posts and waits are found with them.
	Cards []Card
	// Visitors, IDs and Deliveries are as in erasing.Query.
	Visitors, IDs, Deliveries []string
}

// ErasureMatches are the rows about a person in the store. Cards are ids.
type ErasureMatches struct {
	Cards []string
	erasing.Matches
}

// Removed counts what Erase would remove, without the posts and waits of cards.
func (r ErasureMatches) Removed() Removed {
	return Removed{
		Cards: int64(len(r.Cards)), Deliveries: int64(len(r.Deliveries)), Jobs: int64(len(r.Jobs)), Records: int64(len(r.Records)),
	}
}

// Empty reports whether no row was found.
func (r ErasureMatches) Empty() bool { return r.Removed() == Removed{} && len(r.Failures) == 0 }

// Cards returns at most 100 cards whose ids come after the given id, in the order of their ids.
func (s *Store) Cards(ctx context.Context, after string) ([]Card, error) {
	return s.selectCards(ctx, "cards", queryCards, after)
}

func (s *Store) erasureIndex() erasing.Index {
	return erasing.In(s.engine, s.writeAlone, s.sealer)
}

// FindForErasure searches the store for the rows that q describes.
func (s *Store) FindForErasure(ctx context.Context, q ErasureQuery) (found ErasureMatches, err error) {
	query := erasing.Query{Visitors: q.Visitors, IDs: q.IDs, Deliveries: q.Deliveries}
	for _, c := range q.Cards {
		query.Cards, query.Chats = append(query.Cards, c.ID), append(query.Chats, [2]string{c.Connector, c.Chat})
	}
	search := erasing.Search{Index: s.erasureIndex(), In: s.engine, Jobs: s.jobs, Open: func(connector, id string, body []byte) ([]byte, error) {
		return s.sealer.Open(purposeBody, body, connector, id)
	}}
	found.Cards = query.Cards
	if found.Matches, err = search.Find(ctx, query); err != nil {
		return ErasureMatches{}, fmt.Errorf("store: %w", err)
	}
	return found, nil
}

// IndexForErasure adds what was written since the last call to the index for erasures, in slices.
// hashes returns the hashes of the ids in a card.
func (s *Store) IndexForErasure(ctx context.Context, hashes func(Card) ([]int64, error)) error {
	err := s.erasureIndex().Update(Patient(ctx), func(ctx context.Context, id string) (int64, []int64, bool, error) {
		c, err := s.Card(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return 0, nil, false, nil
		} else if err != nil {
			return 0, nil, false, err
		}
		of, err := hashes(c)
		return c.Version, of, true, err
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// CardsForErasure yields the cards that may have ids with one of the hashes. Among them are all that
// have one; the caller checks each. Hashes with the old secret come first. It ends after an error.
func (s *Store) CardsForErasure(ctx context.Context, hashes []int64) iter.Seq2[Card, error] {
	return func(yield func(Card, error) bool) {
		index := s.erasureIndex()
		usable, err := index.HasCards(ctx)
		query := queryUnindexedCards
		if !usable {
			query = queryCards
		}
		seen := map[string]bool{}
		for after, more := "", err == nil; more; {
			var part []Card
			part, err = s.selectCards(ctx, "cards", query, after)
			for _, c := range part {
				if after, seen[c.ID] = c.ID, true; !yield(c, nil) {
					return
				}
			}
			more = err == nil && len(part) > 0
		}
		var ids []string
		if err == nil {
			ids, err = index.Cards(ctx, hashes)
		}
		for _, id := range ids {
			if seen[id] {
				continue
			}
			c, err := s.Card(ctx, id)
			if errors.Is(err, ErrNotFound) {
				continue // deleted meanwhile
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
		if err != nil {
			yield(Card{}, fmt.Errorf("store: cards for an erasure: %w", err))
		}
	}
}
