package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/settings"
)

// spec stands for a program's settings.
type spec struct {
	Address   string `split_words:"true" need:"yes" desc:"where to listen"`
	LogLevel  string `split_words:"true" default:"info" desc:"how much to say"`
	APIKey    string `split_words:"true" need:"yes" desc:"the key"`
	OldAPIKey string `split_words:"true" desc:"the key before"`
}

// environment has these variables and no others that the tests look at.
func environment(t *testing.T, variables ...string) {
	t.Helper()
	for _, pair := range variables {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

func file(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "setting")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAGroupIsReadFromVariablesWithItsPrefix(t *testing.T) {
	environment(t, "PROG_ADDRESS= :8080 ", "PROG_API_KEY=a key", "ADDRESS=other", "LOG_LEVEL=other", "OLD_API_KEY=other", "API_KEY=other")
	var r settings.Reader
	var s spec
	r.Group("PROG", &s)
	if want := (spec{":8080", "info", "a key", ""}); s != want {
		t.Errorf("read %+v, want %+v", s, want)
	}
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("faults: %v", faults)
	}
}

func TestWhatIsEmptyIsNotSet(t *testing.T) {
	for _, blank := range []string{"", " ", "\t \n"} {
		environment(t, "PROG_ADDRESS="+blank, "PROG_LOG_LEVEL="+blank, "PROG_API_KEY="+blank, "PROG_UNKNOWN="+blank)
		var r settings.Reader
		var s spec
		r.Group("PROG", &s)
		r.Unknown("PROG_")
		if want := (spec{LogLevel: "info"}); s != want {
			t.Errorf("read %+v from %q, want %+v", s, blank, want)
		}
		want := []settings.Fault{{"PROG_ADDRESS", "is not set: where to listen"}, {"PROG_API_KEY", "is not set: the key"}}
		if got := r.Faults(); !slices.Equal(got, want) {
			t.Errorf("faults of %q are %v, want %v", blank, got, want)
		}
	}
}

func TestASettingMayBeInAFile(t *testing.T) {
	const long = 64 << 10
	for name, c := range map[string]struct {
		content string
		want    string
		fault   settings.Fault
	}{
		"a line":              {"value\n", "value", settings.Fault{}},
		"a line of Windows":   {"value\r\n", "value", settings.Fault{}},
		"no line end":         {"value", "value", settings.Fault{}},
		"blanks around":       {"  value \n\n", "value", settings.Fault{}},
		"a line end inside":   {"value\nvalue\n", "value\nvalue", settings.Fault{}},
		"just not too large":  {strings.Repeat("x", long), strings.Repeat("x", long), settings.Fault{}},
		"too large":           {strings.Repeat("x", long+1), "", settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "names a file that is too large for a setting"}},
		"nothing":             {"", "", settings.Fault{Variable: "PROG_API_KEY", Problem: "is not set: the key"}},
		"a line end only":     {"\n", "", settings.Fault{Variable: "PROG_API_KEY", Problem: "is not set: the key"}},
		"a byte that is zero": {"val\x00ue\n", "", settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "names a file whose content cannot be a setting"}},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=", "PROG_API_KEY_FILE="+file(t, c.content))
			var r settings.Reader
			var s spec
			r.Group("PROG", &s)
			r.Unknown("PROG_")
			if s.APIKey != c.want {
				t.Errorf("read %.40q, want %.40q", s.APIKey, c.want)
			}
			if faults := r.Faults(); c.fault == (settings.Fault{}) && len(faults) > 0 || c.fault != (settings.Fault{}) && !slices.Contains(faults, c.fault) {
				t.Errorf("faults %v, want %v", faults, c.fault)
			}
		})
	}
}

func TestASettingIsGivenOneWay(t *testing.T) {
	environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=in the open", "PROG_API_KEY_FILE="+file(t, "in a file"))
	var r settings.Reader
	r.Group("PROG", &spec{})
	want := []settings.Fault{{"PROG_API_KEY", "and PROG_API_KEY_FILE are both set: keep one"}}
	if got := r.Faults(); !slices.Equal(got, want) {
		t.Errorf("faults %v, want %v", got, want)
	}
}

func TestAFileThatCannotBeReadIsNamedByItsVariable(t *testing.T) {
	for problem, path := range map[string]string{
		"names a file that cannot be opened": filepath.Join(t.TempDir(), "hidden-name"),
		"names a file that cannot be read":   t.TempDir(),
	} {
		environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=", "PROG_API_KEY_FILE="+path)
		var r settings.Reader
		r.Group("PROG", &spec{})
		if want := (settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: problem}); !slices.Contains(r.Faults(), want) {
			t.Errorf("faults %v, want %v", r.Faults(), want)
		}
		for _, f := range r.Faults() {
			if strings.Contains(f.Error(), path) {
				t.Errorf("%v quotes the path", f)
			}
		}
	}
}

func TestMisspeltVariablesAreFound(t *testing.T) {
	environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=k", "PROG_LOGLEVEL=debug", "PROGRAM=x", "MY_PROG_X=x", "PROG_LOG_LEVEL_FILE=", "BRIDGE_TEST_POSTGRES=x")
	var r settings.Reader
	r.Group("PROG", &spec{})
	r.Unknown("PROG_", "BRIDGE_")
	faults := r.Faults()
	if len(faults) != 1 || faults[0].Variable != "PROG_LOGLEVEL" || strings.Contains(faults[0].Problem, "debug") {
		t.Errorf("faults: %v", faults)
	}
}

func TestVariablesDescribeAGroup(t *testing.T) {
	t.Parallel()
	want := []settings.Variable{
		{"PROG_ADDRESS", "", true, "where to listen"}, {"PROG_LOG_LEVEL", "info", false, "how much to say"},
		{"PROG_API_KEY", "", true, "the key"}, {"PROG_OLD_API_KEY", "", false, "the key before"},
	}
	if got := settings.Variables("PROG", &spec{}); !slices.Equal(got, want) {
		t.Errorf("variables %v, want %v", got, want)
	}
}
