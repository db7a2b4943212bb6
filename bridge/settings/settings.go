// Package settings reads a program's settings from its environment, and reports all faults
// at once. Start reading the code at settings.go.
package settings

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// A Reader reads groups of settings and collects their faults. Methods that read a value return the zero value if it
// has a fault; call Faults at the end. The zero Reader is ready to use.
//
// Instead of a variable X, an operator may set X_FILE to the path of a file with the value. One
// line end after the value is removed, and a byte order mark before it. A setting that is empty or
// blank counts as not set. If neither is set, a credential of systemd that has the variable's name in lower
// case is such a file.
type Reader struct {
	faults        []Fault
	secrets       map[string]string // the variable of each value
	hidden        []string          // other values to redact in logs
	readVariables []string          // all names that Group was asked for
	// noEffect says of settings that belong to no group why they have no effect.
	noEffect map[string]string
	// unread are the variables whose value Group could not read. It has added their only fault.
	unread map[string]bool
	// skipped are prefixes of variables that Unknown does not look at.
	skipped []string
	ignored []string
	files   Files
}

// A Fault is one problem with one variable. It never contains the variable's value. Problem continues a sentence that
// begins with Variable, such as "is not set".
type Fault struct {
	Variable string `json:"variable"`
	Problem  string `json:"problem"`
}

// Error returns Variable and Problem as one sentence.
func (f Fault) Error() string { return f.Variable + " " + f.Problem }

// maxFile is the maximum size of a file that X_FILE names, in bytes.
const maxFile = 64 << 10

// Group fills the string fields of spec, a pointer to a struct, from variables named
// PREFIX_FIELD_NAME. All fields must be strings, because envconfig would print a value that it cannot convert. Tags:
// default; need:"yes" for a required setting; desc, the description for `bridge env`.
func (r *Reader) Group(prefix string, spec any) {
	variables := Variables(prefix, spec)
	for _, v := range variables {
		r.readVariables = append(r.readVariables, v.Name, v.Name+"_FILE")
		if readable := r.fromFile(v.Name); readable && v.Needed && !isSet(v.Name) {
			r.unreadable(v.Name, v.Name, "is not set. Set it to: "+v.Meaning)
		}
	}
	if err := envconfig.Process(prefix, spec); err != nil {
		panic(err) // programming error: a field is not a string
	}
	// envconfig takes a blank value as it is, so the defaults are set here.
	fields := reflect.ValueOf(spec).Elem()
	for i, v := range variables {
		value := strings.TrimSpace(fields.Field(i).String())
		if quoted(value) {
			r.unreadable(v.Name, v.Name, quotesRemain)
		}
		if r.unread[v.Name] {
			value = ""
		}
		fields.Field(i).SetString(cmp.Or(value, v.Default))
	}
}

// quotesRemain is the fault of a value in quotation marks. A shell removes them, and
// `docker run --env-file` does not.
const quotesRemain = "is in quotation marks, which count as part of the value here: remove them"

// quoted reports whether a value is in quotation marks, as in an env file or as a word processor
// writes them.
func quoted(value string) bool {
	return slices.ContainsFunc([][2]string{{`"`, `"`}, {"'", "'"}, {"“", "”"}, {"„", "“"}, {"‘", "’"}}, func(q [2]string) bool {
		rest, begins := strings.CutPrefix(value, q[0])
		return begins && strings.HasSuffix(rest, q[1])
	})
}

// unreadable adds the fault of a variable whose value cannot be used. What AddFault is told of the
// variable later would only follow from this, so it is dropped. The fault may be that of
// variable_FILE.
func (r *Reader) unreadable(variable, faulty, problem string) {
	r.AddFault(faulty, problem)
	if r.unread == nil {
		r.unread = map[string]bool{}
	}
	r.unread[variable] = true
}

// ConnectorPrefix returns the prefix of a connector's variables, without the underscore that follows:
// ROCKETCHAT_EMEA for the connector "rocketchat-emea".
func ConnectorPrefix(connector string) string {
	return strings.ToUpper(strings.ReplaceAll(connector, "-", "_"))
}

func isSet(name string) bool { return strings.TrimSpace(os.Getenv(name)) != "" }

// IsSet reports whether a variable or its _FILE is set, or is a credential.
func IsSet(variable string) bool {
	return isSet(variable) || isSet(variable+"_FILE") || credential(variable) != ""
}

