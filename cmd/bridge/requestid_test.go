package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cobrowse-bridge/upscope/upscopetest"
)

// A logLine is one line of a program's log in JSON.
type logLine map[string]any

// logLines returns the lines of a program's log that have these values.
func (p *program) logLines(wanted logLine) (found []logLine) {
	p.t.Helper()
	for text := range strings.Lines(p.err.String()) {
		var line logLine
		if json.Unmarshal([]byte(text), &line) != nil {
			continue // not written completely yet
		}
		fits := true
		for name, value := range wanted {
			fits = fits && line[name] == value
		}
		if fits {
			found = append(found, line)
		}
	}
	return found
}

// waitForLine returns the first line of the log that has these values.
func (p *program) waitForLine(wanted logLine) logLine {
	p.t.Helper()
	eventually(p.t, wanted, maxWait, func() bool { return len(p.logLines(wanted)) > 0 })
	return p.logLines(wanted)[0]
}

// A delivery's id is in the lines of its request, of its jobs and of their calls. The card's id leads on
// to the press and to the end of the session, which are requests of their own.
func TestADeliveryIsFollowedToItsCardThePressAndTheEndByIdsInTheLog(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	ann, room := s.ann(), s.openChat(pageKeyFields())
	p, address := startServe(t, with(s.env(t), "BRIDGE_TRUSTED_PROXIES=127.0.0.0/8"))
	b := newBrowser(t, address)
	s.chat.Take(room, "bob")

	const traced = "4bf92f3577b34da6a3ce929d0e0e4736"
	body, header := s.chat.Event("LivechatSessionTaken", room)
	header.Set("Traceparent", "00-"+traced+"-00f067aa0ba902b7-01")
	header.Set("X-Forwarded-For", "192.0.2.7")
	a := b.do(http.MethodPost, "/hooks/rocketchat", header, bytes.NewReader(body))
	a.want(t, http.StatusOK)
	if id := a.Header.Get("X-Request-Id"); id != traced {
		t.Errorf("the delivery has the id %q, want the proxy's", id)
	}
	shown := p.waitForLine(logLine{"msg": "card shown", "request": traced})
	for _, line := range []logLine{
		{"msg": "delivery stored"}, {"msg": "request", "route": "/hooks/{connector}"},
		{"msg": "customer searched", "clues": "integration id: one", "decision": "one customer"},
		{"msg": "service called", "service": "rocketchat", "method": "GET", "route": "api/v1/rooms.info", "status": 200.0},
		{"msg": "service called", "service": "rocketchat", "method": "POST", "route": "api/v1/chat.sendMessage", "status": 200.0},
		{"msg": "service called", "service": "upscope", "method": "GET", "route": "search", "status": 200.0},
	} {
		line["request"] = traced
		p.waitForLine(line)
	}

	press := b.press(s.door(t, "bob"), url.Values{"visitor": {ann}})
	press.wantWatch(t)
	pressed := press.Header.Get("X-Request-Id")
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(pressed) {
		t.Errorf("the press has the id %q", pressed)
	}
	for _, line := range []logLine{
		{"msg": "watch link opened", "card": shown["card"]}, {"msg": "card shown", "card": shown["card"]},
		{"msg": "service called", "service": "upscope", "method": "POST", "route": "watch"},
	} {
		line["request"] = pressed
		p.waitForLine(line)
	}

	watches := s.upscope.Watches()
	session, err := s.upscope.Open(watches[0])
	if err != nil {
		t.Fatal(err)
	}
	s.upscope.End(session, 5, "")
	path := strings.TrimPrefix(watches[0].Body.WebhookURL, origin)
	a = b.do(http.MethodPost, path, nil, strings.NewReader("{}"))
	a.want(t, http.StatusOK)
	ended := a.Header.Get("X-Request-Id")
	p.waitForLine(logLine{"msg": "end of session reported", "card": shown["card"], "request": ended})
	p.waitForLine(logLine{"msg": "card shown", "card": shown["card"], "request": ended})

	if text := p.err.String(); strings.Contains(text, `"delivery":""`) {
		t.Error("a line of the log has an empty delivery")
	}
	p.terminate()
}

func TestAPageAboutAFaultShowsTheIdOfItsRequest(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	ann, room := s.ann(), s.openChat(pageKeyFields())
	p, address := startServe(t, s.env(t))
	b := newBrowser(t, address)
	s.chat.Take(room, "bob")
	b.deliverEvent(s, "LivechatSessionTaken", room)
	p.waitForLine(logLine{"msg": "card shown"})

	s.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Status: 500}, 1)
	failed := b.press(s.door(t, "bob"), url.Values{"visitor": {ann}})
	id := failed.Header.Get("X-Request-Id")
	failed.want(t, http.StatusServiceUnavailable, "For your administrator: request <bdi>"+id+"</bdi>")
	p.waitForLine(logLine{"msg": "request failed", "request": id})

	// Nothing failed here, so there is nothing to look for in the log. The traceparent of a sender that
	// is no trusted proxy is ignored.
	unknown := b.do(http.MethodGet, "/nothing", http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, nil)
	unknown.want(t, http.StatusNotFound)
	if id := unknown.Header.Get("X-Request-Id"); len(id) != 16 || strings.Contains(unknown.body, id) {
		t.Errorf("id %q in %s", id, unknown.body)
	}
	p.terminate()
}
