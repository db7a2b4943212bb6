package match

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const testKey = "upscope-key-0123456789"

// newUpscope starts a fake Upscope and a finder that asks it.
func newUpscope(t testing.TB, matchEmail bool) (*upscopetest.Server, *Finder) {
	t.Helper()
	fake := upscopetest.New(upscopetest.Options{Key: testKey})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	transport := upscope.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	client, err := upscope.New(upscope.Config{URL: server.URL, Key: testKey, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return fake, newFinder(client, matchEmail, slog.New(slog.DiscardHandler))
}

const pageKey = "rocketchat:7b0c5e62a4f14c1f9d3e"

func TestPromise7TheWrongVisitorIsNeverPicked(t *testing.T) {
	online := func(v upscope.Visitor) upscope.Visitor { v.IsOnline = true; return v }
	keyed := func(id string) upscope.Visitor {
		return upscope.Visitor{ShortID: id, Identities: []string{pageKey}}
	}
	// shared are visitors with the integration id pageKey who do not have it among their
	// identities, as on a page without our script.
	type population struct {
		visitors []upscope.Visitor
		shared   []string
	}
	for _, test := range []struct {
		name   string
		clues  chat.Clues
		people population
		email  bool
		want   []string // short ids
		sure   bool
		reason templates.Reason
	}{
		{name: "short id", clues: chat.Clues{ShortID: "A1"}, people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(keyed("B2"))}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonShortID},
		{name: "short id that is gone leads on to the integration id", clues: chat.Clues{ShortID: "Z9", IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1"))}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "integration id of one offline", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1")}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "integration id of two online: the agent chooses", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(keyed("B2"))}}, want: []string{"A1", "B2"}, reason: templates.ReasonIntegration},
		{name: "integration id of two offline: the agent chooses", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1"), keyed("B2")}}, want: []string{"A1", "B2"}, reason: templates.ReasonIntegration},
		{name: "the one online is preferred to offline ones", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1"), online(keyed("B2")), keyed("C3")}}, want: []string{"B2"}, sure: true, reason: templates.ReasonIntegration},
		{name: "only those count who have the key among their identities", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(upscope.Visitor{ShortID: "B2"})}, shared: []string{"B2"}},
			want:   []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "one under the key, which is not among their identities", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "B2"})}, shared: []string{"B2"}},
			want:   []string{"B2"}, sure: true, reason: templates.ReasonIntegration},
		{name: "a full answer may lack others", clues: chat.Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: crowd(12, keyed)}, want: nil, reason: templates.ReasonIntegration},
		{name: "integration id that no visitor has", clues: chat.Clues{IntegrationIDs: []string{pageKey}}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Name: pageKey})}}},
		{name: "an integration id that is no valid search term is skipped", clues: chat.Clues{IntegrationIDs: []string{"rocketchat:x online", pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1"))}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},

		{name: "lookup code", clues: chat.Clues{LookupCode: "0042"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", LookupCode: "0042"})}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonCode},
		{name: "lookup code of two online matches nobody", clues: chat.Clues{LookupCode: "0042"},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", LookupCode: "0042"}), online(upscope.Visitor{ShortID: "B2", LookupCode: "0042"})}}},
		{name: "lookup code of one offline", clues: chat.Clues{LookupCode: "0042"}, people: population{visitors: []upscope.Visitor{{ShortID: "A1", LookupCode: "0042"}}}},
		{name: "malformed lookup code", clues: chat.Clues{LookupCode: "42 online"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Name: "42 online"})}}},

		{name: "unique id", clues: chat.Clues{UniqueID: "cust-77"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"})}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonUnique},
		{name: "unique id in two browsers: the agent chooses", clues: chat.Clues{UniqueID: "cust-77"},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"}), online(upscope.Visitor{ShortID: "B2", UniqueID: "cust-77"})}},
			want:   []string{"A1", "B2"}, reason: templates.ReasonUnique},
		{name: "unique id that is part of another", clues: chat.Clues{UniqueID: "cust-7"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"})}}},

		{name: "e-mail is ignored unless allowed", clues: chat.Clues{Email: "ann@example.org"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Email: "ann@example.org"})}}},
		{name: "e-mail: the agent confirms even a single visitor", clues: chat.Clues{Email: "ann@example.org"}, email: true,
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Email: "ann@example.org", Identities: []string{"ann@example.org"}})}},
			want:   []string{"A1"}, reason: templates.ReasonEmail},
		{name: "e-mail that is part of another", clues: chat.Clues{Email: "ann@example.org"}, email: true,
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Email: "joann@example.org"})}}},
		{name: "no clue", people: population{visitors: []upscope.Visitor{online(keyed("A1"))}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake, f := newUpscope(t, test.email)
			fake.Add(test.people.visitors...)
			for _, v := range test.people.visitors {
				if slices.Contains(v.Identities, pageKey) {
					fake.SetIntegrationIDs(v.ShortID, pageKey)
				}
			}
			for _, id := range test.people.shared {
				fake.SetIntegrationIDs(id, pageKey)
			}
			m, err := f.Find(t.Context(), test.clues)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range m.Visitors {
				got = append(got, v.ShortID)
			}
			slices.Sort(got)
			if test.name == "a full answer may lack others" {
				if len(got) != upscope.MaxResults || m.OneTrusted {
					t.Fatalf("got %d visitors, sure %v", len(got), m.OneTrusted)
				}
				return
			}
			if !slices.Equal(got, test.want) || m.OneTrusted != test.sure || m.Reason != test.reason {
				t.Errorf("got %v, sure %v, by %q (%s); want %v, sure %v, by %q", got, m.OneTrusted, m.Reason, m.Steps, test.want, test.sure, test.reason)
			}
		})
	}
}

