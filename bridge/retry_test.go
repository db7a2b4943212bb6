package bridge_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRetryAtUpscopeLeadsASignedInAgentBackToTheCard(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(door).wantWatch(t)
		o.pass(4 * time.Second) // a second press is no repeat of the first
		retry := o.upscope.Watches()[0].Body.Branding.RetryURL
		if retry == nil || !strings.HasPrefix(*retry, origin+"/after/") || strings.Contains(*retry, strings.TrimPrefix(door, "/w/")[:20]) {
			t.Fatalf("Upscope offers to retry at %v, want an address below /after/ without the handle", retry)
		}
		path := strings.TrimPrefix(*retry, origin)

		toDesk := bob.follow(path)
		toDesk.want(t, http.StatusSeeOther)
		toCard := bob.follow(toDesk.Header.Get("Location"))
		toCard.want(t, http.StatusSeeOther)
		location := toCard.Header.Get("Location")
		bob.follow(location).want(t, http.StatusOK, "Ann Silva")
		if n := o.upscope.Minted(); n != 1 {
			t.Errorf("on the way back to the card, %d links were made", n-1)
		}
		bob.press(location, url.Values{"visitor": {o.visitor}}).wantWatch(t)
		if n := o.upscope.Minted(); n != 2 {
			t.Errorf("%d links were made, want a new one", n)
		}

		// The customer learns nothing, not even whether there is such a card.
		customer := o.browser()
		known, unknown := customer.follow(path), customer.follow("/after/0199a5b0-0000-7000-8000-000000000001")
		known.want(t, http.StatusOK, "There is no session now")
		if known.body != unknown.body {
			t.Error("the page of a card differs from that of no card")
		}
		o.do(request(http.MethodHead, path, nil)).want(t, http.StatusOK)
		// Another agent has no part in the card.
		eve := o.signedIn("eve")
		if body := eve.follow(eve.follow(path).Header.Get("Location")).body; strings.Contains(body, "Ann Silva") {
			t.Errorf("another agent sees %s", body)
		}
	})
}
