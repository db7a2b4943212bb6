package buildinfo

import (
	"runtime/debug"
	"slices"
	"testing"
)

func TestTheCommitIsTheLinkersOrThatOfTheGoCommand(t *testing.T) {
	t.Parallel()
	stamped := &debug.BuildInfo{
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-30T10:00:00Z"}},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:a"},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.1.0"}},
		},
	}
	for name, c := range map[string]struct {
		commit, date         string
		build                *debug.BuildInfo
		wantCommit, wantDate string
	}{
		"told by the linker":        {"def", "2026-11-29T10:00:00Z", &debug.BuildInfo{}, "def", "2026-11-29T10:00:00Z"},
		"told by both":              {"def", "2026-11-29T10:00:00Z", stamped, "def", "2026-11-29T10:00:00Z"},
		"told by the go command":    {"", "", stamped, "abc", "2026-11-30T10:00:00Z"},
		"told by nothing":           {"", "", &debug.BuildInfo{}, "unknown", "unknown"},
		"built without information": {"", "", nil, "unknown", "unknown"},
	} {
		got := of("1.2.3", c.commit, c.date, c.build)
		if got.Commit != c.wantCommit || got.Date != c.wantDate || got.Version != "1.2.3" {
			t.Errorf("%s: got %+v", name, got)
		}
		if got.Modules == nil {
			t.Errorf("%s: the modules are null in JSON", name)
		}
	}
	want := []Module{{"example.com/a", "v1.0.0", "h1:a"}, {"example.com/fork", "v1.1.0", ""}}
	if got := of("", "", "", stamped).Modules; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
