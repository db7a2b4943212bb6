package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"

	modernc "modernc.org/sqlite"
)

// A file is a driver.Connector whose connections keep their statements compiled. To compile a
// statement takes about as long as to run it, and neither River nor database/sql (outside of
// Prepare) keeps any. Without this type, BenchmarkP2WholeClick (relative to its baseline) makes
// 0.77 times as many presses: the median of five pairs of runs, which ranged from 0.55 to
// 0.83, with modernc.org/sqlite v1.62.0 and River v0.51.2.
type file struct{ dsn string }

func (f file) Driver() driver.Driver { return &modernc.Driver{} }

func (f file) Connect(context.Context) (driver.Conn, error) {
	c, err := f.Driver().Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return &conn{plain: c.(plain), kept: map[string]*statement{}}, nil
}

// plain has the methods of the driver's own connection.
type plain interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// A conn is a connection with its compiled statements. database/sql uses it from one
// goroutine at a time.
type conn struct {
	plain
	kept map[string]*statement
}

// A statement is busy while its rows are open. It must not run again then.
type statement struct {
	driver.Stmt
	busy bool
}

// mostKept is how many statements a connection keeps. The store and River have about a hundred
// queries. Queries with a list of values in their text could be any number.
const mostKept = 200

// statement returns the compiled form of a query, or nil if the query must run uncompiled.
func (c *conn) statement(ctx context.Context, query string) *statement {
	if s, ok := c.kept[query]; ok {
		if s.busy {
			return nil
		}
		return s
	}
	if len(c.kept) >= mostKept || !worthKeeping(query) {
		return nil
	}
	made, err := c.PrepareContext(ctx, limitAsValue(query))
	if err != nil {
		return nil // the caller gets the error when it runs the query
	}
	s := &statement{Stmt: made}
	c.kept[query] = s
	return s
}

// limitAsValue changes parameters of LIMIT from ?1 to +?1. SQLite compiles a statement again each time a
// parameter of LIMIT gets a value, since the best plan can depend on it, but not an expression
// (sqlite.org/c3ref/reset.html does not say so; BenchmarkKeptLimit shows it).
func limitAsValue(query string) string { return strings.ReplaceAll(query, "LIMIT ?", "LIMIT +?") }

// worthKeeping reports whether to keep a query compiled. It refuses statements that run only
// once, and scripts of several statements. A query with a name comes from sqlc, as all of
// River's do, and is one statement, also if its comments contain semicolons.
func worthKeeping(query string) bool {
	query = strings.TrimSpace(query)
	single := strings.HasPrefix(query, "-- name: ")
	for strings.HasPrefix(query, "--") {
		_, query, _ = strings.Cut(query, "\n")
		query = strings.TrimSpace(query)
	}
	verb, _, _ := strings.Cut(query, " ")
	verb, _, _ = strings.Cut(verb, "\n")
	switch strings.ToUpper(verb) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return single || !strings.Contains(strings.TrimRight(query, "; \n\t"), ";")
	}
	return false
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if s := c.statement(ctx, query); s != nil {
		return s.Stmt.(driver.StmtExecContext).ExecContext(withoutCancel(ctx), args)
	}
	return c.plain.ExecContext(withoutCancel(ctx), query, args)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s := c.statement(ctx, query)
	if s == nil {
		return c.plain.QueryContext(withoutCancel(ctx), query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(withoutCancel(ctx), args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{rows, s}, nil
}

// Close also closes the kept statements.
func (c *conn) Close() error {
	for _, s := range c.kept {
		_ = s.Close()
	}
	return c.plain.Close()
}

// keptRows are rows of a kept statement. Close makes the statement free again.
type keptRows struct {
	driver.Rows
	of *statement
}

func (r *keptRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}

// withoutCancel returns a context that never ends. For a context that can end, the driver starts
// a goroutine with each statement, which costs more than most statements. Statements on a
// local file are short, except while they wait for a lock, which busy_timeout limits.
// It does not call ctx.Done to find out whether it can end: that may make a channel.
func withoutCancel(ctx context.Context) context.Context {
	if _, ok := ctx.(uncancelled); ok {
		return ctx
	}
	return uncancelled{context.WithoutCancel(ctx)}
}

// uncancelled is the type of the contexts that withoutCancel returns, so that it wraps none twice.
type uncancelled struct{ context.Context }
