package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// A Stored is a job of the bridge as River stores it.
type Stored struct {
	*rivertype.JobRow
	Job Job // without At, Attempt and Last
}

// All yields all jobs, the oldest first.
func (b *Board) All(ctx context.Context) iter.Seq2[Stored, error] {
	return b.list(ctx, river.NewJobListParams())
}

// Of yields the jobs with a subject, the oldest first.
func (b *Board) Of(ctx context.Context, subject string) iter.Seq2[Stored, error] {
	return b.list(ctx, river.NewJobListParams().Where("args ->> 'subject' = @subject", river.NamedArgs{"subject": subject}))
}

// WithIDs yields those of the jobs that exist, the oldest first.
func (b *Board) WithIDs(ctx context.Context, ids []int64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for part := range slices.Chunk(ids, 500) {
			for j, err := range b.list(ctx, river.NewJobListParams().IDs(part...)) {
				if !yield(j, err) {
					return
				}
			}
		}
	}
}

// WithErrors yields the jobs that failed at least once, the oldest first.
func (b *Board) WithErrors(ctx context.Context) iter.Seq2[Stored, error] {
	return b.list(ctx, river.NewJobListParams().Where("errors IS NOT NULL"))
}

// IDsOf returns the ids of all jobs whose subjects are wanted, the oldest first.
func (b *Board) IDsOf(ctx context.Context, wanted func(subject string) bool) (ids []int64, err error) {
	for after, more := int64(0), true; more; {
		rows, err := b.engine.Query(ctx, queryJobSubjects, after)
		if err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		for more = false; rows.Next(); more = true {
			var subject sql.NullString
			if err = rows.Scan(&after, &subject); err != nil {
				break
			}
			if subject.Valid && wanted(subject.String) {
				ids = append(ids, after)
			}
		}
		rows.Close()
		if err = errors.Join(err, rows.Err()); err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
	}
	return ids, nil
}

// GivenUp yields the jobs that River does not try again, the oldest first.
func (b *Board) GivenUp(ctx context.Context) iter.Seq2[Stored, error] {
	return b.list(ctx, river.NewJobListParams().States(rivertype.JobStateCancelled, rivertype.JobStateDiscarded))
}

func (b *Board) list(ctx context.Context, p *river.JobListParams) iter.Seq2[Stored, error] {
	p = p.First(1000)
	return func(yield func(Stored, error) bool) {
		for page := p; ; {
			part, err := b.engine.Jobs(ctx, page)
			if err != nil {
				yield(Stored{}, err)
				return
			}
			for _, row := range part.Jobs {
				var args jobArgs
				if err := json.Unmarshal(row.EncodedArgs, &args); err != nil {
					yield(Stored{}, fmt.Errorf("job %d: %w", row.ID, err))
					return
				}
				if !yield(Stored{row, Job{ID: row.ID, Queue: row.Queue, Kind: args.Name, Subject: args.Subject, Step: args.Step}}, nil) {
					return
				}
			}
			if len(part.Jobs) == 0 {
				return
			}
			page = p.After(part.LastCursor) // p, not page: JobList changes the cursor of page
		}
	}
}

// An Attempt is one failed attempt to handle a delivery.
type Attempt struct {
	Number int       `json:"attempt"`
	At     time.Time `json:"at"`
	Error  string    `json:"error"`
}

// Failed returns the failed attempts of a job, the latest last.
func (j Stored) Failed() (all []Attempt) {
	for _, e := range j.Errors {
		all = append(all, Attempt{e.Attempt, e.At, attemptText(e)})
	}
	return all
}

// attemptText returns an error as the Handler returned it, without River's prefix for Cancel.
func attemptText(e rivertype.AttemptError) string {
	return strings.TrimPrefix(e.Error, "JobCancelError: ")
}
