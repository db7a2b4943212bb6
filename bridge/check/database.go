package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/inspect"
	"cobrowse-bridge/connectors/rest"
)

const aboutDatabase = "BRIDGE_DATABASE"

// SecretFault is the fault of a BRIDGE_SECRET with which the stored data cannot be read.
var SecretFault = settings.Fault{Variable: "BRIDGE_SECRET", Problem: "is not the secret with which the stored data was encrypted: " +
	"set it to that secret, or, if you have changed the secret, set BRIDGE_SECRET_OLD to the previous one"}

// codeSecret is the code of the finding that the secret is another one.
const codeSecret = "store.secret"

// checkDatabase looks at the database without changing it.
func checkDatabase(ctx context.Context, c Config) []Finding {
	facts, err := inspect.Database(ctx, c.Database)
	if err != nil {
		return []Finding{cannotOpen(ctx, c, err)}
	}
	found := databaseFindings(c.Database, facts)
	if _, problems := Count(found); problems > 0 || facts.Schema == 0 {
		return found
	}
	db, err := store.Open(ctx, c.Database, store.Options{Secret: c.Secret, OldSecret: c.OldSecret, Log: c.Log, Look: true})
	if err == nil {
		err = errors.Join(db.CheckSecret(ctx), db.Close())
	}
	switch {
	case errors.Is(err, store.ErrSecret):
		return append(found, problem("store.secret", SecretFault.Variable, "", "%s.", SecretFault.Error()))
	case err != nil:
		return []Finding{cannotOpen(ctx, c, err)}
	}
	return found
}

func cannotOpen(ctx context.Context, c Config, err error) Finding {
	reason := err.Error()
	if ctx.Err() != nil {
		reason = "it does not answer in time"
	}
	return problem("store.unreachable", aboutDatabase, databaseRemedy(c.Database), "The database cannot be opened: %s.", reason)
}

const (
	// With less free space than little there is a warning, and with less than none a problem.
	little = 512 << 20
	none   = 64 << 20
)

// databaseFindings says what facts about the database at an address mean.
func databaseFindings(address string, f engine.Facts) []Finding {
	var all []Finding
	file := strings.TrimPrefix(address, "sqlite:")
	switch {
	case f.Unwritable != "":
		all = append(all, problem("store.readonly", aboutDatabase, databaseRemedy(address), "This user cannot write to the database: %s.", f.Unwritable))
	case f.Missing:
		all = append(all, ok("store.new", aboutDatabase, "There is no database yet: `bridge serve` makes %s.", file))
	case f.Network != "": // it was not opened
	case f.Foreign:
		all = append(all, problem("store.foreign", aboutDatabase, "Set BRIDGE_DATABASE to the bridge's own file, or to a file that does not exist yet.",
			"The database is that of another program: it has tables, and none of them is the bridge's."))
	case f.Schema > f.Newest:
		all = append(all, problem("store.newer", aboutDatabase, "Start the newer release again, or restore a backup from before the upgrade.",
			"The database was written by a newer release: it has schema %d, and this release supports only schema %d.", f.Schema, f.Newest))
	case f.Schema == 0:
		all = append(all, ok("store.new", aboutDatabase, "The database has no tables yet: `bridge serve` makes them."))
	case f.Older:
		all = append(all, ok("store.older", aboutDatabase, "The database can be opened. It was written by an earlier release: `bridge serve` migrates it, and earlier releases cannot use it afterwards. Make a backup first."))
	default:
		all = append(all, ok("store.opens", aboutDatabase, "The database can be opened."))
	}
	if f.Unsafe != "" {
		all = append(all, problem("store.unsafe", aboutDatabase, "Change the setting of PostgreSQL. `bridge serve` does not start before.", "%s.", f.Unsafe))
	}
	if f.ClockAhead.Abs() > rest.ClockTolerance {
		all = append(all, warning("store.clock", aboutDatabase, clockRemedy, "This machine's clock is %s the database server's: replicas disagree about which work is due.", rest.ClockDifference(f.ClockAhead)))
	}
	return append(all, diskFindings(f)...)
}

const clockRemedy = "Set the clock of this machine, for instance with NTP."

func diskFindings(f engine.Facts) (all []Finding) {
	const local = "Put the file on a disk of this machine, or set BRIDGE_DATABASE to a postgres:// address."
	switch {
	case f.Network != "":
		all = append(all, problem("store.network-disk", aboutDatabase, local, "The SQLite file is on a network file system (%s), on which its locks do not protect it: it can be damaged.", f.Network))
	case f.Unknown != "":
		all = append(all, warning("store.unknown-disk", aboutDatabase, local, "The SQLite file is on a file system (%s) that may be on another machine. If it is, the database can be damaged.", f.Unknown))
	}
	const space = "Make space on the disk of the database, or shorten BRIDGE_KEEP_CARDS, BRIDGE_KEEP_FAILED and BRIDGE_KEEP_AUDIT."
	switch {
	case !f.FreeKnown:
	case f.Free < none:
		all = append(all, problem("store.full", aboutDatabase, space, "The disk of the database is full: %s are free. Deliveries are answered 503 when nothing can be written.", megabytes(f.Free)))
	case f.Free < little:
		all = append(all, warning("store.space", aboutDatabase, space, "The disk of the database is almost full: %s are free.", megabytes(f.Free)))
	}
	return all
}

func megabytes(n uint64) string { return fmt.Sprintf("%d MB", n>>20) }

// checkNotInUse finds another bridge that uses the SQLite file at an address.
func checkNotInUse(address string) []Finding {
	switch used, err := store.InUse(address); {
	case err != nil:
		return []Finding{problem("store.lock", aboutDatabase, databaseRemedy(address), "The bridge cannot see whether another bridge uses the database: %s.", settings.Cause(err))}
	case used:
		return []Finding{problem("store.in-use", aboutDatabase, "Run one replica and stop it before the next one starts, or set BRIDGE_DATABASE to a postgres:// address to run several.",
			"Another bridge uses the database %s, and only one can use a SQLite file.", strings.TrimPrefix(address, "sqlite:"))}
	}
	return nil
}

// databaseRemedy says what to do if the database cannot be opened.
func databaseRemedy(address string) string {
	if strings.HasPrefix(address, "sqlite:") {
		return "Check the path in BRIDGE_DATABASE. It must be a file, and the user of the bridge must be able to read and write it and its folder."
	}
	return "Check that PostgreSQL runs, that this machine can reach it, and that the user, password and name of the database in BRIDGE_DATABASE are right."
}
