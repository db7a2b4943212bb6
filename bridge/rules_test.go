package bridge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/policy"
)

const supportProfile = `
profiles:
  careful:
    permissions: {allow_console: false, allow_type: false, hide_private_details: true}
    naked: true
    language: pt
    initial_notes: "{agent} for chat {chat} by {reason}"
rules:
  - name: support
    who: {groups: [support]}
    may: [watch]
    profile: careful
  - name: leads
    who: {groups: [leads]}
    may: [watch, stop, any-card]
`

func TestThePolicysProfileAppliesToTheWatchLink(t *testing.T) {
	inOIDCWorld(t, supportProfile, func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(o.door("bob")).wantWatch(t)
		var sent struct {
			Permissions  map[string]bool `json:"permissions"`
			Branding     map[string]any  `json:"branding"`
			Language     string          `json:"language"`
			InitialNotes string          `json:"initial_notes"`
		}
		o.must(json.Unmarshal(o.upscope.Watches()[0].Raw, &sent))
		if want := map[string]bool{"allow_console": false, "allow_type": false, "hide_private_details": true}; len(sent.Permissions) != len(want) {
			t.Errorf("permissions %v", sent.Permissions)
		} else {
			for name, on := range want {
				if got, ok := sent.Permissions[name]; !ok || got != on {
					t.Errorf("%s is %v", name, got)
				}
			}
		}
		if sent.Branding["naked"] != true || sent.Language != "pt" || sent.InitialNotes != "Bob Baker for chat room00000000000001 by integration" {
			t.Errorf("sent %+v", sent)
		}
	})
}

func TestPolicySaysWhoMayStopAndWhoMayOpenOthersCards(t *testing.T) {
	inOIDCWorld(t, supportProfile, func(o *oidcWorld) {
		ann, door := bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(door).wantWatch(t)
		session := o.openLatestLink()
		o.pass(sessionsWait)
		bob.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		eve := o.signedIn("eve") // leads may open all cards and stop sessions
		eve.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusOK, "ended")
		o.pass(sessionsWait)
		if o.upscope.End(session, 0) {
			t.Error("the session was not stopped")
		}
		eve.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		got := o.records("watching")
		if last := got[len(got)-1]; last.Agent != eveID || !strings.Contains(last.Detail, "card of rocketchat:a1") {
			t.Errorf("audited %+v", last.Entry)
		}
		if refused := o.records("refused"); len(refused) != 1 || refused[0].Agent != bobID || refused[0].Detail != "policy does not allow it" {
			t.Errorf("the audited refusals are %+v", refused)
		}
	})
}

func TestAnAgentWhomNoRuleAllowsCannotWatch(t *testing.T) {
	inOIDCWorld(t, "rules:\n  - who: {domains: [other.example.org]}\n    may: [watch]\n", func(o *oidcWorld) {
		ann, door := bobHasCard(o.world)
		bob := o.browser()
		o.follow(bob, "bob", door).want(t, http.StatusForbidden)
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		bob.press("/desk/look-up", url.Values{"code": {"0482"}}).want(t, http.StatusForbidden)
		if o.upscope.Minted() != 0 {
			t.Error("a watch link was made")
		}
	})
}

func TestThePolicyAppliesWithoutSignInToo(t *testing.T) {
	rules := options{config: func(c *bridge.Config) {
		p, err := policy.Parse("policy.yaml", []byte("rules:\n  - who: {agents: [\"rocketchat:a2\"]}\n    may: [watch]\n"))
		if err != nil {
			panic(err)
		}
		c.Policy = policy.Fixed(p)
	}}
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		w.chat.Forward("room00000000000001", "eve")
		w.deliverEvent("LivechatSessionForwarded", "room00000000000001")
		w.pass(time.Second)
		w.browser().press(w.door("eve"), url.Values{"visitor": {ann}}).wantWatch(t)
	}, rules)
}

func TestAFaultyPolicyFileLeavesTheLoadedPolicyInForce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rules:\n  - may: [watch]\n")
	followed := options{config: func(c *bridge.Config) {
		f, err := policy.Open(file)
		if err != nil {
			panic(err)
		}
		c.Policy = f
	}}
	inWorld(t, func(w *world) {
		says := func(path string) string {
			rec := httptest.NewRecorder()
			if path == "/metrics" {
				w.bridge.Metrics().ServeHTTP(rec, request(http.MethodGet, path, nil))
			} else {
				w.bridge.ServeHTTP(rec, request(http.MethodGet, path, nil))
			}
			if rec.Code != http.StatusOK {
				t.Errorf("%s is answered %d", path, rec.Code)
			}
			return rec.Body.String()
		}
		ann, door := bobHasCard(w)
		write("rules:\n  - may: [watch, fly]\n")
		w.pass(30 * time.Second)
		if ready := says("/readyz"); !strings.Contains(ready, `"policy":"fault"`) || !strings.Contains(ready, `"ready":true`) {
			t.Errorf("/readyz is %s", ready)
		}
		if !strings.Contains(says("/metrics"), "\nbridge_policy_fault 1\n") {
			t.Error("bridge_policy_fault is not 1")
		}
		if !strings.Contains(w.log.String(), "policy.yaml:2") {
			t.Error("the log does not name the line of the fault")
		}
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)

		write("rules:\n  - may: [stop]\n")
		w.pass(30 * time.Second)
		if ready := says("/readyz"); !strings.Contains(ready, `"policy":"ok"`) {
			t.Errorf("/readyz is %s", ready)
		}
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
	}, followed)
}

func TestNobodyWatchesWhileTheAuditLogCannotBeWritten(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann, door := bobHasCard(o.world)
		bob := o.connectedBob()
		o.failInserts("audit")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusServiceUnavailable)
		o.allowInserts()
		if o.upscope.Minted() != 0 {
			t.Error("a watch link was made without an audit record")
		}
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}
