package chatvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// A staff is an office whose tenant has a boss, whom somebody made, and old and ren,
// whom the bridge made. Its next sync creates ann and bob, renames ren and deletes
// old.
type staff struct {
	*office
	ledger string
}

func newStaff(t *testing.T) *staff {
	o := newOffice(t, "odd")
	s := &staff{o, filepath.Join(o.dir, "made", "ledger.json")}
	if err := os.Mkdir(filepath.Dir(s.ledger), 0o700); err != nil {
		t.Fatal(err)
	}
	o.AddAgent(chatvisortest.Agent{ID: "s-1", Email: "boss@x.org"})
	if _, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *staff) sync(rows ...string) (string, error) {
	return s.runs("sync-agents", s.write("agents.csv", "email,firstname\n"+strings.Join(rows, "\n")+"\n"), "--ledger", s.ledger, "--yes", "--allow-delete")
}

// next is the sync that the tests are about.
func (s *staff) next() (string, error) {
	return s.sync("boss@x.org,", "ren@x.org,Ren", "ann@x.org,Ann", "bob@x.org,Bob")
}

// purge is one that would have nobody but the boss.
func (s *staff) purge() {
	s.Helper()
	if said, err := s.sync("boss@x.org,"); err != nil {
		s.Errorf("%v after %q", err, said)
	}
}

// state is what the ledger says, and who is there, by what stands before the @. An
// account of the ledger that is there with another id has a ! behind it.
func (s *staff) state() string {
	s.Helper()
	var book ledger
	if data, err := os.ReadFile(s.ledger); err != nil || json.Unmarshal(data, &book) != nil {
		s.Fatal(err)
	}
	name := func(email string) string { return strings.TrimSuffix(email, "@x.org") }
	var made, unknown, there []string
	for _, m := range book.Made {
		made = append(made, name(m.Email))
		if slices.ContainsFunc(s.Agents(), func(a chatvisortest.Agent) bool { return a.Email == m.Email && a.ID != m.ID }) {
			made[len(made)-1] += "!"
		}
	}
	for _, email := range book.Unknown {
		unknown = append(unknown, name(email))
	}
	for _, a := range s.Agents() {
		there = append(there, name(a.Email))
	}
	return fmt.Sprintf("made %s; id not known %s; there %s", strings.Join(made, " "), strings.Join(unknown, " "), strings.Join(there, " "))
}

// The process may die before or after each of its requests. Between two of them it
// writes the ledger once at most, so these are all the states that it can leave.
func TestWhereverASyncDiesNothingPassesForOursByGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		type world struct {
			at     string
			ledger []byte
			agents []chatvisortest.Agent
		}
		var worlds []world
		dies := func(at string) {
			data, err := os.ReadFile(s.ledger)
			if err != nil {
				t.Fatal(err)
			}
			worlds = append(worlds, world{at, data, s.Agents()})
		}
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			dies("before " + r.Method)
			resp, err := serve()
			dies("after " + r.Method)
			return resp, err
		}
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
		dies("at the end")
		s.between = nil

		for i, want := range []struct {
			at, state string
			spared    string // by a purge after that
		}{
			{"before GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"after GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"before GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"after GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"before POST", "made old ren; id not known ann; there boss old ren", "boss"},
			{"after POST", "made old ren; id not known ann; there boss old ren ann", "boss ann"},
			{"before POST", "made old ren; id not known ann bob; there boss old ren ann", "boss ann"},
			{"after POST", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before PATCH", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"after PATCH", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"before DELETE", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"after DELETE", "made old ren ann bob; id not known ; there boss ren ann bob", "boss"},
			{"at the end", "made ren ann bob; id not known ; there boss ren ann bob", "boss"},
		} {
			if i >= len(worlds) {
				t.Fatalf("there are %d requests, and not %q", len(worlds)/2, want.at)
			}
			w := worlds[i]
			begin := func(agents []chatvisortest.Agent) {
				if err := os.WriteFile(s.ledger, w.ledger, 0o600); err != nil {
					t.Fatal(err)
				}
				s.SetAgents(agents...)
			}
			begin(w.agents)
			if got := s.state(); w.at != want.at || got != want.state {
				t.Errorf("%d, %s: %s\nwant %s: %s", i, w.at, got, want.at, want.state)
			}
			s.purge()
			sameAgents(t, s.office, strings.Fields(want.spared)...)

			// The next run does the rest.
			begin(w.agents)
			if said, err := s.next(); err != nil {
				t.Errorf("%d, %s: %v after %q", i, w.at, err, said)
			}
			sameAgents(t, s.office, "boss", "ren", "ann", "bob")

			// Meanwhile somebody made all accounts anew.
			by := slices.Clone(w.agents)
			for i := range by {
				by[i].ID = fmt.Sprint("hand-", i)
			}
			begin(by)
			s.purge()
			if !slices.Equal(s.Agents(), by) {
				t.Errorf("%d, %s: what was made by hand was touched; there is %v", i, w.at, s.Agents())
			}
		}
		if len(worlds) != 19 {
			t.Errorf("it can die at %d points", len(worlds))
		}
	})
}

