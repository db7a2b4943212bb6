// Package sqlite keeps the store in one SQLite file on a local disk, for one
// process.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	driver "modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"cobrowse-bridge/bridge/store/engine"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A crash leaves jobs marked as running, posts as held, and a leader that nobody
// elected since. The lock file proves that none of it is true any more.
const (
	QueryRecoverJobs   = `UPDATE river_job SET state = 'available' WHERE state = 'running'`
	QueryRecoverPosts  = `UPDATE posts SET leased = 0 WHERE leased > 0`
	QueryRecoverLeader = `DELETE FROM river_leader WHERE name = 'default'`
)

const readers = 4

// DB is an open SQLite file.
type DB struct {
	lock   *flock.Flock
	writer *sql.DB // one connection: SQLite has one writer at a time
	reader *sql.DB // read-only
	driver *riversqlite.Driver
	insert *river.Client[*sql.Tx]
}

// Open opens the file that url names ("sqlite:path"), creating it with mode
// 0600, and its directory with mode 0700, if need be. It fails with
// engine.ErrInUse while another process has the file open, unless c.Beside is set:
// then the file has to exist, and is left as a crash may have left it.
func Open(ctx context.Context, url string, c engine.Config) (_ engine.Engine, err error) {
	path, _ := strings.CutPrefix(url, "sqlite:")
	path, _ = strings.CutPrefix(path, "//")
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqlite: name a file, as in sqlite:bridge.db")
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db := &DB{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite %s: %w", path, cmp.Or(damaged(err), err))
			_ = db.Close()
		}
	}()
	db.lock = flock.New(path+".lock", flock.SetPermissions(0o600))
	prepare := db.take
	if c.Beside {
		prepare = db.join
	}
	if err := prepare(ctx, path, c.Log); err != nil {
		return nil, err
	}
	db.reader = connect(path, "mode=ro&_pragma=query_only(1)", readers)
	c.Insert.Test.Time = clock{}
	if db.insert, err = river.NewClient(db.driver, c.Insert); err != nil {
		return nil, err
	}
	return db, nil
}

// take makes this process the one that works with the file.
func (db *DB) take(ctx context.Context, path string, log *slog.Logger) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if locked, err := db.lock.TryLock(); err != nil {
		return err
	} else if !locked {
		return fmt.Errorf("%w: stop the other bridge, or use a postgres:// database for several at once", engine.ErrInUse)
	}
	if err := private(path); err != nil {
		return err
	}
	files, err := db.openWriter(ctx, path)
	if err != nil {
		return err
	}
	if err := engine.Migrate(ctx, goose.DialectSQLite3, db.writer, files, db.driver, log); err != nil {
		return err
	}
	for _, q := range []string{QueryRecoverJobs, QueryRecoverPosts, QueryRecoverLeader} {
		if _, err := db.writer.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("recover jobs: %w", err)
		}
	}
	return nil
}

// join opens the file beside the process that works with it, if there is one.
// Only where there is none may it change the tables.
func (db *DB) join(ctx context.Context, path string, log *slog.Logger) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no such file: start the bridge once, or name the file that it uses in BRIDGE_DATABASE")
	} else if err != nil {
		return err
	}
	files, err := db.openWriter(ctx, path)
	if err != nil {
		return err
	}
	current, err := engine.Current(ctx, goose.DialectSQLite3, db.writer, files, db.driver, log)
	if err != nil || current {
		return err
	}
	if locked, err := db.lock.TryLock(); err != nil {
		return err
	} else if !locked {
		return fmt.Errorf("%w, which is of another release: use the command of that release, or restart the bridge with this one", engine.ErrInUse)
	}
	return errors.Join(engine.Migrate(ctx, goose.DialectSQLite3, db.writer, files, db.driver, log), db.lock.Unlock())
}

// openWriter opens the connection that writes, and finds the migrations for it.
// What is deleted is overwritten with zeros, always: pages that were freed before
// somebody is erased would otherwise keep them. It costs nothing that can be
// measured.
func (db *DB) openWriter(ctx context.Context, path string) (files fs.FS, err error) {
	const options = "_txlock=immediate&_pragma=secure_delete(ON)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)&_pragma=wal_autocheckpoint(4000)"
	db.writer = connect(path, options, 1)
	if err := durable(ctx, db.writer); err != nil {
		return nil, err
	}
	db.driver = riversqlite.New(db.writer)
	return fs.Sub(migrations, "migrations")
}

