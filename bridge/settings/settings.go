// Package settings reads a program's settings from its environment and finds
// all that is wrong with them at once.
package settings

import (
	"cmp"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// A Reader reads groups of settings and collects their faults. Its methods
// return a zero value for a setting that is at fault, so that reading goes on;
// Faults tells in the end. The zero Reader is ready to use.
//
// Every setting X may instead be given as X_FILE, the path of a file that holds
// the value; one line end after it is cut. A setting that is empty, or blank, is
// one that is not set.
type Reader struct {
	faults  []Fault
	secrets map[string]string // value → the variable that holds it
	hidden  []string
	known   []string
}

// A Fault is one thing that is wrong with one variable. It never holds the
// variable's value.
type Fault struct {
	Variable string `json:"variable"`
	Problem  string `json:"problem"`
}

func (f Fault) Error() string { return f.Variable + " " + f.Problem }

// maxFile is the largest content of a X_FILE in bytes.
const maxFile = 64 << 10

// Group fills the string fields of spec, a pointer to a struct, from variables
// named PREFIX_FIELD_NAME. Fields may have tags `default`, `need:"yes"` for
// those that must be set, and `desc`. Only strings are read here: envconfig
// prints the value of anything it cannot convert, and stops at the first fault.
func (r *Reader) Group(prefix string, spec any) {
	variables := Variables(prefix, spec)
	for _, v := range variables {
		r.known = append(r.known, v.Name, v.Name+"_FILE")
		r.fromFile(v.Name)
		if v.Needed && !set(v.Name) {
			r.Fault(v.Name, "is not set: "+v.Meaning)
		}
	}
	if err := envconfig.Process(prefix, spec); err != nil {
		r.Fault(prefix+"_…", "cannot be read") // fields are strings, which cannot fail
	}
	fields := reflect.ValueOf(spec).Elem()
	for i, v := range variables {
		value := strings.TrimSpace(fields.Field(i).String())
		fields.Field(i).SetString(cmp.Or(value, v.Default))
	}
}

func set(name string) bool { return strings.TrimSpace(os.Getenv(name)) != "" }

// fromFile puts the content of the file that name_FILE names into name.
func (r *Reader) fromFile(name string) {
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return
	}
	if set(name) {
		r.Fault(name, "and "+name+"_FILE are both set: keep one")
		return
	}
	file, err := os.Open(path)
	if err != nil {
		r.Fault(name+"_FILE", "names a file that cannot be opened")
		return
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		r.Fault(name+"_FILE", "names a file that cannot be read")
	case len(content) > maxFile:
		r.Fault(name+"_FILE", "names a file that is too large for a setting")
	default:
		if err := os.Setenv(name, strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")); err != nil {
			r.Fault(name+"_FILE", "names a file whose content cannot be a setting")
		}
	}
}

// A Variable describes one setting for people.
type Variable struct {
	Name    string
	Default string
	Needed  bool
	Meaning string
}

// Variables lists the variables that Group reads for spec.
func Variables(prefix string, spec any) []Variable {
	var keys strings.Builder
	if err := envconfig.Usagef(prefix, spec, &keys, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
		panic(err) // spec is no pointer to a struct
	}
	names := strings.Fields(keys.String())
	var all []Variable
	for i, field := range slices.Collect(reflect.TypeOf(spec).Elem().Fields()) {
		all = append(all, Variable{
			Name: names[i], Default: field.Tag.Get("default"), Needed: field.Tag.Get("need") == "yes", Meaning: field.Tag.Get("desc"),
		})
	}
	return all
}

// Unknown finds variables that begin with one of the prefixes and are read by
// nobody: most likely misspelt, and dangerous where a default then applies.
func (r *Reader) Unknown(prefixes ...string) {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		ours := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if ours && strings.TrimSpace(value) != "" && !slices.Contains(r.known, name) && !strings.HasPrefix(name, "BRIDGE_TEST_") {
			r.Fault(name, "is not a setting of this program: see `bridge env` for those that are")
		}
	}
}

// Fault records that something is wrong with a variable.
func (r *Reader) Fault(variable, problem string) {
	r.faults = append(r.faults, Fault{variable, problem})
}

// Faults are all that was found so far, in order of finding.
func (r *Reader) Faults() []Fault { return slices.Clone(r.faults) }
