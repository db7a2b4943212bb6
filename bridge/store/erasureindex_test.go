package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

// detailHashes returns a hash for each word of a card's detail.
func detailHashes(c Card) (hashes []int64, err error) {
	for word := range strings.FieldsSeq(string(c.Detail)) {
		h := fnv.New64a()
		h.Write([]byte(word))
		hashes = append(hashes, int64(h.Sum64()>>1))
	}
	return hashes, nil
}

func hashesOf(t *testing.T, words string) []int64 {
	t.Helper()
	hashes, err := detailHashes(Card{Detail: []byte(words)})
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

func index(t *testing.T, s *Store) {
	t.Helper()
	if err := s.IndexForErasure(t.Context(), detailHashes); err != nil {
		t.Fatal(err)
	}
}

// cardsWith returns the ids of the cards in whose details a search finds the word.
func cardsWith(t *testing.T, s *Store, word string) (ids []string) {
	t.Helper()
	for c, err := range s.CardsForErasure(t.Context(), hashesOf(t, word)) {
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(strings.Fields(string(c.Detail)), word) {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// aPerson writes a card, a finished delivery and an audit record about a person, and each also about
// somebody else.
func aPerson(t *testing.T, s *Store, person string) (delivery string) {
	t.Helper()
	for _, name := range []string{person, "another-of-" + person} {
		card := Card{ID: "card-" + name, Connector: "c", Chat: "chat-" + name, Detail: []byte(name + " " + name + "-mail")}
		delivery = arrive(t, s, Delivery{Connector: "c", Key: "Taken/" + name + "/77", Body: []byte(`{}`)})
		commit(t, s, Change{Card: &card, Finish: delivery, Audit: []audit.Entry{{Action: "disconnected", Agent: "a", Detail: `"` + name + `" of b`}}})
		if name == person {
			defer func(id string) { delivery = id }(delivery)
		}
	}
	return delivery
}

// wantFound fails unless a search finds the rows of aPerson, and no other.
func wantFound(t *testing.T, s *Store, when, person string, cards int) {
	t.Helper()
	if ids := cardsWith(t, s, person+"-mail"); len(ids) != cards || cards == 1 && ids[0] != "card-"+person {
		t.Errorf("%s: found the cards %q", when, ids)
	}
	found, err := s.FindForErasure(t.Context(), ErasureQuery{IDs: []string{person}})
	if err != nil || len(found.Deliveries) != 1 || len(found.Records) != 1 {
		t.Errorf("%s: found %+v, %v", when, found, err)
	}
}

func TestAnErasureFindsRowsInTheIndexAndBeforeTheyAre(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		aPerson(t, s, "first-person")
		wantFound(t, s, "before any row was indexed", "first-person", 1)
		index(t, s)
		aPerson(t, s, "second-person")
		wantFound(t, s, "in the index", "first-person", 1)
		wantFound(t, s, "not in the index", "second-person", 1)
		if n := number(t, s, `SELECT count(*) FROM erasure_index`); n == 0 {
			t.Error("the index is empty")
		}
		index(t, s)
		wantFound(t, s, "in the index", "second-person", 1)
		if n := number(t, s, `SELECT count(*) FROM cards WHERE indexed <> version`); n != 0 {
			t.Errorf("%d cards are not in the index", n)
		}
		c := &counter{Engine: s.engine}
		s.engine = c
		index(t, s)
		for _, statement := range c.statements {
			if verb, _, _ := strings.Cut(statement, " "); verb != "SELECT" {
				t.Errorf("with nothing to do, it runs %s", statement)
			}
		}
	})
}

// A release without the index changes and adds rows while replicas of both run.
func TestRowsOfAReleaseWithoutTheIndexAreFound(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		aPerson(t, s, "the-person")
		index(t, s)
		// It adds another id to a card that is in the index.
		c, err := s.Card(ctx, "card-the-person")
		if err != nil {
			t.Fatal(err)
		}
		sealed := s.sealer.Seal(purposeCard, []byte("the-person the-person-mail later-id"), c.Connector, c.ID)
		exec(t, s, `UPDATE cards SET detail = $2, version = version + 1 WHERE id = $1`, c.ID, sealed)
		for _, when := range []string{"before the index has it", "in the index"} {
			if ids := cardsWith(t, s, "later-id"); len(ids) != 1 {
				t.Errorf("%s: found the cards %q", when, ids)
			}
			index(t, s)
		}
		// It deletes rows, and erases a record.
		for _, query := range []string{`DELETE FROM cards`, `UPDATE audit SET visitor = '', chat = '', detail = '', salt = NULL WHERE seq = 1`, `DELETE FROM audit WHERE seq = 2`} {
			exec(t, s, query)
		}
		if n := number(t, s, `SELECT count(*) FROM erasure_index`); n != 0 {
			t.Errorf("%d hashes of rows that are gone are left", n)
		}
	})
}

