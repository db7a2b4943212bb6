package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// collectSecrets adds the secrets that the run made to the marks.
func (r *canaryRun) collectSecrets() {
	addresses := regexp.MustCompile(`/w/([A-Za-z0-9_-]{43})`)
	handles := map[string]bool{}
	for _, q := range r.chat.Requests() {
		for _, m := range addresses.FindAllStringSubmatch(q.Body, -1) {
			handles[m[1]] = true
		}
	}
	for h := range handles {
		raw, err := base64.RawURLEncoding.DecodeString(h)
		if err != nil {
			r.Fatal(err)
		}
		r.marks = append(r.marks, mark{"a handle", h}, mark{"half of a handle", string(raw[:16])}, mark{"half of a handle", string(raw[16:])})
	}
	for _, w := range r.upscope.Watches() {
		r.marks = append(r.marks, mark{"a watch link", w.URL}, mark{"part of a watch link", filepath.Base(w.URL)})
	}
	for _, c := range r.cookies {
		r.marks = append(r.marks, mark{"a cookie", c})
	}
	if len(handles) < 10 || len(r.upscope.Watches()) < 3 || len(r.cookies) < 10 {
		r.Errorf("only %d handles, %d watch links, %d cookies", len(handles), len(r.upscope.Watches()), len(r.cookies))
	}
}

func (r *canaryRun) searchText(place, text string) {
	r.Helper()
	names := foundMarks(text, r.marks)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		r.Errorf("%s contains %s", place, name)
		only := slices.DeleteFunc(slices.Clone(r.marks), func(m mark) bool { return m.name != name })
		for line := range strings.Lines(text) {
			if foundMarks(line, only) != nil {
				r.Logf("%.1000q", line)
				break
			}
		}
	}
}

// searchDatabase searches the files of the database.
func (r *canaryRun) searchDatabase() {
	r.Helper()
	file := strings.TrimPrefix(r.env["BRIDGE_DATABASE"], "sqlite:")
	files, err := filepath.Glob(file + "*")
	if err != nil || len(files) < 2 {
		r.Fatalf("the database's files are %v, %v", files, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			r.Fatal(err)
		}
		r.searchText(filepath.Base(name), string(content))
	}
	r.searchSealed()
}

// searchSealed opens what the store has encrypted. It may have what identifies the customer and
// their chat, but nothing that opens a screen or another service. The bridge must not run.
func (r *canaryRun) searchSealed() {
	r.Helper()
	db, err := store.Open(r.Context(), r.env["BRIDGE_DATABASE"], store.Options{Secret: r.bridge})
	if err != nil {
		r.Fatal(err)
	}
	defer db.Close()
	var opened strings.Builder
	for after := ""; ; {
		cards, err := db.Cards(r.Context(), after)
		if err != nil {
			r.Fatal(err)
		}
		if len(cards) == 0 {
			break
		}
		for _, c := range cards {
			fmt.Fprintf(&opened, "card %s\n", c.Detail)
			posts, err := db.Posts(r.Context(), c.ID)
			if err != nil {
				r.Fatal(err)
			}
			for _, p := range posts {
				fmt.Fprintf(&opened, "post %s %s\n", p.Place.Address, p.Ref)
			}
			after = c.ID
		}
	}
	for d, err := range db.UnfinishedDeliveries(r.Context()) {
		if err != nil {
			r.Fatal(err)
		}
		stored, err := db.Delivery(r.Context(), d.ID)
		if err != nil {
			r.Fatal(err)
		}
		fmt.Fprintf(&opened, "delivery %s\n", stored.Body)
	}
	if !strings.Contains(opened.String(), "Ann Silva") {
		r.Error("no card names the customer: they cannot have been opened")
	}
	known := r.marks
	r.marks = slices.DeleteFunc(slices.Clone(known), func(m mark) bool {
		return strings.HasPrefix(m.name, "the visitor's") || m.name == "the page key"
	})
	r.searchText("what the store has encrypted", opened.String())
	r.marks = known
}

// searchRequests searches the requests to the services. Handles may only be in the
// text that Rocket.Chat shows to an agent.
func (r *canaryRun) searchRequests() {
	for _, q := range r.chat.Requests() {
		place := q.Method + " " + q.Path
		body := q.Body
		if strings.HasSuffix(q.Path, "/chat.sendMessage") || strings.HasSuffix(q.Path, "/chat.update") {
			var sent struct {
				Message map[string]any `json:"message"`
				Text    string         `json:"text"`
				Rest    map[string]any `json:"-"`
			}
			if json.Unmarshal([]byte(body), &sent) != nil || json.Unmarshal([]byte(body), &sent.Rest) != nil {
				r.Fatalf("%s: %s", place, body)
			}
			text, _ := sent.Message["msg"].(string)
			r.searchText(place+" (text)", doorAddress.ReplaceAllString(text+sent.Text, "[door]"))
			delete(sent.Message, "msg")
			delete(sent.Rest, "text")
			sent.Rest["message"] = sent.Message
			rest, _ := json.Marshal(sent.Rest) // it came as JSON
			body = string(rest)
		}
		r.searchText(place, q.Query+" "+body)
	}
	// The search at Upscope contains the page key.
	all := r.marks
	r.marks = slices.DeleteFunc(slices.Clone(all), func(m mark) bool { return m.name == "the page key" })
	for _, c := range r.upscope.Calls() {
		r.searchText("Upscope's "+string(c.Endpoint), c.RequestURI)
	}
	for _, w := range r.upscope.Watches() {
		r.searchText("a request for a watch link", string(w.Raw))
	}
	r.marks = all
}

