package main

import (
	"context"
	"fmt"
	"io"

	"cobrowse-bridge/bridge/store/backup"
)

type backupCommand struct {
	File string `arg:"" help:"New file for the copy, or - to print it."`
}

// Run writes the copy. With - the report goes to the standard error.
func (c backupCommand) Run(ctx context.Context, s streams) error {
	config, err := backupSettings(s)
	if err != nil {
		return err
	}
	if backup.IsPostgres(config.database) {
		fmt.Fprintf(s.err, "bridge: the database is PostgreSQL, whose own program makes copies of it. Run:\n\n  %s\n\nIt asks for the password, or reads it from PGPASSWORD or ~/.pgpass.\n",
			backup.DumpCommand(config.database, fileOr(c.File, "bridge.dump")))
		return exitStatus(2)
	}
	report := s.out
	var made backup.Copy
	if c.File == "-" {
		report = s.err
		made, err = backup.Print(ctx, config.database, s.out)
	} else {
		made, err = backup.Write(ctx, config.database, c.File)
	}
	if err != nil {
		return err
	}
	if c.File != "-" {
		fmt.Fprintf(report, "file     %s\n", c.File)
	}
	fmt.Fprintf(report, "size     %d bytes, schema %d\naudit    %s\n", made.Bytes, made.Schema, formatHead(made.About))
	_, err = fmt.Fprintln(report, "keep     BRIDGE_SECRET, in another place: nobody can read the copy without it.")
	return err
}

type restoreCommand struct {
	File    string `arg:"" help:"Copy that bridge backup made."`
	Replace bool   `xor:"how" help:"Replace the database that is there. It is kept under another name."`
	Check   bool   `xor:"how" help:"Only check that the copy can be restored, also while the bridge runs."`
}

// Run checks or restores the copy.
func (c restoreCommand) Run(ctx context.Context, s streams) error {
	config, err := backupSettings(s)
	if err != nil {
		return err
	}
	if backup.IsPostgres(config.database) {
		fmt.Fprintf(s.err, "bridge: the database is PostgreSQL, whose own program restores it. Stop all replicas, then run:\n\n  %s\n\nIt asks for the password, or reads it from PGPASSWORD or ~/.pgpass. deploy/backup.md says what to do then.\n",
			backup.LoadCommand(config.database, fileOr(c.File, "bridge.dump")))
		return exitStatus(2)
	}
	if c.File == "-" {
		return usageError("restore needs a file, because it reads the copy twice: bridge restore FILE")
	}
	options := backup.Options{
		Address: config.database, Secret: config.secret, OldSecret: config.secretOld, Agent: operator(), Replace: c.Replace, Log: config.log,
	}
	if c.Check {
		r, err := backup.Check(ctx, c.File, options)
		if err != nil {
			return err
		}
		printBackup(s.out, r)
		_, err = fmt.Fprintln(s.out, "The copy can be restored. Nothing was changed.")
		return err
	}
	r, err := backup.Restore(ctx, c.File, options)
	if err != nil && r.Kept == "" {
		return err
	}
	printRestored(s.out, r)
	return err
}

func backupSettings(s streams) (*config, error) {
	c, faults := readConfig(s.err)
	if c == nil {
		printFaults(s.err, faults)
		return nil, exitStatus(2)
	}
	return c, nil
}

func fileOr(file, other string) string {
	if file == "-" {
		return other
	}
	return file
}

func formatHead(a backup.About) string {
	if a.Seq == 0 {
		return "no records"
	}
	return fmt.Sprintf("%s; the last is of %s; head %d:%s", count(a.Seq, "record", "records"), formatTime(a.At), a.Seq, a.Hash)
}

func printBackup(w io.Writer, r backup.Restored) {
	fmt.Fprintf(w, "copy     schema %d, the file is whole, BRIDGE_SECRET opens it\naudit    %s; verified\n", r.Backup.Schema, formatHead(r.Backup))
}

// printRestored says what was restored and what is left to do.
func printRestored(w io.Writer, r backup.Restored) {
	printBackup(w, r)
	if r.Kept != "" {
		fmt.Fprintf(w, "before   kept as %s; delete it when you do not need it any more\n", r.Kept)
	}
	fmt.Fprintf(w, "sign-ins %s ended\nhead     %d:%x\n\nThe copy is now the database.\n", count(r.SignIns, "was", "were"), r.Head.Seq, r.Head.Hash)
	switch {
	case r.Kept == "":
		fmt.Fprintf(w, "\nPeople who were erased after %s are back. This machine has no receipts of these erasures.\nErase these people again by their IDs: bridge erase\n", sinceBackup(r))
	case r.Unread != nil:
		fmt.Fprintf(w, "\nThe database of before cannot be read: %v.\nPeople who were erased after %s are back, and there is no list of these erasures.\nErase these people again by their IDs: bridge erase\n", r.Unread, sinceBackup(r))
	case len(r.Erased) > 0:
		fmt.Fprintln(w, "\nThe people of these erasures are back. Receipts do not say who they are.\nErase these people again by their IDs: bridge erase\n\nRECEIPT                               TIME                  REMOVED")
		for _, e := range r.Erased {
			fmt.Fprintf(w, "%s  %s  %s\n", e.ID, formatTime(e.Created), e.Removed)
		}
	}
}

// sinceBackup says from when on the backup knows nothing.
func sinceBackup(r backup.Restored) string {
	if r.Backup.At.IsZero() {
		return "the copy was made"
	}
	return "the copy was made (its last audit record is of " + formatTime(r.Backup.At) + ")"
}