func TestAfterAChangeOfTheSecretTheIndexIsRewritten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		aPerson(t, s, "the-person")
		index(t, s)
		before := number(t, s, `SELECT count(*) FROM erasure_index`)
		s.Close()

		s = open(Options{Secret: secretB, OldSecret: secretA})
		wantFound(t, s, "with the hashes of the old secret", "the-person", 1)
		c := &counter{Engine: s.engine}
		s.engine = c
		wantFound(t, s, "with the hashes of the old secret", "the-person", 1)
		if slices.Contains(c.statements, queryCards) {
			t.Errorf("all rows are read: %q", c.statements)
		}
		s.engine = c.Engine
		index(t, s)
		wantFound(t, s, "rewritten", "the-person", 1)
		if n := number(t, s, `SELECT count(*) FROM erasure_index`); n != before {
			t.Errorf("%d hashes, want %d as before", n, before)
		}
		// The cards are still sealed with the old secret.
		for _, id := range []string{"card-the-person", "card-another-of-the-person"} {
			card, err := s.Card(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, s, Change{Card: &card})
		}
		index(t, s)
		s.Close()

		s = open(Options{Secret: secretB})
		wantFound(t, s, "without the old secret", "the-person", 1)
	})
}

func TestWithoutTheSecretOfTheIndexAllRowsAreRead(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		aPerson(t, s, "the-person")
		index(t, s)
		s.Close()
		s = open(Options{Secret: secretB}) // the old one was removed too early
		found, err := s.FindForErasure(t.Context(), ErasureQuery{IDs: []string{"the-person"}})
		if err != nil || len(found.Deliveries) != 1 || len(found.Records) != 1 {
			t.Errorf("found %+v, %v", found, err)
		}
		search := func(when string) {
			t.Helper()
			for _, err = range s.CardsForErasure(t.Context(), hashesOf(t, "the-person-mail")) {
				if err != nil {
					break
				}
			}
			if !errors.Is(err, ErrSealed) {
				t.Errorf("%s, cards that cannot be read do not fail the search: %v", when, err)
			}
		}
		search("before the index is rewritten")
		index(t, s)
		search("afterwards")
		if found, err := s.FindForErasure(t.Context(), ErasureQuery{IDs: []string{"the-person"}}); err != nil || len(found.Deliveries) != 1 || len(found.Records) != 1 {
			t.Errorf("found %+v, %v", found, err)
		}
	})
}

// A stopping engine fails all transactions but the first ones.
type stopping struct {
	engine.Engine
	left int
}

func (s *stopping) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	if s.left--; s.left < 0 {
		return engine.ErrFailed
	}
	return s.Engine.Write(ctx, locks, f)
}

func TestTheIndexContinuesAfterARestart(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		aPerson(t, s, "the-person")
		for i := range 101 {
			card := Card{ID: fmt.Sprint("other", i), Connector: "c", Chat: fmt.Sprint(i), Detail: []byte("other")}
			commit(t, s, Change{Card: &card, Finish: arrive(t, s, Delivery{Connector: "c", Key: fmt.Sprint("key-", i)}), Audit: []audit.Entry{{Action: "asked", Agent: "a", Detail: "unique id"}}})
		}
		for _, secrets := range []Options{{Secret: secretA}, {Secret: secretB, OldSecret: secretA}} {
			rounds := 0
			for done := false; !done; rounds++ {
				s.Close()
				s = open(secrets)
				stopped := &stopping{s.engine, rounds}
				s.engine = stopped
				err := s.IndexForErasure(t.Context(), detailHashes)
				if done = err == nil; !done && !errors.Is(err, engine.ErrFailed) {
					t.Fatal(err)
				}
				s.engine = stopped.Engine
				wantFound(t, s, fmt.Sprintf("after %d transactions", rounds), "the-person", 1)
			}
			if rounds < 3 {
				t.Errorf("it was stopped %d times", rounds)
			}
		}
	})
}

