package demo

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// site serves a help desk that sends its deliveries to hook, and returns its address.
func site(t *testing.T, hook http.Handler) (*HelpDesk, string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	base := address(t, "http://"+srv.Listener.Addr().String())
	o := Options{URL: base.JoinPath("demo")}
	if hook != nil {
		hooks := httptest.NewServer(hook)
		t.Cleanup(hooks.Close)
		o.Hook = hooks.URL + "/hooks/demo"
	}
	d := NewHelpDesk(o)
	srv.Config.Handler = d
	srv.Start()
	t.Cleanup(srv.Close)
	return d, base.String() + "/demo/"
}

// page posts a form, unless it is nil, and returns the page that follows.
func page(t *testing.T, address string, form url.Values) *goquery.Document {
	t.Helper()
	var resp *http.Response
	var err error
	if form == nil {
		resp, err = http.Get(address)
	} else {
		resp, err = http.PostForm(address, form)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", address, resp.Status)
	}
	doc, err := goquery.NewDocumentFromReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func do(action string, more ...string) url.Values {
	form := url.Values{"do": {action}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func TestEveryButtonWorksWithoutScripts(t *testing.T) {
	t.Parallel()
	_, at := site(t, nil)
	has := func(doc *goquery.Document, selector, text string) {
		t.Helper()
		if got := doc.Find(selector).Text(); !strings.Contains(got, text) {
			t.Errorf("%s reads %q, want %q in it", selector, got, text)
		}
	}
	doc := page(t, at, nil)
	has(doc, ".steps .now b", "Start a chat")
	has(doc, ".address", "/checkout")

	doc = page(t, at, do("start", "name", "Ann"))
	has(doc, ".steps .now b", "Press Co-browse")
	has(doc, "#chats h4", "Ann")
	has(doc, "#shop .chat h3", "Chat with Robin")

	doc = page(t, at, do("say", "text", "Are you there?"))
	has(doc, "#shop .talk", "Are you there?")
	has(doc, "#chats .talk", "Are you there?")

	doc = page(t, at, do("visit", "page", "/basket"))
	has(doc, ".address", "/basket")

	doc = page(t, at, do("hand", "chat", "c1", "to", "sam"))
	has(doc, "#chats", "No chats with Robin")
	has(page(t, at+"?inbox=sam", nil), "#chats h4", "Ann")

	doc = page(t, at, do("leave"))
	has(doc, ".away", "closed the tab")
	doc = page(t, at, do("return"))
	has(doc, ".address", "/basket")

	doc = page(t, at+"?inbox=sam", do("close", "chat", "c1"))
	has(doc, "#chats .status", "Closed")
	has(doc, "#shop .chat h3", "This chat has ended")

	for _, s := range scenes {
		doc = page(t, at, do("scene", "scene", s.Name))
		has(doc, ".hint", map[string]string{
			"two": s.Hint, "offline": s.Hint, "plan": "The card comes in a moment", "down": "The card comes in a moment",
		}[s.Name])
		if doc.Find(`[aria-pressed="true"]`).Length() != 1 {
			t.Errorf("scene %s: its button is not shown as pressed", s.Name)
		}
	}
	page(t, at, do("nonsense"))
}

func TestThePageIsSafeAndLabelled(t *testing.T) {
	t.Parallel()
	d, at := site(t, nil)
	hostile := `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`
	page(t, at, do("start", "name", hostile))
	d.mu.Lock()
	d.agents[0].post("", message{
		Key: "k", Title: hostile, Lines: []messageLine{{hostile, hostile}},
		Button: messageLink{"Co-browse", "javascript:alert(1)"},
	})
	d.mu.Unlock()
	doc := page(t, at, nil)

	if got := doc.Find(".conversation h4 bdi").Text(); got != hostile[:min(80, len(hostile))] {
		t.Errorf("the visitor's name is shown as %q", got)
	}
	if n := doc.Find("script").Length(); n != 1 {
		t.Errorf("%d scripts, want only the page's own", n)
	}
	if href, _ := doc.Find(".card a").Attr("href"); strings.HasPrefix(href, "javascript") {
		t.Errorf("a card leads to %q", href)
	}
	if doc.Find("h1, main").Length() != 2 || doc.Find("html[lang]").Length() != 1 {
		t.Error("want one h1, one main, and a language")
	}
	if n := doc.Find("[style], style, script:not([src]), img:not([alt])").Length(); n != 0 {
		t.Errorf("%d elements with inline style, inline script or no alt", n)
	}
	ids := map[string]bool{}
	doc.Find("*").Each(func(_ int, s *goquery.Selection) {
		if id, ok := s.Attr("id"); ok {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
		for _, a := range s.Nodes[0].Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("inline handler %s", a.Key)
			}
		}
	})
	doc.Find("input:not([type=hidden])").Each(func(_ int, s *goquery.Selection) {
		if id := s.AttrOr("id", ""); doc.Find("label[for="+id+"]").Length() != 1 {
			t.Errorf("input %q has no label", id)
		}
	})

	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Content-Security-Policy"); got != policy {
		t.Errorf("policy %q", got)
	}
}

func TestAnotherSiteCannotPressAButton(t *testing.T) {
	t.Parallel()
	_, at := site(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader("do=start"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", resp.Status)
	}
}

func TestTheAPIRequiresItsToken(t *testing.T) {
	t.Parallel()
	d, at := site(t, nil)
	d.begin("Ann", "key")
	for _, path := range []string{"api/me", "api/chats/c1", "api/chats/c9"} {
		resp, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %s", path, resp.Status)
		}
	}
}

func TestADeliveryIsRetriedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	type arrival struct{ body, signature string }
	arrivals := make(chan arrival)
	status := []int{http.StatusServiceUnavailable, http.StatusOK, http.StatusOK}
	d, _ := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(status[0])
		status = status[1:]
		arrivals <- arrival{string(body), r.Header.Get(signatureHeader)}
	}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	d.mu.Lock()
	c := d.begin("Ann", "key")
	d.close(c)
	d.mu.Unlock()
	for _, want := range []string{"chat.assigned", "chat.assigned", "chat.closed"} {
		got := <-arrivals
		if !strings.Contains(got.body, want) {
			t.Errorf("arrived %s, want %s", got.body, want)
		}
		if got.signature != sign([]byte(d.secret), []byte(got.body)) {
			t.Error("the signature is not that of the body")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheStreamReportsChangesAndEndsWithRun(t *testing.T) {
	t.Parallel()
	d, at := site(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if text := lines.Text(); text != "" {
				return text
			}
		}
		return "the end"
	}
	if got := next(); got != "data: 0" {
		t.Errorf("at first: %q", got)
	}
	d.Refresh()
	if got := next(); got != "data: 1" {
		t.Errorf("after a change: %q", got)
	}
	stop()
	if got := next(); got != "the end" {
		t.Errorf("after Run: %q", got)
	}
	<-ended
}
