package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Claim is an agent's press on a door where agents do not sign in. It succeeds if the
// door has the card's Generation and
//
//   - this browser is remembered for the agent and has not expired; or
//   - this generation of the door was never claimed, and the agent has no remembered
//     browser or the door is Renewed.
//
// The store then marks the door as claimed, and remembers this browser for the agent until
// Until, in place of any other. Otherwise the Claim fails with ErrTaken.
type Claim struct {
	Card string
	// Version is the card's Version as it was read; ErrConflict if it has changed.
	Version    int64
	Generation int
	Agent      string
	// Browser is the browser's token. Only its SHA-256 is stored.
	Browser string
	// Renewed says that the agent asked for this generation of the door, and that it was
	// sent to their own place. So it may move the agent to another browser.
	Renewed bool
	// Until is when the store forgets the browser.
	Until time.Time
}

// refresh is by how much Until must change before a remembered browser is written again.
const refresh = 5 * time.Minute

// claim prepares the check, which only refuses, and the statements that remember the
// browser and mark the door. cardMarks says that saveCard marks the door.
func (s *Store) claim(c Claim, cardMarks bool) (decide, apply func(context.Context, engine.Tx) error) {
	browser := sha256.Sum256([]byte(c.Browser))
	browserFresh, doorClaimed := false, false // so that they need not be written
	decide = func(ctx context.Context, tx engine.Tx) error {
		var door struct { // one struct, because Scan would otherwise allocate each of its fields
			generation, claimed, version int64
			browser                      []byte
			expires                      sql.NullInt64
		}
		err := tx.QueryRow(ctx, queryLockDoor, c.Card, c.Agent, time.Now().UnixMicro()).
			Scan(&door.generation, &door.claimed, &door.version, &door.browser, &door.expires)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		if door.version != c.Version {
			return ErrConflict
		}
		if door.generation != int64(c.Generation) {
			return ErrTaken
		}
		switch {
		case bytes.Equal(door.browser, browser[:]):
			browserFresh, doorClaimed = c.Until.Sub(engine.FromMicros(door.expires.Int64)) < refresh, door.claimed == door.generation
			return nil
		case door.claimed == door.generation:
			return ErrTaken
		case door.browser != nil && !c.Renewed:
			return ErrTaken
		}
		return nil
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		if !doorClaimed && !cardMarks {
			if _, err := tx.Exec(ctx, queryClaim, c.Card, int64(c.Generation)); err != nil {
				return fmt.Errorf("claim: %w", err)
			}
		}
		if !browserFresh {
			if _, err := tx.Exec(ctx, queryRemember, c.Agent, browser[:], engine.Micros(c.Until)); err != nil {
				return fmt.Errorf("claim: %w", err)
			}
		}
		return nil
	}
	return decide, apply
}

// A Browser is the browser that is remembered for an agent. The zero Browser is none.
type Browser struct{ sum []byte }

// Is reports whether b has the given token. other reports whether b is a different
// browser; for the zero Browser both are false.
func (b Browser) Is(token string) (this, other bool) {
	sum := sha256.Sum256([]byte(token))
	this = bytes.Equal(b.sum, sum[:])
	return this, !this && b.sum != nil
}

// Remembers reports whether a browser of the agent is remembered.
func (s *Store) Remembers(ctx context.Context, agent string) (bool, error) {
	found := false
	err := s.scan(ctx, func(engine.Rows) error { found = true; return nil }, queryRemembered, agent, engine.Micros(time.Now()))
	if err != nil {
		return false, fmt.Errorf("store: remembered browser: %w", err)
	}
	return found, nil
}

// Forget removes the remembered browser of an agent.
func (s *Store) Forget(ctx context.Context, agent string) error {
	err := s.write(ctx, &write{rows: []string{rowOfBrowser(agent)}, do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryForget, agent)
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: forget: %w", err)
	}
	return nil
}
