package backup

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
)

func execSQL(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.ExecContext(t.Context(), query)
	must(t, errors.Join(err, db.Close()))
}

// A site is a database with a backup of it, and changes since.
type site struct {
	*testing.T
	folder, path, file string
	old, backup        audit.Head // of the database and of the backup
	receipt            string     // of an erasure since the backup
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, folder: t.TempDir()}
	s.path, s.file = filepath.Join(s.folder, "bridge.db"), filepath.Join(t.TempDir(), "copy.db")
	seed(t, s.path, 5)
	_, err := Write(t.Context(), "sqlite:"+s.path, s.file)
	must(t, err)
	db := openStore(t, s.path)
	s.backup, err = db.AuditLog().Head(t.Context())
	must(t, err)
	r, err := store.NewReceipt()
	must(t, err)
	r.State = store.ErasureDone
	found, err := db.FindForErasure(t.Context(), store.ErasureQuery{Visitors: []string{"visitor1"}})
	must(t, err)
	must(t, db.Erase(t.Context(), found, &r, "operator:eve"))
	s.receipt = r.ID
	addDelivery(t, db, "after the backup")
	s.old, err = db.AuditLog().Head(t.Context())
	must(t, err)
	must(t, db.Close())
	return s
}

func (s *site) options() Options {
	return Options{Address: "sqlite:" + s.path, Secret: secret, Agent: "operator:ann", Replace: true}
}

// head opens the database as a bridge does, verifies it, and returns the head of its audit log.
func (s *site) head(path string) audit.Head {
	s.Helper()
	db := openStore(s.T, path)
	span, err := db.AuditLog().Verify(s.Context(), audit.Head{})
	must(s.T, err)
	must(s.T, db.CheckSecret(s.Context()))
	must(s.T, db.Close())
	return span.Head
}

func TestARestoreKeepsTheOldDatabaseAndListsErasures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	o.Replace = false
	before := content(t, s.folder)
	_, err := Restore(t.Context(), s.file, o)
	wantError(t, err, "use --replace")
	wantSame(t, s.folder, before)

	r, err := Restore(t.Context(), s.file, s.options())
	must(t, err)
	if len(r.Erased) != 1 || r.Erased[0].ID != s.receipt || r.Erased[0].Created.IsZero() || !strings.Contains(r.Erased[0].Removed, `"records":1`) {
		t.Errorf("the erasures since the backup are %+v, want %s", r.Erased, s.receipt)
	}
	kept := filepath.Base(r.Kept)
	if got := names(t, s.folder, ""); fmt.Sprint(got) != fmt.Sprint([]string{"bridge.db", "bridge.db.head", kept, kept + ".head"}) {
		t.Errorf("the files are %v", got)
	}
	if r.Replaced == nil || r.Replaced.Seq != s.old.Seq || r.SignIns != 1 || r.Unread != nil {
		t.Errorf("restored %+v", r)
	}
	if head := s.head(s.path); head != r.Head || head.Seq != s.backup.Seq+1 {
		t.Errorf("the audit log ends with %d, and the restore said %d", head.Seq, r.Head.Seq)
	}
	if head := s.head(r.Kept); head != s.old {
		t.Errorf("the kept database ends with %d, want %d", head.Seq, s.old.Seq)
	}
	db := openStore(t, s.path)
	for entry, err := range db.AuditLog().Before(t.Context(), r.Head.Seq+1) {
		must(t, err)
		var d map[string]string
		must(t, json.Unmarshal([]byte(entry.Detail), &d))
		want := map[string]string{"backup": fmt.Sprintf("%d:%x", s.backup.Seq, s.backup.Hash), "replaced": fmt.Sprintf("%d:%x", s.old.Seq, s.old.Hash)}
		if entry.Action != "restored" || entry.Agent != "operator:ann" || !maps.Equal(d, want) {
			t.Errorf("the audit entry is %+v, want the heads %v", entry.Entry, want)
		}
		break
	}
}

