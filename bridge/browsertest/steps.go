package browsertest

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// resultScript is an expression for the text of the page, "" while the page loads.
const resultScript = `(document.body ? document.body.textContent.trim() : "")`

// Result opens an address and returns the text of the page as soon as it has one.
func (b *Browser) Result(address string) (text string) {
	b.Helper()
	b.Open(address)
	b.wait("a result", func() error {
		err := b.probe("ExecuteScript", object{"script": "return " + resultScript, "args": []any{}}, &text)
		if err == nil && text == "" {
			err = errNotFound
		}
		return err
	})
	return text
}

// StepsAt returns the address of a page that runs JavaScript, which is in its query.
func StepsAt(page, steps string) string {
	return page + "?" + strings.ReplaceAll(url.QueryEscape(steps), "+", "%20")
}

// ResultsInEveryEngine runs a test in SharedChromium, and in WebKit and Firefox if
// BRIDGE_TEST_BROWSERS names them. Result opens an address and returns the text of the page as
// soon as it has one. In short mode the test is skipped.
func ResultsInEveryEngine(t *testing.T, test func(t *testing.T, result func(t testing.TB, address string) string)) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts browsers")
	}
	t.Run(string(Chromium), func(t *testing.T) {
		t.Parallel()
		tab := SharedTab(t)
		test(t, func(t testing.TB, address string) string {
			t.Helper()
			ctx, cancel := context.WithTimeout(tab, 3*time.Minute)
			defer cancel()
			err := chromedp.Do(ctx, chromedp.Navigate(address))
			// Poll of chromedp needs functions that a hostile page can hide.
			for err == nil {
				var text string
				if text, err = chromedp.Run(ctx, chromedp.Evaluate[string](resultScript)); text != "" {
					return text
				}
				<-time.After(10 * time.Millisecond)
			}
			t.Fatalf("read %s: %v", address, err)
			return ""
		})
	})
	for _, engine := range []Engine{WebKit, Firefox} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			browser := Start(t, engine)
			test(t, func(t testing.TB, address string) string { t.Helper(); return browser.ForTest(t).Result(address) })
		})
	}
}
