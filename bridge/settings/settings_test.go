package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/settings"
)

// spec is an example of a program's settings.
type spec struct {
	Address   string `split_words:"true" need:"yes" desc:"where to listen"`
	LogLevel  string `split_words:"true" default:"info" desc:"how much to say"`
	APIKey    string `split_words:"true" need:"yes" desc:"the key"`
	OldAPIKey string `split_words:"true" desc:"the key before"`
}

// environment sets these variables until the test ends.
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

func TestAnEmptyVariableIsNotSet(t *testing.T) {
	for _, blank := range []string{"", " ", "\t \n"} {
		environment(t, "PROG_ADDRESS="+blank, "PROG_LOG_LEVEL="+blank, "PROG_API_KEY="+blank, "PROG_UNKNOWN="+blank)
		var r settings.Reader
		var s spec
		r.Group("PROG", &s)
		r.Unknown("PROG_")
		if want := (spec{LogLevel: "info"}); s != want {
			t.Errorf("read %+v from %q, want %+v", s, blank, want)
		}
		want := []settings.Fault{{"PROG_ADDRESS", "is not set. Set it to: where to listen"}, {"PROG_API_KEY", "is not set. Set it to: the key"}}
		if got := r.Faults(); !slices.Equal(got, want) {
			t.Errorf("faults of %q are %v, want %v", blank, got, want)
		}
	}
}

func TestTheVariablesOfAConnectorBeginWithItsName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"slack": "SLACK", "rocketchat-emea": "ROCKETCHAT_EMEA", "rocketchat-emea-2": "ROCKETCHAT_EMEA_2",
	} {
		if got := settings.ConnectorPrefix(name); got != want {
			t.Errorf("the variables of %s begin with %s", name, got)
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
		"a byte order mark":   {"\ufeffvalue\r\n", "value", settings.Fault{}},
		"quotation marks":     {"\"value\"\n", "", settings.Fault{Variable: "PROG_API_KEY", Problem: "is in quotation marks, which count as part of the value here: remove them"}},
		"just not too large":  {strings.Repeat("x", long), strings.Repeat("x", long), settings.Fault{}},
		"too large":           {strings.Repeat("x", long+1), "", settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "names a file that is too large for a setting"}},
		"nothing":             {"", "", settings.Fault{Variable: "PROG_API_KEY", Problem: "is not set. Set it to: the key"}},
		"a line end only":     {"\n", "", settings.Fault{Variable: "PROG_API_KEY", Problem: "is not set. Set it to: the key"}},
		"a byte that is zero": {"val\x00ue\n", "", settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "names a file that is not text: it contains a zero byte"}},
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

func TestAVariableAndItsFileCannotBothBeSet(t *testing.T) {
	environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=in the open", "PROG_API_KEY_FILE="+file(t, "in a file"))
	var r settings.Reader
	r.Group("PROG", &spec{})
	want := []settings.Fault{{"PROG_API_KEY", "and PROG_API_KEY_FILE are both set: keep one"}}
	if got := r.Faults(); !slices.Equal(got, want) {
		t.Errorf("faults %v, want %v", got, want)
	}
}

func TestTheFaultOfAnUnreadableFileNamesTheVariableAndNotThePath(t *testing.T) {
	for problem, path := range map[string]string{
		"names a file that cannot be read: no such file or directory": filepath.Join(t.TempDir(), "hidden-name"),
		"names a file that cannot be read: is a directory":            t.TempDir(),
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

// What is checked after a value could not be read would only repeat the fault in other words.
func TestAVariableThatCannotBeReadHasOneFault(t *testing.T) {
	for name, c := range map[string]struct {
		variables []string
		fault     settings.Fault
	}{
		"missing":           {nil, settings.Fault{Variable: "PROG_API_KEY", Problem: "is not set. Set it to: the key"}},
		"missing file":      {[]string{"PROG_API_KEY_FILE=/no/such/file"}, settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "names a file that cannot be read: no such file or directory"}},
		"file in quotes":    {[]string{`PROG_API_KEY_FILE="/no/such/file"`}, settings.Fault{Variable: "PROG_API_KEY_FILE", Problem: "is in quotation marks, which count as part of the value here: remove them"}},
		"both ways":         {[]string{"PROG_API_KEY=short", "PROG_API_KEY_FILE=/no/such/file"}, settings.Fault{Variable: "PROG_API_KEY", Problem: "and PROG_API_KEY_FILE are both set: keep one"}},
		"in quotes":         {[]string{`PROG_API_KEY='short'`}, settings.Fault{Variable: "PROG_API_KEY", Problem: "is in quotation marks, which count as part of the value here: remove them"}},
		"nothing in quotes": {[]string{`PROG_API_KEY=""`}, settings.Fault{Variable: "PROG_API_KEY", Problem: "is in quotation marks, which count as part of the value here: remove them"}},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, append([]string{"PROG_ADDRESS=:1", "PROG_API_KEY=", "PROG_API_KEY_FILE= "}, c.variables...)...)
			var r settings.Reader
			var s spec
			r.Group("PROG", &s)
			r.Secret("PROG_API_KEY", s.APIKey)
			if s.APIKey == "" {
				r.AddFault("PROG_API_KEY", "is needed for something else")
			}
			r.Unknown("PROG_")
			if faults := r.Faults(); !slices.Equal(faults, []settings.Fault{c.fault}) || s.APIKey != "" {
				t.Errorf("read %q, faults %q, want %q", s.APIKey, faults, c.fault)
			}
		})
	}
}

