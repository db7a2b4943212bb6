package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Trace is what leads to somebody in the store.
type Trace struct {
	// Cards are removed with all that hangs on them.
	Cards []Card
	// Visitors are ids of visitors in audit records.
	Visitors []string
	// Words are the ids that may stand in deliveries, in the errors of jobs, and
	// in the words of audit records.
	Words []string
	// Deliveries are ids of deliveries that are known to be about them.
	Deliveries []string
}

// Remains is what of somebody is in the store.
type Remains struct {
	cards      []string
	deliveries []string
	jobs       []int64
	records    []int64
}

// Removed counts what would be removed, but for what hangs on cards.
func (r Remains) Removed() Removed {
	return Removed{
		Cards: int64(len(r.cards)), Deliveries: int64(len(r.deliveries)), Jobs: int64(len(r.jobs)), Records: int64(len(r.records)),
	}
}

// Empty reports whether nothing is there.
func (r Remains) Empty() bool { return r.Removed() == Removed{} }

// Cards returns the cards whose ids come after the given one, by id and at most a
// hundred.
func (s *Store) Cards(ctx context.Context, after string) ([]Card, error) {
	return s.cards(ctx, "cards", queryCards, after)
}

// Find looks through the whole store for what a trace leads to.
func (s *Store) Find(ctx context.Context, t Trace) (Remains, error) {
	f := newFind(t)
	// What a job's errors say may lead to a delivery, which may have other jobs.
	for _, look := range []func(context.Context, *find) error{s.findErrors, s.findDeliveries, s.findJobs, s.findRecords} {
		if err := look(ctx, f); err != nil {
			return Remains{}, fmt.Errorf("store: find: %w", err)
		}
	}
	return f.Remains, nil
}

// A find is a search for the traces of somebody.
type find struct {
	Remains
	words    []string
	visitors []string
	chats    map[[2]string]bool // connector and chat
	subjects map[string]bool    // of jobs: ids of cards and deliveries
}

func newFind(t Trace) *find {
	f := &find{visitors: t.Visitors, chats: map[[2]string]bool{}, subjects: map[string]bool{}}
	words := slices.Clone(t.Words)
	for _, c := range t.Cards {
		f.cards = append(f.cards, c.ID)
		f.subjects[c.ID] = true
		f.chats[[2]string{c.Connector, c.Chat}] = true
		words = append(words, c.Chat)
	}
	for _, id := range t.Deliveries {
		f.subjects[id] = true
	}
	for _, w := range words {
		if w == "" {
			continue
		}
		f.words = append(f.words, w)
		if quoted, err := json.Marshal(w); err == nil && string(quoted[1:len(quoted)-1]) != w {
			f.words = append(f.words, string(quoted[1:len(quoted)-1]))
		}
	}
	return f
}

// names reports whether a text has one of the words in it.
func (f *find) names(text string) bool {
	return slices.ContainsFunc(f.words, func(w string) bool { return mentions(text, w) })
}

// A word of fewer than plain bytes, such as "42", counts only where it stands in
// quotes: it may be anything else.
const plain = 6

// mentions reports whether word stands in text and is no part of a longer one.
func mentions(text, word string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		before, after := byte(' '), byte(' ')
		if i > 0 {
			before = text[i-1]
		}
		if end := i + len(word); end < len(text) {
			after = text[end]
		}
		switch {
		case before == '"' && (after == '"' || after == '\\'):
			return true
		case len(word) >= plain && !inWord(before) && !inWord(after):
			return true
		}
		from = i + 1
	}
}

func inWord(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (s *Store) findDeliveries(ctx context.Context, f *find) error {
	for after := ""; ; {
		part, err := s.deliveriesAfter(ctx, after)
		if err != nil || len(part) == 0 {
			return err
		}
		for _, d := range part {
			if f.subjects[d.ID] || f.names(d.Key) || len(d.Body) > 0 && f.names(string(bytes.ToValidUTF8(d.Body, nil))) {
				f.deliveries = append(f.deliveries, d.ID)
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

func (s *Store) findErrors(ctx context.Context, f *find) error {
	for j, err := range s.jobs(ctx, nil) {
		if err != nil {
			return err
		}
		for _, e := range j.Errors {
			if f.names(e.Error) {
				f.subjects[j.subject] = true
			}
		}
	}
	return nil
}

func (s *Store) findJobs(ctx context.Context, f *find) error {
	for j, err := range s.jobs(ctx, nil) {
		if err != nil {
			return err
		}
		if f.subjects[j.subject] {
			f.jobs = append(f.jobs, j.ID)
		}
	}
	return nil
}

func (s *Store) findRecords(ctx context.Context, f *find) error {
	for r, err := range s.Audit(ctx, 0) {
		if err != nil {
			return err
		}
		if r.Erased || r.Action == ActionErased || r.Action == ActionTrimmed {
			continue
		}
		if r.Card != "" && f.subjects[r.Card] || r.Visitor != "" && slices.Contains(f.visitors, r.Visitor) ||
			f.chats[[2]string{r.Connector, r.Chat}] || f.names(r.Detail) {
			f.records = append(f.records, r.Seq)
		}
	}
	return nil
}
