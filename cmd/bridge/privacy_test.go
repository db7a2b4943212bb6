package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/settings"
)

// fixedPeriods are periods of deploy/privacy.md that no setting changes: where the code has them.
var fixedPeriods = []struct{ data, period, file, code string }{
	{"the key of an event", "72 hours after it was handled", "bridge/bridge.go", `keepKeys\s+= 72 \* time\.Hour`},
	{"jobs: ids", "1 hour when done", "bridge/store/jobs/jobs.go", `keepDone\s+= time\.Hour`},
	{"jobs: ids", "30 days when failed", "bridge/store/jobs/jobs.go", `keepFailed\s+= 30 \* 24 \* time\.Hour`},
	{"the browser of an agent", "12 hours", "bridge/web/who.go", `BrowserLife = 12 \* time\.Hour`},
}

// tableRows returns the rows of all tables of a document, as their cells.
func tableRows(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

// period writes the default of a setting, such as 30d or 8h, as documents do.
func period(value string) string {
	if n, ok := strings.CutSuffix(value, "d"); ok {
		return n + " days"
	}
	n, _ := strings.CutSuffix(value, "h")
	return n + " hours"
}

func TestThePeriodsInPrivacyAreTheDefaults(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join(deployFolder, "privacy.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(document)
	defaults := map[string]string{}
	for _, v := range settings.Variables("BRIDGE", &bridgeSettings{}) {
		defaults["`"+v.Name+"`"] = v.Default
	}
	named := 0
	for _, row := range tableRows(text) {
		if len(row) != 3 || !strings.HasPrefix(row[2], "`BRIDGE_") {
			continue
		}
		named++
		if want := period(defaults[row[2]]); defaults[row[2]] == "" || !strings.HasPrefix(row[1], want) {
			t.Errorf("%s is kept for %q, and the default of %s is %q", row[0], row[1], row[2], want)
		}
	}
	if named != 5 {
		t.Errorf("%d periods have a setting, want 5", named)
	}
	for _, fixed := range fixedPeriods {
		found := false
		for _, row := range tableRows(text) {
			found = found || strings.HasPrefix(row[0], fixed.data) && strings.Contains(row[1], fixed.period)
		}
		code, err := os.ReadFile(filepath.Join("../..", fixed.file))
		if err != nil {
			t.Fatal(err)
		}
		if !found || !regexp.MustCompile(fixed.code).Match(code) {
			t.Errorf("%s: the document has the period %q: %v; look at %s", fixed.data, fixed.period, found, fixed.file)
		}
	}
	// The paragraphs for privacy pages have the two periods that matter to customers.
	cards, audit := strings.TrimSuffix(defaults["`BRIDGE_KEEP_CARDS`"], "d"), strings.TrimSuffix(defaults["`BRIDGE_KEEP_AUDIT`"], "d")
	for language, words := range map[string][]string{
		"English": {cards + " days", audit + " days"}, "Deutsch": {cards + " Tage", audit + " Tage"}, "Français": {cards + " jours", audit + " jours"},
	} {
		_, paragraph, _ := strings.Cut(text, "**"+language+"**")
		paragraph, _, _ = strings.Cut(strings.TrimLeft(paragraph, "\n"), "\n\n")
		paragraph = strings.ReplaceAll(paragraph, "\n> ", " ")
		for _, word := range words {
			if !strings.Contains(paragraph, word) {
				t.Errorf("the paragraph in %s does not say %q", language, word)
			}
		}
	}
}
