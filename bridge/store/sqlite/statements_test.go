package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

func TestStatementsThatRunOftenStayCompiled(t *testing.T) {
	for query, want := range map[string]bool{
		"SELECT 1":                                 true,
		" INSERT INTO t VALUES (1);\n":             true,
		"-- name: JobGet :one\nSELECT 1":           true,
		"-- name: Set :one\nUPDATE t -- a; b\nSET": true,
		"SELECT 1; DELETE FROM t":                  false,
		"-- two\nSELECT 1; SELECT 2":               false,
		"PRAGMA user_version":                      false,
		"CREATE TABLE t (a)":                       false,
		"":                                         false,
	} {
		if got := worthKeeping(query); got != want {
			t.Errorf("%q: kept is %v", query, got)
		}
	}
}

// The ratio is the time of a kept statement with LIMIT, as it is run here, to its time without limitAsValue.
func BenchmarkKeptLimit(b *testing.B) {
	ctx := context.Background() // with one that can end, the driver starts a goroutine for each statement
	db := sql.OpenDB(file{"file:" + filepath.Join(b.TempDir(), "a.db")})
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c); CREATE INDEX i ON t (b, c)"); err != nil {
		b.Fatal(err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	const query = "SELECT a FROM t WHERE b = ?1 AND c > ?2 AND a IN (SELECT a FROM t WHERE c < ?2) ORDER BY c LIMIT ?3"
	run := func(query func(args ...any) (*sql.Rows, error)) time.Duration {
		began := time.Now()
		for n := range 1000 {
			rows, err := query(n, 2, 100-n%2)
			if err != nil {
				b.Fatal(err)
			}
			if err := rows.Close(); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	plain, err := conn.PrepareContext(ctx, query)
	if err != nil {
		b.Fatal(err)
	}
	benchtest.Costs(b, "kept-limit", func() time.Duration {
		return run(func(args ...any) (*sql.Rows, error) { return plain.QueryContext(ctx, args...) })
	}, func() time.Duration {
		return run(func(args ...any) (*sql.Rows, error) { return conn.QueryContext(ctx, query, args...) })
	})
}

func TestParametersInOrderGetNoNumbers(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`UPDATE cards SET state = $1 WHERE id = $2 FOR UPDATE`: `UPDATE cards SET state = ? WHERE id = ?`,
		`UPDATE cards SET state = $2 WHERE id = $1`:            `UPDATE cards SET state = ?2 WHERE id = ?1`,
		`SELECT id FROM cards WHERE id = $1 OR chat = $1`:      `SELECT id FROM cards WHERE id = ?1 OR chat = ?1`,
		`SELECT 1`: `SELECT 1`,
	} {
		if got := dialect(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}
