package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

const (
	// incremental is the value of PRAGMA auto_vacuum with which Shrink works. The file must have had
	// it before its first table; VACUUM sets it too.
	incremental = 2

	// shrinkPages and maxShrinkPages are how many pages the first slice gives back, and the largest.
	shrinkPages    = 64
	maxShrinkPages = 1024
	// A slice that took less than shortSlice is followed by one with twice as many pages, and a slice
	// that took more than longSlice by one with half as many.
	shortSlice, longSlice = 10 * time.Millisecond, 25 * time.Millisecond

	// keptPages are free pages that stay in the file for new rows: a part of the file, or at least
	// minKeptPages.
	keptPart     = 10
	minKeptPages = 256
)

// Shrink implements engine.Engine: it gives free pages back to the disk, in slices. Other writers may
// write between two slices.
func (db *DB) Shrink(ctx context.Context) error {
	var mode int64
	if err := db.reader.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil || mode != incremental {
		return explain(err)
	}
	for pages := int64(shrinkPages); ; {
		spare, err := db.sparePages(ctx)
		if err != nil || spare <= 0 {
			return explain(err)
		}
		var took time.Duration
		err = db.Write(ctx, engine.Locks{}, func(ctx context.Context, tx engine.Tx) error {
			began := time.Now()
			defer func() { took = time.Since(began) }()
			return giveBack(ctx, tx, min(pages, spare))
		})
		if err != nil {
			return err
		}
		pages = nextSlice(pages, took)
	}
}

// nextSlice returns how many pages the slice after one of this many pages gives back.
func nextSlice(pages int64, took time.Duration) int64 {
	switch {
	case took > longSlice:
		return max(pages/2, 1)
	case took < shortSlice:
		return min(pages*2, maxShrinkPages)
	}
	return pages
}

// sparePages returns how many pages can be given back.
func (db *DB) sparePages(ctx context.Context) (int64, error) {
	var free, all int64
	if err := db.reader.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
		return 0, err
	}
	if err := db.reader.QueryRowContext(ctx, "PRAGMA page_count").Scan(&all); err != nil {
		return 0, err
	}
	return free - max((all-free)/keptPart, minKeptPages), nil
}

// giveBack gives n pages back. SQLite gives back one page for each step of the statement.
func giveBack(ctx context.Context, tx engine.Tx, n int64) error {
	rows, err := tx.Query(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", n))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// keepShrinking makes the next VACUUM of a connection write a file with which Shrink works.
func keepShrinking(ctx context.Context, db *sql.DB) error {
	var mode int64
	if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil || mode == incremental {
		return err // setting it again would write to the file
	}
	_, err := db.ExecContext(ctx, "PRAGMA auto_vacuum = INCREMENTAL")
	return err
}

// MakeShrinkable rewrites a file of an earlier release, so that Shrink works with it. It does nothing to
// other files.
func MakeShrinkable(ctx context.Context, path string) error {
	return withFile(path, "mode=rw&_pragma=synchronous(FULL)", func(db *sql.DB) error {
		var mode int64
		if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil || mode == incremental {
			return describe(err)
		}
		if err := keepShrinking(ctx, db); err != nil {
			return describe(err)
		}
		_, err := db.ExecContext(ctx, "VACUUM")
		return describe(err)
	})
}
