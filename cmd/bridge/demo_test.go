package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// startDemo runs the demo on a free port. It returns the demo's address, and a function
// that stops it and returns its exit status.
func startDemo(t *testing.T) (origin string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr strings.Builder
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"demo", "--listen", "127.0.0.1:0"}, streams{in, &stderr})
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for origin == "" && lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "Open "); ok {
			origin, _, _ = strings.Cut(rest, " ")
		}
	}
	if origin == "" {
		t.Fatalf("the demo did not start: exit status %d, %s", <-status, &stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	ended := false
	stop = func() int {
		if ended {
			return 0
		}
		ended = true
		cancel()
		code := <-status
		if s := stderr.String(); strings.Contains(s, "panic") || strings.Contains(s, "level=ERROR") {
			t.Errorf("the demo logged an error:\n%s", s)
		}
		return code
	}
	t.Cleanup(func() { stop() })
	return origin, stop
}

// demoState is the JSON of /demo/state.
type demoState struct {
	Agents []struct {
		ID    string
		Inbox []struct {
			Title  string
			Button struct{ Label, Address string }
		}
	}
	Customer struct{ Watched bool }
}

// card is the title and the address of the latest card in an inbox.
func (s demoState) card(agent string) (title, address string) {
	for _, a := range s.Agents {
		if n := len(a.Inbox); a.ID == agent && n > 0 {
			return a.Inbox[n-1].Title, a.Inbox[n-1].Button.Address
		}
	}
	return "", ""
}

// await reads the demo's state at once and after each change, until done returns true.
func await(t *testing.T, origin, what string, done func(demoState) bool) demoState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	get := func(path string) io.ReadCloser {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		return resp.Body
	}
	changes := get("/demo/changes")
	defer changes.Close()
	var s demoState
	for lines := bufio.NewScanner(changes); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "data:") {
			continue
		}
		body := get("/demo/state")
		s = demoState{}
		err := json.NewDecoder(body).Decode(&s)
		body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if done(s) {
			return s
		}
	}
	t.Fatalf("waited for %s; the state is %+v", what, s)
	return s
}

// awaitCard waits for an agent's latest card to have a title, and returns its
// address.
func awaitCard(t *testing.T, origin, agent, title string) (door string) {
	t.Helper()
	state := await(t, origin, "the card "+title, func(s demoState) bool {
		is, _ := s.card(agent)
		return is == title
	})
	_, door = state.card(agent)
	return door
}

// agentBrowser sends requests as an agent's browser does, one at a time.
type agentBrowser struct {
	t      *testing.T
	client *http.Client
}

func newAgentBrowser(t *testing.T) agentBrowser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return agentBrowser{t, &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b agentBrowser) do(method, address string, form url.Values) (status int, location, body string) {
	b.t.Helper()
	return b.send(method, address, form, "none")
}

