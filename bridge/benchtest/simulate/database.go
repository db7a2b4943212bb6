package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"cobrowse-bridge/bridge/benchtest"
)

// A postgres is a database that the simulation made on a server. The server should run on this
// machine and do nothing else: its processes are found in /proc.
type postgres struct {
	address string
	name    string
	db      *sql.DB // of the new database
	admin   *sql.DB
}

func newPostgres(ctx context.Context, server string) (*postgres, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("-postgres is not a URL: %w", err)
	}
	p := &postgres{name: "bridge_simulate_" + strings.ToLower(rand.Text())}
	if p.admin, err = sql.Open("pgx", server); err != nil {
		return nil, err
	}
	if _, err := p.admin.ExecContext(ctx, "CREATE DATABASE "+p.name); err != nil {
		return nil, err
	}
	u.Path = "/" + p.name
	p.address = u.String()
	p.db, err = sql.Open("pgx", p.address)
	return p, err
}

func (p *postgres) drop() {
	p.db.Close()
	if _, err := p.admin.ExecContext(context.Background(), "DROP DATABASE "+p.name+" WITH (FORCE)"); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
	}
	p.admin.Close()
}

// sampleEvery is the pause between two looks at the connections.
const sampleEvery = 50 * time.Millisecond

// A watch looks at the processes of a server until end is called.
type watch struct {
	stop          context.CancelFunc
	done          chan struct{}
	first, last   map[int]float64 // CPU seconds by process
	active, locks int             // samples of statements that ran, and of those that waited for a lock
}

// watch begins to watch the connections of the database, and the server's processes that write for
// all databases. p may be nil.
func (p *postgres) watch(ctx context.Context) (*watch, error) {
	if p == nil {
		return nil, nil
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watch{stop: stop, done: make(chan struct{}), first: map[int]float64{}, last: map[int]float64{}}
	connection, err := p.db.Conn(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	if err := w.sample(ctx, connection, true); err != nil {
		stop()
		return nil, err
	}
	go func() {
		defer close(w.done)
		defer connection.Close()
		for tick := time.NewTicker(sampleEvery); ; {
			select {
			case <-tick.C:
				_ = w.sample(ctx, connection, false) // it fails when ctx ends
			case <-ctx.Done():
				return
			}
		}
	}()
	return w, nil
}

// sample reads the connections. The CPU time of processes that exist at the beginning counts from
// then on, that of later ones from their start.
func (w *watch) sample(ctx context.Context, connection *sql.Conn, first bool) error {
	rows, err := connection.QueryContext(ctx, `SELECT pid, coalesce(state, ''), coalesce(wait_event_type, '') FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND (datname = current_database() OR backend_type IN ('checkpointer', 'background writer', 'walwriter'))`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		var state, waits string
		if err := rows.Scan(&pid, &state, &waits); err != nil {
			return err
		}
		seconds, err := benchtest.CPUSeconds(pid)
		if err != nil {
			continue // it has ended, or runs on another machine
		}
		if w.last[pid] = seconds; first {
			w.first[pid] = seconds
		}
		if state == "active" {
			w.active++
			if waits == "Lock" {
				w.locks++
			}
		}
	}
	return rows.Err()
}

// end returns the CPU time since the beginning, and which share of the time of all statements was a
// wait for a lock. w may be nil.
func (w *watch) end() (cpu, lockShare float64) {
	if w == nil {
		return 0, 0
	}
	w.stop()
	<-w.done
	for pid, last := range w.last {
		cpu += last - w.first[pid]
	}
	return cpu, float64(w.locks) / float64(max(1, w.active))
}

// A tableSize is the size of a table with its indexes.
type tableSize struct {
	name  string
	bytes int64
}

// sizes returns the sizes of the tables, the largest first.
func (s *site) sizes(ctx context.Context) (all []tableSize, err error) {
	query := `SELECT relname, pg_total_relation_size(oid) FROM pg_class
		WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC`
	var db *sql.DB
	if s.server != nil {
		db = s.server.db
	} else {
		if db, err = sql.Open("sqlite", "file:"+strings.TrimPrefix(s.database, "sqlite:")+"?mode=ro&_pragma=busy_timeout(5000)"); err != nil {
			return nil, err
		}
		defer db.Close()
		query = `SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema ON sqlite_schema.name = dbstat.name GROUP BY 1 ORDER BY 2 DESC`
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t tableSize
		if err := rows.Scan(&t.name, &t.bytes); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, rows.Err()
}
