package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The programs of each engine. Of each list, the first one that is installed is used.
var programs = map[Engine]struct {
	lists [][]string
	hint  string
}{
	WebKit: {[][]string{
		{"WebKitWebDriver"}, {"Xvfb"},
		{"/usr/lib/*/webkit2gtk-4.1/MiniBrowser", "/usr/lib/*/webkitgtk-6.0/MiniBrowser", "/usr/lib/*/webkit2gtk-4.0/MiniBrowser", "/usr/libexec/webkit2gtk-4.1/MiniBrowser"},
	}, "apt-get install webkit2gtk-driver xvfb"},
	Firefox:  {[][]string{{"firefox-esr", "firefox"}}, "apt-get install firefox-esr"},
	Chromium: {[][]string{{"chromedriver"}, {"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}}, "apt-get install chromium chromium-driver"},
}

// find returns the paths of an engine's programs.
func find(engine Engine) (paths []string, err error) {
	for _, names := range programs[engine].lists {
		path := ""
		for _, name := range names {
			if strings.Contains(name, "/") {
				found, err := filepath.Glob(name)
				if err == nil && len(found) > 0 {
					path = found[0]
				}
			} else if found, err := exec.LookPath(name); err == nil {
				path = found
			}
			if path != "" {
				break
			}
		}
		if path == "" {
			return nil, fmt.Errorf("no %s on this machine (%s)", filepath.Base(names[0]), programs[engine].hint)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// enabled reports whether BRIDGE_TEST_BROWSERS names the engine.
func enabled(engine Engine) bool {
	return slices.Contains(strings.Split(os.Getenv("BRIDGE_TEST_BROWSERS"), ","), string(engine))
}

// open starts an engine's processes and a session in it.
func open(ctx context.Context, t testing.TB, engine Engine, paths []string) (remote, error) {
	home := t.TempDir()
	environment := append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home)
	switch engine {
	case WebKit:
		display, err := startDisplay(ctx, t, paths[1])
		if err != nil {
			return nil, err
		}
		environment = append(environment, "DISPLAY="+display, "WEBKIT_DISABLE_COMPOSITING_MODE=1", "NO_AT_BRIDGE=1", "GTK_USE_PORTAL=0", "DBUS_SESSION_BUS_ADDRESS=disabled:")
		return openHTTP(ctx, t, environment, paths[0], object{
			// The driver sometimes misses the end of a load and would wait forever, so Browser
			// waits for pages itself.
			"pageLoadStrategy":         "none",
			"webkitgtk:browserOptions": object{"binary": paths[2], "args": []string{"--automation"}},
		})
	case Chromium:
		return openHTTP(ctx, t, environment, paths[0], object{
			"goog:chromeOptions": object{"binary": paths[1], "args": []string{
				"--headless=new",
				"--no-sandbox", // tests often run as root in a container
				"--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--disable-component-update",
				"--disable-background-networking", "--no-first-run", "--window-size=1280,900",
				"--user-data-dir=" + filepath.Join(home, "profile"),
			}},
		})
	default:
		return openFirefox(ctx, t, environment, home, paths[0])
	}
}

func openHTTP(ctx context.Context, t testing.TB, environment []string, driver string, capabilities object) (remote, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	start(t, environment, nil, driver, "--port="+port)
	r := &httpRemote{base: "http://127.0.0.1:" + port}
	return r, r.open(ctx, capabilities)
}

func openFirefox(ctx context.Context, t testing.TB, environment []string, home, path string) (remote, error) {
	profile := filepath.Join(home, "profile")
	if err := os.Mkdir(profile, 0o700); err != nil {
		return nil, err
	}
	var prefs bytes.Buffer
	for _, pref := range []struct {
		name  string
		value any
	}{
		{"marionette.port", 0},
		{"app.normandy.enabled", false}, {"app.update.disabledForTesting", true},
		{"browser.shell.checkDefaultBrowser", false}, {"browser.startup.page", 0},
		{"browser.aboutConfig.showWarning", false}, {"browser.safebrowsing.update.enabled", false},
		{"datareporting.policy.dataSubmissionEnabled", false}, {"toolkit.telemetry.server", ""},
		{"network.captive-portal-service.enabled", false}, {"network.connectivity-service.enabled", false},
		{"services.settings.server", "data:,#remote-settings-dummy/v1"}, {"extensions.update.enabled", false},
		{"startup.homepage_welcome_url", "about:blank"}, {"dom.disable_open_during_load", true},
	} {
		fmt.Fprintf(&prefs, "user_pref(%q, %#v);\n", pref.name, pref.value)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), prefs.Bytes(), 0o600); err != nil {
		return nil, err
	}
	start(t, append(environment, "MOZ_DISABLE_CONTENT_SANDBOX=1", "MOZ_CRASHREPORTER_DISABLE=1"), nil,
		path, "--marionette", "--headless", "--no-remote", "--profile", profile)
	file := filepath.Join(profile, "MarionetteActivePort")
	for {
		if port, err := os.ReadFile(file); err == nil && len(port) > 0 {
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+strings.TrimSpace(string(port)))
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = conn.Close() })
			m := &marionette{conn: conn}
			return m, m.open(ctx)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the browser did not write its port: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startDisplay starts a virtual X server, and returns the name of its display.
func startDisplay(ctx context.Context, t testing.TB, path string) (string, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer reader.Close()
	start(t, os.Environ(), writer, path, "-displayfd", "3", "-screen", "0", "1280x900x24", "-nolisten", "tcp")
	_ = writer.Close() // the server has its own copy
	if deadline, ok := ctx.Deadline(); ok {
		if err := reader.SetReadDeadline(deadline); err != nil {
			return "", err
		}
	}
	line, err := bufio.NewReader(reader).ReadString('\n') // the server writes it in parts
	if err != nil {
		return "", fmt.Errorf("%s did not write its display: %w", path, err)
	}
	return ":" + strings.TrimSpace(line), nil
}

func freePort(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// start starts a program in its own process group. The group is killed when the test ends, or
// when the test's process dies. If the test fails, the output of the program is logged.
func start(t testing.TB, environment []string, extra *os.File, path string, args ...string) {
	t.Helper()
	// The shell kills the group when the other end of its input is closed.
	const guard = `"$@" </dev/null & read -r _; kill -9 0`
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "sh", path}, args...)...)
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if extra != nil {
		cmd.ExtraFiles = []*os.File{extra}
	}
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = stdin.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(path), out.String())
		}
	})
}

// An output keeps the first 8 KiB of a program's output.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() < 8<<10 {
		o.b.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
