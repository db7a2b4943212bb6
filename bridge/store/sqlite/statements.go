package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"

	modernc "modernc.org/sqlite"
)

// A file opens connections that keep their statements compiled. To compile one
// costs about as much as to run it, and neither database/sql, outside of Prepare,
// nor River keeps any.
type file struct{ dsn string }

func (f file) Driver() driver.Driver { return &modernc.Driver{} }

func (f file) Connect(context.Context) (driver.Conn, error) {
	c, err := f.Driver().Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return &conn{plain: c.(plain), kept: map[string]*statement{}}, nil
}

// plain is a connection of the driver.
type plain interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// A conn is used by one goroutine at a time, as database/sql promises.
type conn struct {
	plain
	kept map[string]*statement
}

// A statement is busy while its rows are open, and must not run again then.
type statement struct {
	driver.Stmt
	busy bool
}

// mostKept bounds what a connection keeps. Our queries and River's are some
// hundred; what has lists of its own written into it may be anything.
const mostKept = 200

// statement is the compiled form of a query, or nil where it has to be run as it
// comes.
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
	made, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil // running it says why
	}
	s := &statement{Stmt: made}
	c.kept[query] = s
	return s
}

// worthKeeping leaves out what is run once, and scripts of several statements.
func worthKeeping(query string) bool {
	query = strings.TrimSpace(query)
	for strings.HasPrefix(query, "--") { // sqlc names its queries so
		_, query, _ = strings.Cut(query, "\n")
		query = strings.TrimSpace(query)
	}
	verb, _, _ := strings.Cut(query, " ")
	verb, _, _ = strings.Cut(verb, "\n")
	switch strings.ToUpper(verb) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return !strings.Contains(strings.TrimRight(query, "; \n\t"), ";")
	}
	return false
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if s := c.statement(ctx, query); s != nil {
		return s.Stmt.(driver.StmtExecContext).ExecContext(unwatched(ctx), args)
	}
	return c.plain.ExecContext(unwatched(ctx), query, args)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s := c.statement(ctx, query)
	if s == nil {
		return c.plain.QueryContext(unwatched(ctx), query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(unwatched(ctx), args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{rows, s}, nil
}

// Close also closes what was kept.
func (c *conn) Close() error {
	for _, s := range c.kept {
		_ = s.Close()
	}
	return c.plain.Close()
}

// keptRows frees their statement.
type keptRows struct {
	driver.Rows
	of *statement
}

func (r *keptRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}

// unwatched takes the end off a context. The driver starts a goroutine for each
// statement to watch for it, which costs more than most statements do; and they
// end by themselves: what takes long on a local file is to wait for a lock, which
// busy_timeout bounds.
func unwatched(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
