package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/seal"
)

// fill stores one value of each kind that is sealed.
func fill(t *testing.T, s *Store) (canaries []string) {
	t.Helper()
	canaries = []string{"canary-body", "canary-detail", "canary-address", "canary-ref", "canary-browser", "canary-session", "canary-name", "canary-subject"}
	ctx := t.Context()
	if _, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: "k", Body: []byte("canary-body"), Changes: []ChatChange{{Chat: "chat", Agent: "bob"}}}, jobs.Job{Kind: "read"}); err != nil {
		t.Fatal(err)
	}
	place := Place{"c", "canary-address"}
	if err := s.Commit(ctx, Change{
		Card:  &Card{ID: "card", Connector: "c", Chat: "chat", Detail: []byte("canary-detail")},
		Posts: []Post{{Card: "card", Place: place, Current: true}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, Change{Claim: &Claim{"card", 1, 0, "agent", "canary-browser", false, time.Now().Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SavePost(ctx, Post{Card: "card", Place: place, Ref: "canary-ref", Shown: "one"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AgentSessions().CommitCtx(ctx, "hash", []byte("canary-session"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	codes := limit.Limit{Name: "codes", Acts: 5, While: time.Hour}
	if err := s.Commit(ctx, Change{
		Connect: &Account{ID: "c:bob", Agent: "oidc:bob", How: "asked", Name: "canary-name"}, Spend: []limit.Spending{{Limit: codes, Subject: "canary-subject"}},
	}); err != nil {
		t.Fatal(err)
	}
	return canaries
}

// findCanaries returns the canaries that stored contains as text, in hex or in base64.
func findCanaries(stored []byte, canaries []string) (found []string) {
	stored = bytes.ToLower(stored)
	for _, c := range canaries {
		forms := []string{c, hex.EncodeToString([]byte(c))}
		for shift := range 3 { // the position in a base64 group
			b := base64.RawStdEncoding.EncodeToString([]byte("xxx"[:shift] + c))
			forms = append(forms, b[4:len(b)-4])
		}
		for _, f := range forms {
			if bytes.Contains(stored, []byte(strings.ToLower(f))) {
				found = append(found, c)
			}
		}
	}
	return found
}

func TestTheSQLiteFileContainsNoPersonalData(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "sqlite")
	s := openAt(t, address, Options{})
	canaries := fill(t, s)
	read := func() (all []byte) {
		path := strings.TrimPrefix(address, "sqlite:")
		for _, file := range []string{path, path + "-wal"} {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return all
	}
	if found := findCanaries(read(), canaries); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	// findCanaries finds a canary in each encoding.
	for _, form := range []string{"canary-ref", hex.EncodeToString([]byte("canary-ref")), base64.StdEncoding.EncodeToString([]byte("x: canary-ref."))} {
		exec(t, s, `INSERT INTO probe (id, filler) VALUES ($1, $2)`, time.Now().UnixNano(), []byte(form))
		if len(findCanaries(read(), canaries)) == 0 {
			t.Errorf("%q was not found", form)
		}
		s.Close()
		for _, file := range []string{"", ".head"} {
			os.Remove(strings.TrimPrefix(address, "sqlite:") + file)
		}
		s = openAt(t, address, Options{})
		exec(t, s, `DELETE FROM probe`)
	}
}

func TestPostgreSQLRowsContainNoPersonalData(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "postgres"), Options{})
	canaries := fill(t, s)
	texts := func(query string) (all []string) {
		t.Helper()
		rows, err := s.engine.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		return all
	}
	read := map[string]int{} // rows
	for _, table := range texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'") {
		rows := texts("SELECT t::text FROM " + table + " t") // bytes are hex
		read[table] = len(rows)
		if found := findCanaries([]byte(strings.Join(rows, "\n")), canaries); len(found) > 0 {
			t.Errorf("found %v in %s", found, table)
		}
	}
	for _, table := range []string{"deliveries", "chat_changes", "cards", "posts", "browsers", "sessions", "accounts", "limits", "river_job"} {
		if read[table] == 0 {
			t.Errorf("the table %s has no rows to look at", table)
		}
	}
}

func TestAnOldSecretStillOpensAndIsNotUsedAgain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		ctx := t.Context()
		s := open(Options{Secret: secretA})
		fill(t, s)
		s.Close()

		s = open(Options{Secret: secretB, OldSecret: secretA})
		if d, err := s.Delivery(ctx, onlyDelivery(t, s)); err != nil || string(d.Body) != "canary-body" {
			t.Errorf("Delivery = %+v, %v", d, err)
		}
		c, err := s.Card(ctx, "card")
		if err != nil || string(c.Detail) != "canary-detail" {
			t.Fatalf("Card = %+v, %v", c, err)
		}
		// Every call still finds the place.
		place := Place{"c", "canary-address"}
		if _, err := s.LeasePost(ctx, "card", place, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		if _, err := s.LeasePost(ctx, "card", place, time.Now()); !errors.Is(err, ErrLeased) {
			t.Errorf("a second lease: %v", err)
		}
		c.Detail = []byte("new detail")
		if err := s.Commit(ctx, Change{Card: &c, Posts: []Post{{Card: "card", Place: place}}}); err != nil {
			t.Fatal(err)
		}
		posts, err := s.Posts(ctx, "card")
		if err != nil || fmt.Sprint(posts) != "[{card {c canary-address} false canary-ref one}]" {
			t.Errorf("Posts = %v, %v", posts, err)
		}
		s.Close()

		s = open(Options{Secret: secretB})
		if all, err := s.Accounts(ctx, "oidc:bob"); err != nil || len(all) != 1 || all[0].Name != "canary-name" {
			t.Errorf("Accounts = %+v, %v; their names are encrypted again with the new secret", all, err)
		}
		if c, err := s.Card(ctx, "card"); err != nil || string(c.Detail) != "new detail" {
			t.Errorf("Card = %+v, %v", c, err)
		}
		if _, err := s.Delivery(ctx, onlyDelivery(t, s)); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("sealed with a removed secret: %v", err)
		}
	})
}

func TestAWrongSecretIsNoticed(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		check := func(when string, o Options, want error) {
			t.Helper()
			for _, o := range []Options{o, {Secret: o.Secret, OldSecret: o.OldSecret, Look: true}} {
				s := open(o)
				if err := s.CheckSecret(t.Context()); !errors.Is(err, want) {
					t.Errorf("%s, %+v: CheckSecret = %v, want %v", when, o, err, want)
				}
				s.Close()
			}
		}
		check("empty", Options{Secret: secretB}, nil)
		s := open(Options{Secret: secretA})
		fill(t, s)
		s.Close()
		check("same secret", Options{Secret: secretA}, nil)
		check("another secret", Options{Secret: secretB}, ErrSecret)
		check("with the old secret", Options{Secret: secretB, OldSecret: secretA}, nil)
		s = open(Options{Secret: secretB, OldSecret: secretA})
		exec(t, s, `DELETE FROM cards`)
		exec(t, s, `DELETE FROM deliveries`)
		s.Close()
		check("accounts encrypted again", Options{Secret: secretB}, nil)
		check("only accounts, former secret", Options{Secret: secretA}, ErrSecret)
	})
}

func TestALookChangesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		exec(t, s, `DELETE FROM goose_db_version WHERE version_id > 1`)
		s.Close()
		s = open(Options{Look: true})
		if err := s.CheckSecret(t.Context()); err != nil {
			t.Error(err)
		}
		if n := number(t, s, `SELECT count(*) FROM goose_db_version WHERE version_id > 1`); n != 0 {
			t.Errorf("%d migrations ran", n)
		}
	})
}

func TestASealedValueOpensOnlyInItsPlace(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		fill(t, s)
		if err := s.Commit(ctx, Change{Card: &Card{ID: "card2", Connector: "c", Chat: "chat2", Detail: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		for what, query := range map[string]string{
			"another card's detail": `UPDATE cards SET detail = (SELECT detail FROM cards WHERE id = 'card') WHERE id = 'card2'`,
			"a delivery's body":     `UPDATE cards SET detail = (SELECT body FROM deliveries) WHERE id = 'card2'`,
			"another connector":     `UPDATE cards SET connector = 'c2' WHERE id = 'card2'`,
		} {
			exec(t, s, query)
			if _, err := s.Card(ctx, "card2"); !errors.Is(err, seal.ErrOpen) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
