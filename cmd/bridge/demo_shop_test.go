package main

import (
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/connectors/rocketchat"

	"github.com/chromedp/chromedp"
)

// The shop of the demo runs the script that operators put into their pages. A card
// appears only if the page gave the same key to Upscope and to the chat.
func TestDemoRunsTheScriptForPages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := chromium(t)
	useTempFolder(t)
	origin, _ := startDemo(t)
	agent := newAgentBrowser(t)
	status, _, body := agent.do(http.MethodGet, origin+"/demo/page.js", nil)
	if status != http.StatusOK || body != string(rocketchat.PageScript()) {
		t.Errorf("the demo's script differs: %d, %d bytes", status, len(body))
	}
	sharedKey := func() (key string) {
		t.Helper()
		steps(t, ctx, "see the key that the page gives to both", chromedp.Poll[chromedp.Void](
			`[...document.querySelectorAll("#log p")].filter(p => /^Upscope: this|upscope_key is/.test(p.textContent)).length === 2`))
		steps(t, ctx, "wait until it was sent", chromedp.Evaluate[chromedp.Void](`work.then(() => {})`, chromedp.EvalAwaitPromise))
		log, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.getElementById("log").textContent`))
		if err != nil {
			t.Fatal(err)
		}
		key, err = chromedp.Run(ctx, chromedp.Evaluate[string](`localStorage.getItem("upscope_key")`))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(log, key) != 2 {
			t.Errorf("the page did not give the key %s to both: %s", key, log)
		}
		return key
	}
	chat := func(cards int) {
		t.Helper()
		agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "start", "name", "Ann"))
		await(t, origin, "a card", func(s demoState) bool {
			n := 0
			for _, m := range s.Agents[0].Inbox {
				if m.Title == "Co-browse with Ann" {
					n++
				}
			}
			return n == cards
		})
	}
	steps(t, ctx, "open the shop", chromedp.EmulateViewport(1280, 844), chromedp.Navigate(origin+"/demo/shop"))
	ann := sharedKey()
	screenshot(t, ctx, "9-shop")
	chat(1)
	steps(t, ctx, "log out", chromedp.Evaluate[chromedp.Void](`document.getElementById("log").replaceChildren()`),
		chromedp.Click(chromedp.CSS("#forget")))
	if bob := sharedKey(); bob == ann {
		t.Error("the next customer has the same key")
	}
	chat(2)
}
