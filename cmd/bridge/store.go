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

// withStore reads the settings, opens the store and calls do. It works while the
// bridge runs and while it does not.
func withStore(ctx context.Context, s streams, do func(*config, *store.Store) error) error {
	c, faults := readConfig(s.err)
	if c == nil {
		printFaults(s.err, faults)
		return exitStatus(2)
	}
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Log: c.log, Beside: true})
	if err != nil {
		return err
	}
	return errors.Join(do(c, db), db.Close())
}

// operator names the person who runs the command, for the audit log.
func operator() string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return "operator:" + cmp.Or(os.Getenv("SUDO_USER"), name)
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// days formats whole days as "14 days", and other lengths of time like "36h0m0s".
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// count returns a number with its noun, such as "1 record" or "2 records".
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// oneLine replaces control characters, which would break a table or a terminal.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
}
