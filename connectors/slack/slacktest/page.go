package slacktest

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page
var files embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"one": func(v pageView, m shownMessage) any {
		return struct {
			View    pageView
			Message shownMessage
		}{v, m}
	},
	"blocks": func(v pageView, ts string, list []block) any {
		return struct {
			Here, TS string
			Blocks   []block
		}{v.Here, ts, list}
	},
}).ParseFS(files, "page/page.html"))

// policy allows only the page's own files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Names in the bridge's manifests.
const (
	slashCommand    = "/cobrowse"
	globalShortcut  = "cobrowse_global"
	messageShortcut = "cobrowse_message"
)

// A PageConfig is the configuration of a Page.
type PageConfig struct {
	// Hook is the address to which Slack's requests are sent.
	Hook string
	// Client sends the requests; nil means a client that waits for three seconds, as
	// Slack does.
	Client *http.Client
	// People are the ids of the users to choose from. There must be at least one.
	People []string
	// BackLabel and Back are the label and the address of a link in the page's header;
	// empty means no link.
	BackLabel, Back string
}

// A Page shows a workspace in a browser, so that people can try the app: channels, the app's
// direct messages and Home tab, messages with their buttons, dialogs, slash commands, mentions
// and shortcuts. It sends requests to the app as Slack does, signed. The page says that it is
// a stand-in.
//
// Serve it below a path that ends in a slash, with http.StripPrefix.
type Page struct {
	w      *Workspace
	c      PageConfig
	routes *http.ServeMux
	ended  chan struct{}
	end    func()

	mu     sync.Mutex
	seen   map[string]int    // by user and conversation: how many messages and edits the user has seen
	errors map[string]string // by dialog id: the error to show in it
}

// Page makes a page that shows the workspace.
func (w *Workspace) Page(c PageConfig) *Page {
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 3 * time.Second}
	}
	p := &Page{w: w, c: c, routes: http.NewServeMux(), ended: make(chan struct{}), seen: map[string]int{}, errors: map[string]string{}}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	p.routes.HandleFunc("GET /{$}", p.show)
	p.routes.Handle("POST /{$}", http.NewCrossOriginProtection().Handler(http.HandlerFunc(p.handleForm)))
	p.routes.HandleFunc("GET /changes", p.changes)
	for _, name := range []string{"style.css", "script.js", "icon.svg"} {
		p.routes.HandleFunc("GET /"+name, func(out http.ResponseWriter, r *http.Request) {
			out.Header().Set("Cache-Control", "no-cache")
			out.Header().Set("X-Content-Type-Options", "nosniff")
			http.ServeFileFS(out, r, files, "page/"+name)
		})
	}
	return p
}

// ServeHTTP serves the page, its files and its stream of changes.
func (p *Page) ServeHTTP(out http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(out, r) }

// EndStreams ends the streams of changes, so that the server can shut down.
func (p *Page) EndStreams() { p.end() }

func (p *Page) show(out http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p.view(r.URL.Query())); err != nil {
		http.Error(out, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h := out.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = b.WriteTo(out)
}

// changes answers with a stream of server-sent events: one at once, and one after each change.
func (p *Page) changes(out http.ResponseWriter, r *http.Request) {
	out.Header().Set("Content-Type", "text/event-stream")
	out.Header().Set("Cache-Control", "no-store")
	stream := http.NewResponseController(out)
	// The server's time limits must not end the stream.
	_ = stream.SetReadDeadline(time.Time{})
	_ = stream.SetWriteDeadline(time.Time{})
	for {
		p.w.mu.Lock()
		changed := p.w.changed
		p.w.mu.Unlock()
		if _, err := io.WriteString(out, "data: changed\n\n"); err != nil || stream.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-p.ended:
			return
		}
	}
}

// handleForm carries out what the user did and redirects to the page.
func (p *Page) handleForm(out http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(out, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(out, "The form could not be read.", http.StatusBadRequest)
		return
	}
	at := p.where(r.URL.Query())
	p.do(r.Context(), &at, r.PostForm)
	out.Header().Set("Location", at.query(at.in))
	out.WriteHeader(http.StatusSeeOther)
}

func (p *Page) do(ctx context.Context, at *spot, form url.Values) {
	switch form.Get("do") {
	case "write":
		p.write(ctx, *at, form.Get("thread"), strings.TrimSpace(form.Get("text")))
	case "press":
		n, err := strconv.Atoi(form.Get("n"))
		post, ok := p.post(*at, form.Get("ts"))
		if err == nil && ok && n >= 0 && n < len(Buttons(post.Blocks)) {
			p.send(ctx, *at, "The button", p.w.Press(at.me, post, n))
		}
	case "shortcut":
		p.send(ctx, *at, "The shortcut", p.w.Shortcut(at.me, globalShortcut))
	case "message":
		if post, ok := p.post(*at, form.Get("ts")); ok && post.For == "" {
			p.send(ctx, *at, "The shortcut", p.w.MessageShortcut(at.me, messageShortcut, post))
		}
	case "home":
		at.in = inHome
		p.send(ctx, *at, "The Home tab", p.w.HomeOpened(at.me, "home"))
	case "submit":
		p.submit(ctx, *at, form.Get("view"), form.Get("value"))
	case "close":
		p.close(*at, form.Get("view"))
	}
}

