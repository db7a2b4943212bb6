// Package engine is the seam between the store and the databases that can hold
// it. Queries are written once, with $1 placeholders in SQL that every engine
// understands, but for a FOR UPDATE at their end, which an engine with one writer
// leaves out. They are few, so that an engine may keep them compiled. Another
// database is another folder that implements Engine.
package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
)

var (
	// ErrInUse means that another process holds the database.
	ErrInUse = errors.New("in use by another process")

	// ErrUnavailable means that a transaction could not even begin, so no
	// statement in it is to blame.
	ErrUnavailable = errors.New("database is not available")
)

// An Engine is one open, migrated database.
type Engine interface {
	// Reader reads what is committed, outside any transaction.
	Reader

	// Write runs f in one transaction, and commits it durably unless f returns
	// an error. An error that wraps ErrUnavailable means that f did not run.
	Write(ctx context.Context, f func(context.Context, Tx) error) error

	// Work runs jobs as c says until ctx ends and running jobs have ended.
	Work(ctx context.Context, c *river.Config) error

	// Jobs lists jobs as p says.
	Jobs(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error)

	// Scrub removes what deleted rows have left behind in the files of the
	// database, as far as they are the engine's to write.
	Scrub(ctx context.Context) error

	Close() error
}

// A Reader runs queries. A row that does not exist is sql.ErrNoRows.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// A Tx is one transaction that writes.
type Tx interface {
	Reader

	// Exec returns the number of rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)

	// InsertJobs makes jobs part of the transaction. It needs at least one.
	InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error

	// RetryJob makes a job available at once, unless it is running.
	RetryJob(ctx context.Context, id int64) error
}

// Rows are read to the end or closed.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// A Row is the only row of an answer.
type Row interface {
	Scan(dest ...any) error
}

// Config is what the store tells an engine when it opens one.
type Config struct {
	Log *slog.Logger
	// Insert configures the River client that only inserts jobs.
	Insert *river.Config
	// Beside says that another process may have the database open, and that this
	// one comes to look or to mend and not to work.
	Beside bool
}

// Current reports whether the tables are as this release knows them. It changes
// nothing.
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

// versions are that of the database and that of this release.
func versions(ctx context.Context, p *goose.Provider) (have, newest int64, err error) {
	have, err = p.GetDBVersion(ctx)
	sources := p.ListSources()
	return have, sources[len(sources)-1].Version, err
}

// Migrate brings our tables, from the SQL files in migrations, and then River's
// up to date. It refuses a database that a newer release has written.
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
		return fmt.Errorf("the database has schema %d and this release knows schema %d: start the newer release again, or restore a backup", have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
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

// Work runs a River client with driver d until ctx ends and its jobs have ended.
func Work[T any](ctx context.Context, d riverdriver.Driver[T], c *river.Config) error {
	client, err := river.NewClient(d, c)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	<-client.Stopped()
	return nil
}
