package policy

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/settings/yamlfile"
	"cobrowse-bridge/upscope"

	"go.yaml.in/yaml/v3"
)

// MaxFileSize is the maximum size of a policy file in bytes.
const MaxFileSize = yamlfile.MaxSize

// Parse reads the content of a policy file. Its error has one line "name:line: what is wrong;
// what to do" for each fault. Faults name keys of the file, and values only in the list may.
//
// services are the chat services that there are. A connector has the name of a service, with or
// without a suffix, as in slack-emea; any other connector in a rule is a fault. Without services
// every name is accepted.
func Parse(name string, data []byte, services ...string) (*Policy, error) {
	r := reader{services: services}
	var policy Policy
	switch top := r.document(data); {
	case top != nil:
		policy = r.file(top)
	case len(r.Faults) == 0:
		r.Add(1, "the file is empty; write rules, or set no policy file")
	}
	if err := r.Err(name); err != nil {
		return nil, err
	}
	return &policy, nil
}

// A reader reads a policy file and collects all faults.
type reader struct {
	yamlfile.Faults
	services []string
}

// document returns the top node of the file; nil if the file is empty or has faults.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > MaxFileSize {
		r.Add(1, "the file is larger than %d KiB; use groups in the rules instead of lists of people", MaxFileSize>>10)
		return nil
	}
	return r.Document(data)
}

// file reads the whole file.
func (r *reader) file(top *yaml.Node) (read Policy) {
	keys := r.Mapping(top, "the file", "profiles", "rules")
	if keys == nil {
		return read
	}
	profiles := map[string]Profile{}
	if n := keys["profiles"]; n != nil {
		r.Pairs(n, "profiles", func(key, value *yaml.Node) {
			if !plainName.MatchString(key.Value) {
				r.AddAt(key, "a profile's name %s", nameRule)
			}
			profiles[key.Value] = r.profile(key.Value, value)
		})
	}
	n := keys["rules"]
	if n == nil {
		r.AddAt(top, "there are no rules, so nobody could do anything; write rules, or set no policy file")
		return read
	}
	lineOf := map[string]int{} // the line of each rule, by its name
	for i, entry := range r.NonEmptyList(n, "rules", "rules is empty, so nobody could do anything; add to it, or set no policy file") {
		faults := len(r.Faults)
		next := r.rule(i+1, entry, profiles)
		if line, twice := lineOf[next.name]; twice {
			r.AddAt(entry, "the rule in line %d has the same name; use another", line)
		} else {
			lineOf[next.name] = entry.Line
		}
		if len(r.Faults) > faults {
			continue // skip the check below: the rule's conditions were not read completely
		}
		covering := slices.IndexFunc(read.rules, func(before rule) bool { return before.covers(next) })
		if covering >= 0 {
			r.AddAt(entry, "the rule never applies, because the rule in line %d always matches first; move it above that rule, or remove it", read.rules[covering].line)
		}
		read.rules = append(read.rules, next)
	}
	if p := keys["profiles"]; p != nil {
		read.unused = unusedProfiles(p, read.rules)
	}
	return read
}

// unusedProfiles returns a sentence for each profile that no rule uses.
func unusedProfiles(profiles *yaml.Node, rules []rule) (all []string) {
	for i := 0; i+1 < len(profiles.Content); i += 2 {
		key := profiles.Content[i]
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.profile.Name == key.Value }) {
			all = append(all, fmt.Sprintf("The profile %q in line %d is used by no rule.", key.Value, key.Line))
		}
	}
	return all
}

// plainName matches names that are safe in logs. They have no space, so none equals a default
// name such as "rule 3".
var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const nameRule = "must be 1 to 64 letters, digits, - and _; change it"

