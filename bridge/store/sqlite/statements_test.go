package sqlite

import "testing"

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
