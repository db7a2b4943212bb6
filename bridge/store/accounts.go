package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// An Account is somebody's in a chat service, and belongs to an agent who signs
// in.
type Account struct {
	// ID is the agent's id there, such as "slack:T1/U2". An account has one agent
	// at most.
	ID string
	// Agent is who signs in.
	Agent string
	// How it became known that the two are one person.
	How   string
	Since time.Time
	// Name is what the chat service calls the agent, sealed at rest.
	Name string
	// Replaces, in a Change, is the How of accounts that are taken from another agent
	// for this one; empty takes none. It is not stored.
	Replaces string
}

const purposeAccount = "account name"

// Account returns an account that belongs to somebody, or ErrNotFound.
func (s *Store) Account(ctx context.Context, id string) (Account, error) {
	all, err := s.accounts(ctx, queryAccount, id)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("store: account: %w", ErrNotFound)
	}
	if err != nil {
		return Account{}, err
	}
	return all[0], nil
}

// Accounts returns the accounts of an agent, by id.
func (s *Store) Accounts(ctx context.Context, agent string) ([]Account, error) {
	return s.accounts(ctx, queryAccountsOf, agent)
}

func (s *Store) accounts(ctx context.Context, query, arg string) (all []Account, err error) {
	rows, err := s.engine.Query(ctx, query, arg)
	if err != nil {
		return nil, fmt.Errorf("store: accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var a Account
		var since int64
		var name []byte
		if err := rows.Scan(&a.ID, &a.Agent, &a.How, &since, &name); err != nil {
			return nil, fmt.Errorf("store: accounts: %w", err)
		}
		opened, err := s.sealer.Open(purposeAccount, name, a.ID)
		if err != nil {
			return nil, fmt.Errorf("store: account %s: %w", a.ID, err)
		}
		a.Since, a.Name = fromMicros(since), string(opened)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: accounts: %w", err)
	}
	return all, nil
}

// connect prepares the decision whether an account may be given to its agent, which
// refuses with ErrTaken if it is somebody else's, and the giving.
func (s *Store) connect(a Account) (decide, apply func(context.Context, engine.Tx) error) {
	decide = func(ctx context.Context, tx engine.Tx) error {
		var owner, how string
		err := tx.QueryRow(ctx, queryLockAccount, a.ID).Scan(&owner, &how)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return fmt.Errorf("connect account: %w", err)
		case owner != a.Agent && how != a.Replaces:
			return ErrTaken
		}
		return nil
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		name := s.sealer.Seal(purposeAccount, []byte(a.Name), a.ID)
		if _, err := tx.Exec(ctx, queryConnect, a.ID, a.Agent, a.How, micros(a.Since), name); err != nil {
			return fmt.Errorf("connect account: %w", err)
		}
		return nil
	}
	return decide, apply
}

func disconnect(a Account) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, queryDisconnect, a.ID, a.Agent); err != nil {
			return fmt.Errorf("disconnect account: %w", err)
		}
		return nil
	}
}
