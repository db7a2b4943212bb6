// Package sqlite implements engine.Engine with one SQLite file on a local disk, for one process.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	code "modernc.org/sqlite/lib"

	"cobrowse-bridge/bridge/store/engine"
)

//go:embed migrations/*.sql
var migrations embed.FS

// After a crash, jobs are still marked as running, posts as leased, and River has a leader
// that no longer exists. The process that holds the lock file may reset all of them.
const (
	QueryRecoverJobs   = `UPDATE river_job SET state = 'available' WHERE state = 'running'`
	QueryRecoverPosts  = `UPDATE posts SET leased = 0 WHERE leased > 0`
	QueryRecoverLeader = `DELETE FROM river_leader WHERE name = 'default'`
)

const (
	readers = 4

	// pollInterval is how often River looks for jobs for which no alarm rings.
	pollInterval = 5 * time.Second

	// lockWait is how long a statement waits for a lock of another process. It is short,
	// because all writers of this process wait for their connection one after the other.
	// Write tries again until its context ends.
	lockWait = time.Second
)

// DB is an open SQLite file.
type DB struct {
	path   string
	lock   *flock.Flock
	writer *sql.DB // one connection: SQLite has one writer at a time
	reader *sql.DB // read-only
	log    *slog.Logger
	// identity is nil for a database that was opened Beside.
	identity  *identity
	unwritten atomic.Bool // the head file is older than the database
	headTimer *time.Timer // calls writeHead
	headMu    sync.Mutex
	driver    engine.Alarmed[*sql.Tx]
	insert    *river.Client[*sql.Tx]
}

// Open opens the file of url ("sqlite:path"). If there is none, it creates it with mode
// 0600, and logs that. It fails with engine.ErrInUse while another process
// has the file open. With c.Beside the file must exist and may be in use, and Open does not
// reset what a crash left.
func Open(ctx context.Context, url string, c engine.Config) (_ engine.Engine, err error) {
	path, err := pathOf(url)
	if err != nil {
		return nil, fmt.Errorf("sqlite: BRIDGE_DATABASE %w", err)
	}
	db := &DB{driver: engine.Alarmed[*sql.Tx]{Alarm: &engine.Alarm{}}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite %s: %w", path, explain(err))
			_ = db.Close()
		}
	}()
	db.path, db.log = path, c.Log
	db.lock = flock.New(path+".lock", flock.SetPermissions(0o600))
	prepare := db.openAlone
	if c.Look {
		prepare = db.openToLook
	} else if c.Beside {
		prepare = db.openBeside
	}
	if err := prepare(ctx, c.Log); err != nil {
		return nil, err
	}
	db.reader = connect(path, "mode=ro&_pragma=query_only(1)", lockWait, readers)
	c.Insert.Test.Time = clock{}
	if db.insert, err = river.NewClient(db.driver, c.Insert); err != nil {
		return nil, err
	}
	return db, nil
}

// InUse reports whether a process that called Open without Beside has the file of url open.
// A file that does not exist is not in use.
func InUse(url string) (bool, error) {
	path, err := pathOf(url)
	if err != nil {
		return false, err
	}
	lock := flock.New(path+".lock", flock.SetFlag(os.O_RDONLY)) // without O_CREATE
	free, err := lock.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return !free, lock.Close()
}

// openAlone locks, opens and migrates the file for the one process that works with it.
func (db *DB) openAlone(ctx context.Context, log *slog.Logger) error {
	if locked, err := db.lock.TryLock(); err != nil {
		return err
	} else if !locked {
		return fmt.Errorf("%w: stop the other bridge, or use a postgres:// database to run several", engine.ErrInUse)
	}
	if err := private(db.path); err != nil {
		return err
	}
	files, err := db.openWriter(ctx)
	if err != nil {
		return err
	}
	if err := db.checkSmall(ctx); err != nil {
		return err
	}
	if err := db.checkHead(ctx); err != nil {
		return err
	}
	if err := engine.Migrate(ctx, goose.DialectSQLite3, db.writer, files, db.driver, log.With("database", db.path)); err != nil {
		return err
	}
	for _, q := range []string{QueryRecoverJobs, QueryRecoverPosts, QueryRecoverLeader} {
		if _, err := db.writer.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("recover after a crash: %w", err)
		}
	}
	if db.identity, err = newIdentity(db.path); err != nil {
		return err
	}
	db.headTimer = time.AfterFunc(headFileEvery, db.writeHead)
	db.unwritten.Store(true)
	return nil
}

