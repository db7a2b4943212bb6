package slacktest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"

	"github.com/PuerkitoBio/goquery"
)

// An office is a workspace, its page, and the connector. In place of the bridge it answers
// every ask with a card for the same customer.
type office struct {
	*testing.T
	*slacktest.Workspace
	conn   chat.Connector
	page   *slacktest.Page
	server *httptest.Server
	door   string // the address of the button of each card
	work   sync.WaitGroup

	mu    sync.Mutex
	fault int // the status with which the bridge answers, if not zero
	asks  []chat.Ask
	idle  int // presses on links, which the bridge ignores
}

func newOffice(t *testing.T) *office {
	o := &office{T: t, Workspace: slacktest.New(t.Errorf)}
	w := o.Workspace
	w.TeamName, w.AppName = "Lamp & Leaf", "Co-browse"
	w.Secret, w.BotToken = "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-1111-2222-ieth8Ohm9aish0Ie"
	w.AddUser(slacktest.User{ID: "U1", Name: "robin", RealName: "Robin"})
	w.AddUser(slacktest.User{ID: "U2", Name: "sam", RealName: "Sam"})
	w.AddUser(slacktest.User{ID: "U3", Name: "carl", RealName: "Carl Customer", Team: "T9OTHER"})
	w.AddChannel(slacktest.Channel{ID: "C1", Name: "support", Members: []string{"U1", "U2", w.BotUser}})
	w.AddChannel(slacktest.Channel{ID: "C2", Name: "leads", Private: true, Members: []string{"U1"}})
	w.AddChannel(slacktest.Channel{ID: "C3", Name: "with-carl", Members: []string{"U1", "U2", "U3", w.BotUser}, ExtShared: true})
	w.Write("U2", "C1", "", "A customer is stuck at the checkout. She reads out 4821.")
	var err error
	o.conn, err = slack.New(slack.Config{Name: "slack", Secrets: secret.All(w.Secret), BotToken: secret.New(w.BotToken), Transport: w.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	o.server = httptest.NewServer(mux)
	o.page = w.Page(slacktest.PageConfig{Hook: o.server.URL + "/hooks/slack", People: []string{"U1", "U2"}, Back: "/", BackLabel: "The demo"})
	mux.HandleFunc("POST /hooks/slack", o.hook)
	o.door = o.server.URL + "/w/4kqRs7kaeW1Aephei7naiDooqu9Oe4xieph1ieg3ahKu5Chee"
	mux.HandleFunc("GET /w/{handle}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the door") })
	mux.Handle("/slack/", http.StripPrefix("/slack", o.page))
	t.Cleanup(func() {
		o.page.EndStreams()
		o.server.Close()
		o.work.Wait()
	})
	return o
}

func (o *office) hook(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	fault := o.fault
	o.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil || fault != 0 {
		w.WriteHeader(max(fault, http.StatusBadRequest))
		return
	}
	receipt, err := o.conn.Accept(r, body)
	if err != nil {
		o.Errorf("a request of the page is refused: %v: %s", err, body)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", receipt.AnswerType)
	_, _ = w.Write(receipt.Answer)
	if receipt.Key == "" && receipt.Answer == nil {
		o.mu.Lock()
		o.idle++
		o.mu.Unlock()
	}
	if receipt.Key != "" {
		o.work.Go(func() { o.answer(chat.Delivery{Key: receipt.Key, Body: receipt.Body, Received: time.Now()}) })
	}
}

func (o *office) answer(d chat.Delivery) {
	ask, err := o.conn.Read(o.Context(), d)
	if err != nil {
		o.Errorf("Read: %v", err)
	}
	o.mu.Lock()
	o.asks = append(o.asks, ask)
	o.mu.Unlock()
	if ask.Verb == chat.Nothing {
		return
	}
	card := chat.Card{ID: "card-" + ask.Agent.ID[len(ask.Agent.ID)-2:], Title: "Co-browse with Ann Lee", Lines: []chat.Line{{Label: "Page", Text: "Checkout"}}}
	card.Button = chat.Link{Label: "Co-browse", Address: o.door}
	card.More = []chat.Link{{Label: "End session", Address: o.door + "?stop"}}
	if ask.Verb == chat.Help {
		card = chat.Card{ID: d.Key, Title: "Co-browse with a customer", Lines: []chat.Line{{Label: "Then type", Text: ask.Example}}}
	}
	o.shows(ask.Place.Address, card)
}

func (o *office) shows(address string, card chat.Card) chat.Ref {
	ref, err := o.conn.Show(o.Context(), chat.Place{Address: address}, card)
	if err != nil {
		o.Errorf("Show: %v", err)
	}
	return ref
}

func (o *office) last() chat.Ask {
	o.work.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.asks) == 0 {
		return chat.Ask{}
	}
	return o.asks[len(o.asks)-1]
}

