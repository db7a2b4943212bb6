// Package deploy checks the files in deploy/ with the programs and libraries that read them.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folder has the files that are checked.
const folder = "../../deploy"

// bridge is the path of the program. TestMain builds it.
var bridge string

func TestMain(m *testing.M) {
	temp, err := os.MkdirTemp("", "bridge")
	if err != nil {
		panic(err)
	}
	bridge = filepath.Join(temp, "bridge")
	build := exec.Command("go", "build", "-o", bridge, "./cmd/bridge")
	build.Dir, build.Stderr = "../..", os.Stderr
	status := 1
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the bridge:", err)
	} else {
		status = m.Run()
	}
	_ = os.RemoveAll(temp)
	os.Exit(status)
}

// secrets are the files that an operator makes, each named after its setting.
var secrets = map[string]string{
	"BRIDGE_SECRET":             "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"BRIDGE_DATABASE":           "postgres://bridge:password-of-postgres@127.0.0.1:1/bridge",
	"UPSCOPE_API_KEY":           "value-of-the-upscope-key",
	"ROCKETCHAT_WEBHOOK_SECRET": "value-of-the-webhook-secret",
	"ROCKETCHAT_READER_TOKEN":   "value-of-the-reader-token",
	"ROCKETCHAT_POSTER_TOKEN":   "value-of-the-poster-token",
}

// operatorsEnv is env.example as an operator fills it in who uses Rocket.Chat. secrets is the folder
// of the files.
func operatorsEnv(t *testing.T, secrets string) string {
	t.Helper()
	text := read(t, filepath.Join(folder, "env.example"))
	for setting, value := range map[string]string{
		"BRIDGE_ORIGIN": "https://bridge.example.com", "BRIDGE_CONNECTORS": "rocketchat", "ROCKETCHAT_URL": "https://chat.example.com",
		"BRIDGE_SITES": "a.example.com, b.example.com", "ROCKETCHAT_READER_ID": "readerId", "ROCKETCHAT_POSTER_ID": "posterId",
	} {
		line := regexp.MustCompile("(?m)^#?" + setting + "=$")
		if !line.MatchString(text) {
			t.Fatalf("env.example has no line for %s", setting)
		}
		text = line.ReplaceAllString(text, setting+"="+value)
	}
	for _, name := range []string{"ROCKETCHAT_WEBHOOK_SECRET", "ROCKETCHAT_READER_TOKEN", "ROCKETCHAT_POSTER_TOKEN"} {
		text += name + "_FILE=" + filepath.Join(secrets, name) + "\n"
	}
	return text
}

// writeSecrets writes the files into a new folder and returns it.
func writeSecrets(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, value := range secrets {
		write(t, filepath.Join(folder, name), value+"\n")
	}
	return folder
}

// checkBridge runs a command of the bridge with these settings and no others, and fails the test
// if it does not exit with the status. It returns the output.
func checkBridge(t *testing.T, env map[string]string, status int, args ...string) string {
	t.Helper()
	cmd := exec.Command(bridge, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != status) || err == nil && status != 0 {
		t.Errorf("bridge %s: %v, want exit status %d\n%s", strings.Join(args, " "), err, status, out)
	}
	for name, value := range secrets {
		if bytes.Contains(out, []byte(value)) {
			t.Errorf("bridge %s prints %s", strings.Join(args, " "), name)
		}
	}
	return string(out)
}

// within returns the settings with the paths of a container replaced by paths on this machine.
func within(env map[string]string, paths ...string) map[string]string {
	replaced := map[string]string{}
	for name, value := range env {
		replaced[name] = strings.NewReplacer(paths...).Replace(value)
	}
	return replaced
}

// tool returns the path of a program. It skips the test if the program is not installed.
func tool(t *testing.T, name, from string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed (%s)", name, from)
	return ""
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
