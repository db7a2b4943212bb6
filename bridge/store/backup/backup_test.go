package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/testmain"
)

func TestMain(m *testing.M) {
	if os.Getenv(childTask) != "" {
		child()
	}
	testmain.Setup(0)
	os.Exit(m.Run())
}

var secret = []byte("0123456789abcdef0123456789abcdef")

// openStore opens the database at path as a bridge does.
func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a second Close fails
	return s
}

// seed writes a database with n cards, deliveries and audit records, and one sign-in.
func seed(t *testing.T, path string, n int) {
	t.Helper()
	s := openStore(t, path)
	for i := range n {
		addDelivery(t, s, fmt.Sprint("seeded ", i))
		c := store.Card{ID: fmt.Sprintf("card-%d", i), Connector: "helpdesk", Chat: fmt.Sprint("chat-", i), State: "ready", Detail: make([]byte, 2000)}
		entry := audit.Entry{Action: "asked", Agent: "helpdesk:bob", Visitor: fmt.Sprint("visitor", i), Card: c.ID}
		must(t, s.Commit(t.Context(), store.Change{Card: &c, Audit: []audit.Entry{entry}}))
	}
	must(t, s.AgentSessions().CommitCtx(t.Context(), "token", []byte("{}"), time.Now().Add(time.Hour)))
	must(t, s.Close())
}

func addDelivery(t *testing.T, s *store.Store, key string) {
	t.Helper()
	_, err := s.StoreDelivery(t.Context(), store.Delivery{Connector: "helpdesk", Key: key, Body: []byte("{}")}, jobs.Job{Queue: "helpdesk", Kind: "read"})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys returns the keys of the deliveries that are not finished.
func keys(t *testing.T, s *store.Store) (all []string) {
	t.Helper()
	for d, err := range s.UnfinishedDeliveries(t.Context()) {
		must(t, err)
		all = append(all, d.Key)
	}
	return all
}

// content returns the files of a folder and what is in them. It leaves out the lock file, and the
// files of SQLite that contain nothing of the database.
func content(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		info, err := e.Info()
		must(t, err)
		if strings.HasSuffix(path, ".lock") || strings.HasSuffix(path, "-shm") || strings.HasSuffix(path, "-wal") && info.Size() == 0 {
			continue
		}
		if !info.Mode().IsRegular() {
			all[e.Name()] = info.Mode().String()
			continue
		}
		text, err := os.ReadFile(path)
		must(t, err)
		all[e.Name()] = string(text)
	}
	return all
}

// wantSame checks that a folder is as it was.
func wantSame(t *testing.T, folder string, before map[string]string) {
	t.Helper()
	after := content(t, folder)
	for name := range after {
		if _, was := before[name]; !was {
			t.Errorf("%s is new", name)
		}
	}
	for name := range before {
		if after[name] != before[name] {
			t.Errorf("%s was changed or removed", name)
		}
	}
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, want one with %q", err, text)
	}
}

func TestABackupHasEverythingThatWasStoredBeforeItBegan(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	seed(t, path, 30)
	s := openStore(t, path)
	ctx, stop := context.WithCancel(t.Context())
	var stored atomic.Int64
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				addDelivery(t, s, fmt.Sprintf("writer %d delivery %d", w, i))
				stored.Add(1)
			}
		})
	}
	for stored.Load() < 100 {
		addDelivery(t, s, fmt.Sprint("waiting ", stored.Load(), time.Now().UnixNano()))
	}
	before := keys(t, s)
	file := filepath.Join(folder, "copy.db")
	made, err := Write(t.Context(), "sqlite:"+path, file)
	must(t, err)
	stop()
	writers.Wait()
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode() != 0o600 || info.Size() != made.Bytes || made.Seq != 30 || made.Schema != made.Newest {
		t.Errorf("the backup %+v has mode %v and %d bytes", made, info.Mode(), info.Size())
	}
	for name := range content(t, folder) {
		if name != "bridge.db" && name != "bridge.db-wal" && name != "bridge.db.head" && name != "copy.db" {
			t.Errorf("%s is left", name)
		}
	}

	other := filepath.Join(t.TempDir(), "restored.db")
	r, err := Restore(t.Context(), file, Options{Address: "sqlite:" + other, Secret: secret, Agent: "operator:ann"})
	must(t, err)
	if r.SignIns != 1 || r.Kept != "" || r.Backup != made.About {
		t.Errorf("restored %+v of %+v", r, made)
	}
	restored := openStore(t, other)
	there := map[string]bool{}
	for _, key := range keys(t, restored) {
		there[key] = true
	}
	for _, key := range before {
		if !there[key] {
			t.Errorf("%s is missing", key)
		}
	}
	span, err := restored.AuditLog().Verify(t.Context(), r.Head)
	if err != nil || span.Head != r.Head || span.Head.Seq != 31 {
		t.Errorf("the audit log ends with %+v: %v", span, err)
	}
	if sessions, err := restored.AgentSessions().AllCtx(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("%d agents are still signed in: %v", len(sessions), err)
	}
}

