package templates

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// policy is the strictest policy that works for a page, deskPolicy that for a Desk.
const (
	policy     = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	deskPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

func sendPage(t *testing.T, w http.ResponseWriter, p Page) {
	csp := policy
	if _, ok := p.(Desk); ok {
		csp = deskPolicy
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	page, err := Render(p)
	if err != nil {
		t.Error(err)
	}
	_, _ = w.Write(page)
}

func servePages(t *testing.T) *httptest.Server {
	pages := samplePages()
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(Static())))
	mux.HandleFunc("GET /show/{name}", func(w http.ResponseWriter, r *http.Request) {
		p, ok := pages[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		sendPage(t, w, p)
	})
	mux.HandleFunc("GET /desk/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func TestMain(m *testing.M) { os.Exit(browsertest.Main{M: m, Parallel: 3}.Run()) }

// browser opens a tab of Chromium, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	return browsertest.SharedTab(t)
}

// violation is the part of an axe-core finding that helps to fix it.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// A view is how a page is shown, and the axe-core rules for it; none means that only the width is
// checked. A narrow page has the same elements in other places, and a dark one has other colors.
// Uncertain findings ("incomplete") count for contrast only. A plain run of the tests uses axe-core
// in the first view only, and no dark views; it uses all if BRIDGE_TEST_VIEWS is "all".
type view struct {
	scheme string
	width  int64
	rules  string
}

const colors = `"color-contrast", "link-in-text-block"`

var views = []view{
	{"light", 1280, `resultTypes: ["violations", "incomplete"]`},
	{"light", 390, `runOnly: ["target-size", "scrollable-region-focusable", ` + colors + `]`},
	{"light", 320, ""},
	{"dark", 1280, `runOnly: [` + colors + `]`},
	{"dark", 390, ""},
}

const violations = `.then(r => r.violations.concat(r.incomplete.filter(v => v.id === "color-contrast")))`

// TestEveryPageIsAccessibleInLightAndDarkOnDesktopAndPhone also writes a picture
// of each page into the directory that BRIDGE_TEST_SCREENSHOTS names.
func TestEveryPageIsAccessibleInLightAndDarkOnDesktopAndPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("checks each page in a browser several times")
	}
	axe, err := os.ReadFile("testdata/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("axe-core is not installed (npm ci --prefix templates/testdata/axe)")
	}
	shots := os.Getenv("BRIDGE_TEST_SCREENSHOTS")
	if shots != "" {
		if err := os.MkdirAll(shots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	srv := servePages(t)
	all := os.Getenv("BRIDGE_TEST_VIEWS") == "all" || shots != ""

	for _, name := range slices.Sorted(maps.Keys(samplePages())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(browser(t), 3*time.Minute)
			defer cancel()
			console := chromedp.Console(ctx)
			do(t, ctx, chromedp.Navigate(srv.URL+"/show/"+name), chromedp.Evaluate[chromedp.Void](string(axe)))
			for i, v := range views {
				if v.scheme == "dark" && !all {
					continue
				}
				dress(t, ctx, v.scheme, v.width)
				fits(t, ctx, v.scheme, v.width)
				if shots != "" && v.width != 320 {
					shoot(t, ctx, filepath.Join(shots, fmt.Sprintf("%s-%s-%d.png", name, v.scheme, v.width)))
				}
				if v.rules == "" || i > 0 && !all {
					continue
				}
				for _, found := range get[[]violation](t, ctx, `axe.run(document, {`+v.rules+`})`+violations, chromedp.EvalAwaitPromise) {
					t.Errorf("%s, %d px: %s: %s", v.scheme, v.width, found.ID, found.Help)
					for _, n := range found.Nodes {
						t.Logf("%s\n%s", n.HTML, n.Summary)
					}
				}
			}
			// The console shows breaches of the policy and missing files.
			const last = "end of the messages"
			do(t, ctx, chromedp.Evaluate[chromedp.Void](`console.log("`+last+`")`))
			for m, err := range console {
				if err != nil {
					t.Fatal(err)
				}
				if m.Text == last {
					break
				}
				t.Errorf("the browser says: %s", m)
			}
		})
	}
}

func dress(t *testing.T, ctx context.Context, scheme string, width int64) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Without it, a headless page counts as a background window, which has no focus.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(width, 844))
}

// fits checks that nothing is wider than the screen and that focus is visible.
func fits(t *testing.T, ctx context.Context, scheme string, width int64) {
	t.Helper()
	if wide := get[int64](t, ctx, `document.documentElement.scrollWidth`); wide > width {
		t.Errorf("%s: %d px wide on a screen of %d", scheme, wide, width)
	}
	faint := get[[]string](t, ctx, `[...document.querySelectorAll("a, button, select, input:not([type=hidden])")].filter(e => {
		e.focus({focusVisible: true});
		const drawn = getComputedStyle(e.closest(".option") ?? e);
		const shows = drawn.outlineStyle === "solid" && parseFloat(drawn.outlineWidth) >= 2;
		e.blur();
		return !shows;
	}).map(e => e.outerHTML)`)
	for _, html := range faint {
		t.Errorf("%s, %d px: focus is not visible on %s", scheme, width, html)
	}
}

func shoot(t *testing.T, ctx context.Context, file string) {
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, ctx context.Context, script string, opts ...chromedp.EvaluateOption) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
