package store

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cobrowse-bridge/bridge/store/jobs"
)

// In transaction mode PgBouncer gives each transaction any of its connections to the server,
// with the prepared statements and session locks of others.
func TestThroughPgBouncerInTransactionMode(t *testing.T) {
	t.Parallel()
	direct := newDatabase(t, "postgres")
	address := startPgBouncer(t, direct)
	replicas := []*Store{openAt(t, address, Options{}), openAt(t, address, Options{})}

	const deliveries = 64
	var done atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working errgroup.Group
	for _, s := range replicas {
		working.Go(func() error {
			return s.Work(ctx, map[string]jobs.Queue{"q": {Workers: 4}}, func(context.Context, jobs.Job) error {
				done.Add(1)
				return nil
			}, nil)
		})
	}
	var storing errgroup.Group
	for i := range deliveries {
		storing.Go(func() error {
			s := replicas[i%len(replicas)]
			if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: fmt.Sprint(i)}, jobs.Job{Queue: "q", Kind: "k"}); err != nil {
				return err
			}
			return s.Ready(t.Context())
		})
	}
	if err := storing.Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); done.Load() < deliveries; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d jobs ran", done.Load(), deliveries)
		}
	}
	cancel()
	if err := working.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := number(t, replicas[0], `SELECT count(*) FROM deliveries`); n != deliveries {
		t.Errorf("%d deliveries are stored, want %d", n, deliveries)
	}
	for _, s := range replicas {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// The migrations left no lock in a connection that PgBouncer keeps.
	again := openAt(t, direct, Options{})
	if n := number(t, again, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); n != 0 {
		t.Errorf("%d advisory locks are left", n)
	}
}

func TestPostgreSQLThatLosesOrRefusesWritesIsRefused(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"synchronous_commit=off":           "acknowledged deliveries would not survive a crash",
		"default_transaction_read_only=on": "give it the address of the primary server",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			address := newDatabase(t, "postgres")
			openAt(t, address, Options{}) // migrated, so that the second start writes nothing
			if _, err := Open(t.Context(), address+"?"+setting, Options{Secret: secretA}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("err = %v, want one that says %q", err, want)
			}
		})
	}
}

const pgBouncerConfig = `[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
`

// startPgBouncer starts PgBouncer before a server that needs no password, and returns the
// address of the same database behind it.
func startPgBouncer(t *testing.T, address string) string {
	t.Helper()
	path, err := osexec.LookPath("pgbouncer")
	if err != nil {
		if path, err = osexec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("no pgbouncer on this machine (apt-get install pgbouncer)")
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if _, has := u.User.Password(); has {
		t.Skip("the PostgreSQL server of BRIDGE_TEST_POSTGRES needs a password")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // PgBouncer cannot choose a free port
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, pgBouncerConfig, u.Hostname(), port, u.User.Username(), at.Port), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(path, config)
	if os.Getuid() == 0 { // PgBouncer refuses to run as root
		cmd.Args = []string{path, "-u", "nobody", config}
	}
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wrote := func() []byte {
		text, _ := os.ReadFile(output.Name())
		return text
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		output.Close()
		if t.Failed() {
			t.Logf("pgbouncer wrote\n%s", wrote())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", at.String())
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("pgbouncer does not listen: %s", wrote())
		}
	}
	u.Host = at.String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return u.String()
}
