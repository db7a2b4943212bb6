package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/sqlite"
)

// Options say how to restore a backup.
type Options struct {
	// Address is that of the database, "sqlite:path".
	Address string
	// Secret and OldSecret are those of store.Options.
	Secret, OldSecret []byte
	// Agent is who restores it, for the audit log.
	Agent string
	// Replace permits a database to be there. It is kept beside the new one under another name.
	Replace bool
	Log     *slog.Logger

	// after is called after each step with its name. Tests set it.
	after func(step string)
}

// A Restored describes a backup that was checked, and with Restore what became of the database.
type Restored struct {
	// Backup describes the backup as it was made.
	Backup About
	// Head is the head of the audit log with the record of the restore.
	Head audit.Head
	// SignIns is how many sign-ins were ended.
	SignIns int64
	// Kept is where the database is now that was there before; empty if there was none.
	Kept string
	// Replaced is the head of that database. It is nil if there was none, or if Unread says why it
	// could not be read.
	Replaced *About
	Unread   error
	// Erased are the receipts of erasures in that database that the backup does not have.
	Erased []sqlite.Erasure
}

// Check checks a backup as Restore does, and changes nothing. A bridge may be running. It needs
// twice the space of the backup beside the database for as long as it runs.
func Check(ctx context.Context, file string, o Options) (r Restored, err error) {
	path, err := sqlite.PathOf(o.Address)
	if err != nil {
		return r, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".checking.*")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	p := preparation{Options: o, path: path, copy: filepath.Join(folder, databaseName)}
	err = p.prepare(ctx, file, &r)
	return r, err
}

// Restore checks a backup and makes it the database. After an error the database is what it was
// before. If the process is killed, it is that or the restored one.
func Restore(ctx context.Context, file string, o Options) (r Restored, err error) {
	path, err := sqlite.PathOf(o.Address)
	if err != nil {
		return r, err
	}
	if o.after == nil {
		o.after = func(string) {}
	}
	there, err := thereIs(path)
	switch {
	case err != nil:
		return r, err
	case there && !o.Replace:
		return r, refuse(fs.ErrExist, "There is a database %s already. To replace it, use --replace, which keeps it under another name", path)
	}
	unlock, err := sqlite.Lock(path)
	if errors.Is(err, engine.ErrInUse) {
		return r, refuse(err, "A bridge uses %s: stop it first", path)
	} else if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	folder := path + ".restoring" // the lock says that no other process uses it
	if err := os.RemoveAll(folder); err != nil {
		return r, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	p := preparation{Options: o, path: path, copy: filepath.Join(folder, databaseName)}
	if there {
		p.readReplaced(ctx, &r)
	}
	if err := p.prepare(ctx, file, &r); err != nil {
		return r, err
	}
	o.after("prepared")
	r.Kept, err = p.swap(ctx, there)
	return r, err
}

// thereIs reports whether there is a database at path, or what a database left.
func thereIs(path string) (bool, error) {
	for _, ending := range []string{"", "-wal", "-journal"} {
		info, err := os.Lstat(path + ending)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return false, err
		case !info.Mode().IsRegular():
			return false, refuse(nil, "%s is a symbolic link, a folder or a device: set BRIDGE_DATABASE to a file", path+ending)
		}
		return true, nil
	}
	return false, nil
}

// databaseName is the name of the copy of a backup in a folder of its own.
const databaseName = "bridge.db"

// A preparation makes a backup ready to be the database.
type preparation struct {
	Options
	path string // of the database
	copy string // of the backup, in a folder of its own beside the database
}

// prepare copies the backup, checks and updates the copy, ends its sign-ins and writes the audit
// record. When it returns nil, the copy is one whole file that is on the disk, and its head file is
// beside it.
func (p *preparation) prepare(ctx context.Context, file string, r *Restored) error {
	err := p.takeCopy(file)
	if err == nil {
		err = p.check(ctx, file, r)
	}
	if err == nil {
		err = p.update(ctx, file, r)
	}
	if _, ok := errors.AsType[*Error](err); err == nil || ok || ctx.Err() != nil {
		return err
	}
	return refuse(err, "The backup cannot be copied and checked beside %s, perhaps because its disk is full: %v", p.path, err)
}

