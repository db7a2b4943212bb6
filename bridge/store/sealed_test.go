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

	"cobrowse-bridge/bridge/store/seal"
)

// fill stores one of everything that is about a person or acts for one.
func fill(t *testing.T, s *Store) (canaries []string) {
	t.Helper()
	canaries = []string{"canary-body", "canary-detail", "canary-address", "canary-ref", "canary-browser", "canary-session", "canary-name", "canary-subject"}
	ctx := t.Context()
	if _, err := s.Accept(ctx, Delivery{Connector: "c", Key: "k", Body: []byte("canary-body"), Changes: []ChatChange{{Chat: "chat", Agent: "bob"}}}, Job{Kind: "read"}); err != nil {
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
	limit := Limit{"codes", 5, time.Hour}
	if err := s.Commit(ctx, Change{
		Connect: &Account{ID: "c:bob", Agent: "oidc:bob", How: "asked", Name: "canary-name"}, Spend: []Spending{{limit, "canary-subject"}},
	}); err != nil {
		t.Fatal(err)
	}
	return canaries
}

// findCanaries returns the canaries that stored contains in any usual encoding.
func findCanaries(stored []byte, canaries []string) (found []string) {
	stored = bytes.ToLower(stored)
	for _, c := range canaries {
		forms := []string{c, hex.EncodeToString([]byte(c))}
		for shift := range 3 { // where a base64 group begins
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

func TestNothingPersonalIsInTheBytesOfTheFile(t *testing.T) {
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
	// And the search finds what is there.
	for _, form := range []string{"canary-ref", hex.EncodeToString([]byte("canary-ref")), base64.StdEncoding.EncodeToString([]byte("x: canary-ref."))} {
		exec(t, s, `INSERT INTO probe (id, filler) VALUES ($1, $2)`, time.Now().UnixNano(), []byte(form))
		if len(findCanaries(read(), canaries)) == 0 {
			t.Errorf("%q was not found", form)
		}
		s.Close()
		os.Remove(strings.TrimPrefix(address, "sqlite:"))
		s = openAt(t, address, Options{})
		exec(t, s, `DELETE FROM probe`)
	}
}

func TestNothingPersonalIsInTheRowsOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "postgres"), Options{})
	canaries := fill(t, s)
	var all strings.Builder
	for _, table := range []string{"deliveries", "chat_changes", "cards", "posts", "browsers", "audit", "river_job"} {
		rows, err := s.engine.Query(t.Context(), "SELECT t::text FROM "+table+" t")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			all.WriteString(row)
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	if all.Len() == 0 {
		t.Error("there are no rows")
	}
	if found := findCanaries([]byte(all.String()), canaries); len(found) > 0 {
		t.Errorf("found %v", found)
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
		// The place is still the same place, in every call.
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
		if c, err := s.Card(ctx, "card"); err != nil || string(c.Detail) != "new detail" {
			t.Errorf("Card = %+v, %v", c, err)
		}
		if _, err := s.Delivery(ctx, onlyDelivery(t, s)); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("sealed with a secret that is gone: %v", err)
		}
	})
}

func TestWhatWasSealedForOneThingDoesNotOpenForAnother(t *testing.T) {
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
