// Package sweeps says when the next run through a chat service's list of open chats is due, who runs
// it, and which chats the runs found.
package sweeps

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/seal"
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

// FoundKey is the prefix of the keys of deliveries that sweeps found. The keys of other
// deliveries must not begin with it.
const FoundKey = "found/"

// DeliveryKey returns the key under which a delivery that the sweep found is stored. what is the first
// result of Sums.
func (s Sweep) DeliveryKey(what []byte) string {
	return fmt.Sprintf(FoundKey+"%s/%d", hex.EncodeToString(what[:12]), s.round)
}

// KeptRounds is after how many incomplete sweeps a key is forgotten that none of them found.
// It limits how many keys are kept if no sweep ever runs to the end.
const KeptRounds = 20

// Sums returns the keyed hashes of a key with the present secret and with the old one.
func Sums(sealer *seal.Sealer, connector, key string) (now, before []byte) {
	return sealer.Sums("found", connector, key)
}

// Remember stores the hash of a key, if the connector ever had a sweep.
func Remember(ctx context.Context, tx engine.Tx, connector string, what []byte) error {
	if _, err := tx.Exec(ctx, queryFound, connector, what); err != nil {
		return fmt.Errorf("insert sweep key: %w", err)
	}
	return nil
}

// Now makes the next sweep of a connector due.
func Now(ctx context.Context, tx engine.Tx, connector string) error {
	_, err := tx.Exec(ctx, querySweepNow, connector)
	return err
}

// A Table has the sweeps of all connectors.
type Table struct {
	in     engine.Reader
	write  engine.Writer
	alone  engine.LoneWriter
	sealer *seal.Sealer
}

// In returns the table in a database. write and alone are how its rows are written.
func In(r engine.Reader, write engine.Writer, alone engine.LoneWriter, sealer *seal.Sealer) Table {
	return Table{r, write, alone, sealer}
}

// row is the name, in locks, of what belongs to a connector's sweep.
func row(connector string) string { return "sweep " + connector }

// Due returns the time at which the next sweep is due: every after the last one ended,
// and not while another process runs one. The zero time means at once.
func (t Table) Due(ctx context.Context, connector string, every time.Duration) (time.Time, error) {
	var ended, held int64
	err := t.in.QueryRow(ctx, querySweepDue, connector).Scan(&ended, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("sweeps: %w", err)
	}
	due := engine.FromMicros(ended).Add(every)
	if until := engine.FromMicros(held); until.After(due) {
		due = until
	}
	return due, nil
}

// Start begins a sweep if one is due, and fails with engine.ErrLeased otherwise. The caller has
// the sweep until the given time, or a later one from Extend. After that another process
// may begin a sweep.
func (t Table) Start(ctx context.Context, connector string, every time.Duration, until time.Time) (Sweep, error) {
	sweep := Sweep{Connector: connector}
	err := t.write(ctx, row(connector), func(ctx context.Context, tx engine.Tx) error {
		now := time.Now()
		var whole int64
		err := tx.QueryRow(ctx, queryStartSweep, connector, engine.Micros(until), engine.Micros(now), engine.Micros(now.Add(-every))).Scan(&sweep.round, &whole)
		if errors.Is(err, sql.ErrNoRows) {
			return engine.ErrLeased
		}
		sweep.Since = engine.FromMicros(whole)
		return err
	})
	if err != nil {
		return Sweep{}, fmt.Errorf("sweeps: start sweep: %w", err)
	}
	return sweep, nil
}

// Extend lets the caller continue a sweep until the given time. It fails with engine.ErrLeased
// if another process began a sweep in the meantime.
func (t Table) Extend(ctx context.Context, sweep Sweep, until time.Time) error {
	err := t.write(ctx, row(sweep.Connector), func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryExtendSweep, sweep.Connector, sweep.round, engine.Micros(until))
		if err == nil && n == 0 {
			return engine.ErrLeased
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sweeps: extend sweep: %w", err)
	}
	return nil
}

// NewlyFound returns the indexes of the keys that are not known. It marks the others as found again
// by this sweep.
func (t Table) NewlyFound(ctx context.Context, sweep Sweep, keys []string) ([]int, error) {
	var unknown []int // not a result: if ctx ends, the write may still set it
	err := t.alone(ctx, func(ctx context.Context, tx engine.Tx) error {
		unknown = nil // a failed shared commit runs this again
		for i, key := range keys {
			now, before := Sums(t.sealer, sweep.Connector, key)
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
	})
	if err != nil {
		return nil, fmt.Errorf("sweeps: %w", err)
	}
	return unknown, nil
}

// End ends a sweep. complete says that it ran to the end of the list; the store then
// forgets the keys that it did not find. No other sweep begins before backoff, even if one is
// due.
func (t Table) End(ctx context.Context, sweep Sweep, complete bool, backoff time.Time) error {
	forget := sweep.round
	if !complete {
		forget -= KeptRounds
	}
	if err := t.forget(ctx, sweep, forget); err != nil {
		return fmt.Errorf("sweeps: end sweep: %w", err)
	}
	err := t.write(ctx, row(sweep.Connector), func(ctx context.Context, tx engine.Tx) error {
		n, err := tx.Exec(ctx, queryEndSweep, sweep.Connector, sweep.round, engine.Micros(backoff), time.Now().UnixMicro(), complete)
		if err == nil && n == 0 {
			return engine.ErrLeased
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sweeps: end sweep: %w", err)
	}
	return nil
}

// forget removes the keys that were last found before the given round, in slices. If it is not
// finished, the next sweep finds the same chats again, and removes the rest.
func (t Table) forget(ctx context.Context, sweep Sweep, round int64) error {
	for last := []byte{}; ; {
		old, err := engine.Column[[]byte](t.in.Query(ctx, queryOldFound, sweep.Connector, last, round))
		if err != nil || len(old) == 0 {
			return err
		}
		last = old[len(old)-1]
		err = t.alone(ctx, func(ctx context.Context, tx engine.Tx) error {
			n, err := tx.Exec(ctx, queryExtendSweep, sweep.Connector, sweep.round, time.Now().Add(forgetLease).UnixMicro())
			if err == nil && n == 0 {
				return engine.ErrLeased
			}
			for _, what := range old {
				if err == nil {
					_, err = tx.Exec(ctx, queryForgetFound, sweep.Connector, what, round)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}

// forgetLease is how long no other sweep may begin after each slice of forget.
const forgetLease = time.Minute