func crowd(n int, who func(string) upscope.Visitor) []upscope.Visitor {
	var all []upscope.Visitor
	for i := range n {
		all = append(all, who(fmt.Sprintf("C%d", i)))
	}
	return all
}

// A visitor who is picked without asking the agent has the clue, and no other visitor online has
// it.
func TestOnlyASingleMatchIsPickedWithoutAsking(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for round := range 200 {
		fake, f := newUpscope(t, false)
		keys := []string{"rocketchat:" + strings.Repeat("a", 20), "rocketchat:" + strings.Repeat("b", 20)}
		holders := map[string][]string{} // online holders of a key or code
		for i := range 1 + random.IntN(6) {
			v := upscope.Visitor{ShortID: fmt.Sprintf("V%d", i), IsOnline: random.IntN(2) == 0, LookupCode: fmt.Sprintf("000%d", random.IntN(3))}
			key := keys[random.IntN(2)]
			if random.IntN(2) == 0 {
				v.Identities = []string{key}
			}
			fake.Add(v)
			fake.SetIntegrationIDs(v.ShortID, key)
			if v.IsOnline {
				holders[key] = append(holders[key], v.ShortID)
				holders[v.LookupCode] = append(holders[v.LookupCode], v.ShortID)
			}
		}
		for _, clues := range []chat.Clues{{IntegrationIDs: keys[:1]}, {LookupCode: "0001"}} {
			m, err := f.Find(t.Context(), clues)
			if err != nil {
				t.Fatal(err)
			}
			if !m.OneTrusted || !m.Visitors[0].IsOnline {
				continue
			}
			clue := clues.LookupCode + strings.Join(clues.IntegrationIDs, "")
			proven := slices.Contains(m.Visitors[0].Identities, clue)
			if others := holders[clue]; len(others) != 1 && !proven {
				t.Fatalf("round %d: %s was picked although %v are online with the clue", round, m.Visitors[0].ShortID, others)
			}
			if !slices.Contains(holders[clue], m.Visitors[0].ShortID) {
				t.Fatalf("round %d: %s was picked and does not have the clue", round, m.Visitors[0].ShortID)
			}
		}
	}
}

func TestAThousandAsksForOneVisitorCostOneSearch(t *testing.T) {
	t.Parallel()
	fake, f := newUpscope(t, false)
	fake.Add(upscope.Visitor{ShortID: "A1", IsOnline: true, Identities: []string{pageKey}})
	fake.SetIntegrationIDs("A1", pageKey)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if m, err := f.Find(t.Context(), chat.Clues{IntegrationIDs: []string{pageKey}}); err != nil || !m.OneTrusted {
				t.Errorf("found %v, %v", m, err)
			}
		})
	}
	all.Wait()
	if n := fake.Requests()[upscopetest.List]; n != 1 {
		t.Errorf("%d searches, want 1", n)
	}
}

