package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	code "modernc.org/sqlite/lib"
)

// headFileEvery is how old the head file may be while the database changes. A loss of data that
// is younger cannot be noticed by it.
const headFileEvery = 10 * time.Second

// A head says how far a database has got. None of its numbers ever becomes lower.
type head struct {
	audit int64 // the last audit record
	hash  string
	job   int64 // the last job, and so the last delivery
}

const (
	queryHead    = `SELECT seq, lower(hex(hash)) FROM audit_head WHERE id = 1`
	queryLastJob = `SELECT seq FROM sqlite_sequence WHERE name = 'river_job'`
)

// headOf reads the head of the database. A database without tables has the zero head.
func (db *DB) headOf(ctx context.Context) (h head, err error) {
	var tables int
	if err := db.writer.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'audit_head'`).Scan(&tables); err != nil || tables == 0 {
		return head{}, err
	}
	if err := db.writer.QueryRowContext(ctx, queryHead).Scan(&h.audit, &h.hash); err != nil {
		return head{}, err
	}
	if err := db.writer.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM (`+queryLastJob+`)`).Scan(&h.job); err != nil {
		return head{}, err
	}
	return h, nil
}

// checkHead refuses a database that is older than its head file, as after its -wal file was
// deleted.
func (db *DB) checkHead(ctx context.Context) error {
	text, err := os.ReadFile(db.headPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the first start, or an operator accepted a loss
	}
	if err != nil {
		return err
	}
	var kept head
	if _, err := fmt.Sscanf(string(text), "%d:%64s %d\n", &kept.audit, &kept.hash, &kept.job); err != nil {
		return fmt.Errorf("%s cannot be read: delete it", db.headPath())
	}
	now, err := db.headOf(ctx)
	if err != nil {
		return err
	}
	if now.audit < kept.audit || now.job < kept.job || now.audit == kept.audit && now.audit > 0 && now.hash != kept.hash {
		return fmt.Errorf("the database is older than its head file: it ends with audit record %d and job %d, and had reached %d and %d; either its -wal file is missing or a backup was put back by hand: restore the newest copy with `bridge restore`, or delete %s to accept the loss",
			now.audit, now.job, kept.audit, kept.job, db.headPath())
	}
	return nil
}

func (db *DB) headPath() string { return HeadPath(db.path) }

// changed makes the head file be written within headFileEvery.
func (db *DB) changed() {
	if db.identity == nil || !db.unwritten.CompareAndSwap(false, true) {
		return
	}
	db.headTimer.Reset(headFileEvery)
}

// writeHead writes the head file if the database has changed since.
func (db *DB) writeHead() {
	db.headMu.Lock()
	defer db.headMu.Unlock()
	if !db.unwritten.Swap(false) || db.identity == nil || db.identity.moved() != nil {
		return
	}
	h, err := db.headOf(context.Background())
	if codeOf(err) == code.SQLITE_BUSY {
		db.changed()
		return
	}
	if err == nil {
		err = replaceFile(db.headPath(), fmt.Appendf(nil, "%d:%s %d\n", h.audit, h.hash, h.job))
	}
	if err != nil {
		db.log.Warn("head file of the database not written", "err", err)
	}
}

// replaceFile writes a file so that a crash leaves the old or the new text.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
