package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"
)

func TestDemoShowsWhatGoesWrong(t *testing.T) {
	useTempFolder(t)
	for _, c := range []struct {
		scene, card string
		status      int
		page        string
	}{
		{"two", "2 customers match", http.StatusOK, "Which customer"},
		{"offline", "Ann is offline", http.StatusOK, "Check again"},
	} {
		t.Run(c.scene, func(t *testing.T) {
			origin, _ := startDemo(t)
			agent := newAgentBrowser(t)
			agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "scene", "scene", c.scene))
			status, _, page := agent.open(awaitCard(t, origin, "robin", c.card), "robin")
			if status != c.status || !strings.Contains(page, c.page) {
				t.Errorf("the door answers %d, want %d with %q:\n%s", status, c.status, c.page, page)
			}
		})
	}
}

// Before each scene the demo prepares a customer and a card, whatever its state was.
func TestDemoShowsWhatGoesWrongAtUpscope(t *testing.T) {
	useTempFolder(t)
	for _, before := range []struct {
		name, do, scene, card, then string
	}{
		{name: "nothing has happened yet"},
		{"there is a chat", "start", "", "Co-browse with Ann", ""},
		{"the chat was closed", "start", "", "Co-browse with Ann", "close"},
		{"the tab was closed during the chat", "start", "", "Co-browse with Ann", "leave"},
		{"the tab was closed", "leave", "", "", ""},
		{"the customer was offline", "scene", "offline", "Ann is offline", ""},
		{"Upscope was down", "scene", "down", "Co-browse with Ann", "close"},
		{"the plan was used up", "scene", "plan", "Co-browse with Ann", "leave"},
	} {
		for _, scene := range []struct {
			name, hint, page string
			status           int
		}{
			{"plan", "Upscope now refuses new sessions. Press Co-browse", "Your company’s sessions are used up", http.StatusPaymentRequired},
			{"down", "Upscope now fails every request. Press Co-browse", "does not answer", http.StatusServiceUnavailable},
		} {
			t.Run(scene.name+" after "+before.name, func(t *testing.T) {
				origin, _ := startDemo(t)
				agent := newAgentBrowser(t)
				if before.do != "" {
					agent.do(http.MethodPost, origin+"/demo/", demoForm("do", before.do, "scene", before.scene))
				}
				if before.card != "" {
					awaitCard(t, origin, "robin", before.card)
				}
				if before.then != "" {
					agent.do(http.MethodPost, origin+"/demo/", demoForm("do", before.then, "chat", "c1"))
				}
				if before.then == "close" {
					awaitCard(t, origin, "robin", "Chat closed")
				}
				agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "scene", "scene", scene.name))
				door := awaitCard(t, origin, "robin", "Co-browse with Ann")
				if _, _, page := agent.do(http.MethodGet, origin+"/demo/", nil); !strings.Contains(page, scene.hint) {
					t.Errorf("the demo does not say %q:\n%s", scene.hint, page)
				}
				status, _, page := agent.open(door, "robin")
				if status == http.StatusOK {
					status, _, page = agent.press(door, page)
				}
				if status != scene.status || !strings.Contains(page, scene.page) {
					t.Errorf("the door answers %d, want %d with %q:\n%s", status, scene.status, scene.page, page)
				}
			})
		}
	}
}

func TestDemoCardFollowsACustomerWhoComesBack(t *testing.T) {
	useTempFolder(t)
	origin, _ := startDemo(t)
	agent := newAgentBrowser(t)
	agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "scene", "scene", "offline"))
	awaitCard(t, origin, "robin", "Ann is offline")
	agent.do(http.MethodPost, origin+"/demo/", demoForm("do", "return"))
	door := awaitCard(t, origin, "robin", "Co-browse with Ann")
	if _, _, page := agent.do(http.MethodGet, origin+"/demo/", nil); !strings.Contains(page, "Ann is back, and the card offers Co-browse") {
		t.Errorf("the demo does not say so:\n%s", page)
	}
	agent.open(door, "robin") // signs in
	if status, session, page := agent.do(http.MethodGet, door, nil); status != http.StatusSeeOther || !strings.Contains(session, "/session/") {
		t.Errorf("the press is answered %d to %q, want 303:\n%s", status, session, page)
	}
}