// The same where the process lives on, and a request fails.
func TestASyncThatFailsLearnsWhatItCan(t *testing.T) {
	const (
		refused     = "refused"     // and nothing is done
		cut         = "cut"         // after it was done
		down        = "down"        // with all that come after it
		interrupted = "interrupted" // by the operator
	)
	for _, c := range []struct {
		how, request string
		n            int // which one of these
		state        string
		want         []string
	}{
		{refused, "GET", 1, "made old ren; id not known ; there boss old ren", nil},
		{refused, "POST", 1, "made old ren; id not known ; there boss old ren", []string{"ann@x.org: create_agent"}},
		{cut, "POST", 1, "made old ren; id not known ann; there boss old ren ann", []string{"ann@x.org: creating this account failed, and the list has it now", forGood}},
		{down, "POST", 1, "made old ren; id not known ann; there boss old ren", []string{"ann@x.org: created, or begun, and the list cannot be read", forGood}},
		{refused, "POST", 2, "made old ren ann; id not known ; there boss old ren ann", []string{"bob@x.org: create_agent"}},
		{cut, "POST", 2, "made old ren ann; id not known bob; there boss old ren ann bob", []string{"bob@x.org: creating this account failed, and the list has it now"}},
		{interrupted, "POST", 2, "made old ren ann; id not known ; there boss old ren ann", []string{"bob@x.org: create_agent: cancelled"}},
		{down, "POST", 2, "made old ren; id not known ann bob; there boss old ren ann", []string{"ann@x.org: created, or begun", "bob@x.org: created, or begun"}},
		{refused, "GET", 3, "made old ren; id not known ann bob; there boss old ren ann bob", []string{"ann@x.org: created, or begun", "bob@x.org: created, or begun"}},
		{refused, "GET", 5, "made old ren; id not known ann bob; there boss old ren ann bob", []string{"the list cannot be read"}},
		{refused, "PATCH", 1, "made old ren ann bob; id not known ; there boss old ren ann bob", []string{"ren@x.org: update_agent"}},
		{refused, "DELETE", 1, "made old ren ann bob; id not known ; there boss old ren ann bob", []string{"old@x.org: delete_agent"}},
		{cut, "DELETE", 1, "made old ren ann bob; id not known ; there boss ren ann bob", []string{"old@x.org: delete_agent"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStaff(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.ctx = ctx
			n, dead := 0, false
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				if r.Method == c.request {
					n++
				}
				switch failing := n == c.n && r.Method == c.request; {
				case failing && c.how == interrupted:
					cancel()
					return nil, ctx.Err()
				case failing && c.how == cut:
					_, _ = serve()
					return nil, errors.New("the line is cut")
				case failing || dead:
					dead = c.how == down
					return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
				}
				return serve()
			}
			said, err := s.next()
			if err == nil {
				t.Fatalf("%s %s %d: no error after %q", c.how, c.request, c.n, said)
			}
			s.wants(err.Error(), c.want...)
			if got := s.state(); got != c.state {
				t.Errorf("%s %s %d: %s\nwant %s", c.how, c.request, c.n, got, c.state)
			}
			s.between, s.ctx = nil, t.Context()
			if said, err := s.next(); err != nil {
				t.Errorf("%s %s %d: then %v after %q", c.how, c.request, c.n, err, said)
			}
			sameAgents(t, s.office, "boss", "ren", "ann", "bob")
		})
	}
}

func TestAnIdThatMayBeAnothersIsNotLearnt(t *testing.T) {
	for want, change := range map[string]func(all []chatvisortest.Agent) []chatvisortest.Agent{
		"the list does not have it":                         func(all []chatvisortest.Agent) []chatvisortest.Agent { return all[:3] },
		"the list shows no id":                              func(all []chatvisortest.Agent) []chatvisortest.Agent { all[3].ID = ""; return all },
		"the list shows an id that another account had":     func(all []chatvisortest.Agent) []chatvisortest.Agent { all[3].ID = all[0].ID; return all[1:] },
		"ann@x.org: created, or begun, and the list cannot": func(all []chatvisortest.Agent) []chatvisortest.Agent { return append(all, all[3]) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStaff(t)
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				resp, err := serve()
				if r.Method == http.MethodPost {
					s.SetAgents(change(s.Agents())...)
				}
				return resp, err
			}
			_, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R", "ann@x.org,Ann")
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), forGood) {
				t.Errorf("%v, want %q", err, want)
			}
			if got := s.state(); !strings.HasPrefix(got, "made old ren; id not known ann; ") {
				t.Errorf("%s: %s", want, got)
			}
		})
	}
}

