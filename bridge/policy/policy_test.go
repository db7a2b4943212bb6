package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/upscope"

	"github.com/google/go-cmp/cmp"
)

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const matrix = `
profiles:
  careful:
    permissions: {allow_type: false, hide_private_details: true}
    naked: true
  full:
    permissions: {allow_console: true}
    language: de
rules:
  - name: slack-interns
    who: {groups: [interns]}
    where: {connectors: [slack]}
    may: [watch]
    profile: careful
  - who: {groups: [interns]}
    may: []
  - name: emea-leads
    who: {groups: [leads]}
    where: {connectors: [slack-emea]}
    may: [watch, any-card, stop]
    profile: full
  - name: leads
    who: {groups: [leads, owners]}
    may: [operate, audit, watch, look-up]
    profile: careful
  - name: desk
    who: {groups: [support]}
    where: {connectors: [slack, rocketchat]}
    may: [watch, stop, look-up]
  - name: officers
    who: {groups: [officers]}
    may: [audit, erase]
`

// TestPolicyMatrix holds every decision: profiles × groups × connectors × acts.
func TestPolicyMatrix(t *testing.T) {
	t.Parallel()
	p := parse(t, matrix)
	check := func(groups, connector string, acts []policy.Act, allowed, rule, profile string) {
		t.Helper()
		for _, act := range acts {
			got := p.Decide(policy.Question{Act: act, Agent: "oidc:1", Groups: strings.Fields(groups), Connector: connector})
			want := policy.Decision{Rule: rule, Why: got.Why}
			if slices.Contains(strings.Fields(allowed), string(act)) {
				want.Allowed, want.Profile = true, got.Profile
				if got.Profile.Name != profile {
					t.Errorf("%q at %q, %s: profile %q, want %q", groups, connector, act, got.Profile.Name, profile)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q at %q, %s: %s", groups, connector, act, diff)
			}
		}
	}
	wide := []policy.Act{policy.Operate, policy.Audit, policy.Erase}
	ofCards := []policy.Act{policy.Watch, policy.AnyCard, policy.Stop, policy.LookUp}
	if all := slices.Concat(wide, ofCards); len(all) != len(policy.Acts()) {
		t.Fatalf("the matrix has %v, there are %v", all, policy.Acts())
	}
	for _, want := range []struct{ groups, connector, allowed, rule, profile string }{
		{"", "", "", "", ""},
		{"", "slack", "", "", ""},
		{"", "slack-emea", "", "", ""},
		{"", "rocketchat", "", "", ""},
		{"Support", "slack", "", "", ""},

		{"interns", "", "", "rule 2", ""},
		{"interns", "slack", "watch", "slack-interns", "careful"},
		{"interns", "slack-emea", "", "rule 2", ""},
		{"interns", "rocketchat", "", "rule 2", ""},
		{"support interns", "slack", "watch", "slack-interns", "careful"},
		{"support interns", "rocketchat", "", "rule 2", ""},

		{"leads", "", "watch look-up", "leads", "careful"},
		{"leads", "slack", "watch look-up", "leads", "careful"},
		{"leads", "slack-emea", "watch any-card stop", "emea-leads", "full"},
		{"leads", "rocketchat", "watch look-up", "leads", "careful"},
		{"owners", "slack-emea", "watch look-up", "leads", "careful"},

		{"support", "", "", "", ""},
		{"support", "slack", "watch stop look-up", "desk", ""},
		{"support", "slack-emea", "", "", ""},
		{"support", "rocketchat", "watch stop look-up", "desk", ""},

		{"officers", "", "", "officers", ""},
		{"officers", "slack", "", "officers", ""},
		{"officers support", "slack", "watch stop look-up", "desk", ""},
		{"officers support", "slack-emea", "", "officers", ""},
	} {
		check(want.groups, want.connector, ofCards, want.allowed, want.rule, want.profile)
	}
	// What is about the whole bridge does not depend on where it is asked.
	for _, want := range []struct{ groups, allowed, rule, profile string }{
		{"", "", "", ""},
		{"interns", "", "rule 2", ""},
		{"support interns", "", "rule 2", ""},
		{"leads", "operate audit", "leads", "careful"},
		{"owners", "operate audit", "leads", "careful"},
		{"support", "", "", ""},
		{"officers", "audit erase", "officers", ""},
		{"officers support", "audit erase", "officers", ""},
	} {
		for _, connector := range []string{"", "slack", "slack-emea", "rocketchat"} {
			check(want.groups, connector, wide, want.allowed, want.rule, want.profile)
		}
	}
	for _, groups := range []string{"", "interns", "leads", "support", "officers"} {
		check(groups, "slack", []policy.Act{"", "Watch", "watch ", "any", "delete", "*"}, "", "", "")
	}
	careful := p.Decide(policy.Question{Act: policy.Watch, Agent: "a", Groups: []string{"owners"}}).Profile
	if diff := cmp.Diff(policy.Profile{
		Name: "careful", Permissions: upscope.Permissions{AllowType: upscope.Off, HidePrivateDetails: upscope.On}, Naked: upscope.NakedYes,
	}, careful); diff != "" {
		t.Error(diff)
	}
}

func TestTheDecisionSaysWhichRuleAndWhy(t *testing.T) {
	t.Parallel()
	p := parse(t, matrix)
	for _, test := range []struct {
		q    policy.Question
		rule string
		why  string
	}{
		{policy.Question{Act: "watch", Agent: "a", Groups: []string{"leads"}}, "leads", `The rule "leads" in line 22 fits first, and allows watch.`},
		{policy.Question{Act: "erase", Agent: "a", Groups: []string{"leads"}}, "leads", `The rule "leads" in line 22 fits first, and does not allow erase.`},
		{policy.Question{Act: "stop", Agent: "a", Groups: []string{"interns"}}, "rule 2", `Rule 2 in line 15 fits first, and does not allow stop.`},
		{policy.Question{Act: "stop", Agent: "a"}, "", `No rule fits, so nothing is allowed.`},
		{policy.Question{Act: "look", Agent: "a", Groups: []string{"leads"}}, "", `There is no such act.`},
		{policy.Question{Act: "watch", Groups: []string{"leads"}}, "", `Nobody is signed in.`},
	} {
		got := p.Decide(test.q)
		if got.Rule != test.rule || got.Why != test.why {
			t.Errorf("%+v: %q, %q", test.q, got.Rule, got.Why)
		}
	}
}

func TestWithoutAFileAgentsWatchStopAndLookUp(t *testing.T) {
	t.Parallel()
	for _, act := range append(policy.Acts(), "", "all") {
		want := slices.Contains([]policy.Act{policy.Watch, policy.Stop, policy.LookUp}, act)
		got := policy.Default.Decide(policy.Question{Act: act, Agent: "slack:T1/U2", Connector: "slack"})
		if got.Allowed != want {
			t.Errorf("%q: allowed %t, want %t", act, got.Allowed, want)
		}
		if got.Profile != (policy.Profile{}) {
			t.Errorf("%q: other than Upscope's own settings: %+v", act, got.Profile)
		}
		if policy.Default.Decide(policy.Question{Act: act}).Allowed {
			t.Errorf("%q: allowed to nobody", act)
		}
	}
}

// TestADomainIsTheWholeOfWhatFollowsTheOnlyAt: a check of the last part alone
// lets evilcorp.example in (GO-2022-0790), and one of what follows some @ takes
// addresses that have several (GO-2026-5314).
func TestADomainIsTheWholeOfWhatFollowsTheOnlyAt(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
  - {name: boss, who: {emails: [Boss@Corp.Example]}, may: [erase]}
  - {name: staff, who: {domains: [Corp.Example]}, may: [watch]}
`)
	for email, rule := range map[string]string{
		"ann@corp.example":               "staff",
		"ANN@CORP.EXAMPLE":               "staff",
		"boss@corp.example":              "boss",
		"BOSS@corp.EXAMPLE":              "boss",
		"bossy@corp.example":             "staff",
		"":                               "",
		"corp.example":                   "",
		"@corp.example":                  "",
		"ann@":                           "",
		"@":                              "",
		"ann@evilcorp.example":           "",
		"ann@sub.corp.example":           "",
		"ann@.corp.example":              "",
		"ann@corp.example.":              "",
		"ann@corp.example.evil.test":     "",
		"ann@evil.test@corp.example":     "",
		"ann@corp.example@evil.test":     "",
		`"ann@corp.example"@evil.test`:   "",
		"boss@corp.example@corp.example": "",
		"ann@@corp.example":              "",
		"ann@corp.example ":              "",
		"ann@corp.example\n":             "",
		"Ann <ann@corp.example>":         "",
		"ann@corp.e\u212aample":          "",
		"bo\u017fs@corp.example":         "staff",
		"ann＠corp.example":               "",
	} {
		for _, act := range []policy.Act{policy.Watch, policy.Erase} {
			got := p.Decide(policy.Question{Act: act, Agent: "a", Email: email})
			if got.Rule != rule {
				t.Errorf("%q: rule %q, want %q", email, got.Rule, rule)
			}
		}
	}
	kelvin := parse(t, `rules: [{who: {domains: [kelvin.example]}, may: [watch]}]`)
	if kelvin.Decide(policy.Question{Act: policy.Watch, Agent: "a", Email: "a@\u212aelvin.example"}).Allowed {
		t.Error("the Kelvin sign passed for a K")
	}
}

func TestEachKeyOfARuleHasToFitAndWithinItAnyEntry(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
  - who: {groups: [g1, g2], emails: [ann@corp.example, ben@corp.example], domains: [corp.example], agents: ["oidc:1", "oidc:2"]}
    where: {connectors: [slack, slack-emea], places: ["slack:C1", "slack:C2"]}
    may: [watch]
`)
	fits := policy.Question{
		Act: policy.Watch, Agent: "oidc:2", Email: "ben@corp.example", Groups: []string{"other", "g2"}, Connector: "slack", Place: "slack:C2",
	}
	if !p.Decide(fits).Allowed {
		t.Fatal("what fits in all is denied")
	}
	for name, change := range map[string]func(*policy.Question){
		"agent":        func(q *policy.Question) { q.Agent = "oidc:3" },
		"agent's case": func(q *policy.Question) { q.Agent = "OIDC:2" },
		"email":        func(q *policy.Question) { q.Email = "eve@corp.example" },
		"no email":     func(q *policy.Question) { q.Email = "" },
		"group":        func(q *policy.Question) { q.Groups = []string{"g3"} },
		"no group":     func(q *policy.Question) { q.Groups = nil },
		"connector":    func(q *policy.Question) { q.Connector = "slack-apac" },
		"no connector": func(q *policy.Question) { q.Connector = "" },
		"place":        func(q *policy.Question) { q.Place = "slack:C3" },
		"longer place": func(q *policy.Question) { q.Place = "slack:C22" },
		"no place":     func(q *policy.Question) { q.Place = "" },
	} {
		q := fits
		change(&q)
		if p.Decide(q).Allowed {
			t.Errorf("another %s is allowed", name)
		}
	}
}