// The head file of the restored database tells that the database was lost, even before a bridge ran.
func TestAfterARestoreAnEmptyDatabaseIsNoticed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, err := Restore(t.Context(), s.file, s.options())
	must(t, err)
	must(t, os.Remove(s.path))
	if _, err = store.Open(t.Context(), "sqlite:"+s.path, store.Options{Secret: secret}); err == nil {
		t.Fatal("the bridge starts with an empty database")
	}
	wantError(t, err, "the database is older than its head file")
}

func TestARestoreRefusesWhileTheDatabaseIsInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	running := openStore(t, s.path)
	_, err := Restore(t.Context(), s.file, s.options())
	wantError(t, err, "stop it first")
	if !errors.Is(err, engine.ErrInUse) {
		t.Errorf("the error is %v", err)
	}
	// Check may run meanwhile.
	r, err := Check(t.Context(), s.file, s.options())
	must(t, err)
	if r.Backup.Seq != s.backup.Seq {
		t.Errorf("checked %+v", r)
	}
	// The file of a running bridge is not a backup.
	o := s.options()
	o.Address = "sqlite:" + filepath.Join(t.TempDir(), "other.db")
	_, err = Restore(t.Context(), s.path, o)
	wantError(t, err, "name a copy that `bridge backup` made")
	must(t, running.Close())

	beside, err := store.Open(t.Context(), "sqlite:"+s.path, store.Options{Secret: secret, Beside: true})
	must(t, err)
	before := content(t, s.folder)
	_, err = Restore(t.Context(), s.file, s.options())
	wantError(t, err, "end it first")
	wantSame(t, s.folder, before)
	must(t, beside.Close())
	if got := s.head(s.path); got != s.old {
		t.Errorf("the audit log ends with %d, want %d", got.Seq, s.old.Seq)
	}
}

// SQLite would apply a write-ahead log that a command makes for the replaced database to the new one.
func TestNoCommandOpensTheDatabaseWhileItIsReplaced(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"settled", "kept", "head taken away"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			o := s.options()
			o.after = func(at string) {
				if at != step {
					return
				}
				db, err := store.Open(t.Context(), "sqlite:"+s.path, store.Options{Secret: secret, Beside: true})
				if err == nil {
					t.Error("a command opened the database that is replaced")
					t.Cleanup(func() { _ = db.Close() })
				}
			}
			_, err := Restore(t.Context(), s.file, o)
			must(t, err)
			if got := s.head(s.path); got.Seq != s.backup.Seq+1 {
				t.Errorf("the restored audit log has %d records, want %d", got.Seq, s.backup.Seq+1)
			}
		})
	}
}

func TestABackupThatCannotBeRestoredChangesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(s *site, o *Options)
		want  string
	}{
		"text":           {func(s *site, _ *Options) { must(s.T, os.WriteFile(s.file, []byte("text"), 0o600)) }, "damaged, cut off, or not an SQLite database"},
		"empty":          {func(s *site, _ *Options) { must(s.T, os.Truncate(s.file, 0)) }, "not a database of the bridge"},
		"truncated":      {func(s *site, _ *Options) { must(s.T, os.Truncate(s.file, 30_000)) }, "damaged, cut off, or not an SQLite database"},
		"last page gone": {func(s *site, _ *Options) { cutLastPage(s) }, "damaged, cut off, or not an SQLite database"},
		"other program": {func(s *site, _ *Options) {
			must(s.T, os.Remove(s.file))
			foreign(s.T, s.file)
		}, "not a database of the bridge"},
		"wrong secret": {func(_ *site, o *Options) { o.Secret = bytes.Repeat([]byte("x"), 32) }, "was made with another BRIDGE_SECRET"},
		"newer schema": {func(s *site, _ *Options) {
			execSQL(s.T, s.file, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
		}, "has schema 99, and this release supports only schema"},
		"changed audit log": {func(s *site, _ *Options) {
			execSQL(s.T, s.file, `UPDATE audit SET agent = 'helpdesk:eve' WHERE seq = 2`)
		}, "is broken at record 2"},
		"symlink": {func(s *site, _ *Options) {
			must(s.T, os.Rename(s.file, s.file+".real"))
			must(s.T, os.Symlink(s.file+".real", s.file))
		}, "is a symbolic link"},
		"folder":  {func(s *site, _ *Options) { s.file = filepath.Dir(s.file) }, "is a symbolic link, a folder or a device"},
		"missing": {func(s *site, _ *Options) { must(s.T, os.Remove(s.file)) }, "cannot be read"},
		"database is a symlink": {func(s *site, _ *Options) {
			must(s.T, os.Rename(s.path, s.path+".real"))
			must(s.T, os.Symlink(s.path+".real", s.path))
		}, "set BRIDGE_DATABASE to a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			o := s.options()
			test.spoil(s, &o)
			before := content(t, s.folder)
			_, err := Restore(t.Context(), s.file, o)
			wantError(t, err, test.want)
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("the error %v is not for people", err)
			}
			wantSame(t, s.folder, before)
			if name == "database is a symlink" {
				return
			}
			_, err = Check(t.Context(), s.file, o)
			wantError(t, err, test.want)
			wantSame(t, s.folder, before)
			if head := s.head(s.path); head != s.old {
				t.Errorf("the audit log ends with %d, want %d", head.Seq, s.old.Seq)
			}
		})
	}
}

