package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
)

// failed returns all failures as "kind subject attempts cause", the ones that are tried again
// with the word "again".
func failed(t *testing.T, s *Store) (all []string) {
	t.Helper()
	n := 0
	for f, err := range s.jobs.Failures(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s %s %d %s", f.Kind, f.Subject, f.Attempts, f.Cause)
		if !f.Next.IsZero() {
			text += " again"
		}
		if f.First.IsZero() || f.Last.Before(f.First) {
			t.Errorf("it failed from %v to %v", f.First, f.Last)
		}
		all = append(all, text)
		n++
	}
	counts, err := s.jobs.FailureCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		n -= c.N
	}
	if n != 0 {
		t.Errorf("%d failures are listed, but the counts are %+v", len(all), counts)
	}
	return all
}

func wantFailed(t *testing.T, s *Store, want ...string) {
	t.Helper()
	if got := failed(t, s); !slices.Equal(got, want) {
		t.Errorf("failed %q, want %q", got, want)
	}
}

func TestPromise13EveryJobThatFailedIsListedUntilItSucceeds(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		causes := map[string]error{
			"a": jobs.Cancel(errors.New("no such room")), "b": errors.New("no answer"), "c": jobs.Snooze(errors.New("too many requests"), time.Hour), "d": nil,
			"e": jobs.Snooze(errors.New("held by another worker"), time.Millisecond),
		}
		var all []jobs.Job
		for subject := range causes {
			all = append(all, jobs.Job{Kind: "show", Subject: subject})
		}
		if err := s.Commit(ctx, Change{Jobs: append(all, jobs.Job{Kind: "panic", Subject: "f"})}); err != nil {
			t.Fatal(err)
		}
		ran := map[string]bool{}
		runJobs(t, s, 6, func(_ context.Context, j jobs.Job) error {
			if ran[j.Subject] {
				return errors.New("it ran twice")
			}
			ran[j.Subject] = true
			if j.Kind == "panic" {
				panic("secret")
			}
			return causes[j.Subject]
		})
		wantFailed(t, s, "show a 1 no such room", "show b 1 no answer again", "show c 1 too many requests again", `panic f 1 job "panic" panicked again`)

		// A later job about the same card resolves the failure.
		if err := s.Commit(ctx, Change{Jobs: []jobs.Job{{Kind: "show", Subject: "a"}}}); err != nil {
			t.Fatal(err)
		}
		runJobs(t, s, 2, func(context.Context, jobs.Job) error { return nil }) // e as well
		wantFailed(t, s, "show b 1 no answer again", "show c 1 too many requests again", `panic f 1 job "panic" panicked again`)

		for _, id := range []string{"b", "c", "f"} {
			if err := s.Retry(ctx, id, "operator:ann"); err != nil {
				t.Fatal(err)
			}
		}
		runJobs(t, s, 3, func(context.Context, jobs.Job) error { return nil })
		wantFailed(t, s)
	})
}

func TestFailedJobsAreAllRetriedAtOnceWithAllTheirAttempts(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		const n = 210 // more than one transaction
		var all []jobs.Job
		for i := range n {
			all = append(all, jobs.Job{Kind: "show", Subject: fmt.Sprint(i), Step: 7})
		}
		if err := s.Commit(ctx, Change{Jobs: all}); err != nil {
			t.Fatal(err)
		}
		runJobs(t, s, n, func(context.Context, jobs.Job) error { return jobs.Cancel(errors.New("the channel is archived")) })
		if got := len(failed(t, s)); got != n {
			t.Fatalf("%d failures, want %d", got, n)
		}
		if retried, err := s.RetryAll(ctx, "operator:ann"); err != nil || retried != n {
			t.Fatalf("%d were retried: %v", retried, err)
		}
		if retried, err := s.RetryAll(ctx, "operator:ann"); err != nil || retried != 0 {
			t.Errorf("%d were retried again: %v", retried, err)
		}
		if got := failed(t, s); len(got) != n || !strings.HasSuffix(got[0], " again") {
			t.Errorf("until they succeed, %q are listed", got)
		}
		runJobs(t, s, n, func(_ context.Context, j jobs.Job) error {
			if j.Attempt != 1 || j.Step != 7 {
				t.Errorf("retried as %+v", j)
			}
			return nil
		})
		wantFailed(t, s)
	})
}