// write handles a text from the message box: a command, an invitation, or a message.
func (p *Page) write(ctx context.Context, at spot, thread, text string) {
	if text == "" || at.in == inHome || at.in == inApp {
		return
	}
	name, rest, _ := strings.Cut(text, " ")
	bot := "@" + p.w.name(p.w.BotUser)
	switch {
	case name == slashCommand && thread != "":
		p.say(at, thread, slashCommand+" is not supported in threads. Sorry!")
	case name == slashCommand:
		p.send(ctx, at, slashCommand, p.w.Command(at.me, at.in, strings.TrimSpace(rest)))
	case text == "/invite "+bot:
		p.w.invite(at.in)
		p.say(at, "", bot+" is in the channel now.")
	case strings.HasPrefix(name, "/"):
		p.say(at, thread, name+" is not a valid command. Here, "+slashCommand+" 4821 and /invite "+bot+" are.")
	default:
		post := p.w.Write(at.me, at.in, thread, text)
		switch {
		case !strings.Contains(text, bot):
		case !p.w.hears(at.in):
			p.say(at, thread, bot+" is not in this channel and cannot see your message. Type /invite "+bot+".")
		default:
			e := object{
				"type": "app_mention", "user": at.me, "channel": at.in, "ts": post.TS,
				"text": strings.ReplaceAll(text, bot, "<@"+p.w.BotUser+">"),
			}
			if thread != "" {
				e["thread_ts"] = thread
			}
			p.send(ctx, at, "The mention", p.w.Event(e))
		}
	}
}

// submit sends a dialog. The app's answer shows an error in it, or closes it.
func (p *Page) submit(ctx context.Context, at spot, id, typed string) {
	v, ok := p.dialog(at, id)
	if !ok {
		return
	}
	d := shownDialog(v)
	answer, ok := p.send(ctx, at, "", p.w.Submit(v, d.Block, d.Input, typed))
	var reply struct {
		Errors map[string]string `json:"errors"`
	}
	_ = json.Unmarshal(answer, &reply) // an empty answer closes the dialog
	fault := reply.Errors[d.Block]
	if !ok {
		fault = "The app did not answer. Retry."
	}
	if fault == "" {
		p.close(at, id)
		return
	}
	p.mu.Lock()
	p.errors[id] = fault
	p.mu.Unlock()
	p.w.closeViews(func(*View) bool { return false }) // closes nothing, but updates open pages
}

func (p *Page) close(at spot, id string) {
	p.w.closeViews(func(v *View) bool { return v.ID == id && v.User == at.me })
	p.mu.Lock()
	delete(p.errors, id)
	p.mu.Unlock()
}

func (p *Page) dialog(at spot, id string) (View, bool) {
	views := p.w.Views()
	i := slices.IndexFunc(views, func(v View) bool { return v.ID == id && v.User == at.me && !v.Closed })
	if i < 0 {
		return View{}, false
	}
	return views[i], true
}

// post returns a message that the user can see.
func (p *Page) post(at spot, ts string) (Post, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, post := range p.w.posts {
		if post.TS == ts && post.Channel == at.channel() && (post.For == "" || post.For == at.me) {
			return *post, true
		}
	}
	return Post{}, false
}

// send sends a request to the app. If it fails, the user gets a message with Slack's name for
// the error.
func (p *Page) send(ctx context.Context, at spot, what string, body []byte) (answer []byte, ok bool) {
	fault := ""
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.c.Hook, bytes.NewReader(body))
	if err == nil {
		req.Header = p.w.Sign(body)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if bytes.HasPrefix(body, []byte("{")) {
			req.Header.Set("Content-Type", "application/json")
		}
		answer, fault, err = p.exchange(req)
	}
	if err != nil {
		fault = "dispatch_failed"
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			fault = "operation_timeout"
		}
	}
	if fault != "" && what != "" {
		p.say(at, "", what+" failed with the error “"+fault+"”.")
	}
	return answer, fault == ""
}

func (p *Page) exchange(req *http.Request) (answer []byte, fault string, err error) {
	resp, err := p.c.Client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "http_service_error", nil
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return answer, "", err
}

// standIn is the user id of messages from Slack itself.
const standIn = "USTANDIN"

// say shows the user a message from Slack itself, which only they see.
func (p *Page) say(at spot, thread, text string) {
	channel := at.channel()
	p.w.Insert(Post{Channel: channel, Thread: thread, By: standIn, For: at.me, Text: text})
}

// name returns the shown name of a user.
func (w *Workspace) name(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.called(id)
}

// invite makes the app a member of a channel.
func (w *Workspace) invite(channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.channels[channel]; c != nil && !slices.Contains(c.Members, w.BotUser) {
		c.Members = append(c.Members, w.BotUser)
		w.touch()
	}
}

// hears reports whether the app is a member of a channel.
func (w *Workspace) hears(channel string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.channels[channel]
	return c != nil && slices.Contains(c.Members, w.BotUser)
}
