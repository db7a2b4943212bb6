package policy

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/upscope"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest policy file in bytes.
const MaxFile = 64 << 10

// maxFaults is how many faults are told at once.
const maxFaults = 100

// Parse reads the content of a policy file, whose name its errors begin with. It
// finds all faults at once; each is an error "file:line: what is wrong; what to
// do". Faults name keys of the file, and never values.
func Parse(name string, data []byte) (*Policy, error) {
	var r reader
	var policy Policy
	if top := r.document(data); top != nil {
		policy.rules = r.file(top)
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b fault) int { return a.line - b.line })
		var all []error
		for i, f := range r.faults {
			if i == maxFaults {
				f.text = fmt.Sprintf("%d more faults begin; mend those before, and look again", len(r.faults)-i)
			}
			if i > maxFaults {
				break
			}
			all = append(all, fmt.Errorf("%s:%d: %s", name, f.line, f.text))
		}
		return nil, errors.Join(all...)
	}
	return &policy, nil
}

// file reads the whole file.
func (r *reader) file(top *yaml.Node) []rule {
	keys := r.mapping(top, "the file", "profiles", "rules")
	if keys == nil {
		return nil
	}
	profiles := map[string]Profile{}
	if n := keys["profiles"]; n != nil {
		r.pairs(n, "profiles", func(key, value *yaml.Node) {
			if !plainName.MatchString(key.Value) {
				r.fault(key, "a profile's name %s", namesAre)
			}
			profiles[key.Value] = r.profile(key.Value, value)
		})
	}
	n := keys["rules"]
	if n == nil {
		r.fault(top, "there are no rules, so nobody could do anything; write rules, or set no policy file")
		return nil
	}
	var rules []rule
	lines := map[string]int{} // of names
	for i, entry := range r.filled(n, "rules", "so nobody could do anything; add to it, or set no policy file") {
		faults := len(r.faults)
		next := r.rule(i+1, entry, profiles)
		if line, twice := lines[next.name]; twice {
			r.fault(entry, "the rule has the name of the one in line %d; give it another", line)
		} else {
			lines[next.name] = entry.Line
		}
		if len(r.faults) > faults {
			continue // there is no saying what it was to fit
		}
		i := slices.IndexFunc(rules, func(before rule) bool { return before.covers(next) })
		if i >= 0 {
			r.fault(entry, "the rule can never decide, since the one in line %d fits first wherever it would; put it above that one, or remove it", rules[i].line)
		}
		rules = append(rules, next)
	}
	return rules
}

// plainName keeps names fit for logs, and apart from "rule 3".
var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const namesAre = "is up to 64 letters, digits, - and _; change it"

func (r *reader) rule(number int, n *yaml.Node, profiles map[string]Profile) rule {
	keys := r.mapping(n, "a rule", "name", "who", "where", "may", "profile", "page_first")
	made := rule{
		name:  fmt.Sprintf("rule %d", number),
		title: fmt.Sprintf("Rule %d in line %d", number, n.Line),
		line:  n.Line,
	}
	if keys == nil {
		return made
	}
	if k := keys["name"]; k != nil {
		if name := r.text(k, "name"); name != "" && !plainName.MatchString(name) {
			r.fault(k, "name %s", namesAre)
		} else if name != "" {
			made.name = name
			made.title = fmt.Sprintf("The rule %q in line %d", name, n.Line)
		}
	}
	made.conditions = append(r.conditions(keys["who"], "who", who), r.conditions(keys["where"], "where", where)...)
	made.may = r.may(n, keys["may"], keys["where"] != nil)
	if k := keys["profile"]; k != nil {
		name := r.text(k, "profile")
		profile, known := profiles[name]
		if name != "" && !known {
			r.fault(k, "profile is none of those under profiles; name one of them, or leave it out for Upscope's own settings")
		}
		made.profile = profile
	}
	if k := keys["page_first"]; k != nil {
		made.pageFirst = r.pageFirst(k)
	}
	return made
}

func (r *reader) pageFirst(n *yaml.Node) PageFirst {
	first := PageFirst(n.Value)
	if n.Kind != yaml.ScalarNode || first != PageFirstOtherSites && first != PageFirstAlways {
		r.fault(n, "page_first is not other-sites or always; choose one, or leave it out if agents may go straight on")
		return PageFirstNever
	}
	return first
}

