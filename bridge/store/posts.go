package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Place is where a card is shown.
type Place struct {
	Connector string
	Address   string
}

// A Post is a card at a place. There is at most one for each card and place.
type Post struct {
	Card  string
	Place Place
	// Current says that the card should be at this place now.
	Current bool
	// Ref is the connector's name for the message.
	Ref string
	// Shown says what the post shows, in the caller's format. Empty means that no worker
	// has tried to post. PerhapsShown means that one tried, with unknown result.
	Shown string
}

// PerhapsShown is the value of Post.Shown from the first LeasePost to SavePost. It stays if
// the worker died in between.
const PerhapsShown = "?"

const (
	purposePlace   = "place"
	purposeAddress = "post address"
	purposeRef     = "post ref"
)

// Posts returns the posts of a card, the oldest first.
func (s *Store) Posts(ctx context.Context, card string) ([]Post, error) {
	fail := func(err error) ([]Post, error) { return nil, fmt.Errorf("store: posts of %s: %w", card, err) }
	rows, err := s.engine.Query(ctx, queryPosts, card)
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	var posts []Post
	for rows.Next() {
		p := Post{Card: card}
		var address, ref []byte
		if err := rows.Scan(&p.Place.Connector, &address, &ref, &p.Shown, &p.Current); err != nil {
			return fail(err)
		}
		opened, err := s.sealer.Open(purposeAddress, address, p.Place.Connector, card)
		if err != nil {
			return fail(err)
		}
		p.Place.Address = string(opened)
		if ref != nil {
			if opened, err = s.sealer.Open(purposeRef, ref, p.Place.Connector, card); err != nil {
				return fail(err)
			}
			p.Ref = string(opened)
		}
		posts = append(posts, p)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return posts, nil
}

// LeasePost gives the caller the sole right to show a post until SavePost, ReleasePost, or
// the given time, and returns its Shown. If that is empty, the stored Shown becomes
// PerhapsShown. LeasePost fails with ErrLeased while another worker holds the post, and with
// ErrNotFound if there is no such post.
func (s *Store) LeasePost(ctx context.Context, card string, p Place, until time.Time) (string, error) {
	var shown string // not a result: if ctx ends, the write may still set it
	err := s.onPost(ctx, "lease post", card, p, func(ctx context.Context, tx engine.Tx, place []byte) error {
		n, err := tx.Exec(ctx, queryLeasePost, card, place, engine.Micros(until), time.Now().UnixMicro())
		if err != nil {
			return err
		}
		if n > 0 {
			if err := tx.QueryRow(ctx, queryPostShown, card, place).Scan(&shown); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, queryPerhapsShown, card, place, PerhapsShown)
			return err
		}
		var id int64
		if err := tx.QueryRow(ctx, queryPostExists, card, place).Scan(&id); errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		return ErrLeased
	})
	if err != nil {
		return "", err
	}
	return shown, nil
}

// SavePost stores Ref and Shown of a post, and ends its lease. It fails with ErrNotFound if
// there is no such post.
func (s *Store) SavePost(ctx context.Context, p Post) error {
	ref := s.sealRef(p)
	return s.onPost(ctx, "save post", p.Card, p.Place, func(ctx context.Context, tx engine.Tx, place []byte) error {
		n, err := tx.Exec(ctx, querySavePost, p.Card, place, ref, p.Shown)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
}

// ReleasePost ends the lease of a post, and changes nothing else.
func (s *Store) ReleasePost(ctx context.Context, card string, p Place) error {
	return s.onPost(ctx, "release post", card, p, func(ctx context.Context, tx engine.Tx, place []byte) error {
		_, err := tx.Exec(ctx, queryReleasePost, card, place)
		return err
	})
}

func (s *Store) onPost(ctx context.Context, op, card string, p Place, f func(ctx context.Context, tx engine.Tx, place []byte) error) error {
	place, rekey := s.place(card, p)
	err := s.write(ctx, &write{rows: []string{rowOfCard(card)}, do: func(ctx context.Context, tx engine.Tx) error {
		if err := rekey(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx, place)
	}})
	if err != nil {
		return fmt.Errorf("store: %s of %s: %w", op, card, err)
	}
	return nil
}

// place returns the key of a place, and a function that updates the key of a row that was
// stored with the old secret.
func (s *Store) place(card string, p Place) (key []byte, rekey func(context.Context, engine.Tx) error) {
	key, old := s.sealer.Sums(purposePlace, card, p.Connector, p.Address)
	return key, func(ctx context.Context, tx engine.Tx) error {
		if !s.rekeying {
			return nil
		}
		_, err := tx.Exec(ctx, queryRekeyPost, card, key, old)
		return err
	}
}

func (s *Store) sealRef(p Post) []byte {
	if p.Ref == "" {
		return nil
	}
	return s.sealer.Seal(purposeRef, []byte(p.Ref), p.Place.Connector, p.Card)
}

// upsertPost prepares the statement that inserts a post, or updates its Current.
func (s *Store) upsertPost(p Post) func(context.Context, engine.Tx) error {
	place, rekey := s.place(p.Card, p.Place)
	address := s.sealer.Seal(purposeAddress, []byte(p.Place.Address), p.Place.Connector, p.Card)
	ref := s.sealRef(p)
	return func(ctx context.Context, tx engine.Tx) error {
		if err := rekey(ctx, tx); err != nil {
			return fmt.Errorf("save post: %w", err)
		}
		if _, err := tx.Exec(ctx, queryUpsertPost, p.Card, place, p.Place.Connector, address, ref, p.Shown, p.Current); err != nil {
			return fmt.Errorf("save post: %w", err)
		}
		return nil
	}
}