// TestEveryPermissionIsSentAsWritten goes by upscope.Permissions, so that a flag
// that Upscope adds is held to it too.
func TestEveryPermissionIsSentAsWritten(t *testing.T) {
	t.Parallel()
	var flags []string
	for i := range reflect.TypeFor[upscope.Permissions]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[upscope.Permissions]().Field(i).Tag.Get("json"), ",")
		flags = append(flags, name)
	}
	if diff := cmp.Diff([]string{
		"allow_agent_redirect", "allow_audio", "allow_click", "allow_confetti", "allow_console", "allow_draw", "allow_notes",
		"allow_request_visitor_screen", "allow_scroll", "allow_show_agent_screen", "allow_type", "hide_private_details",
	}, flags); diff != "" {
		t.Fatalf("these are not the flags in Upscope's documentation: %s", diff)
	}
	sent := func(written map[string]bool) map[string]bool {
		var text strings.Builder
		for flag, on := range written {
			fmt.Fprintf(&text, "%s: %t, ", flag, on)
		}
		p := parse(t, fmt.Sprintf("profiles: {p: {permissions: {%s}}}\nrules: [{may: [watch], profile: p}]", text.String()))
		body, err := json.Marshal(p.Decide(policy.Question{Act: policy.Watch, Agent: "a"}).Profile.Permissions)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := map[bool]map[string]bool{true: {}, false: {}}
	for i, flag := range flags {
		for _, on := range []bool{true, false} {
			want := map[string]bool{flag: on}
			if diff := cmp.Diff(want, sent(want)); diff != "" {
				t.Errorf("%s: %t alone: %s", flag, on, diff)
			}
			all[on][flag] = on != (i%2 == 0)
		}
	}
	for _, want := range all {
		if diff := cmp.Diff(want, sent(want)); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(map[string]bool{}, sent(nil)); diff != "" {
		t.Errorf("none written: %s", diff)
	}
}

func TestNotesAreFilledInOnce(t *testing.T) {
	t.Parallel()
	p := parse(t, `
profiles: {p: {initial_notes: "{agent} of {connector}, chat {chat}: {reason} } { {agent}"}}
rules: [{may: [watch], profile: p}]
`)
	got := p.Decide(policy.Question{Act: policy.Watch, Agent: "a"}).Profile.
		Notes(policy.Values{Agent: "{chat}", Connector: "slack", Chat: "{agent}", Reason: "$1 \\ {none}"})
	if want := "{chat} of slack, chat {agent}: $1 \\ {none} } { {chat}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (policy.Profile{}).Notes(policy.Values{Agent: "Ann"}); got != "" {
		t.Errorf("no template makes %q", got)
	}
}