// send is do with a value for Sec-Fetch-Site. Requests with a form have same-origin.
func (b agentBrowser) send(method, address string, form url.Values, site string) (status int, location, body string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Sec-Fetch-User", "?1")
	req.Header.Set("Sec-Fetch-Site", site)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// open follows redirects as a browser does, to a page or to Upscope. If the sign-in
// service asks who signs in, it answers who.
func (b agentBrowser) open(address, who string) (status int, at, body string) {
	b.t.Helper()
	method, form, site := http.MethodGet, url.Values(nil), "none"
	for range 12 {
		status, location, body := b.send(method, address, form, site)
		method, form = http.MethodGet, nil
		switch {
		case location != "" && strings.Contains(location, upscopePath+"/session/"):
			return status, location, body
		case location != "":
			address = b.resolve(address, location)
		case who != "" && strings.Contains(body, "Who are you?"):
			method, form, site = http.MethodPost, url.Values{"sub": {who}}, "same-origin" // for the redirects of the answer too
		default:
			return status, address, body
		}
	}
	b.t.Fatalf("too many redirects, the last one to %s", address)
	return 0, "", ""
}

func (b agentBrowser) resolve(from, location string) string {
	b.t.Helper()
	base, err := url.Parse(from)
	if err != nil {
		b.t.Fatal(err)
	}
	to, err := base.Parse(location)
	if err != nil {
		b.t.Fatal(err)
	}
	return to.String()
}

// press sends the form of a door's page.
func (b agentBrowser) press(door, page string) (status int, location, body string) {
	b.t.Helper()
	_, rest, ok := strings.Cut(page, `name="visitor" value="`)
	visitor, _, _ := strings.Cut(rest, `"`)
	if !ok {
		b.t.Fatalf("the door shows no visitor:\n%s", page)
	}
	return b.do(http.MethodPost, door, url.Values{"visitor": {visitor}})
}

func demoForm(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// useTempFolder makes os.MkdirTemp use a folder of the test, and returns a function that
// lists it.
func useTempFolder(t *testing.T) (entries func() []os.DirEntry) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	return func() []os.DirEntry {
		all, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
}

func TestDemoLeadsFromAChatToTheCustomersPage(t *testing.T) {
	entries := useTempFolder(t)
	origin, stop := startDemo(t)
	agent := newAgentBrowser(t)

	if status, location, _ := agent.do(http.MethodGet, origin+"/", nil); status != http.StatusFound || location != "/demo/" {
		t.Errorf("/ answers %d to %q, want a redirect to the demo", status, location)
	}
	if status, _, _ := agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "start", "name", "Ann")); status != http.StatusSeeOther {
		t.Fatalf("start a chat: %d", status)
	}
	door := awaitCard(t, origin, "robin", "Co-browse with Ann")
	status, at, page := agent.open(door, "")
	if status != http.StatusOK || !strings.Contains(at, signInPath) || !strings.Contains(page, "Sign in as Robin") {
		t.Fatalf("the first press leads to %s, %d:\n%s", at, status, page)
	}
	// The sign-in leads back to the co-browse page. From now on one click is enough.
	status, at, page = agent.open(door, "robin")
	if status != http.StatusOK || !strings.Contains(page, "Co-browse with") {
		t.Fatalf("after the sign-in Robin is at %s, %d:\n%s", at, status, page)
	}
	status, session, page := agent.do(http.MethodGet, door, nil)
	if status != http.StatusSeeOther || !strings.Contains(session, upscopePath+"/session/") {
		t.Fatalf("a click leads to %q, %d:\n%s", session, status, page)
	}
	status, _, page = agent.do(http.MethodGet, session, nil)
	if status != http.StatusOK || !strings.Contains(page, "You are watching Ann Lee on https://lampandleaf.example/checkout") {
		t.Errorf("the session answers %d:\n%s", status, page)
	}
	await(t, origin, "a card that shows the session, and a customer who is watched", func(s demoState) bool {
		title, _ := s.card("robin")
		return (title == "Waiting for Ann" || title == "Session with Ann is running") && s.Customer.Watched
	})
	if status, _, page := agent.do(http.MethodPost, session+"/end", nil); status >= 400 {
		t.Fatalf("ending the session answers %d:\n%s", status, page)
	}
	await(t, origin, "a card that is the record of the session", func(s demoState) bool {
		title, _ := s.card("robin")
		return title == "Session with Ann has ended" && !s.Customer.Watched
	})

	status, session, page = agent.send(http.MethodGet, door, nil, "same-origin") // a click in the demo's chat
	if status != http.StatusSeeOther || !strings.Contains(session, upscopePath+"/session/") {
		t.Errorf("the second press is answered %d to %q, want straight on:\n%s", status, session, page)
	}

	agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "hand", "chat", "c1", "to", "sam"))
	await(t, origin, "the card's move to Sam", func(s demoState) bool {
		robins, _ := s.card("robin")
		_, door := s.card("sam")
		return robins == "Chat moved to Sam" && door != ""
	})
	agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "close", "chat", "c1"))
	await(t, origin, "the card's end", func(s demoState) bool {
		title, address := s.card("sam")
		return title == "Chat closed" && address == ""
	})

	if len(entries()) == 0 {
		t.Error("the demo has no folder while it runs, so this does not test its removal")
	}
	if code := stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for _, e := range entries() {
		t.Errorf("%s was not removed", e.Name())
	}
}

func TestDemoListensOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:8080", ":8080", "[::]:8080", "[::1]:8080", "192.0.2.1:8080", "8080", "demo.example:8080"} {
		var out, stderr strings.Builder
		if code := run(t.Context(), []string{"demo", "--listen", listen}, streams{&out, &stderr}); code != 1 {
			t.Errorf("--listen %s: exit status %d, want 1", listen, code)
		}
		if s := stderr.String(); !strings.Contains(s, "this machine only") || out.Len() > 0 {
			t.Errorf("--listen %s: says %q and %q", listen, &out, s)
		}
	}
	for _, listen := range []string{"127.0.0.1:8080", "localhost:8080", "127.0.0.2:0"} {
		if _, ok := listenAddress(listen); !ok {
			t.Errorf("--listen %s is refused", listen)
		}
	}
}

func TestDemoSaysThatItsPortIsTaken(t *testing.T) {
	useTempFolder(t)
	origin, _ := startDemo(t)
	var out, stderr strings.Builder
	code := run(t.Context(), []string{"demo", "--listen", strings.TrimPrefix(origin, "http://")}, streams{&out, &stderr})
	if s := stderr.String(); code != 1 || !strings.Contains(s, "another program listens") || !strings.Contains(s, "--listen 127.0.0.1:0") {
		t.Errorf("exit status %d, says %q", code, s)
	}
}

func TestDemoRedirectsOtherHostNames(t *testing.T) {
	useTempFolder(t)
	origin, _ := startDemo(t)
	for method, want := range map[string]int{http.MethodGet: http.StatusFound, http.MethodPost: http.StatusMisdirectedRequest} {
		req, err := http.NewRequestWithContext(t.Context(), method, origin+"/demo/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "evil.example"
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if to := resp.Header.Get("Location"); resp.StatusCode != want || to != "" && to != origin+"/demo/" {
			t.Errorf("%s by another name: %s to %q", method, resp.Status, to)
		}
	}
}
