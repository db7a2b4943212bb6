package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"cobrowse-bridge/bridge/store/engine"
)

// Inspect returns the facts about the file of url ("sqlite:path"). It creates no file. It does not open a
// file that this user cannot write, or that is on a network file system.
func Inspect(ctx context.Context, url string) (f engine.Facts, err error) {
	path, err := pathOf(url)
	if err != nil {
		return f, fmt.Errorf("sqlite: BRIDGE_DATABASE %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite %s: %w", path, explain(err))
		}
	}()
	inspectDisk(filepath.Dir(path), &f)
	f.Unwritable = unwritable(path)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		f.Missing = true
		return f, nil
	case err != nil || f.Unwritable != "" || f.Network != "":
		return f, err
	}
	return f, readSchema(ctx, path, &f)
}

// The modes of access(2).
const (
	mayExecute = 1
	mayWrite   = 2
)

// unwritable says why this user cannot write to the file at path or the files beside it, or returns "".
func unwritable(path string) string {
	folder := filepath.Dir(path)
	if err := syscall.Access(folder, mayWrite|mayExecute); err != nil {
		return fmt.Sprintf("the folder %s: %v", folder, err)
	}
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if err := syscall.Access(file, mayWrite); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("the file %s: %v", file, err)
		}
	}
	return ""
}

// readSchema reads which schema the file has. It opens the file as the bridge does, since a connection
// that only reads leaves files behind, and forbids every change.
func readSchema(ctx context.Context, path string, f *engine.Facts) error {
	db := connect(path, "_pragma=query_only(1)", lockWait, 1)
	defer func() { _ = db.Close() }()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if f.Newest, err = engine.NewestSchema(files); err != nil {
		return err
	}
	var tables, ours int
	const count = `SELECT count(*), count(*) FILTER (WHERE name = 'goose_db_version') FROM sqlite_master WHERE type = 'table'`
	if err := db.QueryRowContext(ctx, count).Scan(&tables, &ours); err != nil {
		return err
	}
	if ours == 0 {
		f.Foreign, f.Older = tables > 0, true
		return nil
	}
	var have sql.NullInt64
	if err := db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&have); err != nil {
		return err
	}
	f.Schema = have.Int64
	if f.Schema == f.Newest {
		current, err := engine.Current(ctx, goose.DialectSQLite3, db, files, riversqlite.New(db), slog.New(slog.DiscardHandler))
		f.Older = !current
		return err
	}
	f.Older = f.Schema < f.Newest
	return nil
}