// sees returns the page as it is without scripts.
func (o *office) sees(query string) *goquery.Document {
	o.Helper()
	o.work.Wait()
	w := httptest.NewRecorder()
	o.page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+query, nil))
	doc, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil || w.Code != http.StatusOK {
		o.Fatalf("the page answers %d, %v", w.Code, err)
	}
	return doc
}

// does sends a form and returns the page to which it redirects.
func (o *office) does(query string, pairs ...string) *goquery.Document {
	o.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/"+query, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	o.page.ServeHTTP(w, r)
	if w.Code != http.StatusSeeOther {
		o.Fatalf("%v: the page answers %d", pairs, w.Code)
	}
	return o.sees(w.Header().Get("Location"))
}

func text(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

const (
	robinInSupport = "?as=U1&in=C1"
	samInSupport   = "?as=U2&in=C1"
)

func TestACommandOnThePageGoesToTheBridgeAndIsAnswered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	doc := o.does(robinInSupport, "do", "write", "text", " /cobrowse 4821 ")
	if ask := o.last(); ask.Verb != chat.LookUp || ask.Clues.LookupCode != "4821" || ask.Agent.ID != "T0ACME/U1" {
		t.Errorf("the bridge got %+v", ask)
	}
	answer := doc.Find("#talk > li").Last()
	if !answer.HasClass("private") || !strings.Contains(text(answer), "Co-browse App") || !strings.Contains(text(answer), "Only visible to you Co-browse with Ann Lee Page: Checkout") {
		t.Errorf("robin sees %q", text(answer))
	}
	button := answer.Find("a.button").First()
	if href, target, rel := button.AttrOr("href", ""), button.AttrOr("target", ""), button.AttrOr("rel", ""); href != o.door || target != "_blank" || rel != "noopener noreferrer" {
		t.Errorf("the button leads to %q in %q, %q", href, target, rel)
	}
	if sam := text(o.sees(samInSupport).Find("#talk")); strings.Contains(sam, "Ann Lee") || !strings.Contains(sam, "stuck at the checkout") {
		t.Errorf("sam sees %q", sam)
	}
}

func TestThePageSaysThatItIsAStandIn(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	w := httptest.NewRecorder()
	o.page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	doc, err := goquery.NewDocumentFromReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if banner, title := text(doc.Find(".honest")), text(doc.Find("title")); !strings.HasPrefix(banner, "A stand-in for Slack.") || !strings.Contains(title, "A stand-in for Slack") {
		t.Errorf("the page has the header %q and the title %q", banner, title)
	}
	if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Errorf("its policy is %q", p)
	}
	if n := doc.Find("script:not([src]), [style], [onclick]").Length(); n != 0 {
		t.Errorf("the page has %d inline scripts or styles", n)
	}
	if back := doc.Find(`.ways a[href="/"]`); text(back) != "The demo" {
		t.Errorf("the link back has the label %q", text(back))
	}
}

func TestUsersSeeOnlyTheirChannels(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for query, want := range map[string]string{
		"?as=U1&in=C2":      "# leads # support # with-carl",
		"?as=U2&in=C2":      "# support # with-carl", // without the private one
		"?as=U3&in=C3":      "# leads # support # with-carl",
		"?as=nobody&in=C99": "# leads # support # with-carl",
	} {
		doc := o.sees(query)
		if got := text(doc.Find("#places ul").First()); got != want {
			t.Errorf("%s: %q", query, got)
		}
		if query == "?as=U2&in=C2" && strings.Contains(text(doc.Find("main")), "leads") {
			t.Error("sam sees the leads' channel")
		}
	}
	if head := text(o.sees("?as=U1&in=C3").Find(".head")); !strings.Contains(head, "shared with another company") {
		t.Errorf("the shared channel has the header %q", head)
	}
}

