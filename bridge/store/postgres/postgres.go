// Package postgres implements engine.Engine with a PostgreSQL database, which any number of
// processes can share.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"cobrowse-bridge/bridge/store/engine"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// migrationLock is the advisory lock that lets processes which start at the same time
	// migrate one after the other.
	migrationLock = 0x636f6272
	conns         = 10
	minConns      = 3 // a migration uses two, and one holds the lock
)

// DB is a pool of connections to one database.
type DB struct {
	pool   *pgxpool.Pool
	driver engine.Alarmed[pgx.Tx]
	insert *river.Client[pgx.Tx]
}

// Open connects to the database at address, also through PgBouncer in transaction mode. The
// pool has 10 connections unless the address sets pool_max_conns, and at least 3. No error
// contains the password.
func Open(ctx context.Context, address string, c engine.Config) (_ engine.Engine, err error) {
	config, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("postgres: BRIDGE_DATABASE %w", err)
	}
	config.AfterConnect = durable
	db := &DB{driver: engine.Alarmed[pgx.Tx]{Alarm: &engine.Alarm{}}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("postgres: %w", err)
			_ = db.Close()
		}
	}()
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if err := db.pool.Ping(ctx); err != nil {
		return nil, explain(err, config)
	}
	db.driver.Driver = riverpgxv5.New(db.pool)
	if !c.Look {
		if err := db.migrate(ctx, c); err != nil {
			return nil, err
		}
	}
	if db.insert, err = river.NewClient(db.driver, c.Insert); err != nil {
		return nil, err
	}
	return db, nil
}

// explain makes an error of the first connection one line, which names the setting.
func explain(err error, config *pgxpool.Config) error {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	var cause error = failed
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		cause = errno
	} else if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		cause = errors.New(unknown.Err) // such as "no such host"
	} else if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause = answer
	} else {
		cause = errors.New(strings.ReplaceAll(strings.ReplaceAll(cause.Error(), "\n", " "), "\t", " "))
	}
	return fmt.Errorf("cannot connect to %s:%d (BRIDGE_DATABASE): %w", config.ConnConfig.Host, config.ConnConfig.Port, cause)
}

const lost = "acknowledged deliveries would not survive a crash: set it to on in postgresql.conf or, for synchronous_commit, for the bridge's role"

// A refusedSetting is a value of a setting with which the bridge does not work.
type refusedSetting struct{ name, bad, because string }

func (s refusedSetting) text() string { return s.name + " is " + s.bad + ", so " + s.because }

var refused = []refusedSetting{
	{"synchronous_commit", "off", lost},
	{"fsync", "off", lost},
	{"transaction_read_only", "on", "the bridge cannot write: give it the address of the primary server, and a user without default_transaction_read_only"},
}

// durable refuses a connection with which a crash can lose committed data, or which cannot write.
func durable(ctx context.Context, conn *pgx.Conn) error {
	for _, s := range refused {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", s.name).Scan(&value); err != nil {
			return err
		}
		if value == s.bad {
			return errors.New(s.text())
		}
	}
	return nil
}

// migrate migrates while a transaction holds the lock. A lock of the session would stay
// locked if PgBouncer unlocked it in another connection.
func (db *DB) migrate(ctx context.Context, c engine.Config) error {
	lock, err := db.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer lock.Rollback(context.WithoutCancel(ctx))
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	std := stdlib.OpenDBFromPool(db.pool)
	defer func() { _ = std.Close() }()
	return engine.Migrate(ctx, goose.DialectPostgres, std, files, db.driver, c.Log.With("database", db.pool.Config().ConnConfig.Database))
}

// Write implements engine.Engine. The transaction takes its locks in the statement that begins it.
func (db *DB) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	t, err := db.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: beginWith(locks)})
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	defer t.Rollback(context.WithoutCancel(ctx))
	jobs := &tx{queries: queries{t}, tx: t, insert: db.insert}
	if err := f(ctx, jobs); err != nil {
		return failure(t, err)
	}
	if err := t.Commit(ctx); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrFailed, err)
	}
	db.driver.RingAll(jobs.due)
	return nil
}

// allLock is an advisory lock that every transaction shares. Only one that cannot name its rows has it alone.
const allLock = 0x62726467

// beginWith returns the statements that begin a transaction with locks. Each name is an advisory lock
// (postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS) until the transaction ends. Two names can
// have the same lock; then one transaction waits without need.
func beginWith(locks engine.Locks) string {
	if locks.All {
		return fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", allLock)
	}
	begin := fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock_shared(%d)", allLock)
	if len(locks.Names) == 0 {
		return begin
	}
	keys := make([]int64, len(locks.Names))
	for i, name := range locks.Names {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name)) // it never fails
		keys[i] = int64(h.Sum64())
	}
	slices.Sort(keys)
	list := []byte{}
	for i, key := range slices.Compact(keys) {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, key, 10)
	}
	return begin + "; SELECT pg_advisory_xact_lock(key) FROM unnest('{" + string(list) + "}'::bigint[]) AS key"
}

// deadlocked is the code of deadlock_detected (postgresql.org/docs/current/errcodes-appendix.html).
const deadlocked = "40P01"

// failure wraps err in engine.ErrFailed unless a value of the transaction is the cause: class
// 22 is a data exception, and class 23 a violated constraint
// (postgresql.org/docs/current/errcodes-appendix.html).
func failure(t pgx.Tx, err error) error {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	if ok && answer.Code == deadlocked {
		return fmt.Errorf("%w: %w", engine.ErrDeadlock, err)
	}
	if ok && !strings.HasPrefix(answer.Code, "22") && !strings.HasPrefix(answer.Code, "23") || t.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", engine.ErrFailed, err)
	}
	return err
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

// Check implements engine.Engine. A server with data checksums checks what it reads.
func (db *DB) Check(context.Context) error { return nil }

// Shrink implements engine.Engine. The server's autovacuum makes space reusable.
func (db *DB) Shrink(context.Context) error { return nil }

// RemoveDeletedData implements engine.Engine. The server's write-ahead log and backups are not changed.
func (db *DB) RemoveDeletedData(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, "VACUUM erasure_index, deliveries, chat_changes, cards, waits, posts, audit, erasures, failures, river_job")
	return err
}

// Size implements engine.Engine. The server's write-ahead log is not only this database's.
func (db *DB) Size(ctx context.Context) (engine.Size, error) {
	size := engine.Size{WAL: -1}
	err := db.pool.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&size.Database)
	return size, err
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
	due    engine.Due
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (t *tx) InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error {
	for _, j := range jobs {
		t.due.Add(j.InsertOpts.Queue, j.InsertOpts.ScheduledAt)
	}
	_, err := t.insert.InsertManyFastTx(ctx, t.tx, jobs)
	return err
}

func (t *tx) RetryJob(ctx context.Context, id int64) error {
	j, err := t.insert.JobRetryTx(ctx, t.tx, id)
	if err == nil {
		t.due.Add(j.Queue, time.Time{})
	}
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
