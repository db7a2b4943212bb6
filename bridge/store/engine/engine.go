// Package engine is the interface between the store and its databases. To support another
// database, implement Engine in a folder of its own.
//
// The store's queries have $1 placeholders and are the same for every engine. A query may
// end with FOR UPDATE, which an engine with a single writer leaves out. There are few
// queries, so an engine may keep all of them compiled.
package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
)

var (
	// ErrInUse means that another process holds the database.
	ErrInUse = errors.New("in use by another process")

	// ErrLeased means that another worker holds what was to be changed.
	ErrLeased = errors.New("held by another worker")

	// ErrFailed means that the database failed, so that another transaction could fail as
	// well. Other errors of a transaction are about its own values.
	ErrFailed = errors.New("database failed")
	// ErrIO means that the disk failed. It wraps ErrFailed.
	ErrIO = fmt.Errorf("%w: disk", ErrFailed)
	// ErrLost means that the database is damaged, or is no longer the one that was opened. What
	// is written now would be lost. It wraps ErrFailed.
	ErrLost = fmt.Errorf("%w: database lost", ErrFailed)
	// ErrDeadlock means that the database ended this transaction because it and another one waited
	// for each other. If it runs again, it can succeed. It wraps ErrFailed.
	ErrDeadlock = fmt.Errorf("%w: deadlock", ErrFailed)
	// ErrUnavailable means that a transaction could not begin, so that none of its
	// statements is the cause. It wraps ErrFailed.
	ErrUnavailable = fmt.Errorf("%w: not available", ErrFailed)
)

// NewDatabase is logged when the tables were made.
const NewDatabase = "new database: it has no cards and no audit log from before"

// An Engine is one open, migrated database.
type Engine interface {
	// Reader reads committed data, outside any transaction.
	Reader

	// Write runs f in one transaction, and commits it durably unless f returns
	// an error. An error that wraps ErrUnavailable means that f did not run. ErrFailed says
	// that the error is the database's. locks names what f changes. Transactions of several
	// processes that have a lock in common run one after the other.
	Write(ctx context.Context, locks Locks, f func(context.Context, Tx) error) error

	// Work runs jobs with the configuration c until ctx ends and running jobs have ended.
	Work(ctx context.Context, c *river.Config) error

	// Jobs lists the jobs that p selects.
	Jobs(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error)

	// Check reads the whole database and returns ErrLost if it is damaged. It does nothing if
	// the database server does such checks.
	Check(ctx context.Context) error

	// RemoveDeletedData removes the data of deleted rows from those files of the database that the
	// engine can write.
	RemoveDeletedData(ctx context.Context) error

	// Shrink gives space that deleted rows have left back to the disk, in slices that keep other
	// writes waiting for at most about 50 ms. It does nothing if the database server does that.
	Shrink(ctx context.Context) error

	// Size returns how large the database is.
	Size(ctx context.Context) (Size, error)

	Close() error
}

// Locks says which rows a transaction changes.
type Locks struct {
	// Names are the rows' names, in any words on which all transactions agree. New rows need none.
	Names []string
	// All says that the transaction cannot name its rows. It runs while no other does.
	All bool
}

// A Size is the size of a database, in bytes.
type Size struct {
	Database int64
	// WAL is the size of the write-ahead log beside the database; -1 if the engine has none of
	// its own.
	WAL int64
}

// A Reader runs queries. If there is no row, Row.Scan returns sql.ErrNoRows.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// A Tx is one transaction that writes.
type Tx interface {
	Reader

	// Exec returns the number of rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)

	// InsertJobs inserts jobs in the transaction. It needs at least one.
	InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error

	// RetryJob makes a job start at once, unless it is running.
	RetryJob(ctx context.Context, id int64) error
}

// A Writer commits what a function writes, together with other writes that arrive at the same time.
// row is the name of what the function changes; see Locks.
type Writer func(ctx context.Context, row string, do func(context.Context, Tx) error) error

// A LoneWriter commits what a function writes while no other transaction writes; see Locks.All.
type LoneWriter func(ctx context.Context, do func(context.Context, Tx) error) error

// Rows are the result of a query. The caller reads them to the end or closes them.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// A Row is a result of at most one row.
type Row interface {
	Scan(dest ...any) error
}

// Config has the options with which the store opens an engine.
type Config struct {
	Log *slog.Logger
	// Insert configures the River client that only inserts jobs.
	Insert *river.Config
	// Beside says that another process may have the database open, and that this one
	// reads or repairs it and never calls Work.
	Beside bool
	// Look says that tables are neither created nor migrated, and nothing is written. Beside
	// is also set.
	Look bool
}

// Current reports whether the tables have the schema of this release. It changes nothing.
func Current[T any](ctx context.Context, dialect goose.Dialect, db *sql.DB, migrations fs.FS, d riverdriver.Driver[T], log *slog.Logger) (bool, error) {
	p, err := goose.NewProvider(dialect, db, migrations, goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return false, fmt.Errorf("migrate: %w", err)
	}
	if have, newest, err := versions(ctx, p); err != nil || have != newest {
		return false, err
	}
	m, err := rivermigrate.New(d, &rivermigrate.Config{Logger: log})
	if err != nil {
		return false, fmt.Errorf("migrate jobs: %w", err)
	}
	valid, err := m.Validate(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("migrate jobs: %w", err)
	}
	return valid.OK, nil
}

// versions returns the schema versions of the database and of this release.
func versions(ctx context.Context, p *goose.Provider) (have, newest int64, err error) {
	have, err = p.GetDBVersion(ctx)
	sources := p.ListSources()
	return have, sources[len(sources)-1].Version, err
}

// Migrate updates the bridge's tables, with the SQL files in migrations, and then River's.
// It refuses a database with the schema of a newer release. It logs if there were no tables,
// because the address of the database may be misspelt.
func Migrate[T any](ctx context.Context, dialect goose.Dialect, db *sql.DB, migrations fs.FS, d riverdriver.Driver[T], log *slog.Logger) error {
	p, err := goose.NewProvider(dialect, db, migrations, goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	have, newest, err := versions(ctx, p)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if have > newest {
		return fmt.Errorf("the database has schema %d, and this release supports only schema %d: start the newer release again, or restore a backup", have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if have == 0 {
		log.WarnContext(ctx, NewDatabase)
	}
	m, err := rivermigrate.New(d, &rivermigrate.Config{Logger: log})
	if err != nil {
		return fmt.Errorf("migrate jobs: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate jobs: %w", err)
	}
	return nil
}

// Work runs a River client with driver d until ctx ends and its jobs have ended. It returns
// ErrUnavailable if the database did not let it start.
func Work[T any](ctx context.Context, d Alarmed[T], c *river.Config) error {
	client, err := river.NewClient(d, c)
	if err != nil {
		return err
	}
	events, end := client.Subscribe(river.EventKindJobFailed, river.EventKindJobSnoozed)
	var reading sync.WaitGroup
	reading.Go(func() {
		for e := range events { // jobs that run again
			d.Ring(e.Job.Queue, e.Job.ScheduledAt)
		}
	})
	defer reading.Wait()
	defer end()
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	<-client.Stopped()
	return nil
}
