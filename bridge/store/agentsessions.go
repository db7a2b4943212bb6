package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// AgentSessionStore stores the sessions of agents who signed in, encrypted. It implements signin.SessionStore,
// and the methods without a context that github.com/alexedwards/scs requires. Tokens must be hashed by the caller.
type AgentSessionStore struct{ store *Store }

const purposeSession = "agent session"

// AgentSessions returns the session store in s.
func (s *Store) AgentSessions() AgentSessionStore { return AgentSessionStore{s} }

// FindCtx returns the data of a session. found is false if there is no such session, if it
// has expired, or if it cannot be decrypted, as after its secret was removed.
func (a AgentSessionStore) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
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
func (a AgentSessionStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return a.write(ctx, querySaveSession, token, a.store.sealer.Seal(purposeSession, data, token), micros(expiry))
}

// ClaimCtx stores a name until the given time, and reports whether it was free. Of several callers, in
// all processes, one gets it. The name must not be a token.
func (a AgentSessionStore) ClaimCtx(ctx context.Context, name string, until time.Time) (claimed bool, err error) {
	var n int64 // not a result: if ctx ends, the write may still set it
	data := a.store.sealer.Seal(purposeSession, []byte("{}"), name)
	err = a.store.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) (err error) {
		n, err = tx.Exec(ctx, queryClaimSession, name, data, micros(until), time.Now().UnixMicro())
		return err
	}})
	if err != nil {
		return false, fmt.Errorf("store: agent session: %w", err)
	}
	return n > 0, nil
}

// DeleteCtx ends a session.
func (a AgentSessionStore) DeleteCtx(ctx context.Context, token string) error {
	return a.write(ctx, queryEndSession, token)
}

func (a AgentSessionStore) write(ctx context.Context, query string, args ...any) error {
	err := a.store.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: agent session: %w", err)
	}
	return nil
}

// AllCtx returns the data of all sessions that are valid and can be decrypted, by the hash of their token.
func (a AgentSessionStore) AllCtx(ctx context.Context) (map[string][]byte, error) {
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

// Find calls FindCtx with context.Background(). scs requires it, but calls FindCtx; so for the methods below.
func (a AgentSessionStore) Find(token string) ([]byte, bool, error) {
	return a.FindCtx(context.Background(), token)
}

// Commit calls CommitCtx with context.Background().
func (a AgentSessionStore) Commit(token string, data []byte, expiry time.Time) error {
	return a.CommitCtx(context.Background(), token, data, expiry)
}

// Delete calls DeleteCtx with context.Background().
func (a AgentSessionStore) Delete(token string) error {
	return a.DeleteCtx(context.Background(), token)
}

// All calls AllCtx with context.Background().
func (a AgentSessionStore) All() (map[string][]byte, error) { return a.AllCtx(context.Background()) }
