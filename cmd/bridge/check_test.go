package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// noOrigin is a public address of this machine at which nothing answers.
const noOrigin = "BRIDGE_ORIGIN=http://127.0.0.1:1"

// A printed finding is one of the output of check --json.
type printed struct{ About, Code, Level, Problem, Warning, Remedy, OK string }

// text returns the text for a level.
func (p printed) text(level string) string {
	return map[string]string{"ok": p.OK, "warning": p.Warning, "problem": p.Problem}[level]
}

func TestCheckAsksEveryServiceAndSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(s *services, env map[string]string)
		status int
		says   []string
	}{
		{"there are no problems", func(*services, map[string]string) {}, 0, []string{
			"ok       The settings are valid.", "ok       Upscope answers. Customers online now: 1.",
			"answers.", "ok       The server keeps the poster out of livechat rooms.",
			"the first person who has a card's link and presses its button counts as its agent",
		}},
		{"a watch host with other letters", func(_ *services, env map[string]string) {
			env["UPSCOPE_WATCH_HOSTS"] = "brücke.example, 127.0.0.1"
		}, 0, []string{"Watch links may lead to xn--brcke-lva.example"}},
		{"the poster sees livechat rooms", func(s *services, _ map[string]string) {
			s.chat.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: s.poster, Roles: []string{"bot", "livechat-manager"}})
		}, 1, []string{"problem  The poster sees livechat rooms", "Remove every role except bot from the poster"}},
		{"the field for the page key is missing", func(_ *services, env map[string]string) {
			env["ROCKETCHAT_FIELD"] = "cobrowse_key"
		}, 1, []string{"problem  The custom field cobrowse_key does not exist.", "or set ROCKETCHAT_FIELD to another field"}},
		{"the field is one of rooms", func(s *services, _ map[string]string) {
			s.chat.AddField("upscope_code", "room")
		}, 1, []string{"problem  The custom field upscope_code does not have the scope Visitor."}},
		{"Upscope's key is wrong", func(_ *services, env map[string]string) {
			env["UPSCOPE_API_KEY"] = "a-public-key-of-the-page-script"
		}, 1, []string{"problem  Upscope does not accept UPSCOPE_API_KEY: invalid_api_key.", "Make a new secret REST key", "answers."}},
		{"the subscription has expired", func(s *services, _ map[string]string) {
			s.upscope.Fail(upscopetest.Any, upscopetest.Fault{Status: 401, Code: "subscription_expired"}, -1)
		}, 1, []string{"subscription_expired", "Renew the Upscope subscription."}},
		{"Upscope refuses without a reason", func(s *services, _ map[string]string) {
			s.upscope.Fail(upscopetest.Any, upscopetest.Fault{Status: 401}, -1)
		}, 1, []string{"problem  Upscope does not accept UPSCOPE_API_KEY. [upscope.key]\n", "Make a new secret REST key"}},
		{"the clock is wrong", func(s *services, _ map[string]string) {
			s.upscopeAhead.Store(int64(-10 * time.Minute))
		}, 0, []string{"ok       Upscope answers.", "warning  This machine's clock is ", " ahead of Upscope's.", "Set the clock of this machine, for instance with NTP."}},
		{"the clock is a little wrong", func(s *services, _ map[string]string) {
			s.upscopeAhead.Store(int64(20 * time.Second))
		}, 0, []string{"ok       Upscope answers."}},
		{"Upscope is down", func(s *services, _ map[string]string) {
			s.upscope.Fail(upscopetest.Any, upscopetest.Fault{Status: 503}, -1)
		}, 1, []string{"problem  The request to Upscope failed", "Check UPSCOPE_URL"}},
		{"Rocket.Chat does not answer", func(_ *services, env map[string]string) {
			env["ROCKETCHAT_URL"] = "http://127.0.0.1:1"
		}, 1, []string{"problem  Rocket.Chat cannot be reached", "Set ROCKETCHAT_URL to the workspace's address"}},
		{"the reader's token is wrong", func(_ *services, env map[string]string) {
			env["ROCKETCHAT_READER_TOKEN"] = "a token that was revoked"
		}, 1, []string{"problem  The user of ROCKETCHAT_READER_ID cannot sign in", "ROCKETCHAT_READER_TOKEN"}},
		{"the channel for cards is public", func(s *services, env map[string]string) {
			s.chat.AddRoom(rocketchattest.Room{Type: "c", Name: "support-agents", Members: []string{"bob", "cobrowse"}})
			env["ROCKETCHAT_SHOW"], env["BRIDGE_SIGNIN"], env["BRIDGE_TRUSTED_PROXIES"] = "rocketchat:#support-agents", "header", "127.0.0.1"
		}, 1, []string{"ok       Cards can be shown in the channel #support-agents.", "problem  ROCKETCHAT_SHOW: #support-agents is a public channel", "Make it private"}},
		{"the settings are unusable", func(_ *services, env map[string]string) {
			env["ROCKETCHAT_POSTER_ID"] = "readerId"
		}, 2, []string{"problem  ROCKETCHAT_POSTER_ID must not be the reader"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.ann()
			env := with(s.env(t), noOrigin)
			c.spoil(s, env)
			p := start(t, env, "check")
			if status := p.wait(maxWait); status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			for _, text := range c.says {
				if !strings.Contains(p.out.String(), text) {
					t.Errorf("the output has no %q:\n%s", text, p.out)
				}
			}
			problems := strings.Count(p.out.String(), "problem  ")
			if (problems > 0) != (c.status > 0) {
				t.Errorf("%d problems:\n%s", problems, p.out)
			}
			if c.status == 2 && (len(s.upscope.Calls()) > 0 || len(s.chat.Requests()) > 0) {
				t.Error("check called services although the settings are unusable")
			}

			p = start(t, env, "check", "--json")
			if status := p.wait(maxWait); status != c.status {
				t.Errorf("exit status %d with --json, want %d", status, c.status)
			}
			var answer struct {
				Findings []printed
			}
			if err := json.Unmarshal([]byte(p.out.String()), &answer); err != nil {
				t.Fatal(err)
			}
			for _, f := range answer.Findings {
				if f.About == "" || !chat.IsCode(f.Code) || f.text(f.Level) == "" || f.Problem+f.Warning+f.OK != f.text(f.Level) {
					t.Errorf("finding %+v", f)
				}
				if f.Problem != "" {
					problems--
				}
			}
			if problems != 0 {
				t.Errorf("JSON and text differ in the number of problems by %d:\n%s", problems, p.out)
			}
		})
	}
}

