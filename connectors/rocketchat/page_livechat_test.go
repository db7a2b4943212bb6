package rocketchat

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// livechatBuild is the vendor's own widget: version 1.13.3 of 2022, the latest published one
// (npm, @rocket.chat/livechat).
const livechatBuild = "testdata/page/livechat/node_modules/@rocket.chat/livechat/build"

// A livechat answers the widget's requests as a workspace does.
type livechat struct {
	mu     sync.Mutex
	guests map[string]map[string]string // custom fields by token
	order  []string                     // tokens as they were registered
	set    chan struct{}                // receives a value after each custom field
}

func (l *livechat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "*")
	what, api := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !api {
		file := path.Base(r.URL.Path)
		if file == "livechat" {
			file = "index.html"
		}
		http.ServeFile(w, r, path.Join(livechatBuild, file))
		return
	}
	if r.Method == http.MethodOptions {
		return
	}
	var body struct {
		Visitor struct {
			Token, Name  string
			CustomFields []struct{ Key, Value string }
		}
		Token, Key, Value string
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := map[string]any{"success": true}
	switch {
	case strings.HasPrefix(what, "livechat/config"):
		answer["config"] = map[string]any{
			"enabled": true, "online": true, "settings": map[string]any{}, "theme": map[string]any{}, "messages": map[string]any{},
			"departments": []any{}, "triggers": []any{}, "resources": map[string]any{},
		}
	case what == "livechat/visitor":
		v := body.Visitor
		if l.guests[v.Token] == nil {
			l.guests[v.Token] = map[string]string{}
			l.order = append(l.order, v.Token)
		}
		for _, f := range v.CustomFields {
			l.guests[v.Token][f.Key] = f.Value
			l.set <- struct{}{}
		}
		answer["visitor"] = map[string]any{"_id": "id of " + v.Token, "token": v.Token, "username": "guest-1", "name": v.Name}
	case what == "livechat/custom.field":
		if l.guests[body.Token] == nil {
			w.WriteHeader(http.StatusBadRequest)
			break
		}
		l.guests[body.Token][body.Key] = body.Value
		l.set <- struct{}{}
	}
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// keys waits until a custom field is set, and returns the guests' keys.
func (l *livechat) keys(t *testing.T) (keys []string) {
	t.Helper()
	select {
	case <-l.set:
	case <-time.After(time.Minute):
		t.Fatal("the widget sets no custom field")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, token := range l.order {
		keys = append(keys, l.guests[token]["upscope_key"])
	}
	return keys
}

func TestTheVendorsWidgetSendsTheKey(t *testing.T) {
	if _, err := os.Stat(livechatBuild); err != nil {
		t.Skip("the widget is not installed (npm ci --ignore-scripts --prefix connectors/rocketchat/testdata/page/livechat)")
	}
	workspace := &livechat{guests: map[string]map[string]string{}, set: make(chan struct{}, 10)}
	chat := httptest.NewServer(workspace)
	defer chat.Close()
	s := newStreet(t, chat.URL)
	s.shop = strings.TrimSuffix(s.shop, "shop.html") + "livechat.html"
	ctx, cancel := chromedp.NewContext(s.chromium, chromedp.WithNewBrowserContext())
	defer cancel()
	p := &tab{T: t, street: s, ctx: ctx}
	p.reload()
	p.does(`const tag = document.createElement("script");
		window.RocketChat = c => { RocketChat._.push(c); };
		RocketChat._ = [];
		RocketChat.url = "` + chat.URL + `/livechat?serverUrl=` + chat.URL + `";
		tag.src = "` + chat.URL + `/livechat/rocketchat-livechat.min.js";
		document.head.append(tag);
		await bridge();
		RocketChat(function () { this.registerGuest({name: "Ann"}); });`)
	ann := ask[string](p, `return localStorage.getItem("upscope_key")`)
	if got := workspace.keys(t); !slices.Equal(got, []string{ann}) {
		t.Errorf("the workspace got %q, the page has %q", got, ann)
	}
	p.does(`CobrowseBridge.push({forget: true})`)
	bob := ask[string](p, `return localStorage.getItem("upscope_key")`)
	if got := workspace.keys(t); !slices.Equal(got, []string{ann, bob}) || ann == bob {
		t.Errorf("the workspace got %q, the page has %q after %q", got, bob, ann)
	}
}
