package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// makesFile matches a system call that makes or changes a file, as strace writes it.
var makesFile = regexp.MustCompile(`O_CREAT|O_WRONLY|O_RDWR|\b(mkdir|rename|unlink|link|symlink|mknod|chmod|ftruncate)`)

// opened matches a file that was opened to be written, and is no file of the disk.
var device = regexp.MustCompile(`"/dev/(null|tty)"|"/proc/self/`)

func TestCheckOfflineOpensNoSocketAndMakesNoFile(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace other programs here: %v: %s", err, out)
	}
	s := newServices(t)
	env := s.env(t)
	calls := filepath.Join(t.TempDir(), "calls")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "bridge")
	if err := os.Symlink(self, named); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "--offline", "--strict"}, {"check", "--offline", "--json"}} {
		command := append([]string{strace, "-f", "-o", calls, "-e", "trace=%network,%file,ftruncate,fchmod", named}, args...)
		p := startCommand(t, &exec.Cmd{Path: strace, Args: command}, env)
		if status := p.wait(maxWait); status != 0 {
			t.Fatalf("exit status %d", status)
		}
		content, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), "openat(") {
			t.Fatalf("strace saw no files: %s", content)
		}
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, "socket(") || strings.Contains(line, "connect(") || strings.Contains(line, "bind(") ||
				makesFile.MatchString(line) && !device.MatchString(line) {
				t.Errorf("bridge %s calls %s", strings.Join(args, " "), line)
			}
		}
	}
	folder := filepath.Dir(strings.TrimPrefix(env["BRIDGE_DATABASE"], "sqlite:"))
	if files, err := os.ReadDir(folder); err != nil || len(files) > 0 {
		t.Errorf("files in the folder of the database: %v, %v", files, err)
	}
}
