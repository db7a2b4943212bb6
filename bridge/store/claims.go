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

// A Claim is made when an agent's browser presses a door where nobody signs in.
// It holds if the door's generation is the card's, and
//
//   - this browser is remembered as the agent's and has not expired; or
//   - nobody pressed this generation's door before, and the agent has no
//     remembered browser or the door is Renewed.
//
// The door is then marked as claimed, and this browser remembered as the agent's
// until Until, in place of any other. Otherwise it fails with ErrTaken.
type Claim struct {
	Card string
	// Version is the card's as it was read; another is ErrConflict.
	Version    int64
	Generation int
	Agent      string
	// Browser is the browser's token. Only its SHA-256 is stored.
	Browser string
	// Renewed says that this generation of the door was sent to the agent's own
	// place because the agent asked for it, so that it may move the agent to
	// another browser.
	Renewed bool
	// Until is when the browser is forgotten again.
	Until time.Time
}

// refresh is how much longer a browser must be remembered for it to be written.
const refresh = 5 * time.Minute

// claim prepares the decision, which only refuses, and what it makes of the
// browser and, unless that is marked with the card, of the door, which only writes.
func (s *Store) claim(c Claim, marked bool) (decide, apply func(context.Context, engine.Tx) error) {
	browser := sha256.Sum256([]byte(c.Browser))
	known, pressed := false, false // the browser, and the door before
	decide = func(ctx context.Context, tx engine.Tx) error {
		var generation, claimed, version int64
		var remembered []byte
		var expires sql.NullInt64
		err := tx.QueryRow(ctx, queryLockDoor, c.Card, c.Agent, time.Now().UnixMicro()).
			Scan(&generation, &claimed, &version, &remembered, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		if version != c.Version {
			return ErrConflict
		}
		if generation != int64(c.Generation) {
			return ErrTaken
		}
		switch {
		case bytes.Equal(remembered, browser[:]):
			known, pressed = c.Until.Sub(fromMicros(expires.Int64)) < refresh, claimed == generation
			return nil
		case claimed == generation:
			return ErrTaken
		case remembered != nil && !c.Renewed:
			return ErrTaken
		}
		return nil
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		if !pressed && !marked {
			if _, err := tx.Exec(ctx, queryClaim, c.Card, int64(c.Generation)); err != nil {
				return fmt.Errorf("claim: %w", err)
			}
		}
		if !known {
			if _, err := tx.Exec(ctx, queryRemember, c.Agent, browser[:], micros(c.Until)); err != nil {
				return fmt.Errorf("claim: %w", err)
			}
		}
		return nil
	}
	return decide, apply
}

// A Browser is one that is remembered as an agent's; its zero value is none.
type Browser struct{ sum []byte }

// Is reports whether it is the one with this token, or else whether there is
// another.
func (b Browser) Is(token string) (this, other bool) {
	sum := sha256.Sum256([]byte(token))
	this = bytes.Equal(b.sum, sum[:])
	return this, !this && b.sum != nil
}

// Forget makes no browser the agent's.
func (s *Store) Forget(ctx context.Context, agent string) error {
	err := s.write(ctx, &write{serial: true, do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryForget, agent)
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: forget: %w", err)
	}
	return nil
}
