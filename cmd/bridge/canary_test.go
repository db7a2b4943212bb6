package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A canaryRun is one bridge with its services, the secrets that it knows, and all of
// its answers.
type canaryRun struct {
	*testing.T
	*services
	env     map[string]string
	program *program
	browser *browser
	answers *transcript
	visitor string // short id
	person  struct{ token, email, ip, words string }
	agents  int
	marks   []mark
	cookies []string
}

func TestPromise10NoSecretAnywhere(t *testing.T) {
	t.Parallel()
	r := newCanaryRun(t)
	r.start()
	r.chatFromStartToEnd()
	r.upscopeFailures()
	r.rocketChatFailures()
	r.requestsOfStrangers()
	r.sessionWithARecording()
	r.planUsedUp()
	r.collectSecrets()

	// The search finds a secret that was planted.
	planted := mark{"planted", "PLANTED/" + rand.Text()}
	r.browser.do(http.MethodPost, "/hooks/rocketchat", http.Header{"X-Rocketchat-Livechat-Token": {r.webhook}},
		strings.NewReader(`{"type":"`+planted.value+`"}`)).want(t, http.StatusOK)
	eventually(t, "the planted secret is found in the log", maxWait, func() bool {
		return foundMarks(r.program.err.String(), []mark{planted}) != nil
	})

	r.searchAll()
	t.Logf("%d secrets; searched %d bytes of log, %d of answers, %d requests to Rocket.Chat, %d to Upscope",
		len(r.marks), len(r.program.err.String()), len(r.answers.String()), len(r.chat.Requests()), len(r.upscope.Calls()))
}

// searchAll looks for the marks in everything that the program wrote or sent. It also
// makes the program crash, and searches the stack traces.
func (r *canaryRun) searchAll() {
	r.searchMetrics()

	// SIGQUIT prints the stack of every goroutine, and leaves the database's WAL.
	r.program.signal(syscall.SIGQUIT)
	r.program.wait(maxWait)
	if !strings.Contains(r.program.err.String(), "goroutine ") {
		r.Error("SIGQUIT printed no stack traces")
	}
	r.searchText("the log", r.program.err.String())
	r.searchDebugLines()
	r.searchText("what the program printed", r.program.out.String())
	r.searchText("the answers", r.answers.String())
	r.searchDatabase()
	r.searchRequests()
	r.searchOtherCommands()

	p, _ := startServe(r, r.env)
	p.terminate()
	r.searchText("the log after the crash", p.err.String())
	r.searchDatabase()
}

// searchDebugLines checks that the lines about calls and matches were written, and name nobody.
func (r *canaryRun) searchDebugLines() {
	r.Helper()
	for _, line := range []logLine{
		{"service": "upscope", "route": "search"}, {"service": "upscope", "route": "watch"}, {"service": "rocketchat", "route": "api/v1/rooms.info"},
		{"msg": "customer searched", "decision": "one customer"},
	} {
		if len(r.program.logLines(line)) == 0 {
			r.Errorf("no line of the log has %v", line)
		}
	}
	known := r.marks
	r.marks = append(slices.Clone(known), mark{"the customer's name", "Ann Silva"}, mark{"the customer's town", "Lisbon"},
		mark{"the customer's short id", r.visitor}, mark{"the customer's page", "shop.example.org"}, mark{"the customer's user name", "guest-7"})
	for _, wanted := range []string{"service called", "customer searched"} {
		for _, line := range r.program.logLines(logLine{"msg": wanted}) {
			r.searchText("a line at debug level", fmt.Sprint(line))
		}
	}
	r.marks = known
}

// searchMetrics looks for the marks in the metrics, and also for ids, names and addresses that may be
// in a log or an audit entry, but in no label.
func (r *canaryRun) searchMetrics() {
	found := r.metrics(r, r.program)
	r.searchText("the metrics", found)
	words := []string{
		r.visitor, "Ann", "Silva", "guest-7", "bob", `"eve"`, "agent1", "readerId", "posterId", "example.org", "127.0.0.1", "/hooks/rocketchat", r.upscopeURL, r.chatURL,
	}
	for line := range strings.Lines(found) {
		for _, word := range words {
			if !strings.HasPrefix(line, "#") && strings.Contains(line, word) {
				r.Errorf("the metrics contain %q: %s", word, line)
			}
		}
		if idForm.MatchString(line) {
			r.Errorf("the metrics contain an id: %s", line)
		}
	}
}

