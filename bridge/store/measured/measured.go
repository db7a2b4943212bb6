// Package measured counts how often a database is used, and how long that takes.
package measured

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store/engine"
)

// An Engine counts the reads and transactions of the store. Those of River are not counted.
type Engine struct {
	engine.Engine
	calls *metrics.Calls
}

// New returns an Engine that counts in calls.
func New(e engine.Engine, calls *metrics.Calls) Engine { return Engine{e, calls} }

// Write implements engine.Engine. An error that is not the database's does not count as a failure.
func (e Engine) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	began := time.Now()
	err := e.Engine.Write(ctx, locks, f)
	failed := err
	if !errors.Is(err, engine.ErrFailed) && ctx.Err() == nil {
		failed = nil
	}
	e.calls.Database(metrics.DatabaseWrite, failed, time.Since(began))
	return err
}

// Query implements engine.Reader. It measures the time until the first row can be read.
func (e Engine) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	began := time.Now()
	rows, err := e.Engine.Query(ctx, query, args...)
	e.calls.Database(metrics.DatabaseRead, err, time.Since(began))
	return rows, err
}

// QueryRow implements engine.Reader.
func (e Engine) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	began := time.Now()
	return row{e.Engine.QueryRow(ctx, query, args...), e.calls, began}
}

type row struct {
	engine.Row
	calls *metrics.Calls
	began time.Time
}

// Scan implements engine.Row.
func (r row) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	failed := err
	if errors.Is(err, sql.ErrNoRows) {
		failed = nil
	}
	r.calls.Database(metrics.DatabaseRead, failed, time.Since(r.began))
	return err
}