func TestDismissedFailuresAreNotListedAndTheirDeliveriesAreFinished(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		ids := storeDeliveries(t, s, 2)
		receipt, err := NewReceipt()
		if err != nil {
			t.Fatal(err)
		}
		receipt.State, receipt.Subject = ErasurePending, []byte("who")
		if err := s.SaveReceipt(ctx, &receipt, jobs.Job{Kind: "erase", Subject: receipt.ID}); err != nil {
			t.Fatal(err)
		}
		runJobs(t, s, 3, func(_ context.Context, j jobs.Job) error {
			if j.Subject == ids[1] {
				return errors.New("no answer")
			}
			return jobs.Cancel(errors.New("refused"))
		})
		for _, id := range []string{ids[0], receipt.ID} {
			if err := s.Dismiss(ctx, id, "operator:ann"); err != nil {
				t.Fatal(err)
			}
			if err := s.Dismiss(ctx, id, "operator:ann"); !errors.Is(err, ErrDone) && !errors.Is(err, ErrNotFound) {
				t.Errorf("a second time: %v", err)
			}
		}
		if err := s.Dismiss(ctx, ids[1], "operator:ann"); !errors.Is(err, ErrLeased) {
			t.Errorf("a delivery that is tried again: %v", err)
		}
		wantFailed(t, s, "answer "+ids[1]+" 1 no answer again")
		if d, err := s.DeliveryStatus(ctx, ids[0]); err != nil || d.State != DeliveryDone {
			t.Errorf("the dismissed delivery is %s: %v", d.State, err)
		}
		if r, err := s.Receipt(ctx, receipt.ID); err != nil || r.Subject != nil || r.State != ErasureFailed || r.Retryable() {
			t.Errorf("the dismissed erasure still names %q, or waits: %s, %v", r.Subject, r.State, err)
		}
		var audited []string
		for r, err := range s.AuditLog().After(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			audited = append(audited, r.Action+" "+r.Detail+" by "+r.Agent)
		}
		want := []string{"dismissed answer " + ids[0] + " by operator:ann", "dismissed erase " + receipt.ID + " by operator:ann"}
		if !slices.Equal(audited, want) {
			t.Errorf("audited %q, want %q", audited, want)
		}
	})
}

func TestFailuresOfPeriodicWorkAreListedOnAllReplicas(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		other := s
		if strings.Contains(t.Name(), "postgres") {
			other = open(Options{})
		}
		sweep, err := s.Sweeps().Start(ctx, "slack", time.Minute, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sweeps().End(ctx, sweep, false, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		f := jobs.Failure{Queue: "slack", Kind: "sweep", Next: time.Now().Add(time.Hour), Cause: "slack: no answer"}
		for range 2 {
			if err := s.jobs.Note(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		wantFailed(t, other, "sweep  2 slack: no answer again")
		if err := other.Retry(ctx, f.ID(), "operator:ann"); err != nil {
			t.Fatal(err)
		}
		if due, err := s.Sweeps().Due(ctx, "slack", time.Minute); err != nil || due.After(time.Now()) {
			t.Errorf("after the retry the sweep is due at %v: %v", due, err)
		}
		if err := other.jobs.Resolve(ctx, "slack", "sweep", ""); err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s)
		if err := s.Retry(ctx, f.ID(), "operator:ann"); !errors.Is(err, ErrNotFound) {
			t.Errorf("retry of what has not failed: %v", err)
		}
	})
}

func TestAnAttemptAtAJobEndsAsRiverGoesOn(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	failed := errors.New("the service answered 500")
	for name, c := range map[string]struct {
		attempts int // before this one
		err      error
		want     jobs.Outcome
		state    string
	}{
		"it worked":                 {0, nil, jobs.Done, "completed"},
		"an attempt failed":         {0, failed, jobs.Again, "available"}, // due soon
		"the last attempt failed":   {724, failed, jobs.Failed, "discarded"},
		"it can never work":         {0, jobs.Cancel(failed), jobs.Failed, "cancelled"},
		"the service asked to wait": {724, jobs.Snooze(failed, time.Minute), jobs.Waits, "scheduled"},
		"another worker was faster": {0, jobs.Snooze(failed, 250*time.Millisecond), jobs.Waits, "available"},
	} {
		exec(t, s, `DELETE FROM river_job`)
		if err := s.Commit(t.Context(), Change{Jobs: []jobs.Job{{Kind: "show", Subject: "a"}}}); err != nil {
			t.Fatal(err)
		}
		exec(t, s, fmt.Sprintf(`UPDATE river_job SET attempt = %d`, c.attempts))
		var id int64
		ends := runJobs(t, s, 1, func(_ context.Context, j jobs.Job) error { id = j.ID; return c.err })
		if state := jobState(t, s, id); !slices.Equal(ends, []jobs.Outcome{c.want}) || state != c.state {
			t.Errorf("%s: ends %q, and the job is %s; want %s and %s", name, ends, state, c.want, c.state)
		}
	}
}

func TestAJobIsNotPostponedForEver(t *testing.T) {
	t.Parallel()
	file := newDatabase(t, "sqlite")
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, file, Options{})
		if err := s.Commit(t.Context(), Change{Jobs: []jobs.Job{{Kind: "show", Subject: "a"}}}); err != nil {
			t.Fatal(err)
		}
		attempt := func() (river string) {
			ends := runJobs(t, s, 1, func(context.Context, jobs.Job) error {
				return jobs.Snooze(errors.New("too many requests"), 7*time.Hour)
			})
			return fmt.Sprint(ends[0], ": ", failed(t, s)[0])
		}
		for n := range 4 {
			if got, want := attempt(), fmt.Sprintf("waits: show a %d too many requests again", n+1); got != want {
				t.Errorf("after %d hours: %s, want %s", 7*n, got, want)
			}
			<-time.After(7*time.Hour + time.Minute)
		}
		if got, want := attempt(), "failed: show a 5 too many requests"; got != want {
			t.Errorf("after 28 hours: %s, want %s", got, want)
		}
		if err := s.Retry(t.Context(), "a", "operator:ann"); err != nil {
			t.Fatal(err)
		}
		if got, want := attempt(), "waits: show a 6 too many requests again"; got != want {
			t.Errorf("after a retry: %s, want %s", got, want)
		}
	})
}