// checkedAtStart is the largest file that is checked before the start, which takes about a
// second. A larger one is checked only by Check, while the bridge runs.
const checkedAtStart = 1 << 30

func (db *DB) checkSmall(ctx context.Context) error {
	if info, err := os.Stat(db.path); err != nil || info.Size() > checkedAtStart {
		return err
	}
	return quickCheck(ctx, db.writer)
}

// Check implements engine.Engine.
func (db *DB) Check(ctx context.Context) error { return quickCheck(ctx, db.reader) }

// quickCheck reads every page of the database, and returns an error that wraps engine.ErrLost
// if one is damaged.
func quickCheck(ctx context.Context, on *sql.DB) error {
	var result string
	if err := on.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return explain(err)
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s: %s", engine.ErrLost, faults[code.SQLITE_CORRUPT].advice, result)
	}
	return nil
}

// openToLook opens the file and does not create or migrate tables.
func (db *DB) openToLook(ctx context.Context, _ *slog.Logger) error {
	if _, err := os.Stat(db.path); err != nil {
		return err
	}
	_, err := db.openWriter(ctx)
	return err
}

// openBeside opens the file while another process may work with it. It migrates the file
// only if no other process does.
func (db *DB) openBeside(ctx context.Context, log *slog.Logger) error {
	if _, err := os.Stat(db.path); errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no such file: start the bridge once, or set BRIDGE_DATABASE to the file that it uses")
	} else if err != nil {
		return err
	}
	files, err := db.openWriter(ctx)
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
		return fmt.Errorf("%w of another release: use the command of that release, or restart the bridge with this one", engine.ErrInUse)
	}
	return errors.Join(engine.Migrate(ctx, goose.DialectSQLite3, db.writer, files, db.driver, log.With("database", db.path)), db.lock.Unlock())
}

// openWriter opens the connection that writes, and returns the migrations. secure_delete
// overwrites deleted rows with zeros, so that no free page keeps data of an erased person. Its
// cost is too small to measure.
func (db *DB) openWriter(ctx context.Context) (files fs.FS, err error) {
	// auto_vacuum comes first, since it has no effect on a file that has a page.
	const options = "_txlock=immediate&_pragma=auto_vacuum(INCREMENTAL)&_pragma=secure_delete(ON)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)&_pragma=wal_autocheckpoint(4000)"
	db.writer = connect(db.path, options, lockWait, 1)
	if err := durable(ctx, db.writer); err != nil {
		return nil, err
	}
	db.driver.Driver = riversqlite.New(db.writer)
	return fs.Sub(migrations, "migrations")
}

// private creates the file if it does not exist, and sets its mode to 0600. SQLite gives the
// files beside it the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// connect opens the file. A statement that finds it locked by another connection waits up to
// wait.
func connect(path, options string, wait time.Duration, conns int) *sql.DB {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: fmt.Sprintf("_pragma=busy_timeout(%d)&%s", wait.Milliseconds(), options)}
	db := sql.OpenDB(file{dsn.String()})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// durable refuses settings with which a power cut can lose committed data
// (sqlite.org/pragma.html, synchronous: 2 is FULL).
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
		return fmt.Errorf("refusing to run with synchronous=%d and journal_mode=%s: put the file on a local disk that supports synchronous=2 and journal_mode=wal", synchronous, journal)
	}
	return nil
}

// Write implements engine.Engine. It needs no locks, since one transaction runs at a time.
func (db *DB) Write(ctx context.Context, _ engine.Locks, f func(context.Context, engine.Tx) error) error {
	t, err := db.begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, explain(err))
	}
	defer t.Rollback()
	jobs := &tx{queries: queries{t}, tx: t, insert: db.insert}
	if err := f(withoutCancel(ctx), jobs); err != nil {
		return failure(ctx, err)
	}
	if db.identity != nil {
		if err := db.identity.check(); err != nil {
			return err
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrFailed, explain(err))
	}
	db.changed()
	db.driver.RingAll(jobs.due)
	return nil
}

