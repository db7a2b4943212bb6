// Package session keeps the sessions of agents who signed in, encrypted.
package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/seal"
)

// A Store has the sessions of agents who signed in. It implements signin.SessionStore,
// and the methods without a context that github.com/alexedwards/scs requires. Tokens must be hashed by the caller.
type Store struct {
	in     engine.Reader
	commit engine.Writer
	ending func(token string) engine.Writer
	sealer *seal.Sealer
}

// In returns the sessions in a database. write is how its rows are written, and ending how the row of a
// session is deleted.
func In(r engine.Reader, write engine.Writer, ending func(token string) engine.Writer, sealer *seal.Sealer) Store {
	return Store{r, write, ending, sealer}
}

const purposeSession = "agent session"

// FindCtx returns the data of a session. found is false if there is no such session, if it
// has expired, or if it cannot be decrypted, as after its secret was removed.
func (s Store) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	var sealed []byte
	err = s.in.QueryRow(ctx, querySession, token, time.Now().UnixMicro()).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("agent session: %w", err)
	}
	if data, err = s.sealer.Open(purposeSession, sealed, token); err != nil {
		return nil, false, nil
	}
	return data, true, nil
}

// CommitCtx stores a session until it expires.
func (s Store) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return write(ctx, s.commit, token, querySaveSession, s.sealer.Seal(purposeSession, data, token), engine.Micros(expiry))
}

// ClaimCtx stores a name until the given time, and reports whether it was free. Of several callers, in
// all processes, one gets it. The name must not be a token.
func (s Store) ClaimCtx(ctx context.Context, name string, until time.Time) (claimed bool, err error) {
	var n int64 // not a result: if ctx ends, the write may still set it
	data := s.sealer.Seal(purposeSession, []byte("{}"), name)
	err = s.commit(ctx, row(name), func(ctx context.Context, tx engine.Tx) (err error) {
		n, err = tx.Exec(ctx, queryClaimSession, name, data, engine.Micros(until), time.Now().UnixMicro())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("agent session: %w", err)
	}
	return n > 0, nil
}

// DeleteCtx ends a session.
func (s Store) DeleteCtx(ctx context.Context, token string) error {
	return write(ctx, s.ending(token), token, queryEndSession)
}

// row is the name of a session's row in locks.
func row(token string) string { return "session " + token }

// write runs a query whose first argument is the token.
func write(ctx context.Context, commit engine.Writer, token, query string, args ...any) error {
	err := commit(ctx, row(token), func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, query, append([]any{token}, args...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("agent session: %w", err)
	}
	return nil
}

// AllCtx returns the data of all sessions that are valid and can be decrypted, by the hash of their token.
func (s Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	rows, err := s.in.Query(ctx, querySessions, time.Now().UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("agent sessions: %w", err)
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var token string
		var sealed []byte
		if err := rows.Scan(&token, &sealed); err != nil {
			return nil, fmt.Errorf("agent sessions: %w", err)
		}
		if data, err := s.sealer.Open(purposeSession, sealed, token); err == nil {
			all[token] = data
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("agent sessions: %w", err)
	}
	return all, nil
}

// Find calls FindCtx with context.Background(). scs requires it, but calls FindCtx; so for the methods below.
func (s Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit calls CommitCtx with context.Background().
func (s Store) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete calls DeleteCtx with context.Background().
func (s Store) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}

// All calls AllCtx with context.Background().
func (s Store) All() (map[string][]byte, error) { return s.AllCtx(context.Background()) }