func TestAJobThatIsOldWhenItIsTriedFirstIsPostponed(t *testing.T) {
	t.Parallel()
	file := newDatabase(t, "sqlite")
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, file, Options{})
		if err := s.Commit(t.Context(), Change{Jobs: []jobs.Job{{Kind: "show", Subject: "a"}, {Kind: "show", Subject: "b"}}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(60 * time.Hour) // the bridge is stopped for a weekend
		runJobs(t, s, 2, func(_ context.Context, j jobs.Job) error {
			if j.Subject == "a" {
				return jobs.Snooze(errors.New("another worker holds the post"), 250*time.Millisecond)
			}
			return jobs.Snooze(errors.New("too many requests"), time.Minute)
		})
		if got, want := failed(t, s), []string{"show b 1 too many requests again"}; !slices.Equal(got, want) {
			t.Errorf("failed %q, want %q", got, want)
		}
		<-time.After(2 * time.Minute)
		runJobs(t, s, 2, func(context.Context, jobs.Job) error { return nil })
		if got := failed(t, s); len(got) != 0 {
			t.Errorf("failed %q after both were done", got)
		}
	})
}

func TestAFailureThatCannotBeNotedIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	exec(t, s, "CREATE TRIGGER refuse BEFORE INSERT ON failures BEGIN SELECT RAISE(ABORT, 'refused'); END")
	if err := s.Commit(t.Context(), Change{Jobs: []jobs.Job{{Kind: "show", Subject: "a"}}}); err != nil {
		t.Fatal(err)
	}
	ends := runJobs(t, s, 1, func(context.Context, jobs.Job) error { return jobs.Cancel(errors.New("refused")) })
	if ends[0] != jobs.Waits {
		t.Errorf("the attempt counts as %s", ends[0])
	}
	for j, err := range s.jobs.All(t.Context()) {
		if err != nil || j.FinalizedAt != nil {
			t.Errorf("the job is %s, and nothing lists it: %v", j.State, err)
		}
	}
}

func TestDeliveriesThatAnEarlierVersionGaveUpAreListed(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		ids := storeDeliveries(t, s, 2)
		runJobs(t, s, 2, func(_ context.Context, j jobs.Job) error {
			if j.Subject == ids[0] {
				return jobs.Cancel(errors.New("no such room"))
			}
			return errors.New("no answer")
		})
		exec(t, s, "DELETE FROM failures WHERE cause <> ''")
		if err := s.noteEarlier(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s, "answer "+ids[0]+" 1 no such room")
		for j, err := range s.jobs.All(t.Context()) {
			if err != nil || (j.FinalizedAt == nil) != (j.Job.Subject == ids[1]) {
				t.Errorf("%+v is %s: %v", j.Job, j.State, err)
			}
		}
	})
}

func TestFailuresArePurgedAndErased(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		ids := storeDeliveries(t, s, 1)
		for _, f := range []jobs.Failure{
			{Queue: "c", Kind: "answer", Subject: ids[0], Cause: "no answer"}, {Queue: "c", Kind: "show", Subject: "card-of-someone", Cause: "no answer"},
			{Queue: "c", Kind: "sweep", Cause: "the chat of customer-4711 has no agent"}, {Queue: "d", Kind: "sweep", Cause: "no answer"},
		} {
			if err := s.jobs.Note(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		found, err := s.FindForErasure(ctx, ErasureQuery{Deliveries: ids, IDs: []string{"customer-4711"}})
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := NewReceipt()
		if err != nil {
			t.Fatal(err)
		}
		receipt.State = ErasureDone
		if err := s.Erase(ctx, found, &receipt, "operator:ann"); err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s, "sweep  1 no answer", "show card-of-someone 1 no answer")

		for _, keep := range []time.Duration{0, 2 * time.Hour} {
			if err := s.Purge(ctx, time.Now().Add(time.Hour), Retention{Failed: keep}); err != nil || len(failed(t, s)) != 2 {
				t.Errorf("with %v, %q are kept: %v", keep, failed(t, s), err)
			}
		}
		pending, err := NewReceipt()
		if err != nil {
			t.Fatal(err)
		}
		pending.State, pending.Subject = ErasureFailed, []byte("who")
		if err := errors.Join(s.SaveReceipt(ctx, &pending), s.jobs.Note(ctx, jobs.Failure{Queue: "erasures", Kind: "erase", Subject: pending.ID, Cause: "online"})); err != nil {
			t.Fatal(err)
		}
		if err := s.Purge(ctx, time.Now().Add(time.Hour), Retention{Failed: time.Minute}); err != nil {
			t.Fatal(err)
		}
		wantFailed(t, s, "erase "+pending.ID+" 1 online")
	})
}