// rowCounter counts the statements and the rows that they return.
type rowCounter struct {
	engine.Engine
	statements, rows int
}

type countedRows struct {
	engine.Rows
	n *int
}

func (r countedRows) Next() bool {
	next := r.Rows.Next()
	if next {
		*r.n++
	}
	return next
}

func (c *rowCounter) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	c.statements++
	rows, err := c.Engine.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return countedRows{rows, &c.rows}, nil
}

func (c *rowCounter) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	c.statements, c.rows = c.statements+1, c.rows+1
	return c.Engine.QueryRow(ctx, query, args...)
}

// addIndexed adds n closed cards with their audit records, as they are when the index has them.
func addIndexed(t testing.TB, s *Store, from, n int) {
	t.Helper()
	rows := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) ", from, from+n-1)
	id := "'00000000-' || CAST(i AS TEXT)"
	exec(t, s, `INSERT INTO cards (id, connector, kind, chat, episode, agent, visitor, state, version, generation, created, updated, door_until, indexed) `+
		rows+`SELECT `+id+`, 'c', 'chat', 'many-' || CAST(i AS TEXT), 1, 'a', 'v', 'closed', 1, 0, 1, 1, 1, 1 FROM n`)
	exec(t, s, `INSERT INTO audit (seq, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, prev, hash) `+
		rows+`SELECT 1000 + i, i, 'asked', 'a', 'v' || CAST(i AS TEXT), `+id+`, 'c', 'many-' || CAST(i AS TEXT), 'unique id', $1, $1, $1, $1 FROM n`, make([]byte, 32))
	exec(t, s, `INSERT INTO erasure_index (hash, ref) `+rows+`SELECT i, 'c' || `+id+` FROM n`)
	exec(t, s, `UPDATE audit_head SET seq = (SELECT max(seq) FROM audit)`)
	exec(t, s, `UPDATE erasure_index_state SET after = (SELECT CAST(max(seq) AS TEXT) FROM audit) WHERE part = 'audit'`)
}

func TestAnErasureReadsTheSameRowsOfASmallAndALargeDatabase(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		aPerson(t, s, "the-person")
		index(t, s)
		read := func() (statements, rows int) {
			t.Helper()
			c := &rowCounter{Engine: s.engine}
			s.engine = c
			defer func() { s.engine = c.Engine }()
			wantFound(t, s, "", "the-person", 1)
			card, err := s.Card(t.Context(), "card-the-person")
			if err != nil {
				t.Fatal(err)
			}
			found, err := s.FindForErasure(t.Context(), ErasureQuery{Cards: []Card{card}, Visitors: []string{"the-visitor"}, IDs: []string{"the-visitor"}})
			if err != nil || len(found.Cards) != 1 {
				t.Fatalf("found %+v, %v", found, err)
			}
			return c.statements, c.rows
		}
		addIndexed(t, s, 1, 1000)
		statements, rows := read()
		large := 100_000
		if testing.Short() {
			large = 10_000
		}
		addIndexed(t, s, 1001, large-1000)
		if moreStatements, moreRows := read(); moreStatements != statements || moreRows != rows {
			t.Errorf("with 1,000 cards %d statements read %d rows, and with %d cards %d statements read %d", statements, rows, large, moreStatements, moreRows)
		}
		if rows > 60 {
			t.Errorf("%d rows are read", rows)
		}
	})
}