func TestTheAnswerToALookupCodeIsNotCached(t *testing.T) {
	t.Parallel()
	fake, f := newUpscope(t, false)
	fake.Add(upscope.Visitor{ShortID: "A1", IsOnline: true, LookupCode: "4821"})
	for n := 1; n <= 3; n++ {
		if _, err := f.Find(t.Context(), chat.Clues{LookupCode: "4821"}); err != nil {
			t.Fatal(err)
		}
		if got := fake.Requests()[upscopetest.List]; got != n {
			t.Fatalf("%d searches after Find was called %d times", got, n)
		}
	}
}

func TestAFailedSearchReturnsTheError(t *testing.T) {
	t.Parallel()
	fake, f := newUpscope(t, false)
	fake.Fail(upscopetest.List, upscopetest.Fault{Status: 503}, 1)
	if _, err := f.Find(t.Context(), chat.Clues{IntegrationIDs: []string{pageKey}, UniqueID: "u1"}); !errors.Is(err, upscope.ErrUpstream) {
		t.Errorf("got %v", err)
	}
}

// inMemory carries requests to a handler without a network.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	m.handler.ServeHTTP(answer, r)
	return answer.Result(), nil
}

func FuzzCluesAreOneExactTokenOrNothing(f *testing.F) {
	f.Add("rocketchat:7b0c", "0042", "u-1", "a@b.c")
	f.Add("x online", "12a4", "id:1 #tag", "a@b@c")
	f.Fuzz(func(t *testing.T, integration, code, unique, email string) {
		fake := upscopetest.New(upscopetest.Options{Key: testKey})
		client, err := upscope.New(upscope.Config{URL: "http://127.0.0.1:1", Key: testKey, Transport: inMemory{fake}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newFinder(client, true, slog.New(slog.DiscardHandler)).Find(t.Context(), chat.Clues{IntegrationIDs: []string{integration}, LookupCode: code, UniqueID: unique, Email: email}); err != nil {
			t.Fatal(err)
		}
		allowed := []string{"integration_id:" + integration, code, "id:" + unique, email}
		for _, call := range fake.Calls() {
			if !slices.Contains(allowed, call.Search) || strings.ContainsAny(call.Search, " \t\n#\"") {
				t.Errorf("searched for %q", call.Search)
			}
		}
	})
}

// Package chat has its own checks of ids, so that it does not import package upscope.
func FuzzTheContractAndUpscopeAgreeOnTheFormsOfIDs(f *testing.F) {
	for _, s := range []string{"", "0042", "00421", "４２42", "rocketchat:key_-9Z", "ro:key", "rocket3:key", "rocketchat:", "Rocketchat:key", "rocketchat:k:y", "rocketchat:é", "\x00042", "crm:a.b@c/d+e=~-_", "crm:a#b", "crm:" + strings.Repeat("a", 201), "o'brien@example.org", "a/b@example.org", "a#b@c.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := upscope.LookupCode(s)
		if got := chat.IsLookupCode(s); got != (err == nil) {
			t.Errorf("lookup code %q: chat says %v, upscope says %v", s, got, err)
		}
		_, err = upscope.IntegrationID(s)
		if got := chat.IsIntegrationID(s); got != (err == nil) {
			t.Errorf("integration id %q: chat says %v, upscope says %v", s, got, err)
		}
		clues, _ := chat.Typed(s)
		if _, err := upscope.Email(clues.Email); clues.Email != "" && err != nil {
			t.Errorf("chat reads %q as an address, and upscope refuses it: %v", clues.Email, err)
		}
		_, err = upscope.Email(s)
		if clean := !strings.ContainsAny(s, "?_"); clean && err == nil && clues.Email != s {
			t.Errorf("address %q: upscope accepts it, and chat reads %+v", s, clues)
		}
	})
}
