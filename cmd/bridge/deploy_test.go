package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const deployFolder = "../../deploy"

func TestTheExampleOfSettingsIsWhatEnvPrints(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := printEnvFile(&want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(deployFolder, "env.example")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("deploy/env.example is out of date: run go test ./cmd/bridge -run TestTheExampleOfSettings -update")
	}
}

// settingName matches what looks like a setting. A name in a longer word does not count, and a
// prefix such as BRIDGE_OIDC_ neither.
var settingName = regexp.MustCompile(`\b(BRIDGE|UPSCOPE|SLACK|ROCKETCHAT|CHATVISOR)(_[A-Z0-9]+)+\b`)

// otherNames are no settings of this program.
var otherNames = regexp.MustCompile(`^(BRIDGE_TEST_[A-Z]+|[A-Z]+_SERVICE_(HOST|PORT))$`)

func TestFilesForOperatorsNameOnlyRealSettings(t *testing.T) {
	t.Parallel()
	real := map[string]bool{}
	for _, group := range settingsGroups() {
		for _, v := range group.variables {
			real[v.Name], real[v.Name+"_FILE"] = true, true
		}
	}
	// CHANGELOG.md and DECISIONS.md are left out: they also name settings of the past.
	paths := []string{"../../README.md", "../../CONTRIBUTING.md", "../../Makefile"}
	pages, err := filepath.Glob("../../connectors/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, pages...)
	err = filepath.WalkDir(deployFolder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(text) {
			continue // an image
		}
		for _, name := range settingName.FindAllString(string(text), -1) {
			// The second Rocket.Chat of the documents' examples is called rocketchat-emea.
			name = strings.Replace(name, "_EMEA_", "_", 1)
			if named++; !real[name] && !otherNames.MatchString(name) {
				t.Errorf("%s names %s, which is not a setting", path, name)
			}
		}
	}
	if named < 200 {
		t.Errorf("only %d names of settings were found", named)
	}
}