// cutLastPage removes the last page, and says in the header that it was never there.
func cutLastPage(s *site) {
	info, err := os.Stat(s.file)
	must(s.T, err)
	must(s.T, os.Truncate(s.file, info.Size()-4096))
}

func TestTheOldSecretOpensABackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	o.Secret, o.OldSecret = bytes.Repeat([]byte("x"), 32), secret
	if _, err := Restore(t.Context(), s.file, o); err != nil {
		t.Error(err)
	}
}

func TestARestoredFileOfAnEarlierReleaseCanShrink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	execSQL(t, s.file, "PRAGMA auto_vacuum = NONE; VACUUM")
	for _, path := range []string{s.file, s.path} {
		want := 0
		if path == s.path {
			want = 2
			_, err := Restore(t.Context(), s.file, s.options())
			must(t, err)
		}
		db, err := sql.Open("sqlite", path)
		must(t, err)
		var mode int
		must(t, errors.Join(db.QueryRowContext(t.Context(), "PRAGMA auto_vacuum").Scan(&mode), db.Close()))
		if mode != want {
			t.Errorf("auto_vacuum of %s is %d, want %d", path, mode, want)
		}
	}
}

// A damaged database is why people restore.
func TestADamagedDatabaseIsReplaced(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(s *site){
		"overwritten": func(s *site) { must(s.T, os.WriteFile(s.path, []byte("not a database"), 0o600)) },
		"cut off":     func(s *site) { must(s.T, os.Truncate(s.path, 5000)) },
		"gone, with its -wal file left": func(s *site) {
			must(s.T, os.Rename(s.path, s.path+"-wal"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			damage(s)
			r, err := Restore(t.Context(), s.file, s.options())
			must(t, err)
			if r.Unread == nil || r.Replaced != nil {
				t.Errorf("restored %+v, want why the old database cannot be read", r)
			}
			if head := s.head(s.path); head != r.Head {
				t.Errorf("the audit log ends with %d, want %d", head.Seq, r.Head.Seq)
			}
			if kept := names(t, s.folder, "replaced"); len(kept) < 2 {
				t.Errorf("only %v was kept", kept)
			}
		})
	}
}

// Two files that were copied while no bridge ran are a backup too.
func TestTheLogBesideABackupIsRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	running := openStore(t, s.path)
	addDelivery(t, running, "only in the log")
	for _, ending := range []string{"", "-wal"} {
		text, err := os.ReadFile(s.path + ending)
		must(t, err)
		must(t, os.WriteFile(s.file+ending, text, 0o600))
	}
	o := s.options()
	o.Address = "sqlite:" + filepath.Join(t.TempDir(), "other.db")
	_, err := Restore(t.Context(), s.file, o)
	must(t, err)
	restored := openStore(t, strings.TrimPrefix(o.Address, "sqlite:"))
	if all := keys(t, restored); !strings.Contains(strings.Join(all, "\n"), "only in the log") {
		t.Errorf("the deliveries are %q", all)
	}
}

