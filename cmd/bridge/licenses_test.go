package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/licenses"
)

// A new or updated module must not be released without its license. The tests in tools/licenses also
// compare the texts.
func TestTheLicensesOfAllModulesAreInTheProgram(t *testing.T) {
	t.Parallel()
	var embedded bytes.Buffer
	if err := licenses.Write(&embedded); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../../THIRD_PARTY_LICENSES")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, embedded.Bytes()) {
		t.Error("bridge/licenses/licenses.txt.gz is not THIRD_PARTY_LICENSES: run make licenses")
	}
	listed := map[string]bool{}
	for line := range strings.Lines(embedded.String()) {
		name, _, _ := strings.Cut(line, "\t")
		listed[name] = true
	}
	for _, system := range []string{"linux", "darwin"} {
		list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", ".")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
		if len(modules) < 50 {
			t.Errorf("%s: only %d packages of other modules", system, len(modules))
		}
		for _, module := range modules {
			if name := strings.ReplaceAll(module, "@", " "); !listed[name] {
				t.Errorf("%s: THIRD_PARTY_LICENSES does not have %s: run make licenses", system, name)
				listed[name] = true
			}
		}
	}
}
