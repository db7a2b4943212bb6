package erasing

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/mention"
)

// A Query says how to find a person's data.
type Query struct {
	// Cards are the ids of the person's cards.
	Cards []string
	// Chats are the connectors and chats of these cards.
	Chats [][2]string
	// Visitors are ids of visitors in audit records.
	Visitors []string
	// IDs are searched for in deliveries, in the errors of jobs, and in the Detail of audit records.
	IDs []string
	// Deliveries are ids of deliveries about the person.
	Deliveries []string
}

// Matches are the rows about a person, without cards: ids, and the Seqs of audit records.
type Matches struct {
	Deliveries    []string
	Jobs, Records []int64
	Failures      []jobs.Failure
}

// A Search searches for a person's data.
type Search struct {
	Index Index
	In    engine.Reader
	Jobs  *jobs.Board
	// Open decrypts the body of a delivery.
	Open func(connector, id string, body []byte) ([]byte, error)
}

// Find returns the rows that q describes. It finds audit records through the index and through the
// indexes of the table, and reads all deliveries, failures and subjects of jobs, which are not kept
// for long. Only for an id that the index cannot have (see mention.IDs.Keys) it reads all records.
func (s Search) Find(ctx context.Context, q Query) (Matches, error) {
	f := &matches{visitors: q.Visitors, chats: map[[2]string]bool{}, subjects: map[string]bool{}}
	ids := slices.Clone(q.IDs)
	for _, c := range q.Chats {
		f.chats[c] = true
		ids = append(ids, c[1])
	}
	for _, id := range append(slices.Clone(q.Cards), q.Deliveries...) {
		f.subjects[id] = true
	}
	f.ids = mention.Of(ids)
	// This order matters: the errors of a job may show that its delivery is about the person,
	// and then all jobs of that delivery are.
	for _, find := range []func(context.Context, *matches) error{s.findErrors, s.findDeliveries, s.findJobs, s.findFailures, s.findRecords} {
		if err := find(ctx, f); err != nil {
			return Matches{}, fmt.Errorf("find: %w", err)
		}
	}
	return f.Matches, nil
}

// matches are what a running search has found.
type matches struct {
	Matches
	ids      mention.IDs
	visitors []string
	chats    map[[2]string]bool // connector and chat
	subjects map[string]bool    // of jobs: ids of cards and deliveries
}

func (s Search) findDeliveries(ctx context.Context, f *matches) error {
	for after := ""; ; {
		n := 0
		rows, err := s.In.Query(ctx, queryDeliveries, after)
		if err != nil {
			return err
		}
		for ; rows.Next(); n++ {
			var connector, key string
			var body []byte
			if err = rows.Scan(&after, &connector, &key, &body); err == nil && body != nil {
				body, err = s.Open(connector, after, body)
			}
			if err != nil {
				rows.Close()
				return fmt.Errorf("delivery %s: %w", after, err)
			}
			if f.subjects[after] || f.ids.In(key) || len(body) > 0 && f.ids.In(string(bytes.ToValidUTF8(body, nil))) {
				f.Deliveries = append(f.Deliveries, after)
				f.subjects[after] = true
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil || n == 0 {
			return err
		}
	}
}

func (s Search) findErrors(ctx context.Context, f *matches) error {
	for j, err := range s.Jobs.WithErrors(ctx) {
		if err != nil {
			return err
		}
		for _, e := range j.Errors {
			if f.ids.In(e.Error) {
				f.subjects[j.Job.Subject] = true
			}
		}
	}
	for failed, err := range s.Jobs.Failures(ctx) {
		if err != nil {
			return err
		}
		if failed.Subject != "" && f.ids.In(failed.Cause) {
			f.subjects[failed.Subject] = true
		}
	}
	return nil
}

func (s Search) findFailures(ctx context.Context, f *matches) error {
	for failed, err := range s.Jobs.Failures(ctx) {
		if err != nil {
			return err
		}
		if f.subjects[failed.Subject] || f.ids.In(failed.Cause) {
			f.Failures = append(f.Failures, failed)
		}
	}
	return nil
}

func (s Search) findJobs(ctx context.Context, f *matches) (err error) {
	f.Jobs, err = s.Jobs.IDsOf(ctx, func(subject string) bool { return f.subjects[subject] })
	return err
}

func (s Search) findRecords(ctx context.Context, f *matches) error {
	log := audit.In(s.In)
	searches := []iter.Seq2[audit.Record, error]{s.Index.records(ctx, f.ids)}
	for _, v := range f.visitors {
		if v != "" {
			searches = append(searches, log.Search(ctx, audit.Filter{Visitor: v}, math.MaxInt64))
		}
	}
	for _, c := range slices.Collect(maps.Keys(f.subjects)) {
		if c != "" {
			searches = append(searches, log.Search(ctx, audit.Filter{Card: c}, math.MaxInt64))
		}
	}
	for c := range f.chats {
		searches = append(searches, log.OfChat(ctx, c[1]))
	}
	for _, search := range searches {
		for r, err := range search {
			if err != nil {
				return err
			}
			if f.match(r) {
				f.Records = append(f.Records, r.Seq)
			}
		}
	}
	slices.Sort(f.Records)
	f.Records = slices.Compact(f.Records)
	return nil
}

// match reports whether an audit record is about the person and not erased yet.
func (f *matches) match(r audit.Record) bool {
	if r.Erased || r.Action == audit.ActionErased || r.Action == audit.ActionTrimmed {
		return false
	}
	return r.Card != "" && f.subjects[r.Card] || r.Visitor != "" && slices.Contains(f.visitors, r.Visitor) ||
		f.chats[[2]string{r.Connector, r.Chat}] || f.ids.In(r.Detail)
}

// records yields the audit records whose details may mention one of the ids. Among them are all that do.
func (x Index) records(ctx context.Context, ids mention.IDs) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		hashes, indexed, err := x.lookUps(ctx, ids)
		if err != nil {
			yield(audit.Record{}, err)
			return
		}
		log := audit.In(x.in)
		for r, err := range log.After(ctx, indexed) {
			if !yield(r, err) {
				return
			}
		}
		found, err := x.indexed(ctx, auditRef, hashes)
		if err != nil {
			yield(audit.Record{}, err)
			return
		}
		for _, id := range found {
			seq, err := strconv.ParseInt(id, 10, 64)
			var r audit.Record
			ok := false
			if err == nil {
				r, ok, err = log.Record(ctx, seq)
			}
			if err != nil || ok {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}