// A backup needs no lock that writers need: it is made while one of them holds it.
func TestABackupWaitsForNoWriterAndBlocksNone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	seed(t, path, 3)
	s := openStore(t, path)
	addDelivery(t, s, "committed") // the write-ahead log is not empty
	other, err := sql.Open("sqlite", path)
	must(t, err)
	defer func() { must(t, other.Close()) }()
	conn, err := other.Conn(t.Context())
	must(t, err)
	for _, query := range []string{"BEGIN IMMEDIATE", "UPDATE audit SET agent = 'not committed'"} {
		_, err := conn.ExecContext(t.Context(), query)
		must(t, err)
	}
	file := filepath.Join(folder, "copy.db")
	_, err = Write(t.Context(), "sqlite:"+path, file)
	must(t, err)
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	must(t, errors.Join(err, conn.Close()))
	if _, err := Check(t.Context(), file, Options{Address: "sqlite:" + path, Secret: secret}); err != nil {
		t.Error(err) // such as that the audit log is broken
	}
}

func TestABackupOverwritesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	seed(t, path, 3)
	must(t, os.WriteFile(filepath.Join(folder, "there"), []byte("text"), 0o644))
	must(t, os.Symlink("there", filepath.Join(folder, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))
	must(t, os.Mkdir(filepath.Join(folder, "folder"), 0o700))
	before := content(t, folder)
	for name, want := range map[string]string{
		"there": "exists already", "folder": "exists already", "bridge.db": "exists already", "link": "is a symbolic link", "dangling": "is a symbolic link",
		"no/copy.db": "The folder of", "bridge.db-wal": "part of the database", "bridge.db-journal": "part of the database", "bridge.db.head": "part of the database",
	} {
		_, err := Write(t.Context(), "sqlite:"+path, filepath.Join(folder, name))
		wantError(t, err, want)
		wantSame(t, folder, before)
	}
	for name, want := range map[string]string{"none.db": "There is no database", "there": "cannot be copied", "foreign.db": "not a database of the bridge"} {
		if name == "foreign.db" {
			foreign(t, filepath.Join(folder, name))
			before = content(t, folder)
		}
		_, err := Write(t.Context(), "sqlite:"+filepath.Join(folder, name), filepath.Join(folder, "copy.db"))
		wantError(t, err, want)
		wantSame(t, folder, before)
	}
}

func TestABackupThatIsStoppedLeavesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	seed(t, path, 3)
	before := content(t, folder)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Write(ctx, "sqlite:"+path, filepath.Join(folder, "copy.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	wantSame(t, folder, before)
}

func TestABackupCanBePrinted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	seed(t, path, 3)
	before := content(t, folder)
	var out strings.Builder
	made, err := Print(t.Context(), "sqlite:"+path, &out)
	must(t, err)
	wantSame(t, folder, before)
	if int64(out.Len()) != made.Bytes {
		t.Errorf("%d bytes of %d were printed", out.Len(), made.Bytes)
	}
	if _, err := Print(t.Context(), "sqlite:"+path, brokenPipe{}); err == nil {
		t.Error("a writer that fails is no error")
	}
	wantSame(t, folder, before)
	file := filepath.Join(folder, "copy.db")
	must(t, os.WriteFile(file, []byte(out.String()), 0o600))
	if _, err := Check(t.Context(), file, Options{Address: "sqlite:" + path, Secret: secret}); err != nil {
		t.Error(err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, fs.ErrClosed }

func TestTheCommandForPostgresHasNoPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://bridge:pass%40word@db:5432/bridge":                         "postgres://bridge@db:5432/bridge",
		"postgres:///bridge?host=/var/run/postgresql&pool_max_conns=3":         "postgres:///bridge?host=%2Fvar%2Frun%2Fpostgresql",
		"postgresql://bridge@h1:5432,h2:5433/bridge?password=pass&sslmode=off": "postgresql://bridge@h1:5432,h2:5433/bridge?sslmode=off",
		"postgres://db/bridge?password=pass&user=a@b":                          "postgres://db/bridge?user=a%40b",
		"postgres://db/bridge?user=a@b&password=pass":                          "postgres://db/bridge?user=a%40b",
		"postgres://bridge:p@ss@db/x@y":                                        "postgres://bridge@db/x@y",
		"postgres://it's@db/bridge?options=-c a":                               `postgres://it'\''s@db/bridge?options=-c%20a`,
	} {
		if got := DumpCommand(address, "a file"); got != "pg_dump --format=custom --file='a file' '"+want+"'" {
			t.Errorf("%s: %s", address, got)
		}
		if got := LoadCommand(address, "x"); !strings.Contains(got, "--dbname='"+want+"' 'x'") || strings.Contains(got, "pass") {
			t.Errorf("%s: %s", address, got)
		}
	}
	if !IsPostgres("postgresql://db/bridge") || IsPostgres("sqlite:postgres://") {
		t.Error("the kind of database is wrong")
	}
}

// foreign makes an SQLite database of another program.
func foreign(t *testing.T, path string) {
	t.Helper()
	execSQL(t, path, `CREATE TABLE cards (id TEXT); CREATE TABLE audit (seq INTEGER)`)
}

// names returns the sorted names of a folder's files that contain one of the texts.
func names(t *testing.T, folder string, containing string) (all []string) {
	t.Helper()
	for name := range content(t, folder) {
		if strings.Contains(name, containing) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