// childTask is the variable with which the test binary runs a task as a process of its own.
const childTask = "BRIDGE_TEST_BACKUP_CHILD"

// child runs a task with the paths in the arguments, and ends the process.
func child() {
	task, path, file := os.Getenv(childTask), os.Args[1], os.Args[2]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := Options{Address: "sqlite:" + path, Secret: secret, Agent: "operator:ann", Replace: true}
	o.after = func(step string) {
		if step == task {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	var limit syscall.Rlimit
	if strings.HasPrefix(task, "limited ") {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err == nil {
			limit.Cur = 64 << 10
			err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
			if err != nil {
				fmt.Println(err)
				os.Exit(3)
			}
		}
	}
	var err error
	if strings.HasSuffix(task, "backup") {
		_, err = Write(ctx, o.Address, file)
	} else {
		_, err = Restore(ctx, file, o)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild runs a task and returns its output, and whether it was killed.
func runChild(t *testing.T, task, path, file string) (out string, status int, killed bool) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self, path, file)
	cmd.Env = append(os.Environ(), childTask+"="+task)
	text, _ := cmd.CombinedOutput() // the status has the result
	how, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return string(text), cmd.ProcessState.ExitCode(), how.Signaled() && how.Signal() == syscall.SIGKILL
}

func TestAKillDuringARestoreLeavesOneOfTheDatabases(t *testing.T) {
	t.Parallel()
	for step, replaced := range map[string]bool{"prepared": false, "settled": false, "kept": false, "head taken away": false, "replaced": true} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if out, _, killed := runChild(t, step, s.path, s.file); !killed {
				t.Fatalf("the restore was not killed after it %s: %s", step, out)
			}
			head := s.head(s.path)
			if want := s.backup.Seq + 1; replaced && head.Seq != want {
				t.Errorf("the database ends with %d, want the restored one with %d", head.Seq, want)
			}
			if !replaced && head != s.old {
				t.Errorf("the database ends with %d, want the old one with %d", head.Seq, s.old.Seq)
			}
			// The next restore works and cleans up.
			r, err := Restore(t.Context(), s.file, s.options())
			must(t, err)
			if got := s.head(s.path); got != r.Head {
				t.Errorf("the restored database ends with %d, want %d", got.Seq, r.Head.Seq)
			}
			if _, err := os.Stat(s.path + ".restoring"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder of the restore is left: %v", err)
			}
		})
	}
}

func TestAFullDiskChangesNothing(t *testing.T) {
	t.Parallel()
	for _, task := range []string{"backup", "restore"} {
		t.Run(task, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if task == "backup" {
				s.file = filepath.Join(s.folder, "another.db")
			}
			before := content(t, s.folder)
			t.Run("limit of the process", func(t *testing.T) {
				out, status, _ := runChild(t, "limited "+task, s.path, s.file)
				if status != 1 || !strings.Contains(out, "perhaps because its disk is full") {
					t.Errorf("ended with %d: %s", status, out)
				}
				wantSame(t, s.folder, before)
			})
			t.Run("small disk", func(t *testing.T) {
				disk := t.TempDir()
				text := content(t, s.folder)["bridge.db"]
				size := fmt.Sprintf("size=%d", len(text)+100<<10) // the rest of the disk is too small for the copy
				if err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", disk).Run(); err != nil {
					t.Skip("only root can mount a small disk: ", err)
				}
				t.Cleanup(func() { must(t, exec.Command("umount", disk).Run()) })
				path := filepath.Join(disk, "bridge.db")
				must(t, os.WriteFile(path, []byte(text), 0o600))
				file := s.file
				if task == "backup" {
					file = filepath.Join(disk, "copy.db")
				}
				before := content(t, disk)
				out, status, _ := runChild(t, task, path, file)
				if status != 1 || !strings.Contains(out, "perhaps because its disk is full") {
					t.Errorf("ended with %d: %s", status, out)
				}
				wantSame(t, disk, before)
			})
		})
	}
}