func BenchmarkErasureOfOnePerson(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := openAt(b, newDatabase(b, "sqlite"), Options{})
			err := s.Commit(b.Context(), Change{Audit: []audit.Entry{{Action: "asked"}}})
			if err = errors.Join(err, s.IndexForErasure(b.Context(), detailHashes)); err != nil {
				b.Fatal(err)
			}
			addIndexed(b, s, 1, n)
			if err := s.RemoveDeletedData(b.Context()); err != nil { // or each read searches a long write-ahead log
				b.Fatal(err)
			}
			for b.Loop() {
				for _, err := range s.CardsForErasure(b.Context(), []int64{-1, 5}) {
					if err != nil {
						b.Fatal(err)
					}
				}
				if _, err := s.FindForErasure(b.Context(), ErasureQuery{Cards: []Card{{ID: "00000000-5", Connector: "c", Chat: "many-5"}}, IDs: []string{"the-visitor"}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestASearchInTheAuditLogReadsFewRecords(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		at := time.UnixMicro(5).UTC()
		commit(t, s, Change{Audit: []audit.Entry{{At: at, Action: "watching", Agent: "the-agent", Visitor: "the-visitor", Card: "the-card"}}})
		addIndexed(t, s, 10, 20_000)
		exec(t, s, `UPDATE audit SET at = seq * 60000000`) // a record a minute
		exec(t, s, "ANALYZE")
		for _, f := range []audit.Filter{
			{Agent: "the-agent"}, {Visitor: "the-visitor"}, {Card: "the-card"}, {Action: "watching"}, {Agent: "the-agent", Action: "watching"},
			{Until: time.UnixMicro(2 * 60000000)},
			{Agent: "nobody"}, {Visitor: "nobody", Action: "watching"},
		} {
			c := &rowCounter{Engine: s.engine}
			s.engine = c
			found := 0
			for r, err := range s.AuditLog().Search(t.Context(), f, 1<<62) {
				if err != nil {
					t.Fatal(err)
				}
				if found++; r.Seq != 1 {
					t.Errorf("%+v: found record %d", f, r.Seq)
				}
			}
			s.engine = c.Engine
			want := 1
			if f.Agent == "nobody" || f.Visitor == "nobody" {
				want = 0
			}
			// An hour of records may be out of order, which is about 60 here.
			if found != want || c.rows > 100 {
				t.Errorf("%+v: found %d records, and read %d rows in %d statements", f, found, c.rows, c.statements)
			}
		}
	})
}

func TestTheAuditLogIsSearchedThroughTheIndexOfAField(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	queries := queryConstants(t, "audit/queries.go")
	for name, index := range map[string]string{
		"queryAuditOfAgent": "audit_agent (agent=? AND seq<?)", "queryAuditOfAction": "audit_action (action=? AND seq<?)",
		"queryAuditVisitor": "audit_visitor (visitor=? AND seq<?)", "queryAuditOfCard": "audit_card (card=? AND seq<?)", "queryAuditOfChat": "audit_chat (chat=? AND seq<?)",
	} {
		if steps := plan(t, s, queries[name]); len(steps) != 1 || !strings.Contains(steps[0], "USING INDEX "+index) {
			t.Errorf("%s: %q", name, steps)
		}
	}
	for query, index := range map[string]string{
		queryUnindexedCards: "cards_unindexed",
		queryFinished:       "deliveries_finished", queryUnfinished: "deliveries_unfinished", queryNewestDelivery: "deliveries_unfinished", queryPurgeDead: "deliveries_unfinished",
	} {
		if steps := strings.Join(plan(t, s, query), "\n"); !strings.Contains(steps, "INDEX "+index) {
			t.Errorf("%s: %q", query, steps)
		}
	}
}

// A changeCounter is an engine that records how many rows each transaction changed.
type changeCounter struct {
	engine.Engine
	most int64
}

func (c *changeCounter) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	return c.Engine.Write(ctx, locks, func(ctx context.Context, tx engine.Tx) error {
		changes := &changesTx{Tx: tx}
		err := f(ctx, changes)
		c.most = max(c.most, changes.n)
		return err
	})
}

type changesTx struct {
	engine.Tx
	n int64
}

func (t *changesTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := t.Tx.Exec(ctx, query, args...)
	t.n += n
	return n, err
}

func (t *changesTx) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	rows, err := t.Tx.Query(ctx, query, args...)
	if err != nil || !strings.HasPrefix(query, "DELETE") {
		return rows, err
	}
	return &changedRows{rows, t}, nil
}

type changedRows struct {
	engine.Rows
	tx *changesTx
}

func (r *changedRows) Next() bool {
	next := r.Rows.Next()
	if next {
		r.tx.n++
	}
	return next
}