// begin waits until ctx ends while another process holds the lock to write.
func (db *DB) begin(ctx context.Context) (*sql.Tx, error) {
	for {
		t, err := db.writer.BeginTx(ctx, nil)
		if codeOf(err) != code.SQLITE_BUSY || ctx.Err() != nil {
			return t, err
		}
	}
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
	r, err := q.on.QueryContext(withoutCancel(ctx), dialect(query), args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

func (q queries) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	return q.on.QueryRowContext(withoutCancel(ctx), dialect(query), args...)
}

// Jobs implements engine.Engine.
func (db *DB) Jobs(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error) {
	return db.insert.JobList(ctx, p)
}

const (
	// removeWait is how long RemoveDeletedData waits for readers.
	removeWait = 10 * time.Second
	// removeLock is how long it waits for them at a time. Nobody can write meanwhile.
	removeLock = 100 * time.Millisecond
)

// RemoveDeletedData implements engine.Engine. In the file itself deleted rows are zeros already. It
// empties the write-ahead log into it.
func (db *DB) RemoveDeletedData(ctx context.Context) error {
	own := connect(db.path, "_pragma=synchronous(FULL)", removeLock, 1)
	defer func() { _ = own.Close() }()
	for deadline := time.Now().Add(removeWait); ; {
		var busy, frames, moved int
		if err := own.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil && codeOf(err) != code.SQLITE_BUSY {
			return err
		} else if err == nil && busy == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the -wal file of the database is in use and still contains deleted data: run the command again")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Size implements engine.Engine.
func (db *DB) Size(context.Context) (size engine.Size, err error) {
	for name, n := range map[string]*int64{db.path: &size.Database, db.path + "-wal": &size.WAL} {
		info, err := os.Stat(name)
		if err != nil {
			return engine.Size{}, err
		}
		*n = info.Size()
	}
	return size, nil
}

// Work implements engine.Engine.
func (db *DB) Work(ctx context.Context, c *river.Config) error {
	c.Test.Time = clock{}
	c.FetchPollInterval = pollInterval
	return engine.Work(ctx, db.driver, c)
}

// clock makes River use the process's clock instead of SQLite's. They differ only in a
// synctest bubble.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (clock) NowOrNil() *time.Time {
	now := time.Now()
	return &now
}

// Close implements engine.Engine.
func (db *DB) Close() error {
	var errs []error
	if db.headTimer != nil {
		db.headTimer.Stop()
		db.writeHead()
	}
	for _, pool := range []*sql.DB{db.reader, db.writer} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	errs = append(errs, db.identity.close())
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

type tx struct {
	queries
	tx     *sql.Tx
	insert *river.Client[*sql.Tx]
	due    engine.Due
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(ctx, dialect(query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
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

type rows struct{ *sql.Rows }

func (r rows) Close() { r.Rows.Close() }

// dialect translates a query for SQLite. It replaces $1 by ?1, because SQLite numbers $ names
// by their first use, or by ? if the parameters are used once and in order: the driver searches the name of
// a numbered one each time a statement runs. It removes FOR UPDATE, because the single writer locks everything, and
// COLLATE "C", which is SQLite's default. It keeps the results, since there are few queries.
func dialect(query string) string {
	if d, ok := dialects.Load(query); ok {
		return d.(string)
	}
	d := unlocked(query)
	inOrder := true
	for i, parameter := range parameters.FindAllString(d, -1) {
		inOrder = inOrder && parameter == "$"+strconv.Itoa(i+1)
	}
	if inOrder {
		d = parameters.ReplaceAllString(d, "?")
	} else {
		d = strings.ReplaceAll(d, "$", "?")
	}
	dialects.Store(query, d)
	return d
}

var dialects sync.Map

var parameters = regexp.MustCompile(`\$[0-9]+`)

func unlocked(query string) string {
	query, _, _ = strings.Cut(query, " FOR UPDATE")
	return strings.ReplaceAll(query, ` COLLATE "C"`, "")
}