// searchOtherCommands searches the output of other commands and of failing starts.
func (r *canaryRun) searchOtherCommands() {
	password := "database/pass word%" + rand.Text()
	r.marks = append(r.marks, mark{"the database's password", password})
	escaped := url.QueryEscape(password)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	defer taken.Close()
	quoting := "no " + r.secrets.upscope + " " + r.person.email
	for _, c := range []struct {
		args    string
		changes []string
		status  int
	}{
		{"check", nil, 0},
		{"check --json", nil, 0},
		{"check", []string{"ROCKETCHAT_READER_ID=nobody"}, 1},
		{"check", []string{"UPSCOPE_URL=http://127.0.0.1:1"}, 1},
		{"check", []string{"UPSCOPE_API_KEY=" + r.reader, "ROCKETCHAT_POSTER_TOKEN=" + r.reader, "BRIDGE_SECRET=" + r.webhook}, 2},
		{"check", []string{"BRIDGE_LOG_LEVEL=" + r.poster, "ROCKETCHAT_URL=" + r.chatURL + "/?token=" + escaped, "BRIDGE_ORIGIN=https://u:" + escaped + "@x"}, 2},
		{"serve", []string{"ROCKETCHAT_WEBHOOK_SECRET=" + r.webhook[:10], "BRIDGE_SIGNIN=" + r.reader}, 2},
		{"serve", []string{"BRIDGE_LISTEN=" + taken.Addr().String()}, 1},
		{"serve", []string{"BRIDGE_DATABASE=sqlite:/proc/" + rand.Text() + "/bridge.db"}, 2},
		{"serve", []string{"BRIDGE_DATABASE=sqlite:/proc/" + rand.Text() + ".db"}, 1},
		{"serve", []string{"BRIDGE_DATABASE=postgres://bridge:" + escaped + "@127.0.0.1:1/bridge"}, 1},
		{"serve", []string{"BRIDGE_DATABASE=postgres://bridge@127.0.0.1:1/bridge?connect_timeout=1&password=" + escaped}, 1},
		{"serve", []string{"BRIDGE_DATABASE=postgres://bridge:" + escaped + "@127.0.0.1:1/bridge?sslmode=" + escaped}, 2},
		{"serve", []string{"BRIDGE_DATABASE=postgres://bridge:" + password + "@127.0.0.1:1/bridge"}, 2},
		{"deliveries list", []string{"BRIDGE_DATABASE=postgres://bridge:" + escaped + "@127.0.0.1:1/bridge"}, 1},
		{"audit verify", []string{"BRIDGE_DATABASE=postgres://bridge:" + escaped + "@127.0.0.1:1/bridge"}, 1},
		{"erase --visitor A --yes", []string{"BRIDGE_DATABASE=postgres://bridge:" + escaped + "@127.0.0.1:1/bridge"}, 1},
		{"deliveries list --json", nil, 0},
		{"audit export", nil, 0},
		{"version", nil, 0},
		{"env", nil, 0},
		{"healthcheck", []string{"BRIDGE_LISTEN=" + r.reader}, 1},
	} {
		p := start(r, with(r.env, c.changes...), strings.Fields(c.args)...)
		if status := p.wait(maxWait); status != c.status {
			r.Errorf("%s ended with %d, want %d: %s%s", c.args, status, c.status, p.out, p.err)
		}
		r.searchText(c.args, p.out.String()+p.err.String())
	}
	for _, f := range []upscopetest.Fault{{Status: 401, Code: quoting}, {Status: 500, Body: quoting}, {Status: 200, Body: quoting}} {
		r.upscope.Fail(upscopetest.Usage, f, 1)
		r.chat.Fail("me", rocketchattest.Fault{Status: 401, Body: `{"error":"` + r.person.token + `"}`}, 2)
		p := start(r, r.env, "check")
		if status := p.wait(maxWait); status != 1 {
			r.Errorf("check ended with %d: %s", status, p.out)
		}
		r.searchText("check", p.out.String()+p.err.String())
	}
}
