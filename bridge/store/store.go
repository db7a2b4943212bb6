// Package store keeps everything the bridge must remember in a SQLite file or a PostgreSQL
// database: deliveries, chat changes, cards, posts, sweeps, waits for visitors, refreshes of
// cards, remembered browsers, sessions and accounts of agents, used-up limits, the audit log, receipts of
// erasures, jobs, and failures. Its callers do not know which database it is. Read change.go first.
//
// All writes go through one committer. Writes that arrive at the same time share one
// commit, and when a call has returned nil, its data is on the disk. Data that identifies a
// person, or that could be used to act for them, is encrypted before it is written.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/figures"
	"cobrowse-bridge/bridge/store/group"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/measured"
	"cobrowse-bridge/bridge/store/postgres"
	"cobrowse-bridge/bridge/store/pulse"
	"cobrowse-bridge/bridge/store/refreshes"
	"cobrowse-bridge/bridge/store/seal"
	"cobrowse-bridge/bridge/store/session"
	"cobrowse-bridge/bridge/store/sqlite"
	"cobrowse-bridge/bridge/store/sweeps"
)

var (
	// ErrNotFound means that the store has no row with the given id or key.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that another request changed the card first, or that the
	// chat has a card already.
	ErrConflict = errors.New("card was changed meanwhile")
	// ErrTaken means that a door belongs to another browser, or an account to another agent.
	ErrTaken = errors.New("belongs to another browser or agent")
	// ErrLeased means that another worker holds the post, the sweep or the delivery.
	ErrLeased = engine.ErrLeased
	// ErrInUse means that another process has the SQLite file open.
	ErrInUse = engine.ErrInUse

	// ErrSealed means that a value was sealed with a secret other than Options.Secret
	// and Options.OldSecret.
	ErrSealed = seal.ErrOpen

	// ErrSecret means that the database was written with another secret than Options.Secret
	// and Options.OldSecret.
	ErrSecret = errors.New("the stored data was encrypted with another secret")
)

// Patient returns a context whose writes wait longer for the database; see group.Patient.
func Patient(ctx context.Context) context.Context { return group.Patient(ctx) }

// NewDatabase is the log message when Open has made the tables. Its attribute "database" is the
// file or the database.
const NewDatabase = engine.NewDatabase

// A kind is one kind of database.
type kind struct {
	open  func(context.Context, string, engine.Config) (engine.Engine, error)
	check func(string) (secrets []string, err error)
	// inUse is nil if several processes can work with the database.
	inUse func(string) (bool, error)
}

var kinds = map[string]kind{
	"sqlite":     {sqlite.Open, sqlite.Check, sqlite.InUse},
	"postgres":   {postgres.Open, postgres.Check, nil},
	"postgresql": {postgres.Open, postgres.Check, nil},
}

// InUse reports whether another process has the database open alone, so that Open would fail with
// ErrInUse. It creates no file.
func InUse(url string) (bool, error) {
	scheme, _, _ := strings.Cut(url, ":")
	if kinds[scheme].inUse == nil {
		return false, nil
	}
	return kinds[scheme].inUse(url)
}

// CheckAddress returns what is wrong with the address of a store, or nil. The text follows the name
// of the setting. secrets are the passwords in the address; some may be empty.
func CheckAddress(url string) (secrets []string, err error) {
	scheme, _, _ := strings.Cut(url, ":")
	k, ok := kinds[scheme]
	if !ok {
		return nil, errors.New("must be sqlite:FILE or postgres://USER@HOST/DATABASE")
	}
	return k.check(url)
}

// Options say how to open a store.
type Options struct {
	// Secret seals what is stored about people. It has 32 bytes.
	Secret []byte
	// OldSecret is the previous secret: values that it sealed can still be opened. Nil means none.
	OldSecret []byte
	// Log receives errors that no call can return; nil drops them.
	Log *slog.Logger
	// Calls counts reads and transactions; nil counts none.
	Calls *metrics.Calls
	// Beside is for a command that reads or repairs the store while the bridge may be
	// running. Such a store must not Work.
	Beside bool
	// Look is like Beside, but the tables are neither created nor migrated. Of the methods
	// only CheckSecret and Close may be called.
	Look bool
}

// A Store is an open database. Its methods are safe for concurrent use until Close.
type Store struct {
	engine    engine.Engine
	sealer    *seal.Sealer
	limits    limit.Counter
	log       *slog.Logger
	committer *group.Committer[*write]
	jobs      *jobs.Board
	pulse     pulse.Pulse
	head      audit.Head // the last that was read or written
	headRead  time.Time
	checking  sync.Mutex
	checked   time.Time // by Purge; guarded by checking
	rekeying  bool      // there is an old secret

	deskListeners listeners
}

// Open opens the store at url, "sqlite:path" or "postgres://…", and migrates its tables.
// If another process has the SQLite file open, it fails with ErrInUse, unless o.Beside is
// set and the tables need no migration. No error contains the URL's password.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	scheme, _, _ := strings.Cut(url, ":")
	k, ok := kinds[scheme]
	if !ok {
		return nil, errors.New("store: the address must begin with sqlite: or postgres://")
	}
	return openEngine(ctx, o, func(c engine.Config) (engine.Engine, error) { return k.open(ctx, url, c) })
}

