package bridge_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// startChromium starts Chromium, or skips the test where there is none.
func startChromium(t *testing.T) context.Context {
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
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // tests often run as root in a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// in has persons use Chromium at the site.
func (s *site) in(chromium context.Context, scripts bool) *site {
	s.chromium, s.scripts = chromium, scripts
	return s
}

// A tab is what one person has open. What they do in it waits for the page that
// comes of it.
type tab struct {
	*site
	ctx     context.Context
	console func(yield func(chromedp.ConsoleMessage, error) bool)
}

// person opens a browser that has never been here.
func (s *site) person() *tab {
	s.Helper()
	return s.tab(chromedp.NewContext(s.chromium, chromedp.WithNewBrowserContext()))
}

func (s *site) tab(ctx context.Context, cancel context.CancelFunc) *tab {
	s.Helper()
	s.Cleanup(cancel)
	s.must(chromedp.Do(ctx)) // a tab lives as long as the context of its first use
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	s.Cleanup(cancel)
	p := &tab{site: s, ctx: ctx, console: chromedp.Console(ctx)}
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !s.scripts})
	s.must(err)
	// A headless page otherwise counts as one in the background.
	_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	s.must(err)
	p.desktop()
	return p
}

func (p *tab) desktop() {
	p.Helper()
	p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(1280, 844)))
}

// does something that leads to a page, and gives the page's status.
func (p *tab) does(step chromedp.Action[chromedp.Void]) (status int64) {
	p.Helper()
	got, err := chromedp.RunResponse(p.ctx, step)
	p.must(err)
	return got.Status
}

func (p *tab) types(address string) (status int64) {
	p.Helper()
	return p.does(chromedp.Navigate(address))
}

// clicks presses the mouse on the link or button with these words.
func (p *tab) clicks(words string) (status int64) {
	p.Helper()
	return p.does(chromedp.Click(labelled(words)))
}

func labelled(words string) chromedp.Search {
	return chromedp.Search(`//*[self::a or self::button][normalize-space()="` + words + `"]`)
}

// opens clicks a link that opens a tab of its own, and gives that.
func (p *tab) opens(words string) *tab {
	p.Helper()
	self := chromedp.FromContext(p.ctx).Target.TargetID
	opened := chromedp.WaitNewTarget(p.ctx, func(i *target.Info) bool { return i.OpenerID == self })
	p.must(chromedp.Do(p.ctx, chromedp.Click(labelled(words))))
	select {
	case id := <-opened:
		there := p.tab(chromedp.NewContext(p.ctx, chromedp.WithTargetID(id)))
		p.must(chromedp.Do(there.ctx, chromedp.WaitReady(chromedp.CSS("main"))))
		return there
	case <-p.ctx.Done():
		p.Fatal("no tab was opened")
		return nil
	}
}

func (p *tab) answered(want, got int64) {
	p.Helper()
	if got != want {
		p.Fatalf("answered %d, want %d: %s", got, want, script[string](p, `document.body.innerText`))
	}
}

// keys presses keys that lead to no page.
func (p *tab) keys(keys ...string) {
	p.Helper()
	for _, key := range keys {
		p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(key)))
	}
}

// sees checks the page that is open.
func (p *tab) sees(texts ...string) {
	p.Helper()
	body := script[string](p, `document.body.innerText`)
	for _, text := range texts {
		if !strings.Contains(body, text) {
			p.Fatalf("the page does not say %q: %s", text, body)
		}
	}
}

// watches checks that the session page is open.
func (p *tab) watches(name string) {
	p.Helper()
	p.sees("You are watching "+name, "as Bob Baker")
	last := p.upscope.Watches()
	if at := script[string](p, `location.href`); at != last[len(last)-1].URL {
		p.Errorf("the session page is at %s", at)
	}
}

// focused is the text or the value of what has the focus.
func (p *tab) focused() string {
	p.Helper()
	return script[string](p, `document.activeElement.innerText || document.activeElement.value || ""`)
}

// script runs in the page as a program at the browser's remote control would,
// without a person's gesture.
func script[T any](p *tab, code string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](code))
	p.must(err)
	return v
}

// remembers checks that the tab's history has the door, or has not, and that
// only the session's own entry has a watch link.
func (p *tab) remembers(door string, want bool) {
	p.Helper()
	h, err := chromedp.Run(p.ctx, chromedp.NavigationEntries())
	p.must(err)
	has := false
	for _, e := range h.Entries {
		has = has || e.URL == door
		for _, w := range p.upscope.Watches() {
			if e.URL != w.URL && strings.Contains(e.URL+e.UserTypedURL+e.Title, w.URL) {
				p.Errorf("the history entry of %s (%q, typed as %s) has a watch link", e.URL, e.Title, e.UserTypedURL)
			}
		}
	}
	if has != want {
		p.Errorf("that the history has the door is %v", has)
	}
}

// quiet checks that the browser found nothing wrong with any page so far, such
// as a breach of the policy or a file that is not there. That an answer has a
// status of failure is not wrong.
func (p *tab) quiet() {
	p.Helper()
	const last = "that was all"
	script[chromedp.Void](p, `console.log("`+last+`")`)
	for m, err := range p.console {
		p.must(err)
		if m.Text == last {
			return
		}
		if m.Source == "network" && strings.Contains(m.Text, "responded with a status of") && !strings.Contains(m.URL, "/static/") {
			continue
		}
		p.Errorf("the browser says: %s %s %s", m.Source, m, m.URL)
	}
}

// looks checks that the page fits a desktop, a phone and a small phone, and
// writes pictures of it into the directory that BRIDGE_TEST_SCREENSHOTS names.
func (p *tab) looks(name string) {
	p.Helper()
	if !p.scripts {
		return // pages have none and look the same
	}
	shots := os.Getenv("BRIDGE_TEST_SCREENSHOTS")
	for _, width := range []int64{1280, 390, 320} {
		p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(width, 844)))
		if wide := script[int64](p, `document.documentElement.scrollWidth`); wide > width {
			p.Errorf("%s: %d px wide on a screen of %d", name, wide, width)
		}
		for _, scheme := range []string{"light", "dark"} {
			if shots == "" || width == 320 {
				continue
			}
			_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme},
					{Name: "prefers-reduced-motion", Value: "reduce"}, // or colours are still on their way
				},
			})
			p.must(err)
			png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
			p.must(err)
			p.must(os.MkdirAll(shots, 0o755))
			p.must(os.WriteFile(filepath.Join(shots, fmt.Sprintf("browser-%s-%s-%d.png", name, scheme, width)), png, 0o644))
		}
	}
	p.desktop()
}
