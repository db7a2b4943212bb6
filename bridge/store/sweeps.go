package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

// A Sweep is one run through the list of open chats at a chat service. Only one process runs
// a sweep at a time. The store remembers the keys that it finds, until a later sweep runs to
// the end of the list without finding them.
type Sweep struct {
	Connector string
	// Since is when the last complete sweep began; news that this one finds may be as
	// old. Zero means that there was none.
	Since time.Time
	round int64
}

// keptRounds is after how many incomplete sweeps a key is forgotten that none of them found.
// It limits how many keys are kept if no sweep ever runs to the end.
const keptRounds = 20

// SweepDue returns the time at which the next sweep is due: every after the last one ended,
// and not while another process runs one. The zero time means at once.
func (s *Store) SweepDue(ctx context.Context, connector string, every time.Duration) (time.Time, error) {
	var ended, held int64
	err := s.engine.QueryRow(ctx, querySweepDue, connector).Scan(&ended, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("store: sweep: %w", err)
	}
	due := engine.FromMicros(ended).Add(every)
	if until := engine.FromMicros(held); until.After(due) {
		due = until
	}
	return due, nil
}

// StartSweep begins a sweep if one is due, and fails with ErrLeased otherwise. The caller has
// the sweep until the given time, or a later one from ExtendSweep. After that another process
// may begin a sweep.
func (s *Store) StartSweep(ctx context.Context, connector string, every time.Duration, until time.Time) (Sweep, error) {
	sweep := Sweep{Connector: connector}
	err := s.write(ctx, &write{rows: []string{rowOfSweep(connector)}, do: func(ctx context.Context, tx engine.Tx) error {
		now := time.Now()
		var whole int64
		err := tx.QueryRow(ctx, queryStartSweep, connector, engine.Micros(until), engine.Micros(now), engine.Micros(now.Add(-every))).Scan(&sweep.round, &whole)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLeased
		}
		sweep.Since = engine.FromMicros(whole)
		return err
	}})
	if err != nil {
		return Sweep{}, fmt.Errorf("store: start sweep: %w", err)
	}
	return sweep, nil
}

// ExtendSweep lets the caller continue a sweep until the given time. It fails with ErrLeased
// if another process began a sweep in the meantime.
func (s *Store) ExtendSweep(ctx context.Context, sweep Sweep, until time.Time) error {
	err := s.write(ctx, &write{rows: []string{rowOfSweep(sweep.Connector)}, do: func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryExtendSweep, sweep.Connector, sweep.round, engine.Micros(until))
		if err == nil && n == 0 {
			return ErrLeased
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: extend sweep: %w", err)
	}
	return nil
}

// NewlyFound returns the indexes of the deliveries whose keys the store does not know. It
// marks the keys of the others as found again by this sweep.
func (s *Store) NewlyFound(ctx context.Context, sweep Sweep, all []Delivery) ([]int, error) {
	var unknown []int // not a result: if ctx ends, the write may still set it
	err := s.write(ctx, &write{all: true, do: func(ctx context.Context, tx engine.Tx) error {
		unknown = nil // a failed shared commit runs this again
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

// FoundKey is the prefix of the keys of deliveries that sweeps found. The keys of other
// deliveries must not begin with it.
const FoundKey = "found/"

// StoreFound stores a delivery that a sweep found with its job, and remembers its key, in one
// transaction. Only a keyed hash of d.Key is stored. late says that the news may be old.
func (s *Store) StoreFound(ctx context.Context, sweep Sweep, d Delivery, late bool, j jobs.Job) error {
	what, _ := s.found(sweep.Connector, d.Key)
	d.Connector, d.SweepKey, d.Found, d.FoundLate = sweep.Connector, d.Key, true, late
	d.Key = fmt.Sprintf(FoundKey+"%s/%d", hex.EncodeToString(what[:12]), sweep.round)
	if _, err := s.StoreDelivery(ctx, d, j); err != nil {
		return fmt.Errorf("store: sweep: %w", err)
	}
	return nil
}

// EndSweep ends a sweep. complete says that it ran to the end of the list; the store then
// forgets the keys that it did not find. No other sweep begins before backoff, even if one is
// due.
func (s *Store) EndSweep(ctx context.Context, sweep Sweep, complete bool, backoff time.Time) error {
	forget := sweep.round
	if !complete {
		forget -= keptRounds
	}
	if err := s.forgetFound(ctx, sweep, forget); err != nil {
		return fmt.Errorf("store: end sweep: %w", err)
	}
	err := s.write(ctx, &write{rows: []string{rowOfSweep(sweep.Connector)}, do: func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryEndSweep, sweep.Connector, sweep.round, engine.Micros(backoff), time.Now().UnixMicro(), complete)
		if err == nil && n == 0 {
			return ErrLeased
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: end sweep: %w", err)
	}
	return nil
}

// forgetFound removes the keys that were last found before the given round, in slices. If it is not
// finished, the next sweep finds the same chats again, and removes the rest.
func (s *Store) forgetFound(ctx context.Context, sweep Sweep, round int64) error {
	return s.removeEach(ctx, func(last []byte) ([][]byte, error) {
		return engine.Column[[]byte](s.engine.Query(ctx, queryOldFound, sweep.Connector, last, round))
	}, func(ctx context.Context, tx engine.Tx, old [][]byte) error {
		n, err := tx.Exec(ctx, queryExtendSweep, sweep.Connector, sweep.round, time.Now().Add(forgetLease).UnixMicro())
		if err == nil && n == 0 {
			return ErrLeased
		}
		for _, what := range old {
			if err == nil {
				_, err = tx.Exec(ctx, queryForgetFound, sweep.Connector, what, round)
			}
		}
		return err
	})
}

// forgetLease is how long no other sweep may begin after each slice of forgetFound.
const forgetLease = time.Minute

// found returns the keyed hashes of a key with the present secret and with the old one.
func (s *Store) found(connector, key string) (now, before []byte) {
	return s.sealer.Sums("found", connector, key)
}
