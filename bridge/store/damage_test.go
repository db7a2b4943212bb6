package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
)

// copyFiles copies the files of a database that exist, except those with the given endings.
func copyFiles(t testing.TB, from, to string, without ...string) {
	t.Helper()
	for _, ending := range []string{"", "-wal", "-shm", ".head"} {
		if strings.Contains(strings.Join(without, " "), ending) && ending != "" {
			continue
		}
		data, err := os.ReadFile(from + ending)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+ending, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreWhoseFilesAreGoneIsNotReadyAndAcknowledgesNothing(t *testing.T) {
	remove := func(endings ...string) func(t *testing.T, path, backup string) error {
		return func(_ *testing.T, path, _ string) error {
			var errs []error
			for _, ending := range endings {
				errs = append(errs, os.Remove(path+ending))
			}
			return errors.Join(errs...)
		}
	}
	for name, harm := range map[string]func(t *testing.T, path, backup string) error{
		"all files are deleted":    remove("", "-wal", "-shm"),
		"the -wal file is deleted": remove("-wal"),
		"the -shm file is deleted": remove("-shm"),
		"the lock file is deleted": remove(".lock"),
		"the file is moved":        func(_ *testing.T, path, _ string) error { return os.Rename(path, path+".old") },
		"the directory is moved": func(_ *testing.T, path, _ string) error {
			return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old")
		},
		"another file takes its place": func(_ *testing.T, path, backup string) error { return os.Rename(backup, path) },
		"an older copy is written over it": func(t *testing.T, path, backup string) error {
			copyFiles(t, backup, path)
			return nil
		},
		"an older copy is written over it and its -wal is deleted": func(t *testing.T, path, backup string) error {
			copyFiles(t, backup, path)
			return os.Remove(path + "-wal")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "data")
			backup := filepath.Join(t.TempDir(), "backup.db")
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(folder, "bridge.db")
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				old := openAt(t, "sqlite:"+path, Options{})
				if err := errors.Join(deliverNow(old, "old"), old.Close()); err != nil {
					t.Fatal(err)
				}
				copyFiles(t, path, backup, ".head")
				var log bytes.Buffer
				s := openAt(t, "sqlite:"+path, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
				for i := range 3 {
					if err := deliverNow(s, fmt.Sprint("before", i)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if err := harm(t, path, backup); err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					if err := deliverNow(s, fmt.Sprint("after", i)); err == nil {
						t.Errorf("a delivery was acknowledged %d s after the files were gone", i)
					}
					if err := s.Ready(t.Context()); err == nil {
						t.Errorf("ready %d s after the files were gone", i)
					}
					time.Sleep(time.Second)
				}
				if err := s.Ready(t.Context()); !errors.Is(err, engine.ErrLost) {
					t.Errorf("Ready returned %v", err)
				}
				if n := strings.Count(log.String(), "nothing is written any more"); n != 1 {
					t.Errorf("%d lines of the log say so: %s", n, log.String())
				}
				_ = s.Close() // fails or not
			})
		})
	}
}

func TestCheckpointsOfOthersAreNoDamage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		address := "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
		s := openAt(t, address, Options{})
		beside := openAt(t, address, Options{Beside: true})
		for i := range 3 {
			if err := deliverNow(s, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if err := beside.RemoveDeletedData(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		if err := errors.Join(s.Ready(t.Context()), beside.Close(), deliverNow(s, "last"), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestADatabaseThatLostDataIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, "sqlite:"+path("bridge.db"), Options{})
		if err := errors.Join(deliverNow(s, "a"), s.Commit(t.Context(), Change{Audit: []audit.Entry{{Action: "a"}}})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // for the head file
		synctest.Wait()
		// These are the files as a power cut leaves them.
		copyFiles(t, path("bridge.db"), path("whole.db"))
		copyFiles(t, path("bridge.db"), path("no-wal.db"), "-wal", "-shm")
		copyFiles(t, path("bridge.db"), path("accepted.db"), "-wal", "-shm", ".head")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		copyFiles(t, path("bridge.db"), path("empty.db"))
		if err := os.Remove(path("empty.db")); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"whole.db": "", "accepted.db": "", "bridge.db": "",
			"no-wal.db": "older than its head file", "empty.db": "older than its head file",
		} {
			s, err := Open(t.Context(), "sqlite:"+path(name), Options{Secret: secretA})
			switch {
			case err == nil && want != "":
				t.Errorf("%s was opened, want an error that says %q", name, want)
			case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				s.Close()
			}
		}
	})
}

func TestADamagedPageIsNoticed(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "bridge.db")
	s := openAt(t, "sqlite:"+whole, Options{})
	for i := range 20 {
		if err := deliverNow(s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	free := number(t, s, `PRAGMA freelist_count`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := 0; at < len(data); at += page {
		path := filepath.Join(t.TempDir(), "bridge.db")
		bad := bytes.Clone(data)
		for i := range bad[at : at+page] {
			bad[at+i] ^= 0xff
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), "sqlite:"+path, Options{Secret: secretA})
		if err == nil {
			s.Close()
		}
		if err == nil {
			free-- // nothing reads a page that is not in use
		} else if !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("page %d is damaged, and Open returns %v", at/page+1, err)
		}
	}
	if free < 0 {
		t.Errorf("%d damaged pages were not noticed", -free)
	}
}

func TestADatabaseDamagedWhileItIsOpenIsNotReady(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bridge.db")
	s := openAt(t, "sqlite:"+path, Options{})
	if err := errors.Join(deliverNow(s, "a"), s.RemoveDeletedData(t.Context())); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 4096*8), info.Size()-4096*8); err != nil {
		t.Fatal(err)
	}
	defer f.Close() // not before: closing it would end SQLite's locks
	if err := s.Purge(t.Context(), time.Now(), Retention{}); err == nil {
		t.Error("a purge of a damaged database succeeded")
	}
	if err := s.Ready(t.Context()); !errors.Is(err, engine.ErrLost) {
		t.Errorf("Ready returned %v", err)
	}
}

func TestADiskThatFailsFiveTimesMakesTheStoreNotReadyForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store) {
		working := s.engine
		s.engine = &flaky{Engine: working, fail: func(int) error { return fmt.Errorf("%w: EIO", engine.ErrIO) }}
		for i := range 5 {
			if err := deliverNow(s, fmt.Sprint(i)); err == nil {
				t.Error("a delivery was acknowledged")
			}
		}
		s.engine = working
		time.Sleep(time.Hour)
		if err := s.Ready(t.Context()); !errors.Is(err, engine.ErrLost) {
			t.Errorf("Ready returned %v", err)
		}
		if err := deliverNow(s, "later"); err == nil {
			t.Error("a delivery was acknowledged by a disk that may have lost data")
		}
	})
}

// A PostgreSQL server that fails over to a replica which was behind has an older audit log, as
// has a backup that was put back.
func TestAnOlderCopyInPlaceOfTheDatabaseIsNoticed(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		for _, action := range []string{"first", "second"} {
			if err := s.Commit(t.Context(), Change{Audit: []audit.Entry{{Action: action}}}); err != nil {
				t.Fatal(err)
			}
		}
		exec(t, s, `UPDATE audit_head SET seq = 1`)
		s.headRead = s.headRead.Add(-readHeadEvery)
		if err := deliverNow(s, "a"); !errors.Is(err, engine.ErrLost) {
			t.Errorf("a delivery: %v", err)
		}
		if err := s.Ready(t.Context()); !errors.Is(err, engine.ErrLost) {
			t.Errorf("Ready returned %v", err)
		}
	})
}
