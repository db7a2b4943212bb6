package bridge_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// withChromium makes the people of the site use this Chromium, with or without scripts.
func (s *site) withChromium(chromium context.Context, scripts bool) *site {
	s.chromium, s.scripts = chromium, scripts
	return s
}

// A tab is a browser tab of one person. Each action that leads to another page waits for
// that page.
type tab struct {
	*site
	ctx     context.Context
	console func(yield func(chromedp.ConsoleMessage, error) bool)
}

// newPerson opens a browser that has not visited the site before.
func (s *site) newPerson() *tab {
	s.Helper()
	return s.tab(chromedp.NewContext(s.chromium, chromedp.WithNewBrowserContext()))
}

func (s *site) tab(ctx context.Context, cancel context.CancelFunc) *tab {
	s.Helper()
	s.Cleanup(cancel)
	s.must(chromedp.Do(ctx)) // a tab lives as long as the context of its first use
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
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

// doAndLoad performs a step that leads to a page, and returns the status of the page.
func (p *tab) doAndLoad(step chromedp.Action[chromedp.Void]) (status int64) {
	p.Helper()
	got, err := chromedp.RunResponse(p.ctx, step)
	p.must(err)
	return got.Status
}

func (p *tab) types(address string) (status int64) {
	p.Helper()
	return p.doAndLoad(chromedp.Navigate(address))
}

// clicks presses the mouse on the link or button with these words.
func (p *tab) clicks(words string) (status int64) {
	p.Helper()
	return p.doAndLoad(chromedp.Click(labelled(words)))
}

func labelled(words string) chromedp.Search {
	return chromedp.Search(`//*[self::a or self::button][normalize-space()="` + words + `"]`)
}

// opens clicks a link that opens a new tab, and returns that tab.
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

func (p *tab) wantStatus(want, got int64) {
	p.Helper()
	if got != want {
		p.Fatalf("answered %d, want %d: %s", got, want, script[string](p, `document.body.innerText`))
	}
}

// keys presses keys that do not lead to another page.
func (p *tab) keys(keys ...string) {
	p.Helper()
	for _, key := range keys {
		p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(key)))
	}
}

// sees checks that the open page contains the texts.
func (p *tab) sees(texts ...string) {
	p.Helper()
	body := script[string](p, `document.body.innerText`)
	for _, text := range texts {
		if !strings.Contains(body, text) {
			p.Fatalf("the page does not contain %q: %s", text, body)
		}
	}
}

// watches checks that the tab shows the session page of the latest watch link.
func (p *tab) watches(name string) {
	p.Helper()
	p.sees("You are watching "+name, "as Bob Baker")
	last := p.upscope.Watches()
	if at := script[string](p, `location.href`); at != last[len(last)-1].URL {
		p.Errorf("the session page is at %s", at)
	}
}

// focused returns the text or value of the element that has the focus.
func (p *tab) focused() string {
	p.Helper()
	return script[string](p, `document.activeElement.innerText || document.activeElement.value || ""`)
}

// script runs code in the page through the remote control, without a gesture of a person.
func script[T any](p *tab, code string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](code))
	p.must(err)
	return v
}

// wantInHistory checks whether the door is in the tab's history, and that no history entry has
// a watch link but the session's own one.
func (p *tab) wantInHistory(door string, want bool) {
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
		p.Errorf("the door is in the history: %v, want %v", has, want)
	}
}

// wantNoErrors checks that the browser has reported no error for any page so far, such as a
// violation of the content security policy or a missing file. An error status of a page
// does not count.
func (p *tab) wantNoErrors() {
	p.Helper()
	const last = "end of the console messages"
	script[chromedp.Void](p, `console.log("`+last+`")`)
	for m, err := range p.console {
		p.must(err)
		if m.Text == last {
			return
		}
		if m.Source == "network" && strings.Contains(m.Text, "responded with a status of") && !strings.Contains(m.URL, "/static/") {
			continue
		}
		p.Errorf("the browser reports: %s %s %s", m.Source, m, m.URL)
	}
}

// checkLayout checks that the page fits a desktop, a phone and a small phone. It writes
// screenshots to the directory in BRIDGE_TEST_SCREENSHOTS, if that is set.
func (p *tab) checkLayout(name string) {
	p.Helper()
	if !p.scripts {
		return // the pages look the same without scripts
	}
	shots := os.Getenv("BRIDGE_TEST_SCREENSHOTS")
	for _, width := range []int64{1280, 390, 320} {
		p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(width, 844)))
		if wide := script[int64](p, `document.documentElement.scrollWidth`); wide > width {
			p.Errorf("%s: the page is %d px wide on a screen of %d px", name, wide, width)
		}
		for _, scheme := range []string{"light", "dark"} {
			if shots == "" || width == 320 {
				continue
			}
			_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme},
					{Name: "prefers-reduced-motion", Value: "reduce"}, // otherwise colours still change
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