func TestPageFirstIsThatOfTheRuleThatAllows(t *testing.T) {
	t.Parallel()
	p := parse(t, `
rules:
  - {who: {groups: [contractors]}, may: [watch, stop], page_first: always}
  - {who: {groups: [support]}, may: [watch], page_first: "other-sites"}
  - {may: [watch]}
`)
	for _, test := range []struct {
		group string
		act   policy.Act
		want  policy.PageFirst
	}{
		{"contractors", policy.Watch, policy.PageFirstAlways},
		{"contractors", policy.Stop, policy.PageFirstAlways},
		{"contractors", policy.LookUp, policy.PageFirstNever}, // denied
		{"support", policy.Watch, policy.PageFirstOtherSites},
		{"leads", policy.Watch, policy.PageFirstNever},
	} {
		d := p.Decide(policy.Question{Act: test.act, Agent: "a", Groups: []string{test.group}})
		if d.PageFirst != test.want {
			t.Errorf("%s, %s: %q, want %q", test.group, test.act, d.PageFirst, test.want)
		}
	}
	if d := policy.Default.Decide(policy.Question{Act: policy.Watch, Agent: "a"}); d.PageFirst != policy.PageFirstNever {
		t.Errorf("without a policy file: %q", d.PageFirst)
	}
}

