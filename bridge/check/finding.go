package check

import (
	"encoding/json"
	"fmt"
	"io"

	"cobrowse-bridge/bridge/chat"
)

// A Finding is one result of a check.
type Finding struct {
	// About names the setting or the part that the finding is about, such as BRIDGE_DATABASE.
	About string
	chat.Finding
}

// The levels of a finding, as they are printed.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelProblem = "problem"
)

func (f Finding) level() string {
	switch {
	case f.Problem != "":
		return levelProblem
	case f.Warning != "":
		return levelWarning
	}
	return levelOK
}

func ok(code, about, format string, args ...any) Finding {
	return Finding{about, chat.Finding{Code: code, OK: fmt.Sprintf(format, args...)}}
}

func warning(code, about, remedy, format string, args ...any) Finding {
	return Finding{about, chat.Finding{Code: code, Remedy: remedy, Warning: fmt.Sprintf(format, args...)}}
}

func problem(code, about, remedy, format string, args ...any) Finding {
	return Finding{about, chat.Finding{Code: code, Remedy: remedy, Problem: fmt.Sprintf(format, args...)}}
}

// Count returns how many of the findings are warnings, and how many are problems.
func Count(all []Finding) (warnings, problems int) {
	for _, f := range all {
		switch f.level() {
		case levelWarning:
			warnings++
		case levelProblem:
			problems++
		}
	}
	return warnings, problems
}

// MarshalJSON writes the finding with its level.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		About   string `json:"about"`
		Code    string `json:"code"`
		Level   string `json:"level"`
		OK      string `json:"ok,omitempty"`
		Warning string `json:"warning,omitempty"`
		Problem string `json:"problem,omitempty"`
		Remedy  string `json:"remedy,omitempty"`
	}{f.About, f.Code, f.level(), f.OK, f.Warning, f.Problem, f.Remedy})
}

// PrintJSON writes the findings as JSON.
func PrintJSON(w io.Writer, all []Finding) error {
	return json.NewEncoder(w).Encode(map[string]any{"findings": all})
}

// Print writes the findings as text: level, text and code in one line, and the remedy in a second one.
func Print(w io.Writer, all []Finding) error {
	for _, f := range all {
		if _, err := fmt.Fprintf(w, "%-8s %s [%s]\n", f.level(), f.OK+f.Warning+f.Problem, f.Code); err != nil {
			return err
		}
		if f.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "         %s\n", f.Remedy); err != nil {
			return err
		}
	}
	return nil
}