// private makes the file if there is none, and readable by nobody else. SQLite
// gives the files beside it the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

func connect(path, options string, conns int) *sql.DB {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(5000)&" + options}
	db := sql.OpenDB(file{dsn.String()})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// durable refuses settings under which a power cut takes back what was
// committed (sqlite.org/pragma.html, synchronous: 2 is FULL).
func durable(ctx context.Context, db *sql.DB) error {
	var synchronous int
	var journal string
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if synchronous != 2 || journal != "wal" {
		return fmt.Errorf("refusing to run with synchronous=%d and journal_mode=%s: the file must be on a local disk that allows 2 and wal", synchronous, journal)
	}
	return nil
}

// damaged explains an error of a file that is not, or no longer, a database.
func damaged(err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		switch e.Code() & 0xff {
		case code.SQLITE_CORRUPT, code.SQLITE_NOTADB:
			return fmt.Errorf("the file is damaged or no SQLite database; move it away and restore a backup: %w", err)
		}
	}
	return nil
}

// Write implements engine.Engine.
func (db *DB) Write(ctx context.Context, f func(context.Context, engine.Tx) error) error {
	t, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	defer t.Rollback()
	if err := f(unwatched(ctx), &tx{queries{t}, t, db.insert}); err != nil {
		return err
	}
	return t.Commit()
}

// Query implements engine.Reader.
func (db *DB) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	return queries{db.reader}.Query(ctx, query, args...)
}

// QueryRow implements engine.Reader.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	return queries{db.reader}.QueryRow(ctx, query, args...)
}

// queries runs queries of the store on a pool or in a transaction.
type queries struct {
	on interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}
}

func (q queries) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	r, err := q.on.QueryContext(unwatched(ctx), dialect(query), args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

func (q queries) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	return q.on.QueryRowContext(unwatched(ctx), dialect(query), args...)
}

// Jobs implements engine.Engine.
func (db *DB) Jobs(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error) {
	return db.insert.JobList(ctx, p)
}

// scrubWait is how long Scrub waits for those who are reading.
const scrubWait = 10 * time.Second

// Scrub implements engine.Engine. Deleted rows are zeros in the file already; here
// the log of what was written before is emptied into it.
func (db *DB) Scrub(ctx context.Context) error {
	for deadline := time.Now().Add(scrubWait); ; {
		var busy, frames, moved int
		if err := db.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
			return err
		}
		if busy == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the file beside the database that ends in -wal is being read and still holds what was deleted: run the command again")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Work implements engine.Engine.
func (db *DB) Work(ctx context.Context, c *river.Config) error {
	c.Test.Time = clock{}
	return engine.Work(ctx, db.driver, c)
}

// clock has River go by this process's clock instead of SQLite's own. They are
// one and the same outside of a synctest bubble.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (clock) NowOrNil() *time.Time {
	now := time.Now()
	return &now
}

// Close implements engine.Engine.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.reader, db.writer} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

type tx struct {
	queries
	tx     *sql.Tx
	insert *river.Client[*sql.Tx]
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(ctx, dialect(query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := t.insert.InsertManyFastTx(ctx, t.tx, jobs)
	return err
}

func (t *tx) RetryJob(ctx context.Context, id int64) error {
	_, err := t.insert.JobRetryTx(ctx, t.tx, id)
	return err
}

type rows struct{ *sql.Rows }

func (r rows) Close() { r.Rows.Close() }

// dialect turns $1 into ?1, for to SQLite $1 is a name and takes its number from
// where it first appears, and leaves out FOR UPDATE, since the one writer there is
// locks everything, and COLLATE "C", which is how SQLite compares. There are a few dozen queries.
func dialect(query string) string {
	if d, ok := dialects.Load(query); ok {
		return d.(string)
	}
	d := strings.ReplaceAll(unlocked(query), "$", "?")
	dialects.Store(query, d)
	return d
}

var dialects sync.Map

func unlocked(query string) string {
	query, _, _ = strings.Cut(query, " FOR UPDATE")
	return strings.ReplaceAll(query, ` COLLATE "C"`, "")
}