// Each transaction keeps other writers waiting.
func TestPurgesChangeFewRowsInATransaction(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		const n = 1200
		rows := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) ", n)
		id := "'00000000-' || CAST(i AS TEXT)"
		index(t, s)
		addIndexed(t, s, 1, n)
		for _, query := range []string{
			`INSERT INTO deliveries (id, connector, dedupe, received) ` + rows + `SELECT '0' || ` + id + `, 'd', CAST(i AS TEXT), 1 FROM n`,
			`INSERT INTO deliveries (id, connector, dedupe, received, finished) ` + rows + `SELECT '1' || ` + id + `, 'e', CAST(i AS TEXT), 1, 1 FROM n`,
			`INSERT INTO browsers (agent, browser, expires) ` + rows + `SELECT CAST(i AS TEXT), '', 1 FROM n`,
			`INSERT INTO sessions (token, data, expires) ` + rows + `SELECT CAST(i AS TEXT), '', 1 FROM n`,
			`INSERT INTO limits (subject, free) ` + rows + `SELECT CAST(CAST(i AS TEXT) AS ` + blob(t) + `), 1 FROM n`,
			`INSERT INTO sweeps (connector, round, began, ended, whole, held) VALUES ('c', 9, 1, 1, 1, 1)`,
			`INSERT INTO found (connector, what, round) ` + rows + `SELECT 'c', CAST(CAST(i AS TEXT) AS ` + blob(t) + `), 1 FROM n`,
			`INSERT INTO chat_changes (connector, chat, delivery, closed, agent) ` + rows + `SELECT 'c', 'chat', ` + id + `, FALSE, '' FROM n`,
			`INSERT INTO failures (subject, kind, queue, job, step, first_at, last_at, next_at, attempts, cause) ` + rows + `SELECT CAST(i AS TEXT), 'k', 'q', 0, 0, 1, 1, 1, 1, '' FROM n`,
			`INSERT INTO erasures (id, created, changed, state, removed, note) ` + rows + `SELECT ` + id + `, 1, 1, 'done', '{}', '' FROM n`,
			`INSERT INTO river_job (args, kind, max_attempts, queue, state, finalized_at) ` + rows + `SELECT '{}', 'bridge', 1, 'q', 'completed', '2020-01-01 00:00:00.000' FROM n`,
			`INSERT INTO river_job (args, kind, max_attempts, queue, state, finalized_at) ` + rows + `SELECT '{}', 'bridge', 1, 'q', 'cancelled', '2020-01-01 00:00:00.000' FROM n`,
		} {
			exec(t, s, query)
		}
		c := &changeCounter{Engine: s.engine}
		s.engine = c
		s.jobs = jobs.NewBoard(s.engine, s.writeRow, s.log)
		sweep, err := s.Sweeps().Start(ctx, "c", 0, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sweeps().End(ctx, sweep, true, time.Now()); err != nil {
			t.Fatal(err)
		}
		if left := number(t, s, `SELECT count(*) FROM found`); left != 0 {
			t.Errorf("a complete sweep leaves %d old keys", left)
		}
		s.engine = c.Engine
		exec(t, s, `INSERT INTO found (connector, what, round) SELECT 'c', subject, 1 FROM limits`)
		exec(t, s, `UPDATE sweeps SET began = 1, ended = 1`)
		s.engine = c
		keep := Retention{Keys: time.Hour, Failed: time.Hour, Cards: time.Hour, Audit: time.Hour}
		if err := s.ReduceHandled(ctx, time.Now()); err != nil || number(t, s, `SELECT count(*) FROM handled`) != n-1 {
			t.Fatalf("%d hashes of handled deliveries: %v", number(t, s, `SELECT count(*) FROM handled`), err)
		}
		if err := errors.Join(s.Purge(ctx, time.Now(), keep), s.jobs.Purge(ctx, time.Now())); err != nil {
			t.Fatal(err)
		}
		if c.most < 100 || c.most > 600 {
			t.Errorf("a transaction changed %d rows", c.most)
		}
		for _, table := range []string{"deliveries", "cards", "browsers", "sessions", "limits", "found", "chat_changes", "failures", "erasures", "river_job", "handled", "erasure_index"} {
			if left := number(t, s, `SELECT count(*) FROM `+table); left != 0 {
				t.Errorf("%d rows of %s are left", left, table)
			}
		}
		if left := number(t, s, `SELECT count(*) FROM audit WHERE action <> 'trimmed'`); left != 0 {
			t.Errorf("%d audit records are left", left)
		}
	})
}

