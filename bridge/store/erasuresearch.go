package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/mention"
)

// An ErasureQuery says how to find a person's data in the store.
type ErasureQuery struct {
	// Cards are the person's cards. Their posts and waits are found with them.
	Cards []Card
	// Visitors are ids of visitors in audit records.
	Visitors []string
	// IDs are searched for in deliveries, in the errors of jobs, and in the Detail
	// of audit records.
	IDs []string
	// Deliveries are ids of deliveries about the person.
	Deliveries []string
}

// ErasureMatches are the rows about a person in the store: ids, and the Seqs of audit records.
type ErasureMatches struct {
	Cards, Deliveries []string
	Jobs, Records     []int64
	Failures          []jobs.Failure
}

// Removed counts what Erase would remove, without the posts and waits of cards.
func (r ErasureMatches) Removed() Removed {
	return Removed{
		Cards: int64(len(r.Cards)), Deliveries: int64(len(r.Deliveries)), Jobs: int64(len(r.Jobs)), Records: int64(len(r.Records)),
	}
}

// Empty reports whether no row was found.
func (r ErasureMatches) Empty() bool { return r.Removed() == Removed{} && len(r.Failures) == 0 }

// Cards returns at most 100 cards whose ids come after the given id, in the order of their ids.
func (s *Store) Cards(ctx context.Context, after string) ([]Card, error) {
	return s.selectCards(ctx, "cards", queryCards, after)
}

// FindForErasure searches the whole store for the rows that q describes.
func (s *Store) FindForErasure(ctx context.Context, q ErasureQuery) (ErasureMatches, error) {
	f := newErasureSearch(q)
	// This order matters: the errors of a job may show that its delivery is about the person,
	// and then all jobs of that delivery are.
	for _, find := range []func(context.Context, *erasureSearch) error{s.findErrors, s.findDeliveries, s.findJobs, s.findFailures, s.findRecords} {
		if err := find(ctx, f); err != nil {
			return ErasureMatches{}, fmt.Errorf("store: find: %w", err)
		}
	}
	return f.ErasureMatches, nil
}

// An erasureSearch is a running search for a person's data.
type erasureSearch struct {
	ErasureMatches
	ids      mention.IDs
	visitors []string
	chats    map[[2]string]bool // connector and chat
	subjects map[string]bool    // of jobs: ids of cards and deliveries
}

func newErasureSearch(q ErasureQuery) *erasureSearch {
	f := &erasureSearch{visitors: q.Visitors, chats: map[[2]string]bool{}, subjects: map[string]bool{}}
	ids := slices.Clone(q.IDs)
	for _, c := range q.Cards {
		f.Cards = append(f.Cards, c.ID)
		f.subjects[c.ID] = true
		f.chats[[2]string{c.Connector, c.Chat}] = true
		ids = append(ids, c.Chat)
	}
	for _, id := range q.Deliveries {
		f.subjects[id] = true
	}
	f.ids = mention.Of(ids)
	return f
}

func (s *Store) findDeliveries(ctx context.Context, f *erasureSearch) error {
	for after := ""; ; {
		part, err := s.deliveriesAfter(ctx, after)
		if err != nil || len(part) == 0 {
			return err
		}
		for _, d := range part {
			if f.subjects[d.ID] || f.ids.In(d.Key) || len(d.Body) > 0 && f.ids.In(string(bytes.ToValidUTF8(d.Body, nil))) {
				f.Deliveries = append(f.Deliveries, d.ID)
				f.subjects[d.ID] = true
			}
			after = d.ID
		}
	}
}

func (s *Store) deliveriesAfter(ctx context.Context, after string) (part []Delivery, err error) {
	rows, err := s.engine.Query(ctx, queryDeliveries, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d Delivery
		var body []byte
		if err := rows.Scan(&d.ID, &d.Connector, &d.Key, &body); err != nil {
			return nil, err
		}
		if body != nil {
			if d.Body, err = s.sealer.Open(purposeBody, body, d.Connector, d.ID); err != nil {
				return nil, fmt.Errorf("delivery %s: %w", d.ID, err)
			}
		}
		part = append(part, d)
	}
	return part, rows.Err()
}

func (s *Store) findErrors(ctx context.Context, f *erasureSearch) error {
	for j, err := range s.jobs.All(ctx) {
		if err != nil {
			return err
		}
		for _, e := range j.Errors {
			if f.ids.In(e.Error) {
				f.subjects[j.Job.Subject] = true
			}
		}
	}
	for failed, err := range s.jobs.Failures(ctx) {
		if err != nil {
			return err
		}
		if failed.Subject != "" && f.ids.In(failed.Cause) {
			f.subjects[failed.Subject] = true
		}
	}
	return nil
}

func (s *Store) findFailures(ctx context.Context, f *erasureSearch) error {
	for failed, err := range s.jobs.Failures(ctx) {
		if err != nil {
			return err
		}
		if f.subjects[failed.Subject] || f.ids.In(failed.Cause) {
			f.Failures = append(f.Failures, failed)
		}
	}
	return nil
}

func (s *Store) findJobs(ctx context.Context, f *erasureSearch) error {
	for j, err := range s.jobs.All(ctx) {
		if err != nil {
			return err
		}
		if f.subjects[j.Job.Subject] {
			f.Jobs = append(f.Jobs, j.ID)
		}
	}
	return nil
}

func (s *Store) findRecords(ctx context.Context, f *erasureSearch) error {
	for r, err := range s.AuditLog().After(ctx, 0) {
		if err != nil {
			return err
		}
		if r.Erased || r.Action == audit.ActionErased || r.Action == audit.ActionTrimmed {
			continue
		}
		if r.Card != "" && f.subjects[r.Card] || r.Visitor != "" && slices.Contains(f.visitors, r.Visitor) ||
			f.chats[[2]string{r.Connector, r.Chat}] || f.ids.In(r.Detail) {
			f.Records = append(f.Records, r.Seq)
		}
	}
	return nil
}