func TestProfilesHaveNakedAndLanguage(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]policy.Profile{
		"":                                  {Name: "p"},
		"naked: false":                      {Name: "p", Naked: upscope.NakedNo},
		"naked: true, language: en":         {Name: "p", Naked: upscope.NakedYes, Language: "en"},
		"naked: page_only, language: pt-BR": {Name: "p", Naked: upscope.NakedPageOnly, Language: "pt-BR"},
		"language: no":                      {Name: "p", Language: "no"}, // Norwegian, which YAML 1.1 takes for false
	} {
		p := parse(t, "profiles: {p: {"+written+"}}\nrules: [{may: [watch], profile: p}]")
		if diff := cmp.Diff(want, p.Decide(policy.Question{Act: policy.Watch, Agent: "a"}).Profile); diff != "" {
			t.Errorf("%q: %s", written, diff)
		}
	}
}

func TestTheExampleForOperatorsIsGood(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/policy.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, string(text))
	lead := policy.Question{Agent: "oidc:1", Email: "lea@corp.example", Groups: []string{"support-leads"}, Connector: "slack"}
	outside := lead
	outside.Email = "lea@elsewhere.example"
	contractor := policy.Question{Agent: "oidc:2", Groups: []string{"contractors", "support"}, Connector: "slack", Place: "slack:C0123ABCD"}
	stray := contractor
	stray.Place = "slack:C9"
	for _, test := range []struct {
		q    policy.Question
		may  string
		rule string
	}{
		{lead, "watch any-card stop look-up operate audit", "leads"},
		{outside, "", ""},
		{contractor, "watch stop", "contractors"},
		{stray, "", "contractors-elsewhere"},
		{policy.Question{Agent: "oidc:3", Email: "privacy@corp.example"}, "audit erase", "privacy-officer"},
		{policy.Question{Agent: "oidc:4", Groups: []string{"support"}}, "watch stop look-up", "support"},
	} {
		var may []string
		for _, act := range policy.Acts() {
			test.q.Act = act
			if p.Decide(test.q).Allowed {
				may = append(may, string(act))
			}
		}
		test.q.Act = policy.Watch
		if got := p.Decide(test.q).Rule; strings.Join(may, " ") != test.may || got != test.rule {
			t.Errorf("%+v: %v by %q, want %q by %q", test.q, may, got, test.may, test.rule)
		}
	}
}

func TestAPlaceFitsByItsChannelToo(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse("policy.yaml", []byte("rules:\n  - where: {places: [\"slack:C0123\"]}\n    may: [watch]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]bool{
		"slack:C0123": true, "slack:channel/C0123": true, "slack:thread/C0123/1700000000.000100": true,
		"slack:C01234": false, "slack:channel/C01234": false, "slack-emea:channel/C0123": false, "": false, "C0123": false,
	} {
		if got := p.Decide(policy.Question{Act: policy.Watch, Agent: "a", Connector: "slack", Place: place}).Allowed; got != want {
			t.Errorf("%q: %v", place, got)
		}
	}
}
