package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"
	code "modernc.org/sqlite/lib"

	"cobrowse-bridge/bridge/store/engine"
)

// The functions of this file are for backups: they work with files that no DB of this process has
// open.

var (
	// ErrForeign means that a file is not a database of the bridge.
	ErrForeign = errors.New("the file is not a database of the bridge")
	// ErrDamaged means that a file is damaged, or not an SQLite database.
	ErrDamaged = errors.New("the file is damaged, cut off, or not an SQLite database")
)

// ownTables are tables that each schema has.
var ownTables = []string{"goose_db_version", "deliveries", "cards", "posts", "audit", "audit_head", "erasures"}

// An About describes the content of a database file.
type About struct {
	// Schema is the version of its tables, and Newest that of this release.
	Schema, Newest int64
	// Seq and Hash identify the last audit record, and At is its time. All are zero if the audit
	// log is empty. Hash is in hex.
	Seq  int64
	Hash string
	At   time.Time
}

// PathOf returns the absolute path of the file of an address, "sqlite:path".
func PathOf(url string) (string, error) {
	path, err := pathOf(url)
	if err != nil {
		return "", fmt.Errorf("BRIDGE_DATABASE %w", err)
	}
	return path, nil
}

// HeadPath returns the path of the head file of a database file.
func HeadPath(path string) string { return path + ".head" }

// Lock keeps other processes from opening the file to work with it, until unlock. It fails with
// engine.ErrInUse if one does.
func Lock(path string) (unlock func() error, err error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if locked, err := lock.TryLock(); err != nil {
		return nil, err
	} else if !locked {
		return nil, engine.ErrInUse
	}
	return lock.Close, nil
}

// CopyTo writes the database as it is now into the file at to, which is empty. Other processes can
// write meanwhile. The copy has no data of deleted rows. It is not flushed to the disk.
func CopyTo(ctx context.Context, path, to string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return withFile(path, "mode=ro", func(db *sql.DB) error {
		if err := checkOwn(ctx, db); err != nil {
			return err
		}
		if err := keepShrinking(ctx, db); err != nil {
			return describe(err)
		}
		_, err := db.ExecContext(ctx, "VACUUM INTO ?", to)
		return describe(err)
	})
}

// CheckFile reads the whole file. It returns ErrDamaged or ErrForeign if it is not a database of the
// bridge.
func CheckFile(ctx context.Context, path string) (About, error) {
	var a About
	err := withFile(path, "mode=rw", func(db *sql.DB) error {
		var result string
		if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
			return describe(err)
		}
		if result != "ok" {
			return fmt.Errorf("%w: %s", ErrDamaged, result)
		}
		return describe(a.read(ctx, db))
	})
	return a, err
}

// Describe is CheckFile without the check of the whole file.
func Describe(ctx context.Context, path string) (About, error) {
	var a About
	err := withFile(path, "mode=ro", func(db *sql.DB) error { return describe(a.read(ctx, db)) })
	return a, err
}

func (a *About) read(ctx context.Context, db *sql.DB) error {
	if err := checkOwn(ctx, db); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&a.Schema); err != nil {
		return err
	}
	var at int64
	if err := db.QueryRowContext(ctx, queryHead).Scan(&a.Seq, &a.Hash); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(at), 0) FROM audit WHERE seq = ?`, a.Seq).Scan(&at); err != nil {
		return err
	}
	a.At = engine.FromMicros(at)
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		a.Newest, err = engine.NewestSchema(files)
	}
	return err
}

// checkOwn returns ErrForeign if the database lacks a table that each database of the bridge has.
func checkOwn(ctx context.Context, db *sql.DB) error {
	for _, table := range ownTables {
		var n int
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?`, table).Scan(&n); err != nil {
			return describe(err)
		}
		if n == 0 {
			return ErrForeign
		}
	}
	return nil
}

// An Erasure is a receipt of an erasure: its id, its time, and what was removed, as JSON.
type Erasure struct {
	ID      string
	Created time.Time
	Removed string
}

// Erasures returns the receipts in a file, the oldest first.
func Erasures(ctx context.Context, path string) (all []Erasure, err error) {
	err = withFile(path, "mode=ro", func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, `SELECT id, created, removed FROM erasures ORDER BY id`)
		if err != nil {
			return describe(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var e Erasure
			var created int64
			if err := rows.Scan(&e.ID, &created, &e.Removed); err != nil {
				return err
			}
			e.Created = engine.FromMicros(created)
			all = append(all, e)
		}
		return describe(rows.Err())
	})
	return all, err
}

// EndSignIns removes the sessions of agents and the remembered browsers. It returns how many there
// were.
func EndSignIns(ctx context.Context, path string) (n int64, err error) {
	err = withFile(path, "mode=rw&_pragma=secure_delete(ON)&_pragma=synchronous(FULL)", func(db *sql.DB) error {
		for _, query := range []string{`DELETE FROM sessions`, `DELETE FROM browsers`} {
			result, err := db.ExecContext(ctx, query)
			if err != nil {
				return describe(err)
			}
			ended, err := result.RowsAffected()
			if err != nil {
				return err
			}
			n += ended
		}
		return nil
	})
	return n, err
}

// MergeLog moves the content of the write-ahead log into the file, and removes the log, so that the
// file is the whole database. It fails with engine.ErrInUse if another process has the database
// open, and with ErrDamaged.
func MergeLog(ctx context.Context, path string) error {
	release, err := MergeLogAndHold(ctx, path)
	if err != nil {
		return err
	}
	return release()
}

// MergeLogAndHold is MergeLog, and keeps others from opening the database until release. If the file has
// been replaced by then, SQLite refuses those who wait.
func MergeLogAndHold(ctx context.Context, path string) (release func() error, err error) {
	db := connect(path, "mode=rw&_pragma=synchronous(FULL)", lockWait, 1)
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	var mode string
	for _, query := range []string{"PRAGMA journal_mode = DELETE", "BEGIN EXCLUSIVE", "PRAGMA journal_mode"} {
		err := db.QueryRowContext(ctx, query).Scan(&mode)
		switch codeOf(err) {
		case code.SQLITE_BUSY, code.SQLITE_LOCKED:
			return nil, engine.ErrInUse
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // BEGIN has none
			return nil, describe(err)
		}
		if !strings.EqualFold(mode, "delete") {
			return nil, engine.ErrInUse
		}
	}
	return db.Close, nil
}

// withFile opens a file on one connection, calls do and closes the file.
func withFile(path, options string, do func(*sql.DB) error) error {
	db := connect(path, options, lockWait, 1)
	return errors.Join(do(db), db.Close())
}

// describe wraps an error of SQLite that says that the file is damaged.
func describe(err error) error {
	if c := codeOf(err); c == code.SQLITE_CORRUPT || c == code.SQLITE_NOTADB {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
