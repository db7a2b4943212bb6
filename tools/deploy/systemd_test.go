package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	unit   = "bridge.service"
	socket = "bridge.socket"
)

// maxExposure is the highest exposure that the unit may have, from 0 to 100. systemd-analyze prints a
// tenth of it.
const maxExposure = "15"

func TestTheUnitsAreValidAndHardened(t *testing.T) {
	path := tool(t, "systemd-analyze", "apt-get install systemd")
	units := t.TempDir()
	at, socketAt := filepath.Join(units, unit), filepath.Join(units, socket)
	// verify wants the programs of the unit to exist.
	write(t, at, strings.ReplaceAll(read(t, filepath.Join(folder, unit)), "/usr/local/bin/bridge", bridge))
	write(t, socketAt, read(t, filepath.Join(folder, socket)))
	if out := run(t, exec.Command(path, "verify", at, socketAt)); out != "" {
		t.Errorf("systemd-analyze verify prints %s", out)
	}
	run(t, exec.Command(path, "security", "--offline=true", "--threshold="+maxExposure, at))
}

var (
	assignment = regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`)
	credential = regexp.MustCompile(`(?m)^LoadCredential=(\w+):(.*)$`)
	command    = regexp.MustCompile(`(?m)^Exec(?:StartPre|Start|Reload)=/usr/local/bin/bridge (.*)$`)
)

// The programs of the unit accept its settings, with the credentials that it loads.
func TestTheUnitsSettingsAreValid(t *testing.T) {
	text := read(t, filepath.Join(folder, unit))
	all := writeSecrets(t)
	env := map[string]string{}
	for _, m := range assignment.FindAllStringSubmatch(text, -1) {
		env[m[1]] = m[2]
	}
	// EnvironmentFile= overrides Environment=.
	for line := range strings.Lines(operatorsEnv(t, all)) {
		if name, value, set := strings.Cut(strings.TrimSpace(line), "="); set && !strings.HasPrefix(name, "#") {
			env[name] = value
		}
	}
	credentials := t.TempDir()
	for _, m := range credential.FindAllStringSubmatch(text, -1) {
		secret := strings.ToUpper(m[1])
		if m[2] != "/etc/bridge/secrets/"+secret {
			t.Errorf("the credential %s is loaded from %s", m[1], m[2])
		}
		write(t, filepath.Join(credentials, m[1]), read(t, filepath.Join(all, secret)))
	}
	env["CREDENTIALS_DIRECTORY"] = credentials
	env = within(env, "%d", credentials, "/var/lib/bridge", t.TempDir())
	var commands []string
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		if commands = append(commands, m[1]); m[1] != "serve" {
			checkBridge(t, env, 0, strings.Fields(m[1])...)
		}
	}
	if got := strings.Join(commands, ", "); got != "check --offline, serve, check --offline" {
		t.Errorf("the unit runs bridge %s", got)
	}
}

// bridge-admin gives a command the unit's settings and secrets, as the user of the bridge.
func TestBridgeAdminRunsCommandsAsTheBridge(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	tool(t, "setpriv", "apt-get install util-linux")
	const user = "nobody"
	etc, state, path := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "bridge-admin")
	env, _, _ := strings.Cut(operatorsEnv(t, etc), "ROCKETCHAT_WEBHOOK_SECRET_FILE") // the files are named after the settings
	write(t, filepath.Join(etc, "bridge.env"), env)
	if err := os.Rename(writeSecrets(t), filepath.Join(etc, "secrets")); err != nil {
		t.Fatal(err)
	}
	const token = "a value with 'quotes' & $(signs)"
	write(t, filepath.Join(etc, "secrets", "ROCKETCHAT_READER_TOKEN"), token)
	write(t, filepath.Join(etc, "secrets", "ROCKETCHAT_READER_TOKEN~"), "an editor's backup")
	if err := os.Remove(filepath.Join(etc, "secrets", "BRIDGE_DATABASE")); err != nil {
		t.Fatal(err)
	}
	// The program prints who runs it, and where, before it checks the settings.
	program := filepath.Join(t.TempDir(), "program")
	write(t, program, "#!/bin/sh\nset -eu\nid -un\npwd\necho \"$BRIDGE_DATABASE\"\necho \"$ROCKETCHAT_READER_TOKEN\"\nexec "+bridge+" \"$@\"\n")
	write(t, path, strings.NewReplacer(
		"/etc/bridge", etc, "/var/lib/bridge", state, "/usr/local/bin/bridge", program, "--reuid=bridge", "--reuid="+user, "--regid=bridge", "--regid=nogroup",
	).Replace(read(t, filepath.Join(folder, "bridge-admin"))))
	for _, file := range []string{program, bridge, path} {
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{filepath.Dir(program), filepath.Dir(bridge), state} {
		for ; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
			if err := os.Chmod(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := run(t, exec.Command("sh", path, "check", "--offline"))
	for _, want := range []string{user + "\n" + state + "\nsqlite:" + state + "/bridge.db\n" + token + "\n", "The settings are valid."} {
		if !strings.Contains(out, want) {
			t.Errorf("bridge-admin prints no %q:\n%s", want, out)
		}
	}
}