// The bridge does not know that Sam's chat account belongs to the Sam who signs in, so it
// asks once. The desk shows each agent only what the policy allows.
func TestDemoShowsWhoMayDoWhat(t *testing.T) {
	useTempFolder(t)
	origin, _ := startDemo(t)
	robin, sam := newAgentBrowser(t), newAgentBrowser(t)
	robin.do(http.MethodPost, origin+"/demo/", demoForm("do", "start", "name", "Ann"))
	robins := awaitCard(t, origin, "robin", "Co-browse with Ann")
	robin.open(robins, "robin") // signs in
	if status, session, _ := robin.do(http.MethodGet, robins, nil); status != http.StatusSeeOther || !strings.Contains(session, "/session/") {
		t.Fatalf("Robin is at %s, %d", session, status)
	}
	if status, _, page := sam.open(robins, "sam"); status != http.StatusForbidden || !strings.Contains(page, "belongs to another agent") {
		t.Errorf("Sam at Robin's door: %d:\n%s", status, page)
	}

	robin.do(http.MethodPost, origin+"/demo/", demoForm("do", "hand", "chat", "c1", "to", "sam"))
	state := await(t, origin, "a card for Sam", func(s demoState) bool {
		_, door := s.card("sam")
		return door != ""
	})
	_, sams := state.card("sam")
	status, _, page := sam.open(sams, "")
	if status != http.StatusOK || !strings.Contains(page, "Is this your account?") {
		t.Fatalf("Sam at Sam's door: %d:\n%s", status, page)
	}
	if status, _, page = sam.do(http.MethodPost, sams, url.Values{"connect": {"1"}}); status != http.StatusOK || !strings.Contains(page, "Ann Lee") {
		t.Fatalf("Sam said yes: %d:\n%s", status, page)
	}
	if status, session, page := sam.press(sams, page); status != http.StatusSeeOther || !strings.Contains(session, "/session/") {
		t.Errorf("Sam's press is answered %d to %q:\n%s", status, session, page)
	}

	for _, c := range []struct {
		agent agentBrowser
		path  string
		want  int
		says  string
	}{
		{robin, "/signin", http.StatusOK, "Your chat accounts"},
		{robin, "/desk/operations", http.StatusOK, "demo"},
		{robin, "/desk/audit", http.StatusOK, "watching"},
		{robin, "/desk/erase", http.StatusOK, "Delete a person’s data"},
		{sam, "/desk/audit", http.StatusForbidden, ""},
		{sam, "/desk/operations", http.StatusForbidden, ""},
		{sam, "/desk/erase", http.StatusForbidden, ""},
	} {
		who := "sam"
		if c.agent == robin {
			who = "robin"
		}
		if status, at, page := c.agent.open(origin+c.path, who); status != c.want || !strings.Contains(page, c.says) {
			t.Errorf("%s at %s, then %s: %d, want %d with %q:\n%s", who, c.path, at, status, c.want, c.says, page)
		}
	}
}

func TestDemoDropsOnlyUpscopeFailuresFromItsLog(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log := slog.New(dropExpected{Handler: newLog(&b, slog.LevelWarn, "text").Handler()})
	log.Error("request failed", "err", fmt.Errorf("watch: %w", upscope.ErrOverPlan))
	log.With("err", upscope.ErrUpstream).WithGroup("g").Warn("job failed", "job", "answer")
	if b.Len() > 0 {
		t.Errorf("failures of Upscope are logged:\n%s", &b)
	}
	log.With("err", errors.New("disk full")).Error("commit failed")
	log.Error("request failed", "err", upscope.ErrUntrustedTarget)
	if n := strings.Count(b.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, &b)
	}
}