// idForm are the ids of cards and deliveries, the ids of Rocket.Chat, and handles.
var idForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}|="[A-Za-z0-9]{17}"|="[A-Za-z0-9_-]{43}"`)

func newCanaryRun(t *testing.T) *canaryRun {
	r := &canaryRun{T: t, services: newServices(t), answers: &transcript{}}
	r.person.token, r.person.email = "visitor-token-"+rand.Text(), "canary+"+strings.ToLower(rand.Text())+"@example.org"
	r.person.ip, r.person.words = "2001:db8::ca4a:7e57", "my card number is "+rand.Text()
	r.visitor = r.upscope.Come(upscope.Visitor{
		Name: "Ann Silva", Email: r.person.email, IPAddress: r.person.ip, Identities: []string{"rocketchat:" + pageKey},
		LastURL: "https://shop.example.org/basket", LocationCity: "Lisbon",
	})
	r.upscope.SetIntegrationIDs(r.visitor, "rocketchat:"+pageKey)
	r.env = with(r.services.env(t), "BRIDGE_METRICS_LISTEN=127.0.0.1:0", "GOTRACEBACK=all")
	r.marks = []mark{
		{"UPSCOPE_API_KEY", r.secrets.upscope}, {"the webhook secret", r.webhook}, {"the reader's token", r.reader},
		{"the poster's token", r.poster}, {"BRIDGE_SECRET", r.env["BRIDGE_SECRET"]}, {"the bytes of BRIDGE_SECRET", string(r.bridge)},
		{"the visitor's token", r.person.token}, {"the visitor's e-mail", r.person.email}, {"the visitor's address", r.person.ip},
		{"the visitor's address at the chat", "203.0.113.5"}, {"the visitor's words", r.person.words}, {"the page key", pageKey},
	}
	return r
}

func (r *canaryRun) start() {
	var address string
	r.program, address = startServe(r, r.env)
	r.browser = r.newBrowser(address)
}

func (r *canaryRun) newBrowser(address string) *browser {
	b := newBrowser(r.T, address)
	b.answers = r.answers
	return b
}

func (r *canaryRun) openChat() (room string) {
	room = r.chat.StartChat(rocketchattest.Visitor{
		ID: rand.Text(), Username: "guest-7", Name: "Ann", Token: r.person.token, Email: r.person.email, Fields: pageKeyFields(),
	})
	r.chat.Say(room, "", r.person.words)
	return room
}

// card gives a new agent a card and returns its door and the agent's browser.
func (r *canaryRun) card() (door, room string, b *browser) {
	r.Helper()
	r.agents++
	name := fmt.Sprintf("agent%d", r.agents)
	r.chat.AddUser(rocketchattest.User{ID: name + "Id", Username: name, Name: "Agent", Roles: []string{"livechat-agent"}})
	room = r.openChat()
	r.chat.Take(room, name)
	b = r.newBrowser(r.browser.address)
	b.deliverEvent(r.services, "LivechatSessionTaken", room)
	eventually(r, name+" has a card", maxWait, func() bool { return len(r.chat.Posts(name)) > 0 })
	return r.door(r, name), room, b
}

func (r *canaryRun) watch(b *browser, door string) answer {
	r.Helper()
	a := b.press(door, url.Values{"visitor": {r.visitor}})
	r.cookies = append(r.cookies, b.setCookies...)
	b.setCookies = nil
	return a
}

// chatFromStartToEnd sends every kind of event, and uses the door as agents, link
// previews and strangers do.
func (r *canaryRun) chatFromStartToEnd() {
	t, b := r.T, r.browser
	room := r.openChat()
	b.deliverEvent(r.services, "LivechatSessionStart", room)
	r.chat.Queue(room)
	b.deliverEvent(r.services, "LivechatSessionQueued", room)
	r.chat.Take(room, "bob")
	for _, event := range []string{"LivechatSessionTaken", "Message", "LeadCapture", "LivechatEdit", "LivechatOfflineMessage", "test"} {
		b.deliverEvent(r.services, event, room)
	}
	eventually(t, "bob has a card", maxWait, func() bool { return len(r.chat.Posts("bob")) > 0 })
	bobs := r.door(t, "bob")
	b.follow(bobs).want(t, http.StatusOK, "Ann Silva")
	b.do(http.MethodHead, bobs, nil, nil).want(t, http.StatusOK)
	b.do(http.MethodGet, bobs, http.Header{"Sec-Purpose": {"prefetch"}}, nil).want(t, http.StatusServiceUnavailable)
	r.watch(b, bobs).wantWatch(t)
	b.follow(bobs).wantWatch(t)
	thief := r.newBrowser(b.address)
	thief.follow(bobs).want(t, http.StatusForbidden)
	thief.press(bobs+"/renew", nil).want(t, http.StatusOK)
	eventually(t, "bob has a new link", maxWait, func() bool { return r.door(t, "bob") != bobs })
	b.follow(bobs).want(t, http.StatusGone)
	r.chat.Forward(room, "eve")
	b.deliverEvent(r.services, "LivechatSessionForwarded", room)
	eventually(t, "eve has a card", maxWait, func() bool { return len(r.chat.Posts("eve")) > 0 })
	eves := r.door(t, "eve")
	r.chat.CloseChat(room)
	b.deliverEvent(r.services, "LivechatSession", room)
	eventually(t, "the card is closed", maxWait, func() bool { return strings.Contains(r.chat.Posts("eve")[0].Text, "Chat closed") })
	b.press(eves, url.Values{"visitor": {r.visitor}}).want(t, http.StatusGone)
}

// upscopeFailures makes Upscope fail in ways that quote secrets.
func (r *canaryRun) upscopeFailures() {
	t := r.T
	quoting := r.quoting()
	foreign := "https://evil.example/session/" + rand.Text()
	r.marks = append(r.marks, mark{"a watch link that leads elsewhere", foreign})
	for _, c := range []struct {
		fault  upscopetest.Fault
		status int
	}{
		{upscopetest.Fault{Status: 401, Body: `{"status":"error","error":"invalid_api_key","key":"` + r.person.email + `"}`}, http.StatusBadGateway},
		{upscopetest.Fault{Status: 401, Code: quoting}, http.StatusBadGateway},
		{upscopetest.Fault{Status: 404, Body: quoting}, http.StatusOK}, // the visitor is still there: the door again
		{upscopetest.Fault{Status: 429, Body: quoting, RetryAfter: "7"}, http.StatusServiceUnavailable},
		{upscopetest.Fault{Status: 500, Body: "<h1>" + quoting + "</h1>"}, http.StatusServiceUnavailable},
		{upscopetest.Fault{Status: 302, RedirectTo: foreign}, http.StatusServiceUnavailable},
		{upscopetest.Fault{WatchURL: foreign}, http.StatusBadGateway},
		{upscopetest.Fault{Truncate: true}, http.StatusServiceUnavailable},
		{upscopetest.Fault{Drop: true}, http.StatusServiceUnavailable},
		{upscopetest.Fault{Hang: true}, http.StatusServiceUnavailable},
	} {
		door, _, b := r.card()
		r.upscope.Fail(upscopetest.Watch, c.fault, 1)
		if a := r.watch(b, door); a.StatusCode != c.status {
			t.Errorf("%+v was answered %d, want %d: %s", c.fault, a.StatusCode, c.status, a.body)
		}
	}
	door, _, b := r.card()
	r.upscope.Fail(upscopetest.Visitor, upscopetest.Fault{Status: 500, Body: quoting}, 1)
	r.watch(b, door) // fails, or finds what was read for the card before
	r.upscope.Heal()
}

// quoting is an answer of Upscope that repeats the secrets it has.
func (r *canaryRun) quoting() string {
	return "you sent " + r.secrets.upscope + " for " + r.person.email + " at " + r.person.ip
}

// planUsedUp must run last: the bridge then makes no watch link for a minute.
func (r *canaryRun) planUsedUp() {
	door, _, b := r.card()
	r.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Status: 402, Body: r.quoting()}, 1)
	r.watch(b, door).want(r, http.StatusPaymentRequired)
}

// rocketChatFailures makes Rocket.Chat fail in ways that quote secrets.
func (r *canaryRun) rocketChatFailures() {
	t := r.T
	quoting := `{"success":false,"error":"no ` + r.person.token + ` or ` + r.person.email + `"}`
	for _, route := range []string{"rooms.info", "users.info", "livechat/visitors.info", "im.create", "chat.sendMessage"} {
		for _, f := range []rocketchattest.Fault{{Status: 500, Body: quoting}, {Status: 401, Body: quoting}, {Cut: true}, {Status: 200, Body: quoting}} {
			r.chat.Fail(route, f, 1)
			agent := "agent" + strings.ToLower(rand.Text()) // the bridge knows the names of others already
			r.chat.AddUser(rocketchattest.User{ID: agent, Username: agent, Name: agent, Roles: []string{"user", "livechat-agent"}})
			room := r.openChat()
			r.chat.Take(room, agent)
			before := len(r.chat.Requests())
			r.browser.deliverEvent(r.services, "LivechatSessionTaken", room)
			eventually(t, route+" is asked", maxWait, func() bool {
				return slices.ContainsFunc(r.chat.Requests()[before:], func(q rocketchattest.Request) bool { return strings.HasSuffix(q.Path, "/"+route) })
			})
		}
	}
	// A call hangs while an agent presses: the press does not wait for it.
	door, _, b := r.card()
	r.chat.Fail("rooms.info", rocketchattest.Fault{Hang: true}, 1)
	r.watch(b, door)
}

// requestsOfStrangers sends requests that any public address receives.
func (r *canaryRun) requestsOfStrangers() {
	t, b := r.T, r.browser
	room := r.openChat()
	body, header := r.chat.Event("LivechatSessionTaken", room)
	post := func(status int, token string, body []byte) {
		t.Helper()
		header := header.Clone()
		header["X-Rocketchat-Livechat-Token"] = []string{token}
		b.do(http.MethodPost, "/hooks/rocketchat", header, bytes.NewReader(body)).want(t, status)
	}
	post(http.StatusUnauthorized, r.webhook+"x", body)
	post(http.StatusUnauthorized, r.reader, body)
	post(http.StatusBadRequest, r.webhook, append([]byte(`{"_id":`), body...))
	post(http.StatusBadRequest, r.webhook, body[:len(body)-1])
	for _, path := range []string{
		"/hooks/" + url.PathEscape(r.webhook), "/w/" + url.PathEscape(r.secrets.upscope), "/" + url.PathEscape(r.person.email),
		"/static/" + url.PathEscape(r.webhook), "/?key=" + url.QueryEscape(r.secrets.upscope),
	} {
		b.do(http.MethodGet, path, nil, nil)
		b.do("PURGE", path, http.Header{"Authorization": {r.reader}, "Referer": {r.poster}, "User-Agent": {r.webhook}}, nil)
	}
	b.do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK)
	b.do(http.MethodGet, "/healthz", nil, nil).want(t, http.StatusOK)
}

// sessionWithARecording makes Upscope return the address of a recording each time that
// the visitor is read.
func (r *canaryRun) sessionWithARecording() {
	t := r.T
	door, _, b := r.card()
	r.watch(b, door).wantWatch(t)
	all := r.upscope.Watches()
	id, err := r.upscope.Open(all[len(all)-1])
	if err != nil {
		t.Fatal(err)
	}
	r.upscope.End(id, 5, "was helpful")
	r.marks = append(r.marks, mark{"secret_video_url", upscopetest.SecretVideoURL(id)}, mark{"part of secret_video_url", "CANARY-SECRET-VIDEO"})
	before := r.upscope.Requests()[upscopetest.Visitor]
	eventually(t, "the visitor is read again", maxWait, func() bool {
		door, _, b := r.card()
		b.follow(door).want(t, http.StatusOK)
		return r.upscope.Requests()[upscopetest.Visitor] > before
	})
}
