package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

const (
	// identityEvery is how often the files are compared with the ones that were opened.
	identityEvery = time.Second
	// checkpointTime is how long a checkpoint of another process may take.
	checkpointTime = 5 * time.Second
)

// An identity notices that the files of an open database were removed, moved, or overwritten
// by others. SQLite itself does not: it goes on with files that no later process will find.
type identity struct {
	path string

	mu      sync.Mutex
	checked time.Time
	files   map[string]os.FileInfo // by path, as they were opened
	// shm stays open: to close any handle of a file ends SQLite's locks on it
	// (sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
	shm *os.File
	// Only a checkpoint writes to the main file. main is that file, and checkpoint what -shm
	// said about checkpoints, both at the last check.
	main       os.FileInfo
	checkpoint []byte
	unknown    time.Time // since when main is unexplained; zero if it is not
}

// newIdentity returns the identity of an open database, whose files exist.
func newIdentity(path string) (*identity, error) {
	i := &identity{path: path, files: map[string]os.FileInfo{}, checked: time.Now()}
	for _, ending := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + ending)
		if err != nil {
			return nil, err
		}
		i.files[path+ending] = info
	}
	i.main = i.files[path]
	var err error
	if i.shm, err = os.Open(path + "-shm"); err != nil {
		return nil, err
	}
	if i.checkpoint, err = i.readCheckpoint(); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

func (i *identity) close() error {
	if i == nil || i.shm == nil {
		return nil
	}
	return i.shm.Close()
}

// readCheckpoint returns the bytes of the -shm file that each checkpoint changes: the salt of
// the write-ahead log and how much of it is in the main file
// (sqlite.org/walformat.html#the_wal_index_file_format, offsets 32 and 96).
func (i *identity) readCheckpoint() ([]byte, error) {
	index := make([]byte, 100)
	if _, err := i.shm.ReadAt(index, 0); err != nil {
		return nil, err
	}
	return append(index[32:40:40], index[96:100]...), nil
}

// check returns an error that wraps engine.ErrLost if the files are not the ones that were
// opened. It looks at most once in identityEvery.
func (i *identity) check() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.checked) < identityEvery {
		return nil
	}
	if err := i.moved(); err != nil {
		return err
	}
	if err := i.checkMain(); err != nil {
		return err
	}
	i.checked = time.Now()
	return nil
}

// moved returns an error if one of the paths no longer leads to the file that was opened.
func (i *identity) moved() error {
	for path, opened := range i.files {
		now, err := os.Stat(path)
		if err != nil || !os.SameFile(now, opened) {
			return fmt.Errorf("%w: %s was moved, deleted or replaced while the bridge ran; stop the bridge, put the database back with its -wal file, and start the bridge again", engine.ErrLost, path)
		}
	}
	return nil
}

// checkMain notices a main file that was overwritten in place.
func (i *identity) checkMain() error {
	main, err := os.Stat(i.path)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	now, err := i.readCheckpoint()
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	switch {
	case main.Size() == i.main.Size() && main.ModTime().Equal(i.main.ModTime()), !bytes.Equal(now, i.checkpoint):
		i.main, i.checkpoint = main, now
	case i.unknown.IsZero():
		i.unknown = time.Now()
		fallthrough
	case time.Since(i.unknown) < checkpointTime:
		return fmt.Errorf("%w: something writes to %s; if it is no other command of the bridge, stop it and restore a backup", engine.ErrFailed, i.path)
	default:
		return fmt.Errorf("%w: another program wrote to %s while the bridge ran; stop the bridge, restore a backup if the content has changed, and start the bridge again", engine.ErrLost, i.path)
	}
	i.unknown = time.Time{}
	return nil
}
