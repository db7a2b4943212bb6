package signin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
)

// A SessionStore keeps sessions by the hashes of their tokens, for all replicas. It must
// encrypt them, because they contain access and refresh tokens.
type SessionStore interface {
	scs.CtxStore
	scs.IterableCtxStore
	// ClaimCtx stores a name until the given time, and reports whether it was free. Of several
	// callers, in all replicas, one gets it.
	ClaimCtx(ctx context.Context, name string, until time.Time) (claimed bool, err error)
}

// Sessions returns the sessions of all agents, the newest first.
func Sessions(ctx context.Context, store SessionStore) ([]Session, error) {
	all, err := store.AllCtx(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	var found []Session
	for _, data := range all {
		if s, ok := decode(data); ok {
			found = append(found, s.Session)
		}
	}
	slices.SortFunc(found, func(a, b Session) int {
		return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}

// SignOut ends all sessions of an agent, and returns how many. It takes effect immediately at
// all replicas, since each request reads the store. The agent can sign in again.
func SignOut(ctx context.Context, store SessionStore, agentID string) (ended int, err error) {
	all, err := store.AllCtx(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrStore, err)
	}
	for hash, data := range all {
		if s, ok := decode(data); !ok || s.ID != agentID {
			continue
		}
		if err := (noRevivalStore{store}).DeleteCtx(ctx, hash); err != nil {
			return ended, fmt.Errorf("%w: %w", ErrStore, err)
		}
		ended++
	}
	return ended, nil
}

// noRevivalStore is a SessionStore in which an ended session stays ended. A request that is
// checking the session could otherwise write it back. So DeleteCtx stores a marker, and
// CommitCtx removes the session again if there is a marker.
type noRevivalStore struct{ SessionStore }

var errEnded = errors.New("the session has ended")

// markerLife is how long a marker is kept: longer than wholeCheckTimeout.
const markerLife = time.Minute

func endedMarker(hash string) string { return "ended " + hash }

func (e noRevivalStore) CommitCtx(ctx context.Context, hash string, data []byte, expiry time.Time) error {
	if err := e.SessionStore.CommitCtx(ctx, hash, data, expiry); err != nil {
		return err
	}
	_, ended, err := e.FindCtx(ctx, endedMarker(hash))
	if err == nil && ended {
		err = cmp.Or(e.SessionStore.DeleteCtx(ctx, hash), errEnded)
	}
	return err
}

func (e noRevivalStore) DeleteCtx(ctx context.Context, hash string) error {
	if err := e.SessionStore.CommitCtx(ctx, endedMarker(hash), []byte("{}"), time.Now().Add(markerLife)); err != nil {
		return err
	}
	return e.SessionStore.DeleteCtx(ctx, hash)
}

// codec stores a session as JSON. A session that cannot be decoded counts as missing, so that
// sessions of an older release lock nobody out.
type codec struct{}

type stored struct {
	Deadline time.Time `json:"deadline"`
	session
}

func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	s, _ := values[sessionName].(session)
	return json.Marshal(stored{deadline, s})
}

func (codec) Decode(data []byte) (time.Time, map[string]any, error) {
	all, ok := decode(data)
	if !ok {
		return time.Time{}, map[string]any{}, nil
	}
	return all.Deadline, map[string]any{sessionName: all.session}, nil
}

// decode decodes a stored session. ok is false for markers of ended sessions.
func decode(data []byte) (all stored, ok bool) {
	ok = json.Unmarshal(data, &all) == nil && all.ID != ""
	return all, ok
}
