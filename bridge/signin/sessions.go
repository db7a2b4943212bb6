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

// A SessionStore keeps sessions by the hashes of their tokens, for all replicas.
// What it is given holds access tokens and must be encrypted where it rests.
type SessionStore interface {
	scs.CtxStore
	scs.IterableCtxStore
}

// Sessions are those of everybody, the newest first.
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

// SignOut ends all sessions of an agent, at once and for all replicas, since each
// request asks the store. It does not keep them from signing in again.
func SignOut(ctx context.Context, store SessionStore, agentID string) (ended int, err error) {
	all, err := store.AllCtx(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrStore, err)
	}
	for hash, data := range all {
		if s, ok := decode(data); !ok || s.ID != agentID {
			continue
		}
		if err := (lasting{store}).DeleteCtx(ctx, hash); err != nil {
			return ended, fmt.Errorf("%w: %w", ErrStore, err)
		}
		ended++
	}
	return ended, nil
}

// lasting is a store in which the end of a session lasts. A request that is
// looking after the session meanwhile would write it back, so whoever ends one
// leaves word, and whoever writes one looks for it afterwards.
type lasting struct{ SessionStore }

var errEnded = errors.New("the session has ended")

// wordLife is how long word is kept: longer than anybody looks after a session.
const wordLife = time.Minute

func wordOf(hash string) string { return "ended " + hash }

func (l lasting) CommitCtx(ctx context.Context, hash string, data []byte, expiry time.Time) error {
	if err := l.SessionStore.CommitCtx(ctx, hash, data, expiry); err != nil {
		return err
	}
	_, ended, err := l.FindCtx(ctx, wordOf(hash))
	if err == nil && ended {
		err = cmp.Or(l.SessionStore.DeleteCtx(ctx, hash), errEnded)
	}
	return err
}

func (l lasting) DeleteCtx(ctx context.Context, hash string) error {
	if err := l.SessionStore.CommitCtx(ctx, wordOf(hash), []byte("{}"), time.Now().Add(wordLife)); err != nil {
		return err
	}
	return l.SessionStore.DeleteCtx(ctx, hash)
}

// codec keeps a session as JSON. One that cannot be read is none, so that no
// browser is locked out by what an older bridge wrote.
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

// decode reads what the store holds, which may also be word of an end.
func decode(data []byte) (all stored, ok bool) {
	ok = json.Unmarshal(data, &all) == nil && all.ID != ""
	return all, ok
}