func TestAMentionIsAnsweredInItsThreadOnThePage(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	doc := o.sees(samInSupport)
	ts := doc.Find("#talk input[name=thread]").AttrOr("value", "")
	doc = o.does(samInSupport, "do", "write", "thread", ts, "text", "@cobrowse 4821")
	if ask := o.last(); ask.Verb != chat.LookUp || ask.Agent.ID != "T0ACME/U2" {
		t.Errorf("the bridge got %+v", ask)
	}
	thread := doc.Find("#talk > li").First().Find(".replies > li")
	if thread.Length() != 2 || !strings.Contains(text(thread.Last()), "Ann Lee") || !thread.Last().HasClass("private") {
		t.Errorf("the thread reads %q", text(thread))
	}
	// As in Slack, commands do not work in threads.
	doc = o.does(samInSupport, "do", "write", "thread", ts, "text", "/cobrowse 4821")
	if reply := text(doc.Find(".replies > li").Last()); !strings.Contains(reply, "not supported in threads") {
		t.Errorf("a command in a thread: %q", reply)
	}
}

func TestAMentionNeedsTheAppInTheChannel(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	leads := "?as=U1&in=C2"
	doc := o.does(leads, "do", "write", "text", "@cobrowse 4821")
	if reply := text(doc.Find("#talk > li").Last()); !strings.Contains(reply, "Type /invite @cobrowse") || o.last().Verb != chat.Nothing {
		t.Errorf("a mention without the app: %q, %+v", reply, o.last())
	}
	o.does(leads, "do", "write", "text", "/invite @cobrowse")
	doc = o.does(leads, "do", "write", "text", "hello @cobrowse, who is it?")
	if reply := text(doc.Find("#talk > li").Last()); o.last().Verb != chat.Help || !strings.Contains(reply, "@cobrowse 4821") {
		t.Errorf("a mention with the app: %q, %+v", reply, o.last())
	}
	doc = o.does(leads, "do", "write", "text", "/giphy cat")
	if reply := text(doc.Find("#talk > li").Last()); !strings.Contains(reply, "/giphy is not a valid command") {
		t.Errorf("an unknown command: %q", reply)
	}
}

func TestAPressOnACardInAChannelIsAnsweredToThePresser(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.shows("channel/C1", chat.Card{ID: "card-1", Title: "Co-browse with Ann Lee", Button: chat.Link{Label: "Co-browse"}})
	ts := o.Channel("C1")[0].TS
	press := o.sees(samInSupport).Find(`.buttons button[name=n]`)
	if press.Length() != 1 || press.AttrOr("value", "") != "0" {
		t.Fatalf("%d buttons", press.Length())
	}
	doc := o.does(samInSupport, "do", "press", "ts", ts, "n", "0")
	if ask := o.last(); ask.Verb != chat.Open || ask.Card != "card-1" || ask.Agent.ID != "T0ACME/U2" {
		t.Errorf("the bridge got %+v", ask)
	}
	if own := doc.Find("#talk > li.private"); own.Length() != 1 || own.Find("a.button").Length() != 2 {
		t.Errorf("sam sees %q", text(own))
	}
	for _, pairs := range [][]string{
		{"do", "press", "ts", ts, "n", "7"}, {"do", "press", "ts", ts, "n", "-1"}, {"do", "press", "ts", "1.1", "n", "0"},
		{"do", "press", "ts", o.Ephemeral("U2")[0].TS, "n", "0", "as", "U1"}, {"do", "message", "ts", "1.1"}, {"do", "submit", "view", "V1"}, {},
	} {
		n := len(o.asks)
		o.does(robinInSupport, pairs...)
		if o.last(); len(o.asks) != n {
			t.Errorf("%v becomes %+v", pairs, o.last())
		}
	}
}

