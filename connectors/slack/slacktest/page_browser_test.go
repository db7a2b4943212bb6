package slacktest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// browser starts Chromium, or skips the test if there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine (apt-get install chromium)")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests often run as root in a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

func steps(t *testing.T, ctx context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func value[T any](t *testing.T, ctx context.Context, script string, opts ...chromedp.EvaluateOption) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func until(script string) chromedp.Action[chromedp.Void] { return chromedp.Poll[chromedp.Void](script) }

// look checks the page in light and dark, on a desktop and on a phone: its width and, if
// axe-core is installed, its accessibility. It saves screenshots in the folder
// BRIDGE_TEST_SCREENSHOTS, if that is set.
func look(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	axe, _ := os.ReadFile("../../../templates/testdata/axe/node_modules/axe-core/axe.min.js")
	folder := os.Getenv("BRIDGE_TEST_SCREENSHOTS")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390, 320} {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			steps(t, ctx, "set the width", chromedp.EmulateViewport(width, 844))
			if wide := value[int64](t, ctx, `document.documentElement.scrollWidth`); wide > width {
				t.Errorf("%s: %d px wide on a screen of %d", name, wide, width)
			}
			if axe != nil && width > 320 {
				steps(t, ctx, "load axe-core", chromedp.Evaluate[chromedp.Void](string(axe)))
				for _, v := range value[[]string](t, ctx, `axe.run(document).then(r => r.violations.map(v => v.help + ": " + v.nodes.map(n => n.html).join(" ")))`, chromedp.EvalAwaitPromise) {
					t.Errorf("%s, %s, %d px: %s", name, scheme, width, v)
				}
			}
			if folder == "" || width == 320 {
				continue
			}
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("slack-%s-%s-%d.png", name, scheme, width)), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	steps(t, ctx, "set the width", chromedp.EmulateViewport(1280, 844))
}

func TestThePageInARealBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := browser(t)
	o := newOffice(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	o.Write("U1", "C1", "", "I’ll have a look with her.")
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	console := chromedp.Console(ctx)

	steps(t, ctx, "open the page", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(o.server.URL+"/slack/"+robinInSupport))
	steps(t, ctx, "type a command, and see the answer without reloading",
		chromedp.SendKeys(css("#text"), "/cobrowse 4821"), chromedp.Click(css("#send")), chromedp.WaitVisible(css("#talk > li.private a.button")),
		until(`document.getElementById("text").value === ""`))
	look(t, ctx, "1-answer")

	opened := chromedp.WaitNewTarget(ctx, func(i *target.Info) bool { return i.URL == o.door })
	steps(t, ctx, "press its button", chromedp.Click(css("#talk > li.private a.button")))
	select {
	case <-opened:
	case <-time.After(3 * time.Minute):
		t.Fatal("no tab opened with the co-browse page")
	}
	// A tab in the background draws nothing.
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}

	steps(t, ctx, "type half a sentence", chromedp.SendKeys(css("#text"), "half a sen"), chromedp.Click(css("#talk details summary")),
		chromedp.SendKeys(css("#talk details[open] input[name=text]"), "and half a reply"))
	o.Write("U2", "C1", "", "Thanks, Robin!")
	first := o.sees(robinInSupport).Find("#talk input[name=thread]").AttrOr("value", "")
	o.Write("U2", "C1", first, "She is on the phone.")
	steps(t, ctx, "see what others write", until(`document.querySelector("#talk > li:last-child .words")?.textContent === "Thanks, Robin!"`),
		until(`document.querySelector(".replies .words")?.textContent === "She is on the phone."`))
	if got := value[[]string](t, ctx, `[document.getElementById("text").value, document.querySelector("#talk details[open] input[name=text]")?.value, document.activeElement.name]`); !slices.Equal(got, []string{"half a sen", "and half a reply", "text"}) {
		t.Errorf("the unfinished texts are %q", got)
	}

	steps(t, ctx, "open the dialog, which takes the focus", chromedp.Click(css("#shortcut")), chromedp.WaitVisible(css("dialog:modal #value")),
		until(`document.activeElement.id === "value"`), chromedp.SendKeys(css("#value"), "who?"), chromedp.Click(css("#submit")), chromedp.WaitVisible(css("dialog .fault")))
	look(t, ctx, "2-dialog")
	if got := value[string](t, ctx, `document.getElementById("value").value`); got != "who?" {
		t.Errorf("the dialog contains %q", got)
	}
	steps(t, ctx, "leave it by the keyboard", chromedp.SendKeys(css("#value"), "\x1b"), chromedp.WaitNotPresent(css("dialog")))
	steps(t, ctx, "fill it in", chromedp.Click(css("#shortcut")), chromedp.WaitVisible(css("dialog:modal #value")), chromedp.SendKeys(css("#value"), "4821\r"),
		chromedp.WaitNotPresent(css("dialog")), chromedp.WaitVisible(css("#in-app em")))
	o.last()
	look(t, ctx, "3-news")

	steps(t, ctx, "read the direct message", chromedp.Click(css("#in-app")), chromedp.WaitVisible(css("#talk h3")))
	ref := chat.Ref("DU1/" + o.Direct("U1")[0].TS)
	o.shows("dm/U1", chat.Card{ID: "card-U1", Ref: ref, Title: "Session with Ann Lee is running", Button: chat.Link{Label: "Join", Address: o.door}})
	steps(t, ctx, "see it change in place", until(`document.querySelectorAll("#talk h3").length === 1 && document.querySelector("#talk h3").textContent === "Session with Ann Lee is running"`))
	look(t, ctx, "4-direct")
	steps(t, ctx, "see the Home tab", chromedp.Click(css("#home")), chromedp.WaitVisible(css("#home-tab h3")))
	look(t, ctx, "5-home")

	o.mu.Lock()
	if o.idle != 1 {
		t.Errorf("the bridge got %d presses on links", o.idle)
	}
	o.mu.Unlock()
	const last = "that was all"
	steps(t, ctx, "end", chromedp.Evaluate[chromedp.Void](`console.log("`+last+`")`))
	for m, err := range console {
		if err != nil {
			t.Fatal(err)
		}
		if m.Text == last {
			break
		}
		t.Errorf("the browser says: %s", m)
	}
}
