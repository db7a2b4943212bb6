package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Sweep is one look through all that is open at a chat service. It belongs to one
// process at a time, and what it finds is remembered until a later one, which came
// to its end, does not.
type Sweep struct {
	Connector string
	// Since is when the last sweep began that came to its end; what this one finds
	// may be as old. Zero means that there was none.
	Since time.Time
	round int64
}

// keptRounds is for how many sweeps that broke off something is remembered which
// they did not come to. It bounds what there is of a list that never ends well.
const keptRounds = 20

// SweepDue is when a sweep is due: so long after the last one ended, and not while
// somebody is at it. Its zero value is at once.
func (s *Store) SweepDue(ctx context.Context, connector string, every time.Duration) (time.Time, error) {
	var ended, held int64
	err := s.engine.QueryRow(ctx, querySweepDue, connector).Scan(&ended, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("store: sweep: %w", err)
	}
	due := fromMicros(ended).Add(every)
	if until := fromMicros(held); until.After(due) {
		due = until
	}
	return due, nil
}

// TakeSweep begins a sweep that is due. It is this process's until the given time,
// unless KeepSweep says otherwise: if the process dies, another begins anew then. It
// is ErrLeased if none is due.
func (s *Store) TakeSweep(ctx context.Context, connector string, every time.Duration, until time.Time) (Sweep, error) {
	sweep := Sweep{Connector: connector}
	err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		now := time.Now()
		var whole int64
		err := tx.QueryRow(ctx, queryTakeSweep, connector, micros(until), micros(now), micros(now.Add(-every))).Scan(&sweep.round, &whole)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLeased
		}
		sweep.Since = fromMicros(whole)
		return err
	}})
	if err != nil {
		return Sweep{}, fmt.Errorf("store: take sweep: %w", err)
	}
	return sweep, nil
}

// KeepSweep goes on with a sweep until the given time. It is ErrLeased if another
// process began one meanwhile.
func (s *Store) KeepSweep(ctx context.Context, sweep Sweep, until time.Time) error {
	err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryKeepSweep, sweep.Connector, sweep.round, micros(until))
		if err == nil && n == 0 {
			return ErrLeased
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: keep sweep: %w", err)
	}
	return nil
}

// NotFoundBefore gives the indexes of those deliveries whose keys are known to no
// sweep, and notes of the others that they are still there.
func (s *Store) NotFoundBefore(ctx context.Context, sweep Sweep, all []Delivery) (unknown []int, err error) {
	err = s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		unknown = nil // a shared commit that failed is tried again
		for i, d := range all {
			now, before := s.found(sweep.Connector, d.Key)
			n, err := tx.Exec(ctx, queryFoundAgain, sweep.Connector, now, sweep.round, now)
			if err == nil && n == 0 && !bytes.Equal(now, before) {
				n, err = tx.Exec(ctx, queryFoundAgain, sweep.Connector, before, sweep.round, now)
			}
			if err != nil {
				return err
			}
			if n == 0 {
				unknown = append(unknown, i)
			}
		}
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("store: sweep: %w", err)
	}
	return unknown, nil
}

// Beginnings of the keys of deliveries that sweeps found.
const (
	foundKey     = "found/"
	foundLateKey = "found/late/"
)

// AcceptFound stores what a sweep found, with its job, and remembers it in the same
// transaction. Its key may be anything: a keyed hash of it is kept. Late says that it
// may be old.
func (s *Store) AcceptFound(ctx context.Context, sweep Sweep, d Delivery, late bool, j Job) error {
	what, _ := s.found(sweep.Connector, d.Key)
	prefix := foundKey
	if late {
		prefix = foundLateKey
	}
	d.Connector, d.Known = sweep.Connector, d.Key
	d.Key = fmt.Sprintf("%s%s/%d", prefix, hex.EncodeToString(what[:12]), sweep.round)
	if _, err := s.Accept(ctx, d, j); err != nil {
		return fmt.Errorf("store: sweep: %w", err)
	}
	return nil
}

// Found reports whether a sweep found what a delivery tells, and whether that may be
// old.
func (d Delivery) Found() (found, late bool) {
	return strings.HasPrefix(d.Key, foundKey), strings.HasPrefix(d.Key, foundLateKey)
}

// EndSweep ends a sweep. One that came to its end forgets what it did not find. No
// other begins before the given time, whatever is due.
func (s *Store) EndSweep(ctx context.Context, sweep Sweep, whole bool, rest time.Time) error {
	forget := sweep.round
	if !whole {
		forget -= keptRounds
	}
	err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryEndSweep, sweep.Connector, sweep.round, micros(rest), time.Now().UnixMicro(), whole)
		if err == nil && n == 0 {
			return ErrLeased
		}
		if err == nil {
			_, err = tx.Exec(ctx, queryForgetFound, sweep.Connector, forget)
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: end sweep: %w", err)
	}
	return nil
}

// found is what is kept of a key, and was under the secret before.
func (s *Store) found(connector, key string) (now, before []byte) {
	return s.sealer.Sums("found", connector, key)
}
