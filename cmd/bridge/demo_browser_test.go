package main

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

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// chromium starts a browser, or skips the test where there is none.
func chromium(t *testing.T) context.Context {
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
		chromedp.NoFirstRun,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
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
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// shoot writes pictures of a page into the folder that BRIDGE_TEST_SCREENSHOTS
// names: light, dark, and light on a phone.
func shoot(t *testing.T, ctx context.Context, name string) {
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
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
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

// pressInNewTab presses a link that opens a tab, and returns that tab once it leads
// to an address with this path in it.
func pressInNewTab(t *testing.T, ctx context.Context, link, path string) context.Context {
	t.Helper()
	opened := chromedp.WaitNewTarget(ctx, func(i *target.Info) bool { return strings.Contains(i.URL, path) })
	steps(t, ctx, "press "+link, chromedp.Click(chromedp.CSS(link)))
	var id target.ID
	select {
	case id = <-opened:
	case <-time.After(20 * time.Second):
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

// TestDemoInARealBrowser also takes the pictures; see shoot.
func TestDemoInARealBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := chromium(t)
	temporary(t)
	origin, _ := startDemo(t)
	css := func(selector string) chromedp.CSS { return chromedp.CSS(selector) }

	steps(t, ctx, "open the demo", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(origin))
	shoot(t, ctx, "1-begin")
	steps(t, ctx, "start a chat, and see the card without reloading",
		chromedp.Click(css("#start")), chromedp.WaitVisible(css(".card a.button")))
	shoot(t, ctx, "2-card")

	session := pressInNewTab(t, ctx, ".card a.button", signInPath)
	steps(t, session, "be asked to sign in", chromedp.WaitVisible(css("form button[value=robin]")))
	shoot(t, session, "3-sign-in")
	steps(t, session, "sign in as Robin, and be at the door", chromedp.Click(css("form button[value=robin]")), chromedp.WaitVisible(css(".door .button")))
	shoot(t, session, "16-door-after-sign-in")
	steps(t, session, "go on", chromedp.Click(css(".door form .button")), chromedp.WaitVisible(css(".live")))
	heading, err := chromedp.Run(session, chromedp.Text(css("h1")))
	if err != nil || heading != "You are watching Ann Lee on https://lampandleaf.example/checkout" {
		t.Errorf("the session is headed %q, error %v", heading, err)
	}
	shoot(t, session, "4-session")

	// A tab in the background draws nothing.
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "see on the demo's page that all is done, without reloading",
		chromedp.WaitVisible(css("#shop.watched")), chromedp.WaitNotPresent(css(".steps .now")),
		chromedp.Poll[chromedp.Void](`document.querySelector(".card h4").textContent.match(/^(Co-browsing|Live) with/) !== null`))
	shoot(t, ctx, "5-watched")
	again := pressInNewTab(t, ctx, ".card a.button", upscopePath)
	steps(t, again, "be there with one click", chromedp.WaitVisible(css(".live")))
	desk := pressInNewTab(t, ctx, `a[href="/"]`, "/")
	steps(t, desk, "see the desk", chromedp.WaitVisible(css(`nav[aria-label="Pages"] a[href="/desk/erase"]`)))
	shoot(t, desk, "10-desk")
	for i, page := range []string{"/desk/operations", "/desk/audit", "/desk/erase"} {
		steps(t, desk, "see "+page, chromedp.Click(css(`nav[aria-label="Pages"] a[href="`+page+`"]`)), chromedp.WaitVisible(css(`a[href="`+page+`"][aria-current]`)))
		shoot(t, desk, fmt.Sprintf("%d-%s", 11+i, filepath.Base(page)))
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
	shoot(t, ctx, "6-sam")
	sams := pressInNewTab(t, ctx, ".card a.button", signInPath)
	steps(t, sams, "sign in as Sam, and be asked whether the account is theirs",
		chromedp.WaitVisible(css("form button[value=sam]")), chromedp.Click(css("form button[value=sam]")), chromedp.WaitVisible(css(".connect .button")))
	shoot(t, sams, "14-connect")
	steps(t, sams, "say yes, and see the door", chromedp.Click(css(".connect .button:not(.quiet)")), chromedp.WaitVisible(css(".facts, dl")), chromedp.WaitNotPresent(css(".connect")))
	shoot(t, sams, "15-door")
	if _, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "see a scene", chromedp.Click(css("#scene-two")),
		chromedp.WaitVisible(css(`#scene-two[aria-pressed="true"]`)), chromedp.Click(css("#inbox-robin")),
		chromedp.WaitVisible(css("#inbox-robin[aria-current]")),
		chromedp.Poll[chromedp.Void](`[...document.querySelectorAll(".card h4")].some(h => h.textContent === "Several visitors match")`))
	shoot(t, ctx, "7-several")
	steps(t, ctx, "see the customer gone", chromedp.Click(css("#scene-offline")), chromedp.WaitVisible(css(".away")))
	shoot(t, ctx, "8-offline")

	steps(t, ctx, "look at it on a small phone", chromedp.EmulateViewport(320, 844))
	if width, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); err != nil || width > 320 {
		t.Errorf("the page is %d px wide on a screen of 320, error %v", width, err)
	}
}
