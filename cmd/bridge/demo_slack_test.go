package main

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// In Slack an agent finds the same customer by the code that she reads out.
func TestDemoShowsSlack(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := chromium(t)
	useTempFolder(t)
	origin, _ := startDemo(t)
	css := func(selector string) chromedp.CSS { return chromedp.CSS(selector) }

	steps(t, ctx, "open the demo, and from there Slack", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(origin), chromedp.WaitVisible(css(".readout b")))
	slack := pressInNewTab(t, ctx, "#slack a", slackPath)
	steps(t, slack, "ask for the customer by her code",
		chromedp.SendKeys(css("#text"), "/cobrowse 4821"), chromedp.Click(css("#send")), chromedp.WaitVisible(css("#talk > li.private a.button")))
	screenshot(t, slack, "17-slack")
	door := pressInNewTab(t, slack, "#talk > li.private a.button", signInPath)
	steps(t, door, "sign in, and see who it is", chromedp.WaitVisible(css("form button[value=robin]")), chromedp.Click(css("form button[value=robin]")), chromedp.WaitVisible(css(".door .button")))
	steps(t, door, "go on", chromedp.Click(css(".door form .button")), chromedp.WaitVisible(css(".live")))
	heading, err := chromedp.Run(door, chromedp.Text(css("h1")))
	if err != nil || heading != "You are watching Ann Lee on https://lampandleaf.example/checkout" {
		t.Errorf("the session is headed %q, error %v", heading, err)
	}
}
