package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the scripts' golden files")

// TestScripts runs the commands as operators do. Each script begins with valid settings
// and changes them. `exits N COMMAND…` runs a command and checks its exit status.
func TestScripts(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.Symlink(self, filepath.Join(programs, "bridge")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			for name, value := range validSettings {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "seed": seed, "tamper": tamper, "capture": capture, "signin": signInto},
	})
}

// validSettings have values that a fault must not quote.
var validSettings = map[string]string{
	"BRIDGE_ORIGIN":             "https://bridge.example.org",
	"BRIDGE_SECRET":             "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"BRIDGE_CONNECTORS":         "rocketchat",
	"UPSCOPE_API_KEY":           "value-of-the-upscope-key",
	"ROCKETCHAT_URL":            "https://chat.example.org",
	"ROCKETCHAT_WEBHOOK_SECRET": "value-of-the-webhook-secret",
	"ROCKETCHAT_READER_ID":      "readerId",
	"ROCKETCHAT_READER_TOKEN":   "value-of-the-reader-token",
	"ROCKETCHAT_POSTER_ID":      "posterId",
	"ROCKETCHAT_POSTER_TOKEN":   "value-of-the-poster-token",
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := 0
	err = ts.Exec(args[1], args[2:]...)
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		status = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if status != want {
		ts.Fatalf("%s ended with %d, want %d:\n%s%s", args[1], status, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}
