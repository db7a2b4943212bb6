// Package store keeps everything the bridge must remember: deliveries with the chat
// changes that they make, cards, posts, sweeps, waits for visitors, remembered browsers,
// sessions and accounts of agents, what is left of limits, the audit trail, receipts of
// erasures, and jobs. It lives in a SQLite file or in a PostgreSQL database, and nothing
// above it knows which.
//
// All writes go through one committer, so that writers who arrive at the same
// time share one commit, and a call that returned nil has reached the disk.
// What could identify or act for a person is sealed before it is written.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/postgres"
	"cobrowse-bridge/bridge/store/seal"
	"cobrowse-bridge/bridge/store/sqlite"
)

var (
	// ErrNotFound means that the store has no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that somebody else changed the card first, or that the
	// chat has one already.
	ErrConflict = errors.New("card was changed meanwhile")
	// ErrTaken means that a door belongs to another browser, or an account to
	// another agent.
	ErrTaken = errors.New("belongs to somebody else")
	// ErrSpent means that a limit allows no more for now; see SpentError.
	ErrSpent = errors.New("limit is spent")
	// ErrLeased means that another worker has it: a post, a sweep, or a delivery.
	ErrLeased = errors.New("another worker has it")
	// ErrInUse means that another process has the SQLite file open.
	ErrInUse = engine.ErrInUse

	// ErrSealed means that something was sealed with a secret that the store was
	// not opened with.
	ErrSealed = seal.ErrOpen

	errClosed = errors.New("store is closed")
)

var engines = map[string]func(context.Context, string, engine.Config) (engine.Engine, error){
	"sqlite":     sqlite.Open,
	"postgres":   postgres.Open,
	"postgresql": postgres.Open,
}

// Options say how to open a store.
type Options struct {
	// Secret seals what is stored about people: 32 bytes.
	Secret []byte
	// OldSecret is the secret before the last change of it, so that what it
	// sealed still opens; nil means none.
	OldSecret []byte
	// Log receives what cannot be returned; nil drops it.
	Log *slog.Logger
	// Beside opens the store beside the bridge that works with it, which may be
	// running or not: to look and to mend, and not to Work.
	Beside bool
}

// A Store is open until Close. All methods may be called from many goroutines at
// once.
type Store struct {
	engine    engine.Engine
	sealer    *seal.Sealer
	log       *slog.Logger
	committer *committer
	committed atomic.Int64 // when the last commit succeeded, in µs; 0 after a failure
	rekeying  bool         // there is an old secret
}

// Open opens the store at url, "sqlite:path" or "postgres://…", and brings its
// tables up to date. SQLite refuses a second process with ErrInUse, unless it is
// to be Beside the first and the tables need no change. No error holds the URL's
// password.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	scheme, _, _ := strings.Cut(url, ":")
	open, ok := engines[scheme]
	if !ok {
		return nil, errors.New("store: want an address that begins with sqlite: or postgres://")
	}
	return openEngine(ctx, o, func(c engine.Config) (engine.Engine, error) { return open(ctx, url, c) })
}

func openEngine(ctx context.Context, o Options, open func(engine.Config) (engine.Engine, error)) (*Store, error) {
	sealer, err := seal.New(o.Secret, o.OldSecret)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{sealer: sealer, log: o.Log, rekeying: o.OldSecret != nil}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.engine, err = open(engine.Config{Log: warnings(s.log), Insert: s.insertConfig(), Beside: o.Beside}); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.committer = newCommitter(s.commit)
	return s, nil
}

// Close ends the store. Work must have returned before.
func (s *Store) Close() error {
	s.committer.close()
	if err := s.engine.Close(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// Ready reports whether the store can write. It writes only if nothing else
// did during the last second.
func (s *Store) Ready(ctx context.Context) error {
	if at := s.committed.Load(); at != 0 && time.Since(time.UnixMicro(at)) < time.Second {
		return nil
	}
	err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		// Larger than a page, so that a full disk is noticed.
		if _, err := tx.Exec(ctx, queryProbe, time.Now().UnixNano(), make([]byte, 8<<10)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, queryProbed)
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: cannot write: %w", err)
	}
	return nil
}

// Times are stored in microseconds; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
