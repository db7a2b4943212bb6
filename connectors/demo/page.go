package demo

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"
)

//go:embed page
var files embed.FS

var pageTemplate = template.Must(template.ParseFS(files, "page/page.html"))

// policy allows only the page's own files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (d *HelpDesk) routes() *http.ServeMux {
	mux := http.NewServeMux()
	d.handleAPI(mux)
	mux.HandleFunc("GET /{$}", d.page)
	mux.Handle("POST /{$}", http.NewCrossOriginProtection().Handler(http.HandlerFunc(d.press)))
	mux.HandleFunc("GET /state", d.state)
	mux.HandleFunc("GET /changes", d.changes)
	d.handleShop(mux)
	for _, name := range []string{"style.css", "script.js", "icon.svg", "widgets.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.ServeFileFS(w, r, files, "page/"+name)
		})
	}
	return mux
}

// A view is the content of the page.
type view struct {
	Step   int // 1 to 3, or 4 when all are done
	Shop   shopView
	Agent  *agent // whose inbox is open
	Tabs   []tab
	Cards  []*posting      // latest first
	Chats  []*conversation // of this agent, latest first
	Scenes any
	Scene  string
	Hint   string
	// Slack and Chatvisor are addresses of stand-ins.
	Slack, Chatvisor string
	Script           bool   // whether there is a shop that runs the page script
	Watcher          string // name of the agent who sees the customer's page; may be empty
}

type shopView struct {
	Address, Page string
	Pages         any
	Online        bool
	Code          string        // to read out; empty if no stand-in can use it
	Chat          *conversation // the open chat, or nil
	Ended         bool          // whether the last chat has ended
}

type tab struct {
	*agent
	Open     bool // whether this inbox is shown
	Chatting bool // whether the agent serves an open chat
}

// Other returns the agent to whom a chat can be handed over.
func (v view) Other() *agent {
	for _, t := range v.Tabs {
		if !t.Open {
			return t.agent
		}
	}
	return nil
}

func (d *HelpDesk) view(inbox string) view {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.shop
	v := view{
		Step:  1,
		Agent: d.agent(inbox),
		Shop: shopView{
			Address: shopAddress + s.page, Page: s.page, Pages: pages, Online: s.online, Ended: s.chat != nil && !s.chat.Open,
		},
		Scenes: scenes, Scene: s.scene, Hint: d.hint(), Script: d.opts.PageScript != nil, Slack: d.opts.Slack, Chatvisor: d.opts.Chatvisor,
	}
	if v.Slack != "" && s.online {
		v.Shop.Code = s.browser.Code
	}
	if v.Agent == nil {
		v.Agent = d.agents[0]
	}
	if s.chatting() {
		v.Step, v.Shop.Chat = 2, copied(s.chat)
	}
	if s.online && s.chat != nil && d.opts.Visitors.Watched(s.visitor) {
		v.Step, v.Watcher = 4, s.chat.Agent.Name
	}
	for _, a := range d.agents {
		serves := func(c *conversation) bool { return c.Open && c.Agent == a }
		v.Tabs = append(v.Tabs, tab{agent: a, Open: a == v.Agent, Chatting: slices.ContainsFunc(d.chats, serves)})
	}
	for _, m := range slices.Backward(v.Agent.Inbox) {
		m := *m
		v.Cards = append(v.Cards, &m)
	}
	for _, c := range slices.Backward(d.chats) {
		if c.Agent == v.Agent {
			v.Chats = append(v.Chats, copied(c))
		}
	}
	return v
}

func copied(c *conversation) *conversation {
	out := *c
	out.Messages = slices.Clone(c.Messages)
	return &out
}

func (d *HelpDesk) page(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d.view(r.URL.Query().Get("inbox"))); err != nil {
		d.opts.Log.Error("page not rendered", "err", err)
		http.Error(w, "The page could not be rendered.", http.StatusInternalServerError)
		return
	}
	sendPage(w, &b)
}

func sendPage(w http.ResponseWriter, b *bytes.Buffer) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = b.WriteTo(w)
}

// press carries out what a form asks for and redirects to the page.
func (d *HelpDesk) press(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.act(r.PostForm)
	inbox := d.agents[0].ID
	if a := d.agent(r.URL.Query().Get("inbox")); a != nil {
		inbox = a.ID
	}
	d.mu.Unlock()
	w.Header().Set("Location", d.path+"/?inbox="+inbox)
	w.WriteHeader(http.StatusSeeOther)
}

// state answers with everything on the page as JSON, for programs.
func (d *HelpDesk) state(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	chats := []object{}
	for _, c := range d.chats {
		chats = append(chats, object{"id": c.ID, "open": c.Open, "agent": c.Agent.ID, "visitor": c.Visitor, "messages": c.Messages})
	}
	text, err := json.Marshal(object{
		"version": d.version, "agents": d.agents, "chats": chats,
		"customer": object{
			"page": shopAddress + d.shop.page, "online": d.shop.online,
			"watched": d.opts.Visitors.Watched(d.shop.visitor),
		},
	})
	d.mu.Unlock()
	if err != nil {
		reply(w, http.StatusInternalServerError, nil)
		return
	}
	reply(w, http.StatusOK, json.RawMessage(text))
}

// changes answers with a stream of server-sent events: the version of the state, at once and
// after each change, until the client disconnects or Run ends.
func (d *HelpDesk) changes(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := http.NewResponseController(w)
	// The server's time limits must not end the stream.
	_ = stream.SetReadDeadline(time.Time{})
	_ = stream.SetWriteDeadline(time.Time{})
	for {
		d.mu.Lock()
		version, changed := d.version, d.changed
		d.mu.Unlock()
		if _, err := fmt.Fprintf(w, "data: %d\n\n", version); err != nil || stream.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-d.done:
			return
		}
	}
}
