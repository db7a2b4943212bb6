package main

import (
	"flag"
	"os"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var screenshotFile = flag.String("screenshot", "", "write a screenshot of the demo to this PNG file (make screenshot)")

// belowTheWindows returns a height that shows the customer's and the agents' window and
// cuts through no paragraph. It also removes the empty space for a scrollbar.
const belowTheWindows = `(() => {
	document.documentElement.style.scrollbarGutter = "auto";
	const boxes = selector => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect());
	let y = Math.max(...boxes(".window").map(r => r.bottom));
	for (const r of boxes("p")) if (r.top < y + 8 && r.bottom > y) y = r.bottom;
	return Math.ceil(y + scrollY + 8);
})()`

// TestDemoScreenshot writes the README's screenshot: the demo when the agent has a card.
func TestDemoScreenshot(t *testing.T) {
	if *screenshotFile == "" {
		t.Skip("-screenshot does not name a file")
	}
	const width, height = 1200, 2000 // px; no scrollbar takes part of the width
	ctx := chromium(t)
	useTempFolder(t)
	origin, _ := startDemo(t)
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	steps(t, ctx, "start a chat, and see the card", chromedp.EmulateViewport(width, height), chromedp.Navigate(origin),
		chromedp.Click(chromedp.CSS("#start")), chromedp.WaitVisible(chromedp.CSS(".card a.button")))
	bottom, err := chromedp.Run(ctx, chromedp.Evaluate[float64](belowTheWindows))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Clip: &page.Viewport{Width: width, Height: bottom, Scale: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	png := answer.Data
	const most = 200_000
	if len(png) > most {
		t.Fatalf("the screenshot has %d bytes, and may have %d", len(png), most)
	}
	if err := os.WriteFile(*screenshotFile, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