func (r *reader) conditions(n *yaml.Node, key string, aspects []*aspect) []condition {
	if n == nil {
		return nil
	}
	var names []string
	for _, a := range aspects {
		names = append(names, a.key)
	}
	keys := r.mapping(n, key, names...)
	if keys != nil && len(n.Content) == 0 {
		r.fault(n, "%s is empty; leave it out if the rule is for all", key)
	}
	var all []condition
	for _, a := range aspects {
		if k := keys[a.key]; k != nil {
			all = append(all, condition{a, r.entries(k, a)})
		}
	}
	return all
}

// entries reads what a condition is about.
func (r *reader) entries(n *yaml.Node, a *aspect) []string {
	var all []string
	for i, k := range r.filled(n, a.key, "so the rule would fit nobody; add to it, or leave it out") {
		what := nth(i, a.key)
		entry := r.text(k, what)
		if entry != "" && a.entry != nil {
			var wrong problem
			if entry, wrong = a.entry(entry); wrong != "" {
				r.fault(k, "%s %s", what, wrong)
			}
		}
		all = append(all, entry)
	}
	return all
}

func nth(i int, list string) string { return fmt.Sprintf("entry %d of %s", i+1, list) }

func (r *reader) may(of, n *yaml.Node, placed bool) []Act {
	if n == nil {
		r.fault(of, "the rule has no may; write may: [] if it is to deny everything")
		return nil
	}
	var all []Act
	for i, k := range r.list(n, "may") {
		act := Act(r.text(k, nth(i, "may")))
		switch {
		case act == "":
		case !slices.Contains(acts, act):
			r.fault(k, "%s is no act; there are %s", nth(i, "may"), listed(acts))
		case placed && act.wide():
			r.fault(k, "%s is about the whole bridge, so a rule with where never decides it; allow it in a rule without", act)
		}
		all = append(all, act)
	}
	return all
}

func (r *reader) profile(name string, n *yaml.Node) Profile {
	p := Profile{Name: name}
	keys := r.mapping(n, "a profile", "permissions", "naked", "language", "initial_notes")
	if k := keys["permissions"]; k != nil {
		p.Permissions = r.permissions(k)
	}
	if k := keys["naked"]; k != nil {
		naked, known := map[string]upscope.Naked{
			"false": upscope.NakedNo, "true": upscope.NakedYes, "page_only": upscope.NakedPageOnly,
		}[k.Value]
		if k.Kind != yaml.ScalarNode || !known {
			r.fault(k, "naked is not true, false or page_only; choose one")
		}
		p.Naked = naked
	}
	if k := keys["language"]; k != nil {
		if p.Language = r.text(k, "language"); p.Language != "" && !language.MatchString(p.Language) {
			r.fault(k, "language is no language tag; write one such as en or pt-BR")
		}
	}
	if k := keys["initial_notes"]; k != nil {
		if p.InitialNotes = r.text(k, "initial_notes"); strangePlaceholder(p.InitialNotes) {
			r.fault(k, "initial_notes has a placeholder that stands for nothing; there are %s", listed(placeholders))
		}
	}
	return p
}

// language is the form of a language tag (RFC 5646), without its registry.
var language = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

// permissions reads Upscope's flags, by the names they have there. They are those
// of upscope.Permissions, so that none can be missing here.
func (r *reader) permissions(n *yaml.Node) (p upscope.Permissions) {
	keys := r.mapping(n, "permissions", flags()...)
	for i, flag := range flags() {
		k := keys[flag]
		if k == nil {
			continue
		}
		// Only these two: a quoted "false" may have been meant as anything.
		set, known := map[string]upscope.Switch{"true": upscope.On, "false": upscope.Off}[k.Value]
		if k.ShortTag() != "!!bool" || !known {
			r.fault(k, "%s is neither true nor false; choose one, without quotes, or leave it out for Upscope's own setting", flag)
		}
		reflect.ValueOf(&p).Elem().Field(i).Set(reflect.ValueOf(set))
	}
	return p
}

// flags are the names of the fields of upscope.Permissions, in their order.
func flags() []string {
	var all []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[upscope.Permissions]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, name)
	}
	return all
}

func listed[S ~string](names []S) string {
	var all []string
	for _, n := range names {
		all = append(all, string(n))
	}
	return strings.Join(all, ", ")
}