func openEngine(ctx context.Context, o Options, open func(engine.Config) (engine.Engine, error)) (*Store, error) {
	sealer, err := seal.New(o.Secret, o.OldSecret)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{sealer: sealer, limits: limit.NewCounter(sealer), log: o.Log, rekeying: o.OldSecret != nil}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.engine, err = open(engine.Config{Log: jobs.Warnings(s.log), Insert: jobs.InsertConfig(s.log), Beside: o.Beside || o.Look, Look: o.Look}); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if o.Calls != nil {
		s.engine = measured.New(s.engine, o.Calls)
	}
	s.jobs = jobs.NewBoard(s.engine, s.writeRow, s.log)
	s.committer = group.New(s.commit, o.Beside || o.Look)
	if !o.Beside && !o.Look {
		err := s.noteEarlier(ctx)
		if err == nil && s.rekeying {
			err = s.resealAccounts(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// CheckSecret returns ErrSecret if there is encrypted data, and neither the secret nor the
// old secret belongs to it. It looks at the newest card, the newest unfinished delivery and some accounts: after a change of
// the secret, older data may have been encrypted with a secret that is gone. If there are no
// tables yet, it returns nil.
func (s *Store) CheckSecret(ctx context.Context) error {
	if _, err := s.AuditLog().Head(ctx); err != nil {
		return nil //nolint:nilerr // there are no tables, or the database fails, which its next use reports
	}
	found, known := false, false
	for _, query := range []string{queryNewestCard, queryNewestDelivery, queryAccountNames} {
		err := s.scan(ctx, func(rows engine.Rows) error {
			var id string
			var sealed []byte
			if err := rows.Scan(&id, &sealed); err != nil {
				return err
			}
			found = true
			known = known || s.sealer.Knows(sealed)
			return nil
		}, query, "")
		if err != nil {
			return fmt.Errorf("store: check the secret: %w", err)
		}
	}
	if found && !known {
		return fmt.Errorf("store: %w", ErrSecret)
	}
	return nil
}

// Figures returns the figures for metrics.
func (s *Store) Figures() figures.Reader { return figures.In(s.engine) }

// Jobs returns the jobs and the work that failed.
func (s *Store) Jobs() *jobs.Board { return s.jobs }

// AgentSessions returns the sessions of agents who signed in.
func (s *Store) AgentSessions() session.Store {
	return session.In(s.engine, s.writeRow, func(token string) engine.Writer {
		return func(ctx context.Context, row string, do func(context.Context, engine.Tx) error) error {
			return s.write(ctx, &write{rows: []string{row}, do: do, desks: []DeskChange{{Session: token}}})
		}
	}, s.sealer)
}

// Sweeps returns the sweeps.
func (s *Store) Sweeps() sweeps.Table {
	return sweeps.In(s.engine, s.writeRow, s.writeAlone, s.sealer)
}

// Refreshes returns the refreshes of cards.
func (s *Store) Refreshes() refreshes.Table {
	return refreshes.In(s.engine, func(ctx context.Context, cards []string, do func(context.Context, engine.Tx) error) error {
		w := &write{do: do}
		for _, id := range cards {
			w.rows = append(w.rows, rowOfCard(id))
		}
		return s.write(ctx, w)
	}, s.writeAlone)
}

// writeRow is an engine.Writer.
func (s *Store) writeRow(ctx context.Context, row string, do func(context.Context, engine.Tx) error) error {
	return s.write(ctx, &write{rows: []string{row}, do: do})
}

// writeAlone commits what do writes while nothing else is written.
func (s *Store) writeAlone(ctx context.Context, do func(context.Context, engine.Tx) error) error {
	return s.write(ctx, &write{all: true, do: do})
}

// AuditLog returns the audit log.
func (s *Store) AuditLog() audit.Log { return audit.In(s.engine) }

// scan runs a query and calls row for each row.
func (s *Store) scan(ctx context.Context, row func(engine.Rows) error, query string, args ...any) error {
	rows, err := s.engine.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Close closes the database. Work must have returned before.
func (s *Store) Close() error {
	s.committer.Close()
	if err := s.engine.Close(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// probeWait is how long Ready waits for its test write.
const probeWait = 2 * time.Second

// Ready returns an error if the store cannot write, or fails often. It makes a test write,
// unless a write succeeded during the last second.
func (s *Store) Ready(ctx context.Context) error {
	sure, err := s.pulse.Fault()
	if err == nil && !sure {
		ctx, cancel := context.WithTimeoutCause(ctx, probeWait, group.ErrBusy)
		defer cancel()
		err = s.write(ctx, &write{rows: []string{"probe"}, do: probe})
	}
	if err != nil {
		return fmt.Errorf("store: cannot write: %w", err)
	}
	return nil
}

// checkEvery is how often Purge checks the whole database.
const checkEvery = 24 * time.Hour

// check reads the whole database, and makes the store not ready if it is damaged.
func (s *Store) check(ctx context.Context) error {
	s.checking.Lock()
	defer s.checking.Unlock()
	if time.Since(s.checked) < checkEvery {
		return nil
	}
	began := time.Now()
	err := s.engine.Check(ctx)
	if errors.Is(err, engine.ErrLost) {
		s.end(err)
		return nil // logged
	}
	if err == nil {
		s.checked = time.Now()
		s.log.InfoContext(ctx, "database checked", "took", s.checked.Sub(began).String())
	}
	return err
}

// probe changes nothing, and needs the same locks as a delivery.
func probe(ctx context.Context, tx engine.Tx) error {
	// Larger than a database page, so that it fails if the disk is full.
	if _, err := tx.Exec(ctx, queryProbe, time.Now().UnixNano(), make([]byte, 8<<10)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, queryProbed); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, queryDeleteDelivery, ""); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, queryDeleteJob, -1)
	return err
}
