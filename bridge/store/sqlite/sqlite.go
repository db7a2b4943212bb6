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
	writes compiled
	reads  compiled
	driver *riversqlite.Driver
	insert *river.Client[*sql.Tx]
}

// Open opens the file that url names ("sqlite:path"), creating it with mode
// 0600, and its directory with mode 0700, if need be. It fails with
// engine.ErrInUse while another process has the file open.
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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db.lock = flock.New(path+".lock", flock.SetPermissions(0o600))
	if locked, err := db.lock.TryLock(); err != nil {
		return nil, err
	} else if !locked {
		return nil, fmt.Errorf("%w: stop the other bridge, or use a postgres:// database for several at once", engine.ErrInUse)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	if db.writer, err = connect(path, "_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)", 1); err != nil {
		return nil, err
	}
	if err := durable(ctx, db.writer); err != nil {
		return nil, err
	}
	db.driver = riversqlite.New(db.writer)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := engine.Migrate(ctx, goose.DialectSQLite3, db.writer, files, db.driver, c.Log); err != nil {
		return nil, err
	}
	for _, q := range []string{QueryRecoverJobs, QueryRecoverPosts, QueryRecoverLeader} {
		if _, err := db.writer.ExecContext(ctx, q); err != nil {
			return nil, fmt.Errorf("recover jobs: %w", err)
		}
	}
	if db.reader, err = connect(path, "mode=ro&_pragma=query_only(1)", readers); err != nil {
		return nil, err
	}
	db.writes.on, db.reads.on = db.writer, db.reader
	c.Insert.Test.Time = clock{}
	if db.insert, err = river.NewClient(db.driver, c.Insert); err != nil {
		return nil, err
	}
	return db, nil
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

func connect(path, options string, conns int) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(5000)&" + options}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
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
	run := tx{tx: t, db: db, open: map[string]*sql.Stmt{}}
	if err := f(unwatched(ctx), &run); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return err
	}
	for _, query := range run.fresh {
		// Not before the end: the transaction has the only connection. Without
		// its compiled form the next one does the same again.
		_, _ = db.writes.add(ctx, query)
	}
	return nil
}

// Query implements engine.Reader.
func (db *DB) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	s, err := db.reads.add(ctx, query)
	return queried(unwatched(ctx), s, err, args)
}

// QueryRow implements engine.Reader.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	s, err := db.reads.add(ctx, query)
	return queriedRow(unwatched(ctx), s, err, args)
}

func queried(ctx context.Context, s *sql.Stmt, err error, args []any) (engine.Rows, error) {
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

func queriedRow(ctx context.Context, s *sql.Stmt, err error, args []any) engine.Row {
	if err != nil {
		return noRow{err}
	}
	return s.QueryRowContext(ctx, args...)
}

type noRow struct{ err error }

func (r noRow) Scan(...any) error { return r.err }

// compiled keeps the compiled forms of the store's queries, of which there are a
// few dozen. To compile one costs about as much as to run it.
type compiled struct {
	on  *sql.DB
	all sync.Map // query to its *sql.Stmt
}

func (c *compiled) find(query string) *sql.Stmt {
	s, _ := c.all.Load(query)
	found, _ := s.(*sql.Stmt)
	return found
}

// add finds the compiled form of a query, or compiles it for good.
func (c *compiled) add(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.find(query); s != nil {
		return s, nil
	}
	s, err := c.on.PrepareContext(ctx, dialect(query))
	if err != nil {
		return nil, err
	}
	if first, twice := c.all.LoadOrStore(query, s); twice {
		return first.(*sql.Stmt), s.Close()
	}
	return s, nil
}

// unwatched takes the end off a context. The driver starts a goroutine for each
// statement to watch for it, which costs more than most statements do; and they
// end by themselves: what takes long on a local file is to wait for a lock, which
// busy_timeout bounds.
func unwatched(ctx context.Context) context.Context {
	return context.WithoutCancel(ctx)
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
	tx    *sql.Tx
	db    *DB
	open  map[string]*sql.Stmt // by query
	fresh []string             // queries that are not compiled for good yet
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	s, err := t.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	s, err := t.statement(ctx, query)
	return queried(ctx, s, err, args)
}

func (t *tx) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	s, err := t.statement(ctx, query)
	return queriedRow(ctx, s, err, args)
}

// statement is the compiled form of a query until the transaction ends.
func (t *tx) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := t.open[query]; ok {
		return s, nil
	}
	if s := t.db.writes.find(query); s != nil {
		t.open[query] = t.tx.StmtContext(ctx, s)
		return t.open[query], nil
	}
	s, err := t.tx.PrepareContext(ctx, dialect(query))
	if err != nil {
		return nil, err
	}
	t.open[query], t.fresh = s, append(t.fresh, query)
	return s, nil
}

func (t *tx) InsertJobs(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := t.db.insert.InsertManyFastTx(ctx, t.tx, jobs)
	return err
}

type rows struct{ *sql.Rows }

func (r rows) Close() { r.Rows.Close() }

// dialect turns $1 into ?1, for to SQLite $1 is a name and takes its number from
// where it first appears, and leaves out FOR UPDATE: the one writer there is
// locks everything.
func dialect(query string) string {
	return strings.ReplaceAll(strings.TrimSuffix(query, " FOR UPDATE"), "$", "?")
}