// blob returns the type of bytes in the engine of a test.
func blob(t *testing.T) string {
	if strings.HasSuffix(t.Name(), "postgres") {
		return "BYTEA"
	}
	return "BLOB"
}

func TestARepeatOfAReducedDeliveryIsKnown(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{Secret: secretA}), t.Context()
		d := Delivery{Connector: "c", Key: "Taken/the-room/77", Changes: []ChatChange{{Chat: "the-room", Closed: true}}}
		id := arrive(t, s, d)
		waits := arrive(t, s, Delivery{Connector: "c", Key: "Taken/the-room/78"})
		commit(t, s, Change{Finish: id})
		reduce := func(at time.Time) {
			t.Helper()
			if err := s.ReduceHandled(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		reduce(time.Now())
		if b, err := s.DeliveryStatus(ctx, id); err != nil || b.State != DeliveryDone {
			t.Errorf("soon after it was handled: %+v, %v", b, err)
		}
		commit(t, s, Change{Finish: arrive(t, s, Delivery{Connector: "quiet", Key: "k"})})
		reduce(time.Now().Add(time.Hour))
		if any, err := s.AnyDelivery(ctx, "quiet"); err != nil || !any {
			t.Errorf("a connector whose deliveries were handled had none: %v", err)
		}
		if _, err := s.DeliveryStatus(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("later: %v", err)
		}
		if b, err := s.DeliveryStatus(ctx, waits); err != nil || b.State != DeliveryWaiting {
			t.Errorf("one that waits: %+v, %v", b, err)
		}
		repeat := func(when string, connector string, want bool) {
			t.Helper()
			jobsBefore := number(t, s, `SELECT count(*) FROM river_job`)
			d := d
			d.Connector = connector
			fresh, err := s.StoreDelivery(ctx, d, jobs.Job{Kind: "k"})
			if err != nil || fresh != want {
				t.Errorf("%s: fresh = %t, %v", when, fresh, err)
			}
			if n := number(t, s, `SELECT count(*) FROM river_job`); (n > jobsBefore) != want {
				t.Errorf("%s: %d jobs, before %d", when, n, jobsBefore)
			}
			if n := number(t, s, `SELECT count(*) FROM deliveries WHERE connector = $1 AND dedupe = $2`, connector, d.Key); (n > 0) != want {
				t.Errorf("%s: %d deliveries", when, n)
			}
		}
		repeat("a repeat", "c", false)
		if n := number(t, s, `SELECT count(*) FROM chat_changes WHERE delivery <> $1`, id); n != 0 {
			t.Errorf("a repeat leaves %d chat changes", n)
		}
		repeat("the key of another connector", "d", true)
		s.Close()
		s = open(Options{Secret: secretB, OldSecret: secretA})
		repeat("a repeat after a change of the secret", "c", false)
		if err := s.Purge(ctx, time.Now().Add(73*time.Hour), Retention{Keys: 72 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		repeat("after 72 hours", "c", true)
	})
}

func TestDoneJobsAreKeptForAnHour(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		for _, key := range []string{"done", "failed", "waits"} {
			if _, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: key}, jobs.Job{Kind: key}); err != nil {
				t.Fatal(err)
			}
		}
		runJobs(t, s, 3, func(_ context.Context, j jobs.Job) error {
			switch j.Kind {
			case "failed":
				return jobs.Cancel(errors.New("no such room"))
			case "waits":
				return jobs.Snooze(errors.New("later"), time.Hour)
			}
			return nil
		})
		for _, step := range []struct {
			after time.Duration
			want  int64
		}{{59 * time.Minute, 3}, {61 * time.Minute, 2}, {29 * 24 * time.Hour, 2}, {31 * 24 * time.Hour, 1}} {
			if err := s.jobs.Purge(ctx, time.Now().Add(step.after)); err != nil {
				t.Fatal(err)
			}
			if n := number(t, s, `SELECT count(*) FROM river_job`); n != step.want {
				t.Errorf("after %v %d jobs are left, want %d", step.after, n, step.want)
			}
		}
	})
}
