package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// AgentSessions keeps the sessions of agents who signed in, sealed, in the shape
// that github.com/alexedwards/scs wants. Who makes the tokens hands in their
// hashes.
type AgentSessions struct{ store *Store }

const purposeSession = "agent session"

// AgentSessions are those of this store.
func (s *Store) AgentSessions() AgentSessions { return AgentSessions{s} }

// FindCtx returns what a session holds, if there is one that has not expired. One
// that was sealed with a secret that is gone is none.
func (a AgentSessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	var sealed []byte
	err = a.store.engine.QueryRow(ctx, querySession, token, time.Now().UnixMicro()).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("store: agent session: %w", err)
	}
	if data, err = a.store.sealer.Open(purposeSession, sealed, token); err != nil {
		return nil, false, nil
	}
	return data, true, nil
}

// CommitCtx stores a session until it expires.
func (a AgentSessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return a.write(ctx, querySaveSession, token, a.store.sealer.Seal(purposeSession, data, token), micros(expiry))
}

// DeleteCtx ends a session.
func (a AgentSessions) DeleteCtx(ctx context.Context, token string) error {
	return a.write(ctx, queryEndSession, token)
}

func (a AgentSessions) write(ctx context.Context, query string, args ...any) error {
	err := a.store.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: agent session: %w", err)
	}
	return nil
}

// AllCtx returns what all sessions hold, by token.
func (a AgentSessions) AllCtx(ctx context.Context) (map[string][]byte, error) {
	rows, err := a.store.engine.Query(ctx, querySessions, time.Now().UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("store: agent sessions: %w", err)
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var token string
		var sealed []byte
		if err := rows.Scan(&token, &sealed); err != nil {
			return nil, fmt.Errorf("store: agent sessions: %w", err)
		}
		if data, err := a.store.sealer.Open(purposeSession, sealed, token); err == nil {
			all[token] = data
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: agent sessions: %w", err)
	}
	return all, nil
}

// Find, Commit, Delete and All are for scs, which uses the others where there is a
// context.

// Find is FindCtx.
func (a AgentSessions) Find(token string) ([]byte, bool, error) {
	return a.FindCtx(context.Background(), token)
}

// Commit is CommitCtx.
func (a AgentSessions) Commit(token string, data []byte, expiry time.Time) error {
	return a.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx.
func (a AgentSessions) Delete(token string) error { return a.DeleteCtx(context.Background(), token) }

// All is AllCtx.
func (a AgentSessions) All() (map[string][]byte, error) { return a.AllCtx(context.Background()) }
