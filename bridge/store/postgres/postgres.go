// Package postgres keeps the store in a PostgreSQL database, for any number of
// processes.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"cobrowse-bridge/bridge/store/engine"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Processes that start together migrate one after the other, behind this
// advisory lock.
const (
	migrationLock = 0x636f6272
	conns         = 10
	minConns      = 4 // River keeps one to listen, migrating takes two
)

// DB is a pool of connections to one database.
type DB struct {
	pool   *pgxpool.Pool
	driver *riverpgxv5.Driver
	insert *river.Client[pgx.Tx]
}

// Open connects to the database that url names. The pool has ten connections
// unless the URL sets pool_max_conns, and never fewer than four. No error holds the URL's password.
func Open(ctx context.Context, address string, c engine.Config) (_ engine.Engine, err error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		// The cause quotes the address, and with it the password.
		return nil, errors.New("postgres: the address is malformed; it reads postgres://user:password@host/database")
	}
	if u, err := url.Parse(address); err == nil && !u.Query().Has("pool_max_conns") {
		config.MaxConns = conns
	}
	config.MaxConns = max(config.MaxConns, minConns)
	db := &DB{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("postgres: %w", err)
			_ = db.Close()
		}
	}()
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if err := durable(ctx, db.pool); err != nil {
		return nil, err
	}
	db.driver = riverpgxv5.New(db.pool)
	if err := db.migrate(ctx, c); err != nil {
		return nil, err
	}
	if db.insert, err = river.NewClient(db.driver, c.Insert); err != nil {
		return nil, err
	}
	return db, nil
}

// durable refuses settings under which a crash takes back what was committed.
func durable(ctx context.Context, pool *pgxpool.Pool) error {
	for _, setting := range []string{"synchronous_commit", "fsync"} {
		var value string
		if err := pool.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			return fmt.Errorf("refusing to run with %s=off: acknowledged deliveries would not survive a crash", setting)
		}
	}
	return nil
}

func (db *DB) migrate(ctx context.Context, c engine.Config) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return err
	}
	defer func() { // closing the connection would unlock as well
		_, _ = conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
	}()

	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	std := stdlib.OpenDBFromPool(db.pool)
	defer func() { _ = std.Close() }()
	return engine.Migrate(ctx, goose.DialectPostgres, std, files, db.driver, c.Log)
}

// Write implements engine.Engine.
func (db *DB) Write(ctx context.Context, f func(context.Context, engine.Tx) error) error {
	t, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	defer t.Rollback(context.WithoutCancel(ctx))
	if err := f(ctx, tx{queries{t}, t, db.insert}); err != nil {
		return err
	}
	return t.Commit(ctx)
}

// Query implements engine.Reader.
func (db *DB) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	return queries{db.pool}.Query(ctx, query, args...)
}

// QueryRow implements engine.Reader.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	return queries{db.pool}.QueryRow(ctx, query, args...)
}

// Work implements engine.Engine.
func (db *DB) Work(ctx context.Context, c *river.Config) error {
	return engine.Work(ctx, db.driver, c)
}

// Jobs implements engine.Engine.
func (db *DB) Jobs(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error) {
	return db.insert.JobList(ctx, p)
}

// Scrub implements engine.Engine. What the write-ahead log and backups still hold
// is the server's.
func (db *DB) Scrub(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, "VACUUM deliveries, chat_changes, cards, waits, posts, audit, erasures, river_job")
	return err
}

// Close implements engine.Engine.
func (db *DB) Close() error {
	if db.pool != nil {
		db.pool.Close()
	}
	return nil
}

type tx struct {
	queries
	tx     pgx.Tx
	insert *river.Client[pgx.Tx]
}

func (t tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (t tx) InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := t.insert.InsertManyFastTx(ctx, t.tx, jobs)
	return err
}

func (t tx) RetryJob(ctx context.Context, id int64) error {
	_, err := t.insert.JobRetryTx(ctx, t.tx, id)
	return err
}

type queries struct {
	q interface {
		Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
		QueryRow(ctx context.Context, query string, args ...any) pgx.Row
	}
}

func (q queries) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	return q.q.Query(ctx, query, args...)
}

func (q queries) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	return q.q.QueryRow(ctx, query, args...)
}
