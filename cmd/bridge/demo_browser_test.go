package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// chromium opens a tab of Chromium, or skips the test if it is not installed.
func chromium(t *testing.T) context.Context {
	t.Helper()
	return browsertest.SharedTab(t)
}

func steps(t *testing.T, ctx context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// screenshot writes PNGs of a page, light and dark, wide and as on a phone, into the
// folder that BRIDGE_TEST_SCREENSHOTS names.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("BRIDGE_TEST_SCREENSHOTS")
	if folder == "" {
		return
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"phone", "light", 390}, {"phone-dark", "dark", 390}} {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: look.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		steps(t, ctx, "set the width", chromedp.EmulateViewport(look.width, 844))
		limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
		png, err := chromedp.Run(limited, chromedp.FullScreenshot(100))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("demo-%s-%s.png", name, look.name)), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	steps(t, ctx, "set the width", chromedp.EmulateViewport(1280, 844))
}

// pressInNewTab clicks a link that opens a tab, waits until the tab's address contains
// path, and returns the tab.
func pressInNewTab(t *testing.T, ctx context.Context, link, path string) context.Context {
	t.Helper()
	opened := chromedp.WaitNewTarget(ctx, func(i *target.Info) bool { return strings.Contains(i.URL, path) })
	steps(t, ctx, "press "+link, chromedp.Click(chromedp.CSS(link)))
	var id target.ID
	select {
	case id = <-opened:
	case <-time.After(3 * time.Minute):
		t.Fatalf("no tab at %s opened", path)
	}
	tab, cancel := chromedp.NewContext(ctx, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	// A tab stays attached for as long as the context of its first action.
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestDemoInARealBrowser plays the demo, and takes the screenshots.
func TestDemoInARealBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := chromium(t)
	useTempFolder(t)
	origin, _ := startDemo(t)
	css := func(selector string) chromedp.CSS { return chromedp.CSS(selector) }

	steps(t, ctx, "open the demo", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(origin))
	screenshot(t, ctx, "1-begin")
	steps(t, ctx, "start a chat, and see the card without reloading",
		chromedp.Click(css("#start")), chromedp.WaitVisible(css(".card a.button")))
	screenshot(t, ctx, "2-card")

	session := pressInNewTab(t, ctx, ".card a.button", signInPath)
	steps(t, session, "be asked to sign in", chromedp.WaitVisible(css("form button[value=robin]")))
	screenshot(t, session, "3-sign-in")
	steps(t, session, "sign in as Robin, and see the co-browse page", chromedp.Click(css("form button[value=robin]")), chromedp.WaitVisible(css(".door .button")))
	screenshot(t, session, "16-door-after-sign-in")
	steps(t, session, "go on", chromedp.Click(css(".door form .button")), chromedp.WaitVisible(css(".live")))
	heading, err := chromedp.Run(session, chromedp.Text(css("h1")))
	if err != nil || heading != "You are watching Ann Lee on https://lampandleaf.example/checkout" {
		t.Errorf("the session is headed %q, error %v", heading, err)
	}
	screenshot(t, session, "4-session")

	// Chromium does not draw tabs in the background.
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "see on the demo's page that all steps are done, without reloading",
		chromedp.WaitVisible(css("#shop.watched")), chromedp.WaitNotPresent(css(".steps .now")),
		chromedp.Poll[chromedp.Void](`document.querySelector(".card h4").textContent.match(/^(Waiting for|Session with) /) !== null`))
	screenshot(t, ctx, "5-watched")
	again := pressInNewTab(t, ctx, ".card a.button", upscopePath)
	steps(t, again, "see the screen after one click", chromedp.WaitVisible(css(".live")))
	desk := pressInNewTab(t, ctx, `a[href="/"]`, "/")
	steps(t, desk, "see the desk", chromedp.WaitVisible(css(`nav[aria-label="Pages"] a[href="/desk/erase"]`)))
	screenshot(t, desk, "10-desk")
	for i, page := range []string{"/desk/operations", "/desk/audit", "/desk/erase"} {
		steps(t, desk, "see "+page, chromedp.Click(css(`nav[aria-label="Pages"] a[href="`+page+`"]`)), chromedp.WaitVisible(css(`a[href="`+page+`"][aria-current]`)))
		screenshot(t, desk, fmt.Sprintf("%d-%s", 11+i, filepath.Base(page)))
	}
	steps(t, desk, "sign out", chromedp.Click(css(`form[action="/signout"] button`)), chromedp.WaitVisible(css(".notice")))
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "keep what is being typed while the page changes",
		chromedp.SendKeys(css("#text"), "half a sen"), chromedp.Click(css("#hand")),
		chromedp.WaitVisible(css("#inbox-sam .dot")))
	typed, err := chromedp.Run(ctx, chromedp.Value(css("#text")))
	if err != nil || typed != "half a sen" {
		t.Errorf("the message reads %q after the hand-over, error %v", typed, err)
	}
	steps(t, ctx, "see Sam's inbox", chromedp.Click(css("#inbox-sam")), chromedp.WaitVisible(css(".card a.button")))
	screenshot(t, ctx, "6-sam")
	sams := pressInNewTab(t, ctx, ".card a.button", signInPath)
	steps(t, sams, "sign in as Sam, and be asked whether the account is theirs",
		chromedp.WaitVisible(css("form button[value=sam]")), chromedp.Click(css("form button[value=sam]")), chromedp.WaitVisible(css(".connect .button")))
	screenshot(t, sams, "14-connect")
	steps(t, sams, "say yes, and see the co-browse page", chromedp.Click(css(".connect .button:not(.quiet)")), chromedp.WaitVisible(css(".facts, dl")), chromedp.WaitNotPresent(css(".connect")))
	screenshot(t, sams, "15-door")
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "see a scene", chromedp.Click(css("#scene-two")),
		chromedp.WaitVisible(css(`#scene-two[aria-pressed="true"]`)), chromedp.Click(css("#inbox-robin")),
		chromedp.WaitVisible(css("#inbox-robin[aria-current]")),
		chromedp.Poll[chromedp.Void](`[...document.querySelectorAll(".card h4")].some(h => h.textContent === "2 customers match")`))
	screenshot(t, ctx, "7-several")
	steps(t, ctx, "see the customer gone", chromedp.Click(css("#scene-offline")), chromedp.WaitVisible(css(".away")))
	screenshot(t, ctx, "8-offline")

	steps(t, ctx, "look at it on a small phone", chromedp.EmulateViewport(320, 844))
	if width, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); err != nil || width > 320 {
		t.Errorf("the page is %d px wide on a screen of 320 px, error %v", width, err)
	}
}
