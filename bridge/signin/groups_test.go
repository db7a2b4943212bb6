package signin_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
)

// tooMany is what Entra sends in place of the groups of a person who is in more than 200.
var tooMany = map[string]any{
	"groups": nil, "_claim_names": map[string]any{"groups": "src1"},
	"_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/v1.0/users/0/getMemberObjects"}},
}

func claimsOf(claims map[string]any) func(*signintest.User) {
	return func(u *signintest.User) { u.Claims = claims }
}

func TestGroupsThatTheIssuerLeavesOut(t *testing.T) {
	groups := func(c *signin.OIDCConfig) { c.Groups = []string{agents} }
	for _, test := range []struct {
		name    string
		claims  map[string]any
		faults  []signintest.Fault
		want    error // nil if the person may sign in
		leftOut bool  // the error says so
	}{
		{"named elsewhere", tooMany, nil, signin.ErrGroup, true},
		{"hasgroups", map[string]any{"groups": nil, "hasgroups": true}, nil, signin.ErrGroup, true},
		{"hasgroups as text", map[string]any{"groups": nil, "hasgroups": "true"}, nil, signin.ErrGroup, true},
		{"an empty list besides", map[string]any{"groups": []string{}, "hasgroups": true}, nil, signin.ErrGroup, true},
		{"in userinfo only", tooMany, []signintest.Fault{signintest.ClaimsOnlyInUserinfo}, signin.ErrGroup, true},
		{"in a signed userinfo", tooMany, []signintest.Fault{signintest.ClaimsOnlyInUserinfo, signintest.UserinfoJWT}, signin.ErrGroup, true},
		{"no userinfo endpoint", tooMany, []signintest.Fault{signintest.NoUserinfo}, signin.ErrGroup, true},
		{"userinfo cannot be used", tooMany, []signintest.Fault{signintest.UserinfoMissing}, signin.ErrGroup, true},
		{"other claims elsewhere", map[string]any{
			"groups": nil, "_claim_names": map[string]any{"roles": "src1"}, "_claim_sources": tooMany["_claim_sources"],
		}, nil, signin.ErrGroup, false},
		{"claim names that are no object", map[string]any{"groups": nil, "_claim_names": []string{"groups"}},
			[]signintest.Fault{signintest.ClaimsOnlyInUserinfo}, signin.ErrGroup, false},
		{"hasgroups is false", map[string]any{"groups": nil, "hasgroups": false}, nil, signin.ErrGroup, false},
		{"no groups", map[string]any{"groups": nil}, nil, signin.ErrGroup, false},
		{"a sign besides the permitted group", map[string]any{"hasgroups": true}, nil, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, groups)
			w.issuer.Break(test.faults...)
			w.issuer.Change("ada", claimsOf(test.claims))
			b := w.browser()
			b.step(b.callback())
			err := w.lastError()
			if !errors.Is(err, test.want) || errors.Is(err, signin.ErrGroupsLeftOut) != test.leftOut || (w.sessions() == 1) != (test.want == nil) {
				t.Errorf("%v, %d sessions", err, w.sessions())
			}
			if test.leftOut && (!strings.Contains(err.Error(), "left the groups out") || !strings.Contains(err.Error(), "Groups assigned to the application")) {
				t.Errorf("the operator reads %q", err)
			}
		})
	}
}

// A policy may need the groups of a person who signs in without them.
func TestTheLogSaysThatGroupsAreLeftOut(t *testing.T) {
	for _, left := range []bool{true, false} {
		w := newWorld(t)
		if left {
			w.issuer.Change("ada", claimsOf(tooMany))
		}
		w.browser().signIn()
		if log := w.log.String(); strings.Contains(log, "groups of an agent not known") != left || strings.Contains(log, "graph.example") {
			t.Errorf("%t: the log says %q", left, log)
		}
		if all := must(signin.Sessions(t.Context(), w.store)); all[0].GroupsLeftOut != left {
			t.Errorf("%+v", all[0])
		}
	}
}

// Groups that are no longer listed prove nothing.
func TestGroupsThatAreLeftOutLater(t *testing.T) {
	for name, faults := range map[string][]signintest.Fault{"by userinfo": nil, "by the ID token": {signintest.UserinfoFailing}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, b := refreshing(t)
				w.issuer.Change("ada", claimsOf(tooMany))
				w.issuer.Break(faults...)
				time.Sleep(6 * time.Minute)
				if err := b.who(); !errors.Is(err, signin.ErrGroupsLeftOut) {
					t.Error(err)
				}
			})
		})
	}
}

// At the level debug the log shows what was compared: here the full path of a group in Keycloak.
func TestTheLogShowsWhyAnAgentIsRefused(t *testing.T) {
	many := make([]string, 1000)
	for n := range many {
		many[n] = fmt.Sprintf("group-%04d-%s", n, strings.Repeat("x", 500))
	}
	for _, test := range []struct {
		name   string
		config func(*signin.OIDCConfig)
		user   func(*signintest.User)
		says   string // empty if nobody is refused
	}{
		{"a full path", func(c *signin.OIDCConfig) { c.Groups = []string{"support"} }, func(u *signintest.User) { u.Groups = []string{"/support", "/staff"} },
			`groups="[/support /staff]" count=2 permitted=[support]`},
		{"another case", func(c *signin.OIDCConfig) { c.Groups = []string{"support"} }, func(u *signintest.User) { u.Groups = []string{"Support"} },
			`groups=[Support] count=1 permitted=[support]`},
		{"no groups", func(c *signin.OIDCConfig) { c.Groups = []string{"support"} }, claimsOf(map[string]any{"groups": nil}),
			`groups=[] count=0 permitted=[support]`},
		{"many long groups", func(c *signin.OIDCConfig) { c.Groups = []string{"support"} }, func(u *signintest.User) { u.Groups = many },
			`count=1000 permitted=[support]`},
		{"another domain", func(c *signin.OIDCConfig) { c.Domains = []string{"corp.org"} }, func(*signintest.User) {},
			`verified_domain=corp.example permitted=[corp.org]`},
		{"an address that is not verified", func(c *signin.OIDCConfig) { c.Domains = []string{"corp.example"} }, verified(false),
			`verified_domain="" permitted=[corp.example]`},
		{"nobody is refused", func(c *signin.OIDCConfig) { c.Groups = []string{agents} }, func(*signintest.User) {}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
				log := &syncBuffer{}
				w := newWorld(t, test.config, func(c *signin.OIDCConfig) {
					c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
				})
				w.log = log
				w.issuer.Change("ada", test.user)
				b := w.browser()
				b.step(b.callback())
				got := log.String()
				if level == slog.LevelInfo || test.says == "" {
					if strings.Contains(got, "permitted=") {
						t.Errorf("at %s the log says %q", level, got)
					}
				} else if !strings.Contains(got, test.says) || len(got) > 10<<10 {
					t.Errorf("the log says %.2000q", got)
				}
				w.checkSecrets()
			}
		})
	}
}
