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
)

type auditCommand struct {
	List   auditList   `cmd:"" help:"List who watched whom, the newest last."`
	Export auditExport `cmd:"" help:"Write every record as a line of JSON."`
	Verify auditVerify `cmd:"" help:"Check that no record was changed, dropped or added."`
}

type auditList struct {
	Agent   string `help:"Only records of this agent, such as rocketchat:a1."`
	Visitor string `help:"Only records about the visitor with this short id."`
	Card    string `help:"Only records about this card."`
	Action  string `help:"Only records with this action, such as watching."`
	Since   string `help:"Only records from this time on: 2026-11-21, 2026-11-21T15:04:05Z, or an age such as 36h or 7d."`
	Until   string `help:"Only records before this time, written as for --since."`
	Limit   int    `default:"100" help:"At most so many of the newest records; 0 means all."`
}

// Run lists the newest records that fit.
func (c auditList) Run(ctx context.Context, s streams) error {
	f := store.AuditFilter{Agent: c.Agent, Visitor: c.Visitor, Card: c.Card, Action: c.Action}
	var err error
	if f.Since, err = moment("since", c.Since); err != nil {
		return err
	}
	if f.Until, err = moment("until", c.Until); err != nil {
		return err
	}
	return beside(ctx, s, func(_ *config, db *store.Store) error {
		var found []store.Record
		for r, err := range db.AuditBack(ctx, math.MaxInt64) {
			if err != nil {
				return err
			}
			if f.Past(r) {
				break
			}
			if !f.Fits(r) {
				continue
			}
			if found = append(found, r); len(found) == c.Limit {
				break
			}
		}
		if len(found) == 0 {
			_, err := fmt.Fprintln(s.out, "No record fits.")
			return err
		}
		slices.Reverse(found)
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SEQ\tTIME\tACTION\tAGENT\tVISITOR\tCONNECTOR\tCHAT\tCARD\tDETAIL")
		for _, r := range found {
			visitor, chat := r.Visitor, r.Chat
			if r.Erased {
				visitor, chat = "(erased)", "(erased)"
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Seq, when(r.At), r.Action, r.Agent, visitor, r.Connector, chat, r.Card, oneLine(r.Detail))
		}
		return table.Flush()
	})
}

// moment reads a date, a time or an age.
func moment(flag, text string) (time.Time, error) {
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
	After int64 `help:"Only records after the one with this number: where the export before ended."`
}

// Run writes the records as they are read.
func (c auditExport) Run(ctx context.Context, s streams) error {
	return beside(ctx, s, func(_ *config, db *store.Store) error {
		out := bufio.NewWriter(s.out)
		lines := json.NewEncoder(out)
		lines.SetEscapeHTML(false)
		for r, err := range db.Audit(ctx, c.After) {
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
	Head string `placeholder:"SEQ:HASH" help:"A head that was kept elsewhere, to see that the end was not cut off since."`
}

// Run verifies the trail. Its exit status is 1 if the trail is broken.
func (c auditVerify) Run(ctx context.Context, s streams) error {
	known, err := parseHead(c.Head)
	if err != nil {
		return err
	}
	return beside(ctx, s, func(_ *config, db *store.Store) error {
		span, err := db.VerifyAudit(ctx, known)
		if err != nil {
			return err
		}
		if span.First > 1 {
			fmt.Fprintf(s.out, "records 1 to %d were trimmed\n", span.First-1)
		}
		_, err = fmt.Fprintf(s.out, "%d records are whole; the head is\n%d:%x\n", span.Records(), span.Head.Seq, span.Head.Hash)
		return err
	})
}

func parseHead(text string) (h store.AuditHead, err error) {
	if text == "" {
		return h, nil
	}
	seq, hash, _ := strings.Cut(text, ":")
	h.Seq, err = strconv.ParseInt(seq, 10, 64)
	sum, e := hex.DecodeString(hash)
	if err != nil || e != nil || len(sum) != len(h.Hash) || h.Seq < 1 {
		return store.AuditHead{}, errors.New("--head must be SEQ:HASH, as `bridge audit verify` prints it")
	}
	copy(h.Hash[:], sum)
	return h, nil
}
