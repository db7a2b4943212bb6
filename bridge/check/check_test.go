package check

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

func TestChecksEndTogetherWithinSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tasks := []task{
			{"quick", func(context.Context) []Finding { return []Finding{ok("a.quick", "quick", "It works.")} }},
			{"ends with its context", func(ctx context.Context) []Finding {
				<-ctx.Done()
				return []Finding{problem("a.slow", "slow", "Wait.", "It is slow.")}
			}},
			{"never ends", func(context.Context) []Finding { <-release; return nil }},
			{"never ends either", func(context.Context) []Finding { <-release; return nil }},
		}
		began := time.Now()
		found := run(t.Context(), tasks)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("the checks took %s", took)
		}
		var codes []string
		for _, f := range found {
			codes = append(codes, f.Code)
		}
		if got := strings.Join(codes, " "); got != "a.quick a.slow check.timeout check.timeout" {
			t.Errorf("found %s", got)
		}
		close(release)
	})
}

func TestWhatIsFoundOutAboutADatabase(t *testing.T) {
	t.Parallel()
	const fine = 1 << 40
	for _, test := range []struct {
		name  string
		facts engine.Facts
		want  string // codes of warnings and problems
		level string
	}{
		{"a local disk with space", engine.Facts{Schema: 3, Newest: 3, Free: fine, FreeKnown: true}, "", ""},
		{"a database of an earlier release", engine.Facts{Schema: 2, Newest: 3, Older: true}, "", ""},
		{"no database yet", engine.Facts{Missing: true, Free: fine, FreeKnown: true}, "", ""},
		{"NFS", engine.Facts{Network: "nfs"}, "store.network-disk", levelProblem},
		{"NFS before the first start", engine.Facts{Missing: true, Network: "nfs"}, "store.network-disk", levelProblem},
		{"CIFS", engine.Facts{Network: "cifs"}, "store.network-disk", levelProblem},
		{"sshfs", engine.Facts{Network: "fuse.sshfs"}, "store.network-disk", levelProblem},
		{"a disk that may be elsewhere", engine.Facts{Schema: 3, Newest: 3, Unknown: "9p"}, "store.unknown-disk", levelWarning},
		{"little space", engine.Facts{Schema: 3, Newest: 3, Free: 400 << 20, FreeKnown: true}, "store.space", levelWarning},
		{"no space", engine.Facts{Schema: 3, Newest: 3, Free: 1 << 20, FreeKnown: true}, "store.full", levelProblem},
		{"a clock that is ahead", engine.Facts{Schema: 3, Newest: 3, ClockAhead: 6 * time.Minute}, "store.clock", levelWarning},
		{"a clock that is behind", engine.Facts{Schema: 3, Newest: 3, ClockAhead: -6 * time.Minute}, "store.clock", levelWarning},
		{"a clock that is a little behind", engine.Facts{Schema: 3, Newest: 3, ClockAhead: -20 * time.Second}, "", ""},
		{"a newer release", engine.Facts{Schema: 4, Newest: 3}, "store.newer", levelProblem},
		{"a file that cannot be written", engine.Facts{Schema: 3, Newest: 3, Unwritable: "the file b.db: permission denied"}, "store.readonly", levelProblem},
		{"commits that may be lost", engine.Facts{Schema: 3, Newest: 3, Unsafe: "fsync is off, so data may be lost"}, "store.unsafe", levelProblem},
	} {
		var codes []string
		for _, f := range databaseFindings("sqlite:b.db", test.facts) {
			if f.level() == levelOK {
				continue
			}
			codes = append(codes, f.Code)
			if f.level() != test.level || f.Remedy == "" {
				t.Errorf("%s: %s without a remedy, or not a %s", test.name, f.level(), test.level)
			}
		}
		if got := strings.Join(codes, " "); got != test.want {
			t.Errorf("%s: found %q, want %q", test.name, got, test.want)
		}
	}
}
