package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// chatvisorPath is the path of the stand-in for Chatvisor. annsID is Ann's id there;
// her page gives it to Upscope too.
const (
	chatvisorPath = "/stand-in/chatvisor"
	annsID        = "ann"
)

//go:embed page/chatvisor.html
var chatvisorHTML string

var chatvisorPage = template.Must(template.New("chatvisor").Parse(chatvisorHTML))

// chatvisorSite is a tenant of Chatvisor with one customer, Ann, and the page on which
// the user of the demo plays her.
type chatvisorSite struct {
	*chatvisortest.Service
	hook string // the address of the webhooks, which holds the secret
	log  *slog.Logger

	mu       sync.Mutex
	messages []string
	done     bool
}

// addChatvisor adds the stand-in for Chatvisor. Its cards go to Slack, because customers
// can read its conversations.
func (d *demoSite) addChatvisor(log *slog.Logger) (chat.Connector, error) {
	token, hookSecret := rand.Text(), rand.Text()
	t := &chatvisorSite{Service: chatvisortest.New(token), hook: d.origin.JoinPath("hooks/chatvisor", hookSecret).String(), log: log}
	t.Site = d.origin.JoinPath(chatvisorPath).String()
	t.AddCustomer(chatvisortest.Customer{ID: annsID, Name: "Ann"})
	read, err := rules.Parse("the demo's rules", []byte(t.Rules()+"\nagent_url_hosts: [\""+d.origin.Host+"\"]\n"))
	if err != nil {
		return chat.Connector{}, err
	}
	d.secrets = append(d.secrets, token, hookSecret)
	api := chatvisorPath + "/api"
	d.mux.Handle(api+"/", http.StripPrefix(api, t.Service))
	d.mux.HandleFunc("GET "+chatvisorPath+"/{$}", t.page)
	d.mux.HandleFunc("GET "+chatvisorPath+"/enter/", t.page)
	d.mux.Handle("POST "+chatvisorPath+"/{$}", http.NewCrossOriginProtection().Handler(http.HandlerFunc(t.act)))
	conn, err := chatvisor.New(chatvisor.Config{
		Name: "chatvisor", URL: d.origin.JoinPath(api, chatvisortest.Prefix), Token: secret.New(token), Secrets: secret.All(hookSecret), Rules: read, Log: log,
	})
	conn.ShowAt = chat.Place{Connector: "slack", Address: slackChannel}
	return conn, err
}

func (t *chatvisorSite) page(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	view := struct {
		Messages     []string
		Done, Opened bool
	}{t.messages, t.done, strings.Contains(r.URL.Path, "/enter/")}
	t.mu.Unlock()
	var b bytes.Buffer
	if err := chatvisorPage.Execute(&b, view); err != nil {
		http.Error(w, "The page could not be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	_, _ = b.WriteTo(w)
}

// act handles the page's forms: the customer writes, or an agent ends the conversation.
func (t *chatvisorSite) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	t.mu.Lock()
	var hooks []chatvisortest.Hook
	if text := strings.TrimSpace(r.FormValue("text")); text != "" {
		if t.done {
			t.messages = nil
		}
		t.done, t.messages = false, append(t.messages, text)
		hooks = t.Write(annsID, text)
	} else if r.FormValue("done") != "" && len(t.messages) > 0 {
		t.done = true
		hooks = t.SetStatus(annsID, chatvisortest.Done)
	}
	t.mu.Unlock()
	if err := chatvisortest.Call(r.Context(), http.DefaultClient, t.hook, hooks...); err != nil {
		t.log.WarnContext(r.Context(), "webhooks of the stand-in for Chatvisor not accepted", "err", err)
	}
	http.Redirect(w, r, chatvisorPath+"/", http.StatusSeeOther)
}