func TestAnIdOfTheLedgerIsNotLearntAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		all := s.Agents()
		s.SetAgents(all[0], all[2]) // somebody deleted old
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			resp, err := serve()
			if r.Method == http.MethodPost {
				s.SetAgents(all[0], all[2], chatvisortest.Agent{ID: all[1].ID, Email: "ann@x.org", Firstname: "Ann"})
			}
			return resp, err
		}
		_, err := s.sync("boss@x.org,", "ren@x.org,R", "ann@x.org,Ann")
		if err == nil || !strings.Contains(err.Error(), "an id that another account had before") {
			t.Error(err)
		}
		if got := s.state(); got != "made old ren; id not known ann; there boss ren ann" {
			t.Error(got)
		}
	})
}

// A list of pages may leave out who is there, if it changes while it is read.
func TestAnAccountOfOursThatTheListLeftOutStaysOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			all := s.Agents()
			if r.Method == http.MethodGet && len(s.changes()) == 2 { // those of newStaff
				s.SetAgents(all[:2]...)
				defer s.SetAgents(all...)
			}
			return serve()
		}
		_, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R")
		if err == nil || !strings.Contains(err.Error(), "ren@x.org: create_agent") || strings.Contains(err.Error(), forGood) {
			t.Error(err)
		}
		if got := s.state(); got != "made old ren; id not known ; there boss old ren" {
			t.Error(got)
		}
	})
}

// Making many accounts takes minutes, in which others work too.
func TestWhatChangesWhileAgentsAreCreatedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if all := s.Agents(); r.Method == http.MethodPost {
				all[1].ID, all[2].ID = "hand-1", "hand-2"
				s.SetAgents(all...)
			}
			return serve()
		}
		said, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		s.wants(said, "rename  ren@x.org", "leave   ren@x.org Ren: somebody changed this account meanwhile", "leave   old@x.org Old: somebody changed")
		if got := s.state(); got != "made old! ren! ann bob; id not known ; there boss old ren ann bob" {
			t.Error(got)
		}
	})
}

func TestNothingIsCreatedThatCannotBeWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		s.between = func(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if err := os.RemoveAll(filepath.Dir(s.ledger)); err != nil {
				t.Fatal(err)
			}
			return serve()
		}
		before := len(s.changes())
		if _, err := s.next(); err == nil || !strings.Contains(err.Error(), "ann@x.org was not created") || len(s.changes()) != before {
			t.Errorf("%v after %q", err, s.changes())
		}
	})
}

func TestASyncDoesNotRunBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff(t)
		before := s.state()
		release, err := lockLedger(s.ledger)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := s.next(); err == nil || !strings.Contains(err.Error(), "another sync-agents is at work") {
			t.Errorf("%v after %q", err, said)
		}
		if after := s.state(); after != before {
			t.Errorf("the one that was refused left %q, before it was %q", after, before)
		}
		release()
		if said, err := s.next(); err != nil {
			t.Errorf("%v after %q", err, said)
		}
	})
}

func TestALedgerThatIsNoneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "odd")
		for text, want := range map[string]string{
			`{"url": "https://api.example.org/rest/v1", "made": ["eve@example.org"]}`:              "Name a new file with --ledger",
			`{"format": 3, "url": "https://api.example.org/rest/v1"}`:                              "is a ledger in another format",
			`{"format": 2, "url": "https://api.example.org/rest/v1", "made": ["eve@example.org"]}`: "is no ledger of agents",
			`{"format": 2, "url": "https://emea.example.org/rest/v1"}`:                             "another tenant",
			`{"format": 2, "url": "https://api.exa`:                                                "is no ledger of agents",
			"email\neve@example.org\n":                                                             "is no ledger of agents",
			"":                                                                                     "is no ledger of agents",
		} {
			_, err := o.runs("sync-agents", o.write("agents.csv", "email\nann@x.org\n"), "--ledger", o.write("ledger.json", text), "--yes")
			if err == nil || !strings.Contains(err.Error(), want) || len(o.Requests()) > 0 {
				t.Errorf("%s: %v, want %q", text, err, want)
			}
		}
	})
}

func TestASyncThatIsToldToWaitLearnsWhatItMade(t *testing.T) {
	for _, wait := range []string{"5", "90"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStaff(t)
			made := 0
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				if r.Method == http.MethodPost {
					if made++; made == 2 {
						answer := jsonAnswer(r, http.StatusTooManyRequests, "")
						answer.Header.Set("Retry-After", wait)
						return answer, nil
					}
				}
				return serve()
			}
			if said, err := s.next(); err == nil {
				t.Errorf("no word of what was not made: %q", said)
			}
			if got, want := s.state(), "made old ren ann; id not known ; there boss old ren ann"; got != want {
				t.Errorf("told to wait %s s: %s, want %s", wait, got, want)
			}
		})
	}
}
