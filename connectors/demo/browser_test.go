package demo

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// upscopeRecorder stands for Upscope and records the integration ids of its visitor.
type upscopeRecorder struct {
	nobody
	ids []string
}

func (u *upscopeRecorder) Arrive(Browser) string                       { return "V1" }
func (u *upscopeRecorder) Identify(_ string, ids []string, _ []string) { u.ids = ids }
func (u *upscopeRecorder) Reset(id string, _ Browser) (fresh string)   { return id + "'" }

func TestTheShopReportsKeysAndResets(t *testing.T) {
	upscope := &upscopeRecorder{}
	d := NewHelpDesk(Options{URL: address(t, "http://desk.example/demo"), Visitors: upscope, PageScript: []byte("tell();")})
	tell := func(site string, pairs ...string) int {
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Add(pairs[i], pairs[i+1])
		}
		r := httptest.NewRequest(http.MethodPost, "http://desk.example/demo/browser", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w.Code
	}
	form := url.Values{"do": {"start"}}
	d.act(form)
	chat := d.shop.chat

	tell("same-origin", "do", "identify", "id", "rocketchat:k1", "identity", "Ann")
	tell("same-origin", "do", "key", "key", "k1")
	if !slices.Equal(upscope.ids, []string{"demo:k1"}) || chat.key != "k1" {
		t.Errorf("Upscope has %q, the chat %q", upscope.ids, chat.key)
	}
	tell("same-origin", "do", "reset")
	tell("same-origin", "do", "register", "key", "k2")
	if d.shop.visitor != "V1'" || d.shop.key != "k2" || d.shop.chat != nil || chat.key != "k1" {
		t.Errorf("after signing out: %+v, the former chat has %q", d.shop, chat.key)
	}
	if code := tell("cross-site", "do", "key", "key", "k3"); code != http.StatusForbidden || d.shop.key != "k2" {
		t.Errorf("a request from another site is answered %d", code)
	}
	for path, want := range map[string]string{"/demo/page.js": "tell();", "/demo/shop": `<script src="page.js" defer>`} {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://desk.example"+path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
