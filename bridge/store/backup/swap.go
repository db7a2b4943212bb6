package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/sqlite"
)

// readReplaced reads the database that will be replaced.
func (p *preparation) readReplaced(ctx context.Context, r *Restored) {
	about, err := sqlite.Describe(ctx, p.path)
	if err == nil {
		r.Replaced = &about
		r.Erased, err = sqlite.Erasures(ctx, p.path)
	}
	r.Unread = err
}

// swap makes the copy the database, and returns where the one is that was there. At each moment the
// database is the one or the other: the steps that could be cut off are a new name for the old file
// and a rename over it. The head file is taken away before, and put back after, because the head
// file of one database may keep a bridge from starting with the other.
func (p *preparation) swap(ctx context.Context, there bool) (kept string, err error) {
	var undo []func()
	defer func() {
		if err == nil {
			return
		}
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
		kept = ""
	}()
	move := func(from, to string) error {
		err := os.Rename(from, to)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			undo = append(undo, func() { _ = os.Rename(to, from) })
		}
		return err
	}
	if there {
		kept = freeName(p.path)
		release, err := p.foldLog(ctx)
		if err != nil {
			return kept, err
		}
		defer func() { _ = release() }() // it has written nothing
		p.after("settled")
		switch err := os.Link(p.path, kept); {
		case errors.Is(err, fs.ErrNotExist): // only its -wal file is there
		case err != nil:
			return kept, refuse(err, "%s cannot be kept under another name: %v. Move it away yourself, and restore without --replace", p.path, err)
		default:
			undo = append(undo, func() { _ = os.Remove(kept) })
		}
		for _, ending := range []string{"-wal", "-journal", "-shm"} { // of a damaged database, else there are none
			if err := move(p.path+ending, kept+ending); err != nil {
				return kept, err
			}
		}
		p.after("kept")
	}
	if err := p.moveHeadAway(kept, move); err != nil {
		return kept, err
	}
	p.after("head taken away")
	if err := errors.Join(flush(filepath.Dir(p.path)), os.Rename(p.copy, p.path)); err != nil {
		return kept, err
	}
	undo = nil // from here on there is no way back, and none is needed
	p.after("replaced")
	err = os.Rename(sqlite.HeadPath(p.copy), sqlite.HeadPath(p.path))
	return kept, errors.Join(err, flush(filepath.Dir(p.path)))
}

// moveHeadAway keeps the head file with its database, or removes one without a database.
func (p *preparation) moveHeadAway(kept string, move func(from, to string) error) error {
	if kept != "" {
		return move(sqlite.HeadPath(p.path), sqlite.HeadPath(kept))
	}
	return move(sqlite.HeadPath(p.path), sqlite.HeadPath(freeName(p.path)))
}

// foldLog moves the write-ahead log of the database that is replaced into its file: beside the new
// database, SQLite would apply it to that one. Until release no other command can open the database and
// make a new log. A damaged database is left as it is.
func (p *preparation) foldLog(ctx context.Context) (release func() error, err error) {
	nothing := func() error { return nil }
	release, err = sqlite.MergeLogAndHold(ctx, p.path)
	switch {
	case err == nil:
		return release, nil
	case errors.Is(err, engine.ErrInUse):
		return nil, refuse(err, "Another command or program has %s open: end it first", p.path)
	case errors.Is(err, sqlite.ErrDamaged):
		return nothing, nil
	}
	if _, statErr := os.Stat(p.path); errors.Is(statErr, fs.ErrNotExist) {
		return nothing, nil // only its -wal file is there
	}
	return nil, err
}
