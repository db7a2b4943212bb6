package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// An Account is a user account at a chat service that belongs to an agent who signs in at
// the bridge.
type Account struct {
	// ID is the user's id at the chat service, such as "slack:T1/U2". At most one agent
	// owns an account.
	ID string
	// Agent is the id with which the agent signs in.
	Agent string
	// How says how the bridge learned that both are the same person.
	How   string
	Since time.Time
	// Name is the agent's name at the chat service, encrypted at rest.
	Name string
	// Replaces applies to Change.Connect: if another agent owns the account and its How
	// is equal to Replaces, the account moves to this agent. Empty moves no account. It
	// is not stored.
	Replaces string
}

const purposeAccount = "account name"

// Account returns the account with the given id, or ErrNotFound if no agent owns it.
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

// Accounts returns the accounts of an agent, ordered by id.
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
		a.Since, a.Name = engine.FromMicros(since), string(opened)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: accounts: %w", err)
	}
	return all, nil
}

// resealAccounts seals the names of accounts again that the old secret sealed. Accounts have
// no last day, so without this the old secret would be needed forever.
func (s *Store) resealAccounts(ctx context.Context) error {
	type sealed struct {
		id   string
		name []byte
	}
	for after := ""; ; {
		var page []sealed
		err := s.scan(ctx, func(rows engine.Rows) error {
			var a sealed
			if err := rows.Scan(&a.id, &a.name); err != nil {
				return err
			}
			page = append(page, a)
			return nil
		}, queryAccountNames, after)
		if err != nil {
			return fmt.Errorf("store: accounts: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].id
		for _, a := range page {
			if s.sealer.Newest(a.name) {
				continue
			}
			name, err := s.sealer.Open(purposeAccount, a.name, a.id)
			if err != nil {
				s.log.ErrorContext(ctx, "name of account not encrypted again", "account", a.id, "err", err)
				continue
			}
			again := s.sealer.Seal(purposeAccount, name, a.id)
			err = s.write(ctx, &write{rows: []string{rowOfAccount(a.id)}, do: func(ctx context.Context, tx engine.Tx) error {
				_, err := tx.Exec(ctx, queryResealAccount, a.id, again, a.name)
				return err
			}})
			if err != nil {
				return fmt.Errorf("store: account %s: %w", a.id, err)
			}
		}
	}
}

// connect prepares the check whether the account may go to its agent, which refuses with
// ErrTaken if another agent owns it, and the statement that stores it.
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
		if _, err := tx.Exec(ctx, queryConnect, a.ID, a.Agent, a.How, engine.Micros(a.Since), name); err != nil {
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
