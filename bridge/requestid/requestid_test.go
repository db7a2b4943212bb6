package requestid

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestOnlyAValidTraceparentGivesTheId(t *testing.T) {
	t.Parallel()
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for value, want := range map[string]string{
		"00-" + id + "-" + parent + "-01":                             id,
		"00-" + id + "-" + parent + "-00":                             id,
		"cc-" + id + "-" + parent + "-01-what-a-later-version-has":    id,
		"cc-" + id + "-" + parent + "-01":                             id,
		"ff-" + id + "-" + parent + "-01":                             "",
		"00-" + id + "-" + parent + "-01-more":                        "",
		"00-" + id + "-" + parent + "-1":                              "",
		"00-" + id + "-" + parent:                                     "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":        "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":            "",
		"00-" + strings.ToUpper(id) + "-" + parent + "-01":            "",
		"00-" + id[:31] + "g-" + parent + "-01":                       "",
		" 00-" + id + "-" + parent + "-01":                            "",
		"00-" + id + "-" + parent + "-01\n":                           "",
		"cc-" + id + "-" + parent + "-01-" + strings.Repeat("x", 600): "",
		id: "", "": "",
	} {
		got, ok := FromParent(http.Header{"Traceparent": {value}})
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", value, got, ok, want)
		}
	}
	valid := "00-" + id + "-" + parent + "-01"
	if got, ok := FromParent(http.Header{"Traceparent": {valid, valid}}); ok {
		t.Errorf("two headers gave %q", got)
	}
	if got, ok := FromParent(http.Header{}); ok {
		t.Errorf("no header gave %q", got)
	}
}

func TestEachLineHasTheIdOfItsContext(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(Handler(slog.NewTextHandler(&b, nil))).With("connector", "slack")
	ctx := With(t.Context(), "7f3a")
	for want, write := range map[string]func(){
		`msg=one connector=slack request=7f3a`: func() { log.InfoContext(ctx, "one") },
		`msg=none connector=slack` + "\n":      func() { log.InfoContext(t.Context(), "none") },
		`msg=taken connector=slack` + "\n":     func() { log.InfoContext(With(ctx, ""), "taken") },
	} {
		b.Reset()
		if write(); !strings.Contains(b.String(), want) {
			t.Errorf("%q, want %q", &b, want)
		}
	}
	if a, b := New(), New(); a == b || len(a) != 16 {
		t.Errorf("ids %q and %q", a, b)
	}
}
