package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The scripts are valid for the shells, and the manual page for mandoc. bridge/clidoc tests what they do.
func TestCompletionsAndTheManualPageAreValid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, checker []string }{
		{[]string{"completion", "bash"}, []string{"bash", "-n"}},
		{[]string{"completion", "zsh"}, []string{"zsh", "-n"}},
		{[]string{"completion", "fish"}, []string{"fish", "-n"}},
		{[]string{"man"}, []string{"mandoc", "-T", "lint", "-W", "warning"}},
	} {
		t.Run(c.checker[0], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.checker[0]); err != nil {
				t.Skipf("%s is not installed (apt-get install %s)", c.checker[0], c.checker[0])
			}
			var out bytes.Buffer
			if status := run(t.Context(), c.args, streams{&out, &out}); status != 0 {
				t.Fatalf("bridge %v: exit status %d\n%s", c.args, status, &out)
			}
			file := filepath.Join(t.TempDir(), "bridge.1")
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := exec.Command(c.checker[0], append(c.checker[1:], file)...).CombinedOutput()
			if err != nil || len(found) > 0 {
				t.Errorf("%v: %v\n%s", c.checker, err, found)
			}
		})
	}
}
