package slack

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// testdata/types/run.sh checks the manifests with Slack's schema.
func TestTheManifestsHaveTheScopesThatTheConnectorUses(t *testing.T) {
	t.Parallel()
	var files []string
	for _, name := range []string{"manifest.yaml", "manifest-socket-mode.yaml"} {
		data, err := os.ReadFile("../../deploy/slack/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(data))
		var want []string
		for _, s := range append(neededScopes, usefulScopes...) {
			want = append(want, s.name)
		}
		var got []string
		_, list, _ := strings.Cut(string(data), "    bot:\n")
		list, _, _ = strings.Cut(list, "settings:")
		for line := range strings.Lines(list) {
			line, _, _ = strings.Cut(line, "#")
			if scope, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
				got = append(got, strings.TrimSpace(scope))
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s asks for %v, the connector uses %v", name, got, want)
		}
		for _, id := range []string{"callback_id: " + shortcutMessage, "callback_id: " + shortcutGlobal, "command: /cobrowse", "- app_home_opened", "- app_mention"} {
			if !strings.Contains(string(data), id) {
				t.Errorf("%s has no %s", name, id)
			}
		}
	}
	// Apart from the comments at the top they differ only in HTTP or Socket Mode.
	body := func(s string) string { _, b, _ := strings.Cut(s, "_metadata:"); return b }
	same := func(s string) (kept string) {
		for line := range strings.Lines(body(s)) {
			if !strings.Contains(line, "/hooks/slack") && !strings.Contains(line, "socket_mode_enabled") {
				kept += line
			}
		}
		return kept
	}
	if same(files[0]) != same(files[1]) || strings.Count(body(files[0]), "url: https://bridge.example.org/hooks/slack\n") != 3 || strings.Contains(body(files[1]), "url:") {
		t.Error("the two manifests differ in more than HTTP and Socket Mode")
	}
}
