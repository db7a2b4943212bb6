package main

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// A conversation in Chatvisor has a card in Slack. The card leads to the customer's
// screen and to the conversation.
func TestDemoShowsChatvisor(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := chromium(t)
	useTempFolder(t)
	origin, _ := startDemo(t)
	css := func(selector string) chromedp.CSS { return chromedp.CSS(selector) }

	steps(t, ctx, "open the demo, and write as Ann", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(origin+chatvisorPath+"/"),
		chromedp.SendKeys(css("#text"), "Hi! My postcode is refused."), chromedp.Click(css("#say")), chromedp.WaitVisible(css(".talk .mine")))
	screenshot(t, ctx, "18-chatvisor")
	steps(t, ctx, "see the card in Slack", chromedp.Navigate(origin+slackPath+"/"), chromedp.WaitVisible(css("#talk a.button")))
	screenshot(t, ctx, "19-chatvisor-card")
	door := pressInNewTab(t, ctx, "#talk a.button", signInPath)
	steps(t, door, "sign in", chromedp.WaitVisible(css("form button[value=robin]")), chromedp.Click(css("form button[value=robin]")), chromedp.WaitVisible(css(".door .button")))
	steps(t, door, "open the chat", chromedp.Click(css(`.door a[href="?chat=1"]`)), chromedp.WaitVisible(css(".door .lead")))
	screenshot(t, door, "20-enter")
	steps(t, door, "see the conversation", chromedp.Click(css(".door form .button")), chromedp.WaitVisible(css(".intro")))
	heading, err := chromedp.Run(door, chromedp.Text(css("h1")))
	if err != nil || heading != "You are in Ann’s conversation" {
		t.Errorf("the chat is headed %q, error %v", heading, err)
	}
}