func TestADialogIsFilledInOnThePage(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	doc := o.does(robinInSupport, "do", "shortcut")
	dialog := doc.Find("dialog[open]")
	view := dialog.AttrOr("id", "")
	if text(dialog.Find("h2")) != "Look up customer" || text(dialog.Find("label")) != "Customer" || dialog.Find("#value").AttrOr("maxlength", "") != "254" {
		t.Fatalf("the dialog reads %q", text(dialog))
	}
	if o.sees(samInSupport).Find("dialog").Length() != 0 {
		t.Error("sam sees robin's dialog")
	}
	doc = o.does(robinInSupport, "do", "submit", "view", view, "value", "who?")
	if fault := text(doc.Find("dialog .fault")); !strings.HasPrefix(fault, "Type one four-digit code") {
		t.Errorf("a text without a clue: %q", fault)
	}
	o.does(samInSupport, "do", "close", "view", view)
	doc = o.does(robinInSupport, "do", "submit", "view", view, "value", "4821")
	if doc.Find("dialog").Length() != 0 || o.last().Verb != chat.LookUp {
		t.Errorf("the dialog stays open; the bridge got %+v", o.last())
	}
	if app := doc.Find("#in-app"); text(app) != "Co-browse New" {
		t.Errorf("the app's conversation has the label %q", text(app))
	}
	direct := o.sees("?as=U1&in=app")
	if text(direct.Find("#talk h3")) != "Co-browse with Ann Lee" || text(direct.Find("#in-app")) != "Co-browse" || direct.Find("#text").Length() != 0 {
		t.Errorf("the direct message reads %q", text(direct.Find("#talk")))
	}
	doc = o.does(robinInSupport, "do", "shortcut")
	doc = o.does(robinInSupport, "do", "close", "view", doc.Find("dialog").AttrOr("id", ""))
	if doc.Find("dialog").Length() != 0 {
		t.Error("the dialog is not closed")
	}
}

func TestAMessageShortcutUsesTheCodeInTheMessage(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ts := o.sees(robinInSupport).Find("#talk button[name=ts]").AttrOr("value", "")
	o.does(robinInSupport, "do", "message", "ts", ts)
	if ask := o.last(); ask.Verb != chat.LookUp || ask.Clues.LookupCode != "4821" || ask.Agent.ID != "T0ACME/U1" {
		t.Errorf("the bridge got %+v", ask)
	}
}

func TestTheHomeTabIsRequestedAndShown(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	if empty := text(o.sees("?as=U1&in=home").Find("#home-tab")); !strings.HasPrefix(empty, "Loading") {
		t.Errorf("before: %q", empty)
	}
	doc := o.does("?as=U1&in=app", "do", "home")
	if o.last().Verb != chat.Status || text(doc.Find("#home-tab h3")) != "Co-browse with Ann Lee" || doc.Find(`#home[aria-current]`).Length() != 1 {
		t.Errorf("the bridge got %+v; the tab reads %q", o.last(), text(doc.Find("#home-tab")))
	}
}

func TestAFailureOfTheBridgeIsShownAsInSlack(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.fault = http.StatusServiceUnavailable
	doc := o.does(robinInSupport, "do", "write", "text", "/cobrowse 4821")
	if says := text(doc.Find("#talk > li").Last()); !strings.Contains(says, "/cobrowse failed with the error “http_service_error”.") {
		t.Errorf("503: %q", says)
	}
	o.server.Close()
	doc = o.does(robinInSupport, "do", "write", "text", "/cobrowse 4821")
	if says := text(doc.Find("#talk > li").Last()); !strings.Contains(says, "dispatch_failed") {
		t.Errorf("the bridge is down: %q", says)
	}
	if sam := text(o.sees(samInSupport).Find("#talk")); strings.Contains(sam, "failed") {
		t.Errorf("sam sees %q", sam)
	}
}

func TestARequestFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	r := httptest.NewRequest(http.MethodPost, "/"+robinInSupport, strings.NewReader("do=write&text=%2Fcobrowse+4821"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	o.page.ServeHTTP(w, r)
	if o.last(); w.Code != http.StatusForbidden || len(o.asks) != 0 {
		t.Errorf("the page answers %d, %d asks", w.Code, len(o.asks))
	}
}

func TestMessagesAreShownAsText(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hostile := `<script>alert(1)</script> <img src=x onerror=alert(1)> "quoted"`
	doc := o.does(robinInSupport, "do", "write", "text", hostile)
	if got := text(doc.Find("#talk > li").Last().Find(".words")); got != hostile || doc.Find("#talk script, #talk img").Length() != 0 {
		t.Errorf("it reads %q", got)
	}
}

func TestTheStreamReportsChangesAndEnds(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	resp, err := o.server.Client().Get(o.server.URL + "/slack/changes")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 64)
	for i := range 2 {
		if n, err := resp.Body.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "data: ") {
			t.Fatalf("event %d: %q, %v", i, buf[:n], err)
		}
		o.Write("U2", "C1", "", "one more")
	}
	o.page.EndStreams()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}
