// Package backup makes copies of an SQLite database while a bridge works with it, and puts copies
// back. Read backup.go first, then restore.go.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cobrowse-bridge/bridge/store/sqlite"
)

// An Error says in whole sentences why a backup or a restore was not made. Nothing was changed.
type Error struct {
	text  string
	cause error // may be nil
}

func (e *Error) Error() string { return e.text }

func (e *Error) Unwrap() error { return e.cause }

func refuse(cause error, format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), cause}
}

// An About describes the content of a database file.
type About = sqlite.About

// A Copy describes a backup.
type Copy struct {
	About
	Bytes int64
}

// endings are those of the files that SQLite and the bridge keep beside a database file.
var endings = []string{"-wal", "-shm", "-journal", ".lock", ".head"}

// Write writes a copy of the database at address, "sqlite:path", into a new file with mode 0600. The
// copy has everything that was committed when Write began. Other processes can write meanwhile.
// After an error there is no file.
func Write(ctx context.Context, address, file string) (Copy, error) {
	path, err := sqlite.PathOf(address)
	if err != nil {
		return Copy{}, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return Copy{}, err
	}
	if slices.ContainsFunc(endings, func(ending string) bool { return file == path+ending }) {
		return Copy{}, refuse(nil, "%s would be taken for a part of the database: choose another name", file)
	}
	if err := mustBeFree(file); err != nil {
		return Copy{}, err
	}
	temporary, c, err := copyBeside(ctx, path, file)
	if err != nil {
		return Copy{}, err
	}
	if err := publish(temporary, file); err != nil {
		_ = os.Remove(temporary) // it may be gone already
		return Copy{}, err
	}
	return c, nil
}

// Print writes a copy of the database to w. It needs the space of the copy beside the database for
// as long as it runs.
func Print(ctx context.Context, address string, w io.Writer) (c Copy, err error) {
	path, err := sqlite.PathOf(address)
	if err != nil {
		return Copy{}, err
	}
	temporary, c, err := copyBeside(ctx, path, path+".backup")
	if err != nil {
		return Copy{}, err
	}
	in, err := os.Open(temporary)
	// The name is removed first, because a reader that goes away ends this process with SIGPIPE.
	if err := errors.Join(err, os.Remove(temporary)); err != nil {
		return Copy{}, err
	}
	_, err = io.Copy(w, in)
	return c, errors.Join(err, in.Close())
}

// mustBeFree returns an error if there is something at a path, or if its folder does not exist.
func mustBeFree(file string) error {
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		return refuse(err, "The folder of %s does not exist: make it first", file)
	}
	switch info, err := os.Lstat(file); {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return refuse(fs.ErrExist, "%s is a symbolic link: choose a name that does not exist", file)
	case err == nil:
		return refuse(fs.ErrExist, "%s exists already, and a backup overwrites nothing: choose another name", file)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// copyBeside writes a whole copy of the database into a new file in the folder of file, and flushes
// it to the disk.
func copyBeside(ctx context.Context, path, file string) (temporary string, c Copy, err error) {
	if _, err := os.Stat(path); err != nil {
		return "", c, refuse(err, "There is no database %s: start the bridge once, or set BRIDGE_DATABASE to the file that it uses", path)
	}
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // with mode 0600
	if err != nil {
		return "", c, refuse(err, "The copy cannot be written to the folder of %s: %v", file, err)
	}
	defer func() {
		if err == nil {
			return
		}
		for _, ending := range []string{"", "-journal", "-wal", "-shm"} {
			if e := os.Remove(out.Name() + ending); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	if err := out.Close(); err != nil {
		return "", c, err
	}
	switch err := sqlite.CopyTo(ctx, path, out.Name()); {
	case ctx.Err() != nil:
		return "", c, refuse(ctx.Err(), "The backup was stopped, and nothing was written")
	case errors.Is(err, sqlite.ErrForeign), errors.Is(err, sqlite.ErrDamaged):
		return "", c, refuse(err, "%s cannot be copied: %v", path, err)
	case err != nil:
		return "", c, refuse(err, "The database cannot be copied to the folder of %s, perhaps because its disk is full: %v", file, err)
	}
	if c.About, err = sqlite.CheckFile(ctx, out.Name()); err != nil {
		return "", c, fmt.Errorf("check the copy: %w", err)
	}
	if err := flush(out.Name()); err != nil {
		return "", c, err
	}
	info, err := os.Stat(out.Name())
	if err != nil {
		return "", c, err
	}
	c.Bytes = info.Size()
	return out.Name(), c, nil
}

// publish gives a whole file its name, and does not replace another file.
func publish(temporary, file string) error {
	err := os.Link(temporary, file)
	switch {
	case errors.Is(err, fs.ErrExist):
		return mustBeFree(file)
	case err == nil:
		err = os.Remove(temporary)
	default: // the file system has no hard links
		if err := mustBeFree(file); err != nil {
			return err
		}
		err = os.Rename(temporary, file)
	}
	if err == nil {
		err = flush(filepath.Dir(file))
	}
	if err != nil {
		_ = os.Remove(file) // it may not be there
		return err
	}
	return nil
}

// flush writes a file or a folder to the disk.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
