package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Card is one co-browse request. There is one for a chat.
type Card struct {
	// ID, Connector, Chat and Handle never change.
	ID        string
	Connector string
	Chat      string
	Agent     string
	Visitor   string
	State     string
	// Version counts changes, from 1; 0 is a card that is not stored yet.
	Version int64
	// Generation counts doors of this card: a renewed one has the next number,
	// which makes a new address with the same Handle.
	Generation int
	// Handle is the SHA-256 of what finds the card in its door's address. All
	// zero means that there is no door.
	Handle [32]byte
	// Claimed says that the door of this generation was pressed. Only a Claim
	// changes it.
	Claimed bool
	// Created and Updated are the caller's; zero means now.
	Created, Updated time.Time
	DoorUntil        time.Time
	// Awaited is when a card of which news may come is to be looked at, whether
	// or not they came; zero means that none are expected.
	Awaited time.Time
	// Detail is the caller's, sealed at rest.
	Detail []byte
}

const purposeCard = "card detail"

// Card returns the card with the given id, or ErrNotFound.
func (s *Store) Card(ctx context.Context, id string) (Card, error) {
	return s.card(ctx, "card "+id, queryCard, id)
}

// CardOfChat returns the card of a chat, or ErrNotFound.
func (s *Store) CardOfChat(ctx context.Context, connector, chat string) (Card, error) {
	return s.card(ctx, "card of chat", queryCardOfChat, connector, chat)
}

// CardOfEpisode returns the latest card of a chat whose name is followed by a # and
// anything, or ErrNotFound.
func (s *Store) CardOfEpisode(ctx context.Context, connector, chat string) (Card, error) {
	return s.card(ctx, "card of episode", queryEpisode, connector, chat+"#", chat+"$") // $ follows # in ASCII
}

// A Holder is who may use the door of a card: the browser that is remembered as
// its agent's now, and the agent whose account the card's agent is, empty if that
// is nobody's.
type Holder struct {
	Browser Browser
	Agent   string
}

// CardByHandle returns the card whose door's handle has the given SHA-256, and who
// holds it, or ErrNotFound.
func (s *Store) CardByHandle(ctx context.Context, hash [32]byte) (Card, Holder, error) {
	var browser []byte
	var owner sql.NullString
	c, err := s.scanCard(s.engine.QueryRow(ctx, queryCardByHandle, hash[:], time.Now().UnixMicro()), &browser, &owner)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Card{}, Holder{}, fmt.Errorf("store: card by handle: %w", err)
	}
	return c, Holder{Browser{browser}, owner.String}, nil
}

// CardsAwaited returns cards whose Awaited is not later than the given time, the
// earliest first and at most a hundred.
func (s *Store) CardsAwaited(ctx context.Context, until time.Time) ([]Card, error) {
	return s.cards(ctx, "cards awaited", queryCardsAwaited, micros(until))
}

// AnyAwaited reports whether news are expected of any card.
func (s *Store) AnyAwaited(ctx context.Context) (bool, error) {
	rows, err := s.engine.Query(ctx, queryAnyAwaited)
	if err != nil {
		return false, fmt.Errorf("store: cards awaited: %w", err)
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// CardsOpen returns a connector's cards that are not closed and whose ids come
// after the given one, by id and at most a hundred.
func (s *Store) CardsOpen(ctx context.Context, connector, after string) ([]Card, error) {
	return s.cards(ctx, "open cards", queryCardsOpen, connector, after)
}

// CardsToOpen returns the n cards of a connector whose doors open and that were made
// last, the latest first.
func (s *Store) CardsToOpen(ctx context.Context, connector string, n int) ([]Card, error) {
	return s.cards(ctx, "cards to open", queryCardsToOpen, connector, time.Now().UnixMicro(), n)
}

// CardsOfAgent returns the n cards of an agent that were made last, the latest
// first: ids are in the order in which they were drawn.
func (s *Store) CardsOfAgent(ctx context.Context, agent string, n int) ([]Card, error) {
	return s.cards(ctx, "cards of agent", queryCardsOfAgent, agent, n)
}

func (s *Store) cards(ctx context.Context, op, query string, args ...any) (cards []Card, err error) {
	rows, err := s.engine.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", op, err)
	}
	defer rows.Close()
	for rows.Next() {
		c, err := s.scanCard(rows)
		if err != nil {
			return nil, fmt.Errorf("store: %s: %w", op, err)
		}
		cards = append(cards, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: %s: %w", op, err)
	}
	return cards, nil
}

func (s *Store) card(ctx context.Context, op, query string, args ...any) (Card, error) {
	c, err := s.scanCard(s.engine.QueryRow(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Card{}, fmt.Errorf("store: %s: %w", op, err)
	}
	return c, nil
}

// scanCard reads a card, and into more what follows its columns.
func (s *Store) scanCard(row engine.Row, more ...any) (c Card, err error) {
	var claimed, generation, created, updated, until, awaited int64
	var handle, detail []byte
	err = row.Scan(append([]any{&c.ID, &c.Connector, &c.Chat, &c.Agent, &c.Visitor, &c.State,
		&c.Version, &generation, &claimed, &handle, &created, &updated, &until, &awaited, &detail}, more...)...)
	if err == nil && detail != nil {
		c.Detail, err = s.sealer.Open(purposeCard, detail, c.Connector, c.ID)
	}
	if err != nil {
		return Card{}, err
	}
	copy(c.Handle[:], handle)
	c.Generation, c.Claimed = int(generation), claimed == generation
	c.Created, c.Updated, c.DoorUntil, c.Awaited = fromMicros(created), fromMicros(updated), fromMicros(until), fromMicros(awaited)
	return c, nil
}

// follows prepares the decision whether a card is as it was read, and that nobody else
// finds it so.
func follows(c Card) (decide, apply func(context.Context, engine.Tx) error) {
	decide = func(ctx context.Context, tx engine.Tx) error {
		var version int64
		err := tx.QueryRow(ctx, queryLockCard, c.ID).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) || err == nil && version != c.Version {
			return ErrConflict
		}
		return err
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryFollowCard, c.ID)
		return err
	}
	return decide, apply
}

// saveCard prepares the statement that inserts or updates c, and marks the door of
// its generation as pressed if it is. It refuses with ErrConflict.
func (s *Store) saveCard(c Card, pressed bool) func(context.Context, engine.Tx) error {
	now := time.Now()
	if c.Created.IsZero() {
		c.Created = now
	}
	if c.Updated.IsZero() {
		c.Updated = now
	}
	var handle, detail []byte
	if c.Handle != [32]byte{} {
		handle = c.Handle[:]
	}
	if c.Detail != nil {
		detail = s.sealer.Seal(purposeCard, c.Detail, c.Connector, c.ID)
	}
	query := queryInsertCard
	args := []any{c.ID, c.Connector, c.Chat, c.Agent, c.Visitor, c.State, c.Version + 1, int64(c.Generation),
		handle, micros(c.Created), micros(c.Updated), micros(c.DoorUntil), micros(c.Awaited), detail}
	if c.Version > 0 {
		query, args = queryUpdateCard, append(args, c.Version, pressed)
	}
	return func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("save card: %w", err)
		}
		if n == 0 {
			return ErrConflict
		}
		return nil
	}
}
