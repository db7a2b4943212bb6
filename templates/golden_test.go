package templates

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

const goldenDir = "testdata/golden"

// hashes match the part of an asset's name that changes with its content.
var hashes = regexp.MustCompile(`(/static/\w+)\.[0-9a-f]{16}\.(\w+)`)

func render(t testing.TB, p Page) string {
	t.Helper()
	page, err := Render(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func asMessage(c CardText) string {
	var b strings.Builder
	fmt.Fprintln(&b, c.Title)
	for _, l := range c.Lines {
		fmt.Fprintln(&b, strings.TrimPrefix(l.Label+": "+l.Text, ": "))
	}
	for _, button := range []string{c.Button, c.Stop} {
		if button != "" {
			fmt.Fprintf(&b, "[ %s ]\n", button)
		}
	}
	return b.String()
}

func TestPagesAndCardsMatchTheirGoldenFiles(t *testing.T) {
	got := make(map[string]string)
	for name, p := range samplePages() {
		got[name+".html"] = hashes.ReplaceAllString(render(t, p), "$1.HASH.$2")
	}
	for name, c := range sampleCards() {
		got[name+".txt"] = asMessage(c.Text())
	}
	var all strings.Builder
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(&all, "%s: %s %s\n", note, notes[note].What, notes[note].Next)
	}
	got["notes.txt"] = all.String()
	if *update {
		if err := os.RemoveAll(goldenDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(goldenDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range got {
			if err := os.WriteFile(filepath.Join(goldenDir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range got {
		want, err := os.ReadFile(filepath.Join(goldenDir, name))
		if err != nil {
			t.Errorf("%v (go test ./templates -update writes it)", err)
			continue
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s differs (-golden +now; -update accepts it):\n%s", name, diff)
		}
	}
	files, err := os.ReadDir(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := got[f.Name()]; !ok {
			t.Errorf("%s belongs to no page or card", f.Name())
		}
	}
}
