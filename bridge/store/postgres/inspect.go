package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"cobrowse-bridge/bridge/store/engine"
)

// connectWait is how long Inspect waits for the server.
const connectWait = 3 * time.Second

// Inspect returns the facts about the database at address.
func Inspect(ctx context.Context, address string) (f engine.Facts, err error) {
	config, err := parse(address)
	if err != nil {
		return f, fmt.Errorf("postgres: BRIDGE_DATABASE %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("postgres: %w", err)
		}
	}()
	config.MinConns, config.MinIdleConns = 0, 0
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return f, err
	}
	defer pool.Close()
	first, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := pool.Ping(first); err != nil {
		if first.Err() != nil {
			return f, fmt.Errorf("no answer from %s:%d (BRIDGE_DATABASE) within %s", config.ConnConfig.Host, config.ConnConfig.Port, connectWait)
		}
		return f, explain(err, config)
	}
	if err := inspectServer(ctx, pool, &f); err != nil {
		return f, err
	}
	return f, readSchema(ctx, pool, &f)
}

// inspectServer reads the server's settings and its clock.
func inspectServer(ctx context.Context, pool *pgxpool.Pool, f *engine.Facts) error {
	for _, s := range refused {
		var value string
		if err := pool.QueryRow(ctx, "SELECT current_setting($1)", s.name).Scan(&value); err != nil {
			return err
		}
		switch {
		case value != s.bad:
		case s.because == lost:
			f.Unsafe = s.text()
		default:
			f.Unwritable = s.text()
		}
	}
	sent := time.Now()
	var theirs time.Time
	if err := pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return err
	}
	// The server read its clock at some time between the two.
	if early, late := sent.Sub(theirs), time.Since(theirs); early > 0 {
		f.ClockAhead = early
	} else if late < 0 {
		f.ClockAhead = late
	}
	return nil
}

// readSchema reads which schema the tables have, and whether the user may change them.
func readSchema(ctx context.Context, pool *pgxpool.Pool, f *engine.Facts) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if f.Newest, err = engine.NewestSchema(files); err != nil {
		return err
	}
	var ours, create, write bool
	if err := pool.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`).
		Scan(&ours, &create); err != nil {
		return err
	}
	if !ours {
		f.Older = true
		if !create && f.Unwritable == "" {
			f.Unwritable = "the user may not make tables: give it CREATE on the schema, or make it the owner of the database"
		}
		return nil
	}
	const rights = `SELECT coalesce(bool_and(has_table_privilege(t, 'SELECT') AND has_table_privilege(t, 'INSERT')
		AND has_table_privilege(t, 'UPDATE') AND has_table_privilege(t, 'DELETE')), true)
		FROM unnest(ARRAY['deliveries', 'cards', 'posts', 'audit', 'river_job']) AS name, to_regclass(name) AS t WHERE t IS NOT NULL`
	if err := pool.QueryRow(ctx, rights).Scan(&write); err != nil {
		return err
	}
	if !write {
		if f.Unwritable == "" {
			f.Unwritable = "the user may not change the bridge's tables: give it SELECT, INSERT, UPDATE and DELETE on them, or make it their owner"
		}
		return nil
	}
	if err := pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&f.Schema); err != nil {
		return err
	}
	if f.Older = f.Schema < f.Newest; f.Schema != f.Newest {
		return nil
	}
	std := stdlib.OpenDBFromPool(pool)
	defer func() { _ = std.Close() }()
	current, err := engine.Current(ctx, goose.DialectPostgres, std, files, riverpgxv5.New(pool), slog.New(slog.DiscardHandler))
	f.Older = !current
	return err
}
