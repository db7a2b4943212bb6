package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
)

type auditCommand struct {
	List   auditList   `cmd:"" help:"List the records of the audit log, the newest last."`
	Export auditExport `cmd:"" help:"Print the records as JSON, one per line."`
	Verify auditVerify `cmd:"" help:"Check that no record was changed, removed or added."`
}

type auditList struct {
	Agent   string `help:"Only records of this agent, such as rocketchat:a1."`
	Visitor string `aliases:"customer" help:"Only records about the customer with this short id of Upscope."`
	Card    string `help:"Only records about this card."`
	Action  string `help:"Only records with this action: ${actions}."`
	Since   string `help:"Only records from this time on: 2026-11-21, 2026-11-21T15:04:05Z, or an age such as 36h or 7d."`
	Until   string `help:"Only records before this time, written as for --since."`
	Limit   int    `default:"100" help:"Print at most this many records, the newest; 0 prints all."`
}

// Run lists the newest records that match.
func (c auditList) Run(ctx context.Context, s streams) error {
	f := audit.Filter{Agent: c.Agent, Visitor: c.Visitor, Card: c.Card, Action: c.Action}
	if c.Action != "" && !slices.Contains(audit.Actions, c.Action) {
		return fmt.Errorf("--action is %q: use one of %s", c.Action, strings.Join(audit.Actions, ", "))
	}
	var err error
	if f.Since, err = parseTime("since", c.Since); err != nil {
		return err
	}
	if f.Until, err = parseTime("until", c.Until); err != nil {
		return err
	}
	return withStore(ctx, s, func(_ *config, db *store.Store) error {
		var found []audit.Record
		for r, err := range db.AuditLog().Search(ctx, f, math.MaxInt64) {
			if err != nil {
				return err
			}
			if found = append(found, r); len(found) == c.Limit {
				break
			}
		}
		if len(found) == 0 {
			_, err := fmt.Fprintln(s.out, "No matching records.")
			return err
		}
		slices.Reverse(found)
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SEQ\tTIME\tACTION\tAGENT\tCUSTOMER\tCONNECTOR\tCHAT\tCARD\tDETAIL")
		for _, r := range found {
			visitor, chat := r.Visitor, r.Chat
			if r.Erased {
				visitor, chat = "(erased)", "(erased)"
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Seq, formatTime(r.At), r.Action, r.Agent, visitor, r.Connector, chat, r.Card, oneLine(r.Detail))
		}
		return table.Flush()
	})
}

// parseTime reads a date, a time or an age. An empty text is the zero time.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && n >= 0 {
		return time.Now().AddDate(0, 0, -n), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--%s is %q: write a time like 2026-11-21 or 2026-11-21T15:04:05Z, or an age like 36h or 7d", flag, text)
}

type auditExport struct {
	After int64 `placeholder:"SEQ" help:"Only records after this number, such as the last number of the previous export."`
}

// Run prints each record as soon as it is read.
func (c auditExport) Run(ctx context.Context, s streams) error {
	return withStore(ctx, s, func(_ *config, db *store.Store) error {
		out := bufio.NewWriter(s.out)
		lines := json.NewEncoder(out)
		lines.SetEscapeHTML(false)
		for r, err := range db.AuditLog().After(ctx, c.After) {
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			if err := lines.Encode(r.Export()); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

type auditVerify struct {
	Head string `placeholder:"SEQ:HASH" help:"Head that an earlier verify printed: checks that no record was removed from the end since then."`
}

// Run verifies the audit log. The exit status is 1 if the chain is broken.
func (c auditVerify) Run(ctx context.Context, s streams) error {
	earlier, err := parseHead(c.Head)
	if err != nil {
		return err
	}
	return withStore(ctx, s, func(_ *config, db *store.Store) error {
		span, err := db.AuditLog().Verify(ctx, earlier)
		if err != nil {
			return err
		}
		if span.First > 1 {
			fmt.Fprintf(s.out, "Records 1 to %d were deleted because of their age (BRIDGE_KEEP_AUDIT).\n", span.First-1)
		}
		_, err = fmt.Fprintf(s.out, "Verified %s. Head:\n%d:%x\n", count(span.Records(), "record", "records"), span.Head.Seq, span.Head.Hash)
		return err
	})
}

func parseHead(text string) (h audit.Head, err error) {
	if text == "" {
		return h, nil
	}
	seq, hash, _ := strings.Cut(text, ":")
	h.Seq, err = strconv.ParseInt(seq, 10, 64)
	sum, e := hex.DecodeString(hash)
	wrong := err != nil || e != nil || len(sum) != len(h.Hash) || h.Seq < 0
	copy(h.Hash[:], sum)
	// The head of an empty log is the zero Head: every log continues it.
	if wrong || h.Seq == 0 && h != (audit.Head{}) {
		return audit.Head{}, errors.New("--head must be SEQ:HASH, as `bridge audit verify` prints it")
	}
	return h, nil
}