// fromFile sets the variable name to the content of the file that name_FILE names. It
// returns false if the two variables or the file have a fault.
func (r *Reader) fromFile(name string) bool {
	path := strings.TrimSpace(os.Getenv(name + "_FILE"))
	faulty := name + "_FILE"
	switch {
	case path == "" && !isSet(name):
		if path = credential(name); path == "" {
			return true
		}
		faulty = name
	case path == "":
		return true
	case isSet(name):
		r.unreadable(name, name, "and "+name+"_FILE are both set: keep one")
		return false
	}
	value, problem := readSetting(path)
	if problem == "" && os.Setenv(name, value) != nil {
		problem = "names a file that is not text: it contains a zero byte"
	}
	if problem != "" {
		if quoted(path) {
			problem = quotesRemain
		}
		if faulty == name {
			problem = strings.Replace(problem, "names a file", "is a credential", 1)
		}
		r.unreadable(name, faulty, problem)
		return false
	}
	r.files.add(name, path, strings.TrimSpace(value))
	return true
}

// readSetting reads a setting from a file. problem continues a sentence about the variable that names it.
func readSetting(path string) (value, problem string) {
	content, err := readFile(path)
	switch {
	case err != nil:
		return "", "names a file that cannot be read: " + Cause(err)
	case len(content) > maxFile:
		return "", "names a file that is too large for a setting"
	}
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(string(content), byteOrderMark), "\n"), "\r"), ""
}

// credential returns the path of the credential of systemd for a variable, or "" if there is none
// (systemd.io/CREDENTIALS).
func credential(name string) string {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" {
		return ""
	}
	path := filepath.Join(folder, strings.ToLower(name))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// byteOrderMark is what some editors of Windows write at the beginning of a file.
const byteOrderMark = "\ufeff"

// readFile reads a file, up to one byte more than maxFile.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile+1))
}

// Cause returns the text of an error about a file without the file's name, such as "permission
// denied for the user bridge".
func Cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		if u, failed := user.Current(); failed == nil {
			return err.Error() + " for the user " + u.Username
		}
	}
	return err.Error()
}

// A Variable describes one setting, for `bridge env`.
type Variable struct {
	Name    string // such as ROCKETCHAT_URL
	Default string // the value if the setting is not set, or empty
	Needed  bool   // the setting is required
	Meaning string // the description
}

// Variables lists the variables that Group reads for spec.
func Variables(prefix string, spec any) []Variable {
	var keys strings.Builder
	if err := envconfig.Usagef(prefix, spec, &keys, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
		panic(err) // programming error: spec must be a pointer to a struct
	}
	names := strings.Fields(keys.String()) // in the order of the fields
	var all []Variable
	for i, field := range slices.Collect(reflect.TypeOf(spec).Elem().Fields()) {
		all = append(all, Variable{
			Name: names[i], Default: field.Tag.Get("default"), Needed: field.Tag.Get("need") == "yes", Meaning: field.Tag.Get("desc"),
		})
	}
	return all
}

// NoEffect says why a setting that belongs to no group has no effect. Unknown then says so too.
func (r *Reader) NoEffect(variable, why string) {
	if r.noEffect == nil {
		r.noEffect = map[string]string{}
	}
	r.noEffect[variable] = why
}

// Skip makes Unknown pass over the variables that begin with prefix, because another fault is the
// reason why no group has them.
func (r *Reader) Skip(prefix string) { r.skipped = append(r.skipped, prefix) }

// Unknown adds a fault for each variable that begins with one of the prefixes and belongs to
// no group. It is probably misspelt, and a default would apply instead. Variables that a platform
// adds are not faults: see Ignored.
func (r *Reader) Unknown(prefixes ...string) {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(value) == "" || slices.Contains(r.readVariables, name) || strings.HasPrefix(name, "BRIDGE_TEST_") {
			continue
		}
		if !begins(name, prefixes) && !slices.Contains(r.readVariables, strings.ToUpper(name)) {
			continue
		}
		switch why := r.noEffect[strings.TrimSuffix(name, "_FILE")]; {
		case begins(name, r.skipped):
		case addedByPlatform(name, value):
			r.ignored = append(r.ignored, name)
		case why != "":
			r.AddFault(name, "has no effect: "+why)
		default:
			r.AddFault(name, "is not a setting of this program: "+r.didYouMean(name)+"`bridge env` lists all settings")
		}
	}
}

func begins(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// didYouMean returns a question with the setting that was probably meant, or "".
func (r *Reader) didYouMean(name string) string {
	meant := cmp.Or(Nearest(name, r.readVariables), withMissingWord(name, r.readVariables))
	if meant == "" {
		return ""
	}
	return "did you mean " + meant + "? "
}

// Ignored returns the names of the variables that begin like settings and that a platform such as
// Kubernetes has added. Unknown finds them.
func (r *Reader) Ignored() []string { return slices.Clone(r.ignored) }

// AddFault adds a fault of a variable, unless its value could not be read.
func (r *Reader) AddFault(variable, problem string) {
	if !r.unread[variable] {
		r.faults = append(r.faults, Fault{variable, problem})
	}
}

// Faults returns the faults so far, in the order in which they were found.
func (r *Reader) Faults() []Fault { return slices.Clone(r.faults) }
