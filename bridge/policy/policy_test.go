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

// TestPolicyMatrix has every decision: profiles × groups × connectors × acts.
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
	// Acts about the whole bridge do not depend on the connector.
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
		{policy.Question{Act: "watch", Agent: "a", Groups: []string{"leads"}}, "leads", `The rule "leads" in line 22 matches first and allows watch.`},
		{policy.Question{Act: "erase", Agent: "a", Groups: []string{"leads"}}, "leads", `The rule "leads" in line 22 matches first and does not allow erase.`},
		{policy.Question{Act: "stop", Agent: "a", Groups: []string{"interns"}}, "rule 2", `Rule 2 in line 15 matches first and does not allow stop.`},
		{policy.Question{Act: "stop", Agent: "a"}, "", `No rule matches, so nothing is allowed.`},
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
			t.Errorf("%q: not Upscope's own settings: %+v", act, got.Profile)
		}
		if policy.Default.Decide(policy.Question{Act: act}).Allowed {
			t.Errorf("%q: allowed without an agent", act)
		}
	}
}

// A check of the end of an address alone would accept evilcorp.example (GO-2022-0790), and a
// check of the part after one @ would accept addresses with several (GO-2026-5314).
func TestADomainIsAllThatFollowsTheOnlyAt(t *testing.T) {
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
		t.Error("the Kelvin sign counted as a k")
	}
}

func TestARuleNeedsOneEntryOfEachOfItsKeys(t *testing.T) {
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
		t.Fatal("a question that fits all keys is denied")
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

// TestEveryPermissionIsSentAsWritten takes the flags from upscope.Permissions, so that it also
// covers a flag that Upscope adds.
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

func TestPlaceholdersOfNotesAreReplacedOnce(t *testing.T) {
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
		t.Errorf("without a template: %q", got)
	}
}

func TestPageFirstComesFromTheRuleThatAllows(t *testing.T) {
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
		"":                          {Name: "p"},
		"naked: false":              {Name: "p", Naked: upscope.NakedNo},
		"naked: true, language: en": {Name: "p", Naked: upscope.NakedYes, Language: "en"},
		"language: pt-BR":           {Name: "p", Language: "pt-BR"},
		"language: no":              {Name: "p", Language: "no"}, // Norwegian, which is false in YAML 1.1
	} {
		p := parse(t, "profiles: {p: {"+written+"}}\nrules: [{may: [watch], profile: p}]")
		if diff := cmp.Diff(want, p.Decide(policy.Question{Act: policy.Watch, Agent: "a"}).Profile); diff != "" {
			t.Errorf("%q: %s", written, diff)
		}
	}
}

func TestConnectorsOfUnknownServicesAreFaults(t *testing.T) {
	t.Parallel()
	const text = `rules:
  - where: {connectors: [slack, slack-emea, desk, slakc]}
    may: []
  - where:
      places:
        - slack:C0123
        - roketchat:#desk
    may: [watch]
`
	const want = `p.yaml:2: entry 4 of connectors is of no chat service; the services are rocketchat, slack, also with a suffix such as slack-emea, and desk
p.yaml:7: entry 2 of places is of no chat service; the services are rocketchat, slack, also with a suffix such as slack-emea, and desk`
	if _, err := policy.Parse("p.yaml", []byte(text), "rocketchat", "slack"); err == nil || err.Error() != want {
		t.Error(err)
	}
	if _, err := policy.Parse("p.yaml", []byte(text)); err != nil {
		t.Errorf("without services: %v", err)
	}
}

func TestAPolicyMayAllowEveryone(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]bool{
		"{may: [watch]}": true,
		"{where: {connectors: [slack]}, may: [look-up]}":         true,
		"{who: {groups: [leads]}, may: [audit]}, {may: [watch]}": true,
		"{may: []}": false,
		"{who: {groups: [leads]}, may: [audit]}, {may: []}":                                     false,
		"{who: {domains: [corp.example]}, may: [watch]}":                                        false,
		"{who: {emails: [a@corp.example]}, where: {connectors: [slack]}, may: [watch]}":         false,
		"{who: {agents: [\"oidc:1\"]}, may: [watch]}, {who: {groups: [support]}, may: [watch]}": false,
	} {
		if got := parse(t, "rules: ["+rules+"]").AllowsEveryone(); got != want {
			t.Errorf("%s: %t", rules, got)
		}
	}
	if !policy.Default.AllowsEveryone() {
		t.Error("without a policy file, not everyone may do something")
	}
}

func TestPartsOfRulesWithoutEffectAreFound(t *testing.T) {
	t.Parallel()
	if got := parse(t, `profiles:
  used: {language: en}
  forgotten: {language: pt}
rules:
  - may: [watch]
    profile: used
`).WithoutEffect(nil, true); !slices.Equal(got, []string{`The profile "forgotten" in line 3 is used by no rule.`}) {
		t.Errorf("%q", got)
	}
	p := parse(t, `rules:
  - name: leads
    who: {groups: [leads], emails: [lea@corp.example]}
    may: [watch]
  - where: {connectors: [slack, rocketcht, desk]}
    may: [watch]
  - who: {agents: ["slack:T1/U2"]}
    where: {places: ["slack-emea:C0123", "slack:C0123"]}
    may: [watch]
`)
	unknown := []string{
		"Rule 2 in line 5 has in entry 2 of connectors a chat service that the bridge does not have.",
		"Rule 3 in line 7 has in entry 1 of places a chat service that the bridge does not have.",
	}
	if diff := cmp.Diff(unknown, p.WithoutEffect([]string{"slack", "desk"}, true)); diff != "" {
		t.Error(diff)
	}
	never := []string{
		`The rule "leads" in line 2 never applies: without a sign-in, the groups of agents are unknown.`,
		`The rule "leads" in line 2 never applies: without a sign-in, the emails of agents are unknown.`,
	}
	if diff := cmp.Diff(never, p.WithoutEffect([]string{"slack", "slack-emea", "rocketcht", "desk"}, false)); diff != "" {
		t.Error(diff)
	}
	if got := policy.Default.WithoutEffect(nil, false); len(got) > 0 {
		t.Errorf("without a policy file: %q", got)
	}
}

func TestTheExampleForOperatorsIsValid(t *testing.T) {
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

func TestAThreadFitsByItsChannel(t *testing.T) {
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
