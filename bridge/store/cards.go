package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Card is a co-browse request: for one episode of a conversation, for a look-up, or for one agent who used a shared
// card (see Kind).
type Card struct {
	// ID, Connector, Kind, Chat, Episode and HandleHash never change.
	ID        string
	Connector string // the name of the connector, such as "slack"
	// Kind is what the card is about; empty means KindChat.
	Kind Kind
	// Chat is the chat service's id of the conversation. A service may use one id for
	// several conversations, one after the other.
	Chat string
	// Episode is the number of this conversation among those with the same Chat, from 1. 0 is stored as 1.
	Episode int
	Agent   string // the id of the chat account whose card it is, such as "slack:T1/U2"
	Visitor string // the visitor's short id at Upscope, or empty
	State   string // in the words of package card
	// Version counts changes, from 1. A card with Version 0 is not stored yet.
	Version int64
	// Generation is the number of the card's current link. A new link gets the next number: its
	// address changes, and its HandleHash stays the same.
	Generation int
	// HandleHash is the SHA-256 of the part of the link by which the card is found. Zero means that the card
	// has no link.
	HandleHash [32]byte
	// Claimed says that a browser has used the link of this Generation; see Claim. It is false again for the next one.
	Claimed bool
	// Created and Updated are set by the caller; zero means now.
	Created, Updated time.Time
	// DoorUntil is when the door expires.
	DoorUntil time.Time
	// NextCheck is when the bridge checks the card again, because the state of its session at Upscope
	// may have changed. Zero means that no change is expected.
	NextCheck time.Time
	// Detail is data of the caller, encrypted at rest.
	Detail []byte
}

// A Kind is what a card is about.
type Kind string

// The kinds of card.
const (
	KindChat   Kind = "chat"    // a conversation
	KindLookUp Kind = "look-up" // a visitor whom an agent looked up outside a conversation
	KindPress  Kind = "press"   // the card of one agent who pressed a shared card
)

const purposeCard = "card detail"

// Card returns the card with the given id, or ErrNotFound.
func (s *Store) Card(ctx context.Context, id string) (Card, error) {
	return s.selectOneCard(ctx, "card "+id, queryCard, id)
}

// CardOfChat returns the card of the latest episode of a chat, or ErrNotFound.
func (s *Store) CardOfChat(ctx context.Context, connector string, kind Kind, chat string) (Card, error) {
	return s.selectOneCard(ctx, "card of chat", queryCardOfChat, connector, string(kind), chat)
}

// A Holder has what is known about who owns a card's link. Package door decides who may use it.
type Holder struct {
	// Browser is the browser that is remembered for the card's agent; zero if there is none.
	Browser Browser
	// Agent is the signed-in agent who owns the account Card.Agent; empty if none does.
	Agent string
}

// CardByHandle returns the card whose handle has the given SHA-256, and its holder, or ErrNotFound.
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

// CardsToCheck returns the cards whose NextCheck is not after the given time, the earliest first. Like all
// lists of cards, it returns the ones that can be decrypted also with an error that wraps ErrSealed.
func (s *Store) CardsToCheck(ctx context.Context, until time.Time) ([]Card, error) {
	const op = "cards to check"
	var all cardList
	for {
		n := all.read
		if err := s.readCards(ctx, &all, queryCardsToCheck, engine.Micros(until), engine.Micros(all.last.NextCheck), all.last.ID); err != nil {
			return nil, fmt.Errorf("store: %s: %w", op, err)
		}
		if all.read == n {
			return all.result(op)
		}
	}
}