func TestAMisspeltVariableIsComparedWithTheSettings(t *testing.T) {
	for name, meant := range map[string]string{
		"PROG_LOGLEVEL":         "PROG_LOG_LEVEL",
		"PROG_LOG_LEVE1":        "PROG_LOG_LEVEL",
		"PROG_ADDR_SS":          "PROG_ADDRESS",
		"PROG_LEVEL":            "PROG_LOG_LEVEL", // a word is missing
		"PROG_KEY":              "PROG_API_KEY",
		"PROG_APIKEY_FILE":      "PROG_API_KEY_FILE",
		"PROG_KEY_FILE":         "PROG_API_KEY_FILE",
		"prog_log_level":        "PROG_LOG_LEVEL",
		"PROG_EMEA_API_KEY":     "",
		"PROG_SOMETHING":        "",
		"PROG_ADDRESS_FILE_NEW": "",
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=k", name+"=value")
			var r settings.Reader
			r.Group("PROG", &spec{})
			r.Unknown("PROG_")
			want := "is not a setting of this program: `bridge env` lists all settings"
			if meant != "" {
				want = "is not a setting of this program: did you mean " + meant + "? `bridge env` lists all settings"
			}
			if faults := r.Faults(); !slices.Equal(faults, []settings.Fault{{Variable: name, Problem: want}}) {
				t.Errorf("faults %q, want %q", faults, want)
			}
		})
	}
}

// Kubernetes adds variables for a Service, and Docker for a linked container. A misspelt setting
// may have a name of their form, but not a value of it.
func TestVariablesThatAPlatformAddsAreIgnored(t *testing.T) {
	for pair, ignored := range map[string]bool{
		"PROG_SERVICE_HOST=10.0.0.1":                     true,
		"PROG_SERVICE_HOST=fd00::1":                      true,
		"PROG_SERVICE_HOST=prog.example.org":             false,
		"PROG_SERVICE_PORT=8080":                         true,
		"PROG_SERVICE_PORT_HTTP=8080":                    true,
		"PROG_SERVICE_PORT_HTTP=http":                    false,
		"PROG_PORT=tcp://10.0.0.1:8080":                  true,
		"PROG_PORT=tcp://[fd00::1]:8080":                 true,
		"PROG_PORT=8080":                                 false,
		"PROG_PORT=tcp://prog.example.org:8080":          false,
		"PROG_PORT=https://10.0.0.1:8080":                false,
		"PROG_PORT_8080_TCP=tcp://10.0.0.1:8080":         true,
		"PROG_PORT_53_UDP=udp://10.0.0.1:53":             true,
		"PROG_PORT_8080_TCP_PROTO=tcp":                   true,
		"PROG_PORT_8080_TCP_PROTO=http":                  false,
		"PROG_PORT_8080_TCP_PORT=8080":                   true,
		"PROG_PORT_8080_TCP_ADDR=10.0.0.1":               true,
		"PROG_PORT_8000_TCP_START=tcp://172.17.0.2:8000": true,
		"PROG_PORT_8000_TCP_PORT_END=8010":               true,
		"PROG_API_KEY_SERVICE_HOST=10.0.0.1":             true,
		"PROG_WEB_SERVICE_PORT_WEB_TLS=443":              true,
		"PROG_LINK_NAME=/prog/link":                      true, // PROG_LINK_PORT is set
		"PROG_LINK_ENV_HOME=/root":                       true,
		"PROG_OTHER_NAME=/prog/link":                     false,
		"PROG_OTHER_ENV_HOME=/root":                      false,
	} {
		t.Run(pair, func(t *testing.T) {
			environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=k", pair)
			name, value, _ := strings.Cut(pair, "=")
			want := []string{name}
			if strings.Contains(name, "LINK") {
				environment(t, "PROG_LINK_PORT=tcp://172.17.0.2:80")
				want = append(want, "PROG_LINK_PORT")
			}
			var r settings.Reader
			r.Group("PROG", &spec{})
			r.Unknown("PROG_")
			got := r.Ignored()
			slices.Sort(got)
			if faults := r.Faults(); ignored && (len(faults) > 0 || !slices.Equal(got, want)) {
				t.Errorf("faults %v; ignored %q, want %q", faults, got, want)
			} else if !ignored && (len(faults) != 1 || faults[0].Variable != name || strings.Contains(faults[0].Problem, value)) {
				t.Errorf("faults %v, want one of %s", faults, name)
			}
		})
	}
}

func TestSkippedVariablesAreNotFaults(t *testing.T) {
	environment(t, "PROG_ADDRESS=:1", "PROG_API_KEY=k", "PROG_OTHER_KEY=x", "PROG_LOGLEVEL=x")
	var r settings.Reader
	r.Group("PROG", &spec{})
	r.Skip("PROG_OTHER_")
	r.Unknown("PROG_")
	if faults := r.Faults(); len(faults) != 1 || faults[0].Variable != "PROG_LOGLEVEL" {
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
