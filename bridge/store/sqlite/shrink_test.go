package sqlite

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"cobrowse-bridge/bridge/store/engine"
)

func openFile(t *testing.T, path string) *DB {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	e, err := Open(t.Context(), "sqlite:"+path, engine.Config{Log: log, Insert: &river.Config{Logger: log}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e.(*DB)
}

func pragma(t *testing.T, db *sql.DB, name string) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// fillAndEmpty makes many pages free.
func fillAndEmpty(t *testing.T, db *DB) {
	t.Helper()
	for _, query := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO probe (id, filler) SELECT i, zeroblob(4000) FROM n`,
		`DELETE FROM probe`,
	} {
		err := db.Write(t.Context(), engine.Locks{}, func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFreePagesAreGivenBackInSlices(t *testing.T) {
	t.Parallel()
	db := openFile(t, filepath.Join(t.TempDir(), "bridge.db"))
	if mode := pragma(t, db.reader, "auto_vacuum"); mode != incremental {
		t.Fatalf("auto_vacuum of a new file is %d", mode)
	}
	fillAndEmpty(t, db)
	before := pragma(t, db.reader, "page_count")
	if err := db.Write(t.Context(), engine.Locks{}, func(ctx context.Context, tx engine.Tx) error { return giveBack(ctx, tx, shrinkPages) }); err != nil {
		t.Fatal(err)
	}
	if after := pragma(t, db.reader, "page_count"); before-after != shrinkPages {
		t.Errorf("a slice gives back %d pages, want %d", before-after, shrinkPages)
	}
	if err := db.Shrink(t.Context()); err != nil {
		t.Fatal(err)
	}
	if free := pragma(t, db.reader, "freelist_count"); free != minKeptPages {
		t.Errorf("%d pages are free, want %d", free, minKeptPages)
	}
	if after := pragma(t, db.reader, "page_count"); after > before/5 {
		t.Errorf("the file has %d pages, and had %d", after, before)
	}
}

func TestSlicesFollowTheTimeOfTheLast(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pages int64
		took  time.Duration
		want  int64
	}{
		{64, time.Millisecond, 128}, {64, 15 * time.Millisecond, 64}, {64, 40 * time.Millisecond, 32},
		{1, time.Second, 1}, {maxShrinkPages, 0, maxShrinkPages},
	} {
		if got := nextSlice(test.pages, test.took); got != test.want {
			t.Errorf("after %d pages in %v: %d, want %d", test.pages, test.took, got, test.want)
		}
	}
}

// A file of an earlier release has auto_vacuum off.
func TestAFileOfAnEarlierReleaseShrinksOnceItWasCopied(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bridge.db")
	earlier := connect(path, "mode=rwc", lockWait, 1)
	if _, err := earlier.ExecContext(t.Context(), "CREATE TABLE first (id INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := earlier.Close(); err != nil {
		t.Fatal(err)
	}
	db := openFile(t, path)
	if mode := pragma(t, db.reader, "auto_vacuum"); mode != 0 {
		t.Fatalf("auto_vacuum is %d", mode)
	}
	fillAndEmpty(t, db)
	pages := pragma(t, db.reader, "page_count")
	if err := db.Shrink(t.Context()); err != nil || pragma(t, db.reader, "page_count") != pages {
		t.Errorf("a file that cannot shrink: %v", err)
	}
	backup := filepath.Join(t.TempDir(), "copy.db")
	for _, from := range []string{path, backup} { // the second has auto_vacuum already
		to := from + ".copy"
		if from == path {
			to = backup
		}
		if err := private(to); err != nil {
			t.Fatal(err)
		}
		if err := CopyTo(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		if err := withFile(to, "mode=ro", func(copied *sql.DB) error {
			if mode := pragma(t, copied, "auto_vacuum"); mode != incremental {
				t.Errorf("auto_vacuum of a copy is %d", mode)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := MakeShrinkable(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if db = openFile(t, path); pragma(t, db.reader, "auto_vacuum") != incremental || pragma(t, db.reader, "page_count") >= pages {
		t.Error("the file was not rewritten")
	}
}