func (r *reader) rule(number int, n *yaml.Node, profiles map[string]Profile) rule {
	keys := r.Mapping(n, "a rule", "name", "who", "where", "may", "profile", "page_first")
	made := rule{
		name:  fmt.Sprintf("rule %d", number),
		title: fmt.Sprintf("Rule %d in line %d", number, n.Line),
		line:  n.Line,
	}
	if keys == nil {
		return made
	}
	if k := keys["name"]; k != nil {
		if name := r.Text(k, "name"); name != "" && !plainName.MatchString(name) {
			r.AddAt(k, "name %s", nameRule)
		} else if name != "" {
			made.name = name
			made.title = fmt.Sprintf("The rule %q in line %d", name, n.Line)
		}
	}
	made.conditions = append(r.conditions(keys["who"], "who", whoKeys), r.conditions(keys["where"], "where", whereKeys)...)
	made.may = r.may(n, keys["may"], keys["where"] != nil)
	if k := keys["profile"]; k != nil {
		name := r.Text(k, "profile")
		profile, known := profiles[name]
		if name != "" && !known {
			r.AddAt(k, "profile is not one of the names under profiles; use one of them, or leave it out for Upscope's own settings")
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
		r.AddAt(n, "page_first is not other-sites or always; choose one, or leave it out so that agents go straight to the screen")
		return PageFirstNever
	}
	return first
}

func (r *reader) conditions(n *yaml.Node, key string, known []*conditionKey) []condition {
	if n == nil {
		return nil
	}
	var names []string
	for _, k := range known {
		names = append(names, k.key)
	}
	keys := r.Mapping(n, key, names...)
	if keys != nil && len(n.Content) == 0 {
		r.AddAt(n, "%s is empty; leave it out if the rule is for all", key)
	}
	var all []condition
	for _, k := range known {
		if list := keys[k.key]; list != nil {
			all = append(all, condition{k, r.entries(list, k)})
		}
	}
	return all
}

// entries reads the list of a condition.
func (r *reader) entries(list *yaml.Node, k *conditionKey) []string {
	var all []string
	for i, n := range r.NonEmptyList(list, k.key, k.key+" is empty, so the rule would never apply; add to it, or leave it out") {
		name := entryName(i, k.key)
		entry := r.Text(n, name)
		if entry != "" && k.parse != nil {
			var fault string
			if entry, fault = k.parse(entry); fault != "" {
				r.AddAt(n, "%s %s", name, fault)
			}
		}
		if connector, _, _ := strings.Cut(entry, ":"); entry != "" && slices.Contains(whereKeys, k) && !r.connectorExists(connector) {
			r.AddAt(n, "%s is of no chat service; the services are %s, also with a suffix such as slack-emea, and desk", name, strings.Join(r.services, ", "))
		}
		all = append(all, entry)
	}
	return all
}

// connectorExists reports whether a connector can have the name.
func (r *reader) connectorExists(name string) bool {
	service, _, _ := strings.Cut(name, "-")
	return len(r.services) == 0 || name == "desk" || slices.Contains(r.services, service)
}

func entryName(i int, list string) string { return fmt.Sprintf("entry %d of %s", i+1, list) }

// may reads a rule's list of acts. hasWhere says that the rule has the key where.
func (r *reader) may(ruleNode, list *yaml.Node, hasWhere bool) []Act {
	if list == nil {
		r.AddAt(ruleNode, "the rule has no may; write may: [] to deny everything")
		return nil
	}
	var all []Act
	for i, k := range r.List(list, "may") {
		act := Act(r.Text(k, entryName(i, "may")))
		switch {
		case act == "": // Text has added the fault
		case !slices.Contains(acts, act):
			r.AddAt(k, "%s is not an act; the acts are %s", entryName(i, "may"), listed(acts))
		case hasWhere && act.aboutBridge():
			r.AddAt(k, "%s is about the whole bridge, so a rule with where cannot allow it; use a rule without where", act)
		}
		all = append(all, act)
	}
	return all
}

func (r *reader) profile(name string, n *yaml.Node) Profile {
	p := Profile{Name: name}
	keys := r.Mapping(n, "a profile", "permissions", "naked", "language", "initial_notes")
	if k := keys["permissions"]; k != nil {
		p.Permissions = r.permissions(k)
	}
	if k := keys["naked"]; k != nil {
		p.Naked = r.naked(k)
	}
	if k := keys["language"]; k != nil {
		if p.Language = r.Text(k, "language"); p.Language != "" && !language.MatchString(p.Language) {
			r.AddAt(k, "language is not a language tag; write one such as en or pt-BR")
		}
	}
	if k := keys["initial_notes"]; k != nil {
		if p.InitialNotes = r.Text(k, "initial_notes"); unknownPlaceholder(p.InitialNotes) {
			r.AddAt(k, "initial_notes has an unknown placeholder; the placeholders are %s", listed(placeholders))
		}
	}
	return p
}

// naked reads true or false. Upscope's page_only is refused: it removes the controls, and is meant
// for a page of one's own around Upscope's. The bridge leads to Upscope's page itself.
func (r *reader) naked(n *yaml.Node) upscope.Naked {
	naked, known := map[string]upscope.Naked{"false": upscope.NakedNo, "true": upscope.NakedYes}[n.Value]
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "page_only":
		r.AddAt(n, "naked is page_only, which leaves the agent without controls, because the bridge has no page of its own around Upscope's; write true to remove only the logo")
	case n.Kind != yaml.ScalarNode || !known:
		r.AddAt(n, "naked is not true or false; choose one")
	}
	return naked
}

// language matches the syntax of a language tag (RFC 5646), whether or not the language exists.
var language = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

// permissions reads Upscope's flags. Their names come from upscope.Permissions, so that none
// can be missing here.
func (r *reader) permissions(n *yaml.Node) (p upscope.Permissions) {
	keys := r.Mapping(n, "permissions", flags()...)
	for i, flag := range flags() {
		k := keys[flag]
		if k == nil {
			continue
		}
		// Text such as "false" in quotes is refused, because it is not clear what it means.
		set, known := map[string]upscope.Switch{"true": upscope.On, "false": upscope.Off}[k.Value]
		if k.ShortTag() != "!!bool" || !known {
			r.AddAt(k, "%s is neither true nor false; choose one, without quotes, or leave it out for Upscope's own setting", flag)
		}
		reflect.ValueOf(&p).Elem().Field(i).Set(reflect.ValueOf(set)) // flags has the order of the fields
	}
	return p
}

// flags returns the JSON names of the fields of upscope.Permissions, in order.
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