func TestCheckChangesNothing(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	p := start(t, with(s.env(t), noOrigin), "check")
	if status := p.wait(maxWait); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, r := range s.chat.Requests() {
		if r.Method != "GET" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
	for _, r := range s.upscope.Calls() {
		if r.Endpoint != upscopetest.Usage {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
	}
}

// An init container runs check --start before each start, also while Upscope or the chat service is
// down. Two replicas must not use one SQLite file.
func TestCheckBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	env := s.env(t)
	p := start(t, env, "check", "--start")
	if status := p.wait(maxWait); status != 0 || !strings.Contains(p.out.String(), "There is no database yet") {
		t.Errorf("before the first start: exit status %d, %s", status, p.out)
	}
	if n := len(s.chat.Requests()) + len(s.upscope.Calls()); n > 0 {
		t.Errorf("check --start called services %d times", n)
	}
	files := filepath.Dir(strings.TrimPrefix(env["BRIDGE_DATABASE"], "sqlite:"))
	if made, err := os.ReadDir(files); err != nil || len(made) > 0 {
		t.Errorf("check --start made files: %v, %v", made, err)
	}

	first, _ := startServe(t, env)
	p = start(t, env, "check", "--start")
	if status := p.wait(maxWait); status != 1 || !strings.Contains(p.out.String(), "problem  Another bridge uses the database ") ||
		!strings.Contains(p.out.String(), "Run one replica") {
		t.Errorf("while a bridge runs: exit status %d, %s", status, p.out)
	}
	p = start(t, env, "check", "--offline")
	if status := p.wait(maxWait); status != 0 {
		t.Errorf("check --offline while a bridge runs: exit status %d, %s", status, p.out)
	}

	first.terminate()
	p = start(t, env, "check", "--start")
	if status := p.wait(maxWait); status != 0 || !strings.Contains(p.out.String(), "The database can be opened.") {
		t.Errorf("after the bridge has ended: exit status %d, %s", status, p.out)
	}
}

func TestServeLogsProblemsOfServicesWithTheirCodes(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	p, _ := startServe(t, with(s.env(t), "UPSCOPE_API_KEY=a-public-key-of-the-page-script", "ROCKETCHAT_FIELD=cobrowse_key"))
	for _, code := range []string{"upscope.key", "rocketchat.field"} {
		eventually(t, code, maxWait, func() bool {
			return strings.Contains(p.err.String(), `"msg":"problem found at start","code":"`+code+`"`)
		})
	}
	p.terminate()
}
