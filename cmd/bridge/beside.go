package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
)

// beside reads the settings, and opens the store for do beside the bridge that
// works with it, whether that is running or not.
func beside(ctx context.Context, s streams, do func(*config, *store.Store) error) error {
	c, faults := readConfig(s.err)
	if c == nil {
		complain(s.err, faults)
		return exit(2)
	}
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Log: c.log, Beside: true})
	if err != nil {
		return err
	}
	return errors.Join(do(c, db), db.Close())
}

// operator is who has to answer for a command, for the audit trail.
func operator() string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return "operator:" + cmp.Or(os.Getenv("SUDO_USER"), name)
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// days writes a length of time as people do.
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// oneLine keeps a text from breaking a table, or a terminal.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
}