// takeCopy copies the backup, and the -wal file of one that was made by copying the files of a
// stopped bridge.
func (p *preparation) takeCopy(file string) error {
	if used, err := store.InUse("sqlite:" + file); err == nil && used {
		return refuse(nil, "A bridge uses %s: name a copy that `bridge backup` made", file)
	}
	if err := copyFile(file, p.copy); err != nil {
		return err
	}
	err := copyFile(file+"-wal", p.copy+"-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// copyFile copies a file that is not a symbolic link.
func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return refuse(err, "The backup cannot be read: %v", err)
	}
	if !info.Mode().IsRegular() {
		return refuse(nil, "%s is a symbolic link, a folder or a device: name the file itself", from)
	}
	in, err := os.Open(from)
	if err != nil {
		return refuse(err, "The backup cannot be read: %v", err)
	}
	defer func() { _ = in.Close() }()
	if opened, err := in.Stat(); err != nil || !os.SameFile(opened, info) {
		return refuse(err, "%s was replaced while it was opened: run the command again", from)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// check reads the whole copy.
func (p *preparation) check(ctx context.Context, file string, r *Restored) (err error) {
	if r.Backup, err = sqlite.CheckFile(ctx, p.copy); errors.Is(err, sqlite.ErrDamaged) || errors.Is(err, sqlite.ErrForeign) {
		return refuse(err, "%s cannot be restored: %v", file, err)
	} else if err != nil {
		return err
	}
	if r.Backup.Schema > r.Backup.Newest {
		return refuse(nil, "%s has schema %d, and this release supports only schema %d: restore it with the release that made it, or a newer one", file, r.Backup.Schema, r.Backup.Newest)
	}
	if p.Replace {
		r.Erased, err = p.missing(ctx, r.Erased)
	}
	return err
}

// missing returns those receipts that the copy does not have.
func (p *preparation) missing(ctx context.Context, all []sqlite.Erasure) ([]sqlite.Erasure, error) {
	have, err := sqlite.Erasures(ctx, p.copy)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e sqlite.Erasure) bool {
		return slices.ContainsFunc(have, func(h sqlite.Erasure) bool { return h.ID == e.ID })
	}), nil
}

// update opens the copy with the store, which updates its tables and writes its head file.
func (p *preparation) update(ctx context.Context, file string, r *Restored) (err error) {
	db, err := store.Open(ctx, "sqlite:"+p.copy, store.Options{Secret: p.Secret, OldSecret: p.OldSecret, Log: p.Log})
	if err != nil {
		return err
	}
	err = func() error {
		if err := db.CheckSecret(ctx); errors.Is(err, store.ErrSecret) {
			return refuse(err, "%s was made with another BRIDGE_SECRET. Set BRIDGE_SECRET, or BRIDGE_SECRET_OLD, to the one that belongs to it", file)
		} else if err != nil {
			return err
		}
		span, err := db.AuditLog().Verify(ctx, audit.Head{})
		if broken, ok := errors.AsType[*audit.BrokenError](err); ok {
			return refuse(err, "The audit log in %s is broken at record %d (%s), so it was changed outside the bridge: restore another backup", file, broken.Seq, broken.Reason)
		} else if err != nil {
			return err
		}
		detail, err := json.Marshal(restoredDetail(span.Head, r.Replaced))
		if err != nil {
			return err
		}
		entry := audit.Entry{Action: "restored", Agent: p.Agent, Detail: string(detail)}
		if err := db.Commit(store.Patient(ctx), store.Change{Audit: []audit.Entry{entry}}); err != nil {
			return err
		}
		r.Head, err = db.AuditLog().Head(ctx)
		return err
	}()
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if r.SignIns, err = sqlite.EndSignIns(ctx, p.copy); err != nil {
		return err
	}
	if err := sqlite.MergeLog(ctx, p.copy); err != nil {
		return err
	}
	if err := sqlite.MakeShrinkable(ctx, p.copy); err != nil {
		return err
	}
	return errors.Join(flush(p.copy), flush(sqlite.HeadPath(p.copy)))
}

// A detail is the Detail of the audit entry of a restore, in JSON.
type detail struct {
	// Backup and Replaced are the heads of the backup and of the database that it replaces, as
	// SEQ:HASH. Replaced is empty if there was none, or if it could not be read.
	Backup   string `json:"backup"`
	Replaced string `json:"replaced"`
}

func restoredDetail(backup audit.Head, replaced *About) detail {
	d := detail{Backup: fmt.Sprintf("%d:%x", backup.Seq, backup.Hash)}
	if replaced != nil {
		d.Replaced = fmt.Sprintf("%d:%s", replaced.Seq, replaced.Hash)
	}
	return d
}

// keptName is the form of the time in the name of a database that was replaced.
const keptName = "20060102T150405Z"

// freeName returns a path for the database that is replaced, with nothing there.
func freeName(path string) string {
	base := path + ".replaced-" + time.Now().UTC().Format(keptName)
	for n, name := 2, base; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
}
