package web

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// userAgents reads a file with a User-Agent on each line.
func userAgents(t testing.TB, file string, atLeast int) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	if slices.Sort(all); len(all) < atLeast || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Fatalf("%s has %d lines, want at least %d, each once", file, len(all), atLeast)
	}
	return all
}

func TestWordsThatEndInBotAreRobotsExceptCubot(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]bool{
		"bot": true, "ubot": true, "xubot/1": true, "Bots": true, "a bot, b": true, "CUBOT Bot": true, "CUBOTS": false,
		"Cubot": false, "cubot_p20": false, "Abbott": false, "botany": false, "": false,
	} {
		if got := saysRobot(agent); got != want {
			t.Errorf("%q: robot %t, want %t", agent, got, want)
		}
	}
}

func saysRobot(agent string) bool {
	return Robot(&http.Request{Header: http.Header{"User-Agent": {agent}}})
}

func TestRobotsAreRecognised(t *testing.T) {
	t.Parallel()
	for _, agent := range userAgents(t, "testdata/robots.txt", 60) {
		if !saysRobot(agent) || !saysRobot(strings.ToUpper(agent)) {
			t.Errorf("a robot is not recognised: %s", agent)
		}
	}
}

func TestBrowsersAndAppsAreNoRobots(t *testing.T) {
	t.Parallel()
	for _, agent := range append(userAgents(t, "testdata/browsers.txt", 40), "") {
		if saysRobot(agent) {
			t.Errorf("a browser counts as a robot: %s", agent)
		}
	}
}

// Programs that do not call themselves robots are recognised by their other headers; see
// Web.pressed.
func TestProgramsAreNoRobots(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"curl/8.5.0", "Wget/1.21.4", "Go-http-client/2.0", "python-requests/2.32.3", "Python-urllib/3.12", "okhttp/4.12.0"} {
		if saysRobot(agent) {
			t.Errorf("a program counts as a robot: %s", agent)
		}
	}
}