// AnyToCheck reports whether any card has a NextCheck.
func (s *Store) AnyToCheck(ctx context.Context) (bool, error) {
	rows, err := s.engine.Query(ctx, queryAnyToCheck)
	if err != nil {
		return false, fmt.Errorf("store: cards to check: %w", err)
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// An OpenChat is a chat that has a card that is not closed.
type OpenChat struct{ Card, Chat string }

// OpenChats returns the chats of a connector that have a card that is not closed and was made
// before the given time, in the order of the cards' ids.
func (s *Store) OpenChats(ctx context.Context, connector string, before time.Time) (chats []OpenChat, err error) {
	for after := ""; ; after = chats[len(chats)-1].Card {
		n := len(chats)
		var c OpenChat
		err := s.scan(ctx, func(row engine.Rows) error {
			err := row.Scan(&c.Card, &c.Chat)
			chats = append(chats, c)
			return err
		}, queryOpenChats, connector, after, engine.Micros(before))
		if err != nil {
			return nil, fmt.Errorf("store: open chats: %w", err)
		}
		if len(chats) == n {
			return chats, nil
		}
	}
}

// CardsWithValidLink returns the n newest cards of a connector that are not closed and whose
// links have not expired, the newest first.
func (s *Store) CardsWithValidLink(ctx context.Context, connector string, n int) ([]Card, error) {
	return s.selectCards(ctx, "cards with a valid link", queryCardsWithValidLink, connector, time.Now().UnixMicro(), n)
}

// CardsOfAgent returns the n newest cards of an agent, the newest first (card ids are in order of creation).
func (s *Store) CardsOfAgent(ctx context.Context, agent string, n int) ([]Card, error) {
	return s.selectCards(ctx, "cards of agent", queryCardsOfAgent, agent, n)
}

// selectCards returns the cards that can be decrypted. If there are others, the error wraps ErrSealed.
func (s *Store) selectCards(ctx context.Context, op, query string, args ...any) ([]Card, error) {
	var all cardList
	if err := s.readCards(ctx, &all, query, args...); err != nil {
		return nil, fmt.Errorf("store: %s: %w", op, err)
	}
	return all.result(op)
}

// A cardList has cards that were read.
type cardList struct {
	cards  []Card
	sealed []string // the ids of those that cannot be decrypted
	read   int      // how many were read
	last   Card     // the last that was read; of one that cannot be decrypted it has ID and NextCheck
}

// readCards adds the cards of a query to list.
func (s *Store) readCards(ctx context.Context, list *cardList, query string, args ...any) error {
	return s.scan(ctx, func(rows engine.Rows) error {
		c, err := s.scanCard(rows)
		switch {
		case errors.Is(err, ErrSealed):
			list.sealed = append(list.sealed, c.ID)
		case err != nil:
			return err
		default:
			list.cards = append(list.cards, c)
		}
		list.read, list.last = list.read+1, c
		return nil
	}, query, args...)
}

// result returns the cards, and an error that wraps ErrSealed if some cannot be decrypted.
func (list *cardList) result(op string) ([]Card, error) {
	if n := len(list.sealed); n > 0 {
		return list.cards, fmt.Errorf("store: %s: %w: %d cards, the first is %s", op, ErrSealed, n, list.sealed[0])
	}
	return list.cards, nil
}

func (s *Store) selectOneCard(ctx context.Context, op, query string, args ...any) (Card, error) {
	c, err := s.scanCard(s.engine.QueryRow(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Card{}, fmt.Errorf("store: %s: %w", op, err)
	}
	return c, nil
}

// scanCard reads a card, and the columns after it into more. If the error is ErrSealed, the card has its ID
// and NextCheck.
func (s *Store) scanCard(row engine.Row, more ...any) (Card, error) {
	// All targets are in one struct, because Scan would otherwise allocate each of them.
	var columns struct {
		Card
		kind                                                           string
		episode, claimed, generation, created, updated, until, awaited int64
		handle, detail                                                 []byte
	}
	c := &columns.Card
	err := row.Scan(append([]any{&c.ID, &c.Connector, &columns.kind, &c.Chat, &columns.episode, &c.Agent, &c.Visitor, &c.State,
		&c.Version, &columns.generation, &columns.claimed, &columns.handle, &columns.created, &columns.updated, &columns.until, &columns.awaited, &columns.detail}, more...)...)
	if err == nil && columns.detail != nil {
		c.Detail, err = s.sealer.Open(purposeCard, columns.detail, c.Connector, c.ID)
	}
	if err != nil {
		return Card{ID: c.ID, NextCheck: engine.FromMicros(columns.awaited)}, err
	}
	copy(c.HandleHash[:], columns.handle)
	c.Claimed = columns.claimed == columns.generation // claimed is the last generation that was claimed, or -1
	c.Kind, c.Episode, c.Generation = Kind(columns.kind), int(columns.episode), int(columns.generation)
	c.Created, c.Updated, c.DoorUntil, c.NextCheck = engine.FromMicros(columns.created), engine.FromMicros(columns.updated), engine.FromMicros(columns.until), engine.FromMicros(columns.awaited)
	return *c, nil
}

// previousCard returns two steps for a card that a Change refers to: decide checks that c was not changed since it was
// read, and apply changes its version.
func previousCard(c Card) (decide, apply func(context.Context, engine.Tx) error) {
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

// saveCard returns the step that inserts c (Version 0) or updates it. If pressed is set, an update also marks the link
// as claimed. The step fails with ErrConflict if the card or chat was changed or inserted meanwhile.
func (s *Store) saveCard(c Card, pressed bool) func(context.Context, engine.Tx) error {
	now := time.Now()
	if c.Created.IsZero() {
		c.Created = now
	}
	if c.Updated.IsZero() {
		c.Updated = now
	}
	var handle, detail []byte
	if c.HandleHash != [32]byte{} {
		handle = c.HandleHash[:]
	}
	if c.Detail != nil {
		detail = s.sealer.Seal(purposeCard, c.Detail, c.Connector, c.ID)
	}
	// The order is that of queryUpdateCard and queryInsertCard.
	args := []any{c.ID, c.Connector, c.Chat, c.Agent, c.Visitor, c.State, c.Version + 1, int64(c.Generation),
		handle, engine.Micros(c.Created), engine.Micros(c.Updated), engine.Micros(c.DoorUntil), engine.Micros(c.NextCheck), detail}
	query := queryUpdateCard
	if c.Version > 0 {
		args = append(args, c.Version, pressed)
	} else {
		query, args = queryInsertCard, append(args, string(cmp.Or(c.Kind, KindChat)), int64(max(c.Episode, 1)))
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
