package bridge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const testKey = "upscope-key-0123456789"

// newUpscope starts a fake Upscope and a finder that asks it.
func newUpscope(t testing.TB, matchEmail bool) (*upscopetest.Server, *finder) {
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
	return fake, newFinder(client, matchEmail)
}

const pageKey = "rocketchat:7b0c5e62a4f14c1f9d3e"

func TestPromise7TheWrongVisitorIsNeverPicked(t *testing.T) {
	online := func(v upscope.Visitor) upscope.Visitor { v.IsOnline = true; return v }
	keyed := func(id string) upscope.Visitor {
		return upscope.Visitor{ShortID: id, Identities: []string{pageKey}}
	}
	// shared puts visitors under one integration id without repeating it among
	// their identities, as a page does that does not use our script.
	type population struct {
		visitors []upscope.Visitor
		shared   []string
	}
	for _, test := range []struct {
		name   string
		clues  Clues
		people population
		email  bool
		want   []string // short ids
		sure   bool
		reason templates.Reason
	}{
		{name: "short id", clues: Clues{ShortID: "A1"}, people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(keyed("B2"))}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonShortID},
		{name: "short id that is gone leads on to the integration id", clues: Clues{ShortID: "Z9", IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1"))}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "integration id of one who is offline", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1")}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "integration id of two online: the agent chooses", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(keyed("B2"))}}, want: []string{"A1", "B2"}, reason: templates.ReasonIntegration},
		{name: "integration id of two offline: the agent chooses", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1"), keyed("B2")}}, want: []string{"A1", "B2"}, reason: templates.ReasonIntegration},
		{name: "the one online is taken before records left behind", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{keyed("A1"), online(keyed("B2")), keyed("C3")}}, want: []string{"B2"}, sure: true, reason: templates.ReasonIntegration},
		{name: "who repeats the key among the identities counts before who does not", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1")), online(upscope.Visitor{ShortID: "B2"})}, shared: []string{"B2"}},
			want:   []string{"A1"}, sure: true, reason: templates.ReasonIntegration},
		{name: "one under the key who does not repeat it", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "B2"})}, shared: []string{"B2"}},
			want:   []string{"B2"}, sure: true, reason: templates.ReasonIntegration},
		{name: "a full page may hide others", clues: Clues{IntegrationIDs: []string{pageKey}},
			people: population{visitors: crowd(12, keyed)}, want: nil, reason: templates.ReasonIntegration},
		{name: "integration id nobody has", clues: Clues{IntegrationIDs: []string{pageKey}}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Name: pageKey})}}},
		{name: "an integration id that is no search term is passed over", clues: Clues{IntegrationIDs: []string{"rocketchat:x online", pageKey}},
			people: population{visitors: []upscope.Visitor{online(keyed("A1"))}}, want: []string{"A1"}, sure: true, reason: templates.ReasonIntegration},

		{name: "lookup code", clues: Clues{LookupCode: "0042"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", LookupCode: "0042"})}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonCode},
		{name: "lookup code of two online is as good as none", clues: Clues{LookupCode: "0042"},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", LookupCode: "0042"}), online(upscope.Visitor{ShortID: "B2", LookupCode: "0042"})}}},
		{name: "lookup code of somebody who left", clues: Clues{LookupCode: "0042"}, people: population{visitors: []upscope.Visitor{{ShortID: "A1", LookupCode: "0042"}}}},
		{name: "a code that is none", clues: Clues{LookupCode: "42 online"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Name: "42 online"})}}},

		{name: "unique id", clues: Clues{UniqueID: "cust-77"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"})}},
			want: []string{"A1"}, sure: true, reason: templates.ReasonUnique},
		{name: "unique id in two browsers: the agent chooses", clues: Clues{UniqueID: "cust-77"},
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"}), online(upscope.Visitor{ShortID: "B2", UniqueID: "cust-77"})}},
			want:   []string{"A1", "B2"}, reason: templates.ReasonUnique},
		{name: "unique id that is part of another", clues: Clues{UniqueID: "cust-7"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", UniqueID: "cust-77"})}}},

		{name: "e-mail unless allowed", clues: Clues{Email: "ann@example.org"}, people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Email: "ann@example.org"})}}},
		{name: "e-mail is chosen by the agent, even of one", clues: Clues{Email: "ann@example.org"}, email: true,
			people: population{visitors: []upscope.Visitor{online(upscope.Visitor{ShortID: "A1", Email: "ann@example.org", Identities: []string{"ann@example.org"}})}},
			want:   []string{"A1"}, reason: templates.ReasonEmail},
		{name: "e-mail of somebody alike", clues: Clues{Email: "ann@example.org"}, email: true,
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
			m, err := f.find(t.Context(), test.clues)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range m.Visitors {
				got = append(got, v.ShortID)
			}
			slices.Sort(got)
			if test.name == "a full page may hide others" {
				if len(got) != upscope.MaxResults || m.Sure {
					t.Fatalf("got %d visitors, sure %v", len(got), m.Sure)
				}
				return
			}
			if !slices.Equal(got, test.want) || m.Sure != test.sure || m.Reason != test.reason {
				t.Errorf("got %v, sure %v, by %q (%s); want %v, sure %v, by %q", got, m.Sure, m.Reason, m.Trail, test.want, test.sure, test.reason)
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

// Whatever the population, one who is taken without an agent's word has the
// clue, and nobody else who is online has it.
func TestNobodyIsTakenWhoIsNotTheOnlyOne(t *testing.T) {
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
		for _, clues := range []Clues{{IntegrationIDs: keys[:1]}, {LookupCode: "0001"}} {
			m, err := f.find(t.Context(), clues)
			if err != nil {
				t.Fatal(err)
			}
			if !m.Sure || !m.Visitors[0].IsOnline {
				continue
			}
			clue := clues.LookupCode + strings.Join(clues.IntegrationIDs, "")
			proven := slices.Contains(m.Visitors[0].Identities, clue)
			if others := holders[clue]; len(others) != 1 && !proven {
				t.Fatalf("round %d: %s was taken although %v are online with it", round, m.Visitors[0].ShortID, others)
			}
			if !slices.Contains(holders[clue], m.Visitors[0].ShortID) {
				t.Fatalf("round %d: %s was taken and does not have the clue", round, m.Visitors[0].ShortID)
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
			if m, err := f.find(t.Context(), Clues{IntegrationIDs: []string{pageKey}}); err != nil || !m.Sure {
				t.Errorf("found %v, %v", m, err)
			}
		})
	}
	all.Wait()
	if n := fake.Requests()[upscopetest.List]; n != 1 {
		t.Errorf("%d searches", n)
	}
}

func TestALookupCodesAnswerIsNeverRemembered(t *testing.T) {
	t.Parallel()
	fake, f := newUpscope(t, false)
	fake.Add(upscope.Visitor{ShortID: "A1", IsOnline: true, LookupCode: "4821"})
	for n := 1; n <= 3; n++ {
		if _, err := f.find(t.Context(), Clues{LookupCode: "4821"}); err != nil {
			t.Fatal(err)
		}
		if got := fake.Requests()[upscopetest.List]; got != n {
			t.Fatalf("%d searches after %d asks", got, n)
		}
	}
}

func TestAFailingSearchIsNoEmptyAnswer(t *testing.T) {
	t.Parallel()
	fake, f := newUpscope(t, false)
	fake.Fail(upscopetest.List, upscopetest.Fault{Status: 503}, 1)
	if _, err := f.find(t.Context(), Clues{IntegrationIDs: []string{pageKey}, UniqueID: "u1"}); !errors.Is(err, upscope.ErrUpstream) {
		t.Errorf("got %v", err)
	}
}

func FuzzCluesAreOneExactTokenOrNothing(f *testing.F) {
	f.Add("rocketchat:7b0c", "0042", "u-1", "a@b.c")
	f.Add("x online", "12a4", "id:1 #tag", "a@b@c")
	f.Fuzz(func(t *testing.T, integration, code, unique, email string) {
		fake := upscopetest.New(upscopetest.Options{Key: testKey})
		client, err := upscope.New(upscope.Config{URL: "http://127.0.0.1:1", Key: testKey, Transport: inProcess{fake}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newFinder(client, true).find(t.Context(), Clues{IntegrationIDs: []string{integration}, LookupCode: code, UniqueID: unique, Email: email}); err != nil {
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
