package sqlite

import (
	"context"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"cobrowse-bridge/bridge/store/engine"
)

// faults say what the result codes of SQLite mean for an operator, and what to do
// (sqlite.org/rescode.html). Codes that are not here are about a value of the transaction or
// an error of this program.
var faults = map[int]struct {
	kind   error
	advice string
}{
	code.SQLITE_CORRUPT:  {engine.ErrLost, "the database file is damaged; stop the bridge, move the file away and restore a backup"},
	code.SQLITE_NOTADB:   {engine.ErrLost, "the file is damaged or not an SQLite database; stop the bridge, move the file away and restore a backup"},
	code.SQLITE_IOERR:    {engine.ErrIO, "the disk of the database file has errors; check the disk and the system's log"},
	code.SQLITE_FULL:     {engine.ErrFailed, "the disk of the database file is full; make space"},
	code.SQLITE_READONLY: {engine.ErrFailed, "the database file cannot be written; check its owner, its mode, and whether its disk is mounted read-only"},
	code.SQLITE_CANTOPEN: {engine.ErrFailed, "the database file cannot be opened; check that it is a file and not a directory, and the owner and mode of it and of its directory"},
	code.SQLITE_PERM:     {engine.ErrFailed, "the database file cannot be opened; check its directory, and the owner and mode of both"},
	code.SQLITE_PROTOCOL: {engine.ErrFailed, "the locks of the database file do not work; put it on a local disk"},
	code.SQLITE_BUSY:     {engine.ErrFailed, "another process holds a lock on the database file; end that process"},
	code.SQLITE_LOCKED:   {engine.ErrFailed, "another process holds a lock on the database file; end that process"},
	code.SQLITE_NOMEM:    {engine.ErrFailed, "there is not enough memory"},
}

// explain wraps an error of SQLite in what it means and what to do.
func explain(err error) error {
	if f, ok := faults[codeOf(err)]; ok && !errors.Is(err, engine.ErrFailed) {
		return fmt.Errorf("%w: %s: %w", f.kind, f.advice, err)
	}
	return err
}

// failure is explain for an error of a transaction whose context is ctx.
func failure(ctx context.Context, err error) error {
	if err = explain(err); ctx.Err() != nil && !errors.Is(err, engine.ErrFailed) {
		return fmt.Errorf("%w: %w", engine.ErrFailed, err) // the transaction was rolled back when ctx ended
	}
	return err
}

// codeOf returns the primary result code of SQLite in err, or 0.
func codeOf(err error) int {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
