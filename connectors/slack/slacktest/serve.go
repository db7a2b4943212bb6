package slacktest

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

// An answer is a status and a body: a JSON value, or text.
type answer struct {
	status int
	body   any
	text   string
}

func good(body object) answer {
	body["ok"] = true
	return answer{status: http.StatusOK, body: body}
}

func refuse(code string) answer {
	return answer{status: http.StatusOK, body: object{"ok": false, "error": code}}
}

// ServeHTTP serves the Web API, response_urls and, at /link, Socket Mode.
func (w *Workspace) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/link" {
		w.link(out, r)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	method, isMethod := strings.CutPrefix(r.URL.Path, "/api/")
	if !isMethod {
		method = "response_url"
	}
	args, token, badly := arguments(r, raw)

	w.mu.Lock()
	w.requests = append(w.requests, Request{Method: method, Args: args})
	var fault Fault
	failing := len(w.faults[method]) > 0
	if failing {
		fault, w.faults[method] = w.faults[method][0], w.faults[method][1:]
	}
	skew, botToken, scopes := w.Skew, w.BotToken, strings.Join(w.Scopes, ",")
	w.mu.Unlock()

	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	var a answer
	if !failing || fault.Done {
		w.mu.Lock()
		switch {
		case !isMethod:
			a = w.respond(r, args)
		case badly != "":
			w.violate("%s: %s", method, badly)
			a = refuse("invalid_arguments")
		default:
			a = w.call(r, method, token, args)
		}
		w.touch()
		w.mu.Unlock()
	}
	if fault.Error != "" {
		a = refuse(fault.Error)
	} else if fault.answered(out, r) {
		return
	}
	h := out.Header()
	h.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	if a.text != "" {
		h.Set("Content-Type", "text/plain")
		out.WriteHeader(a.status)
		io.WriteString(out, a.text)
		return
	}
	if isMethod && token == botToken {
		h.Set("X-Oauth-Scopes", scopes)
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	out.WriteHeader(a.status)
	json.NewEncoder(out).Encode(a.body)
}

// answered reports whether the fault takes the place of the answer, which it then has given.
func (fault Fault) answered(out http.ResponseWriter, r *http.Request) bool {
	switch {
	case fault.Hang:
		<-r.Context().Done()
	case fault.Cut:
		out.Header().Set("Content-Length", "1000")
		out.WriteHeader(http.StatusOK)
		io.WriteString(out, `{"ok":true,"chan`)
		http.NewResponseController(out).Flush()
		panic(http.ErrAbortHandler)
	case fault.Status != 0:
		for k, v := range fault.Header {
			out.Header()[k] = v
		}
		out.WriteHeader(fault.Status)
		io.WriteString(out, fault.Body)
	default:
		return false
	}
	return true
}

// arguments reads a form or a JSON object and separates the token. badly says what is wrong
// with the request, or is empty.
func arguments(r *http.Request, raw []byte) (args object, token, badly string) {
	args = object{}
	token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return args, token, "is called with " + r.Method
	case kind == "application/json":
		if len(raw) > 0 && json.Unmarshal(raw, &args) != nil {
			return object{}, token, "the body is not a JSON object"
		}
	case kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return args, token, "the body is not a form"
		}
		for name, values := range form {
			var v any = values[0]
			// Composite arguments are JSON in a string.
			if slices.Contains([]string{"blocks", "metadata", "view"}, name) && json.Unmarshal([]byte(values[0]), &v) != nil {
				badly = "the argument " + name + " is not JSON"
			}
			args[name] = v
		}
	default:
		return args, token, "the body is of type " + kind
	}
	if t, ok := args["token"].(string); ok {
		token = t
		delete(args, "token")
	}
	return args, token, badly
}

// A method describes a method of the Web API.
type method struct {
	scope string
	// required and optional are the names of its arguments. Others are violations, since
	// Slack ignores a misspelt argument.
	required, optional []string
	posts              bool // must not let Slack fetch links
	app                bool // needs the app-level token
	do                 func(w *Workspace, args object) answer
}

func (w *Workspace) call(r *http.Request, name, token string, args object) answer {
	m, exists := methods[name]
	want := w.BotToken
	if m.app {
		want = w.AppToken
	}
	switch {
	case !exists:
		w.violate("unknown method %s", name)
		return refuse("unknown_method")
	case r.URL.RawQuery != "":
		w.violate("%s: arguments in the address", name)
	case token == "":
		return refuse("not_authed")
	case token != want && (token == w.BotToken || token == w.AppToken):
		return refuse("not_allowed_token_type")
	case token != want || want == "":
		return refuse("invalid_auth")
	case m.scope != "" && !m.app && !slices.Contains(w.Scopes, m.scope):
		return answer{status: http.StatusOK, body: object{
			"ok": false, "error": "missing_scope", "needed": m.scope, "provided": strings.Join(w.Scopes, ","),
		}}
	}
	for _, arg := range m.required {
		if v, ok := args[arg]; !ok || v == "" {
			w.violate("%s: the argument %s is missing", name, arg)
			return refuse("invalid_arguments")
		}
	}
	for arg := range args {
		if !slices.Contains(m.required, arg) && !slices.Contains(m.optional, arg) {
			w.violate("%s has no argument %s", name, arg)
			return refuse("invalid_arguments")
		}
	}
	if m.posts {
		w.quiet(name, args)
	}
	return m.do(w, args)
}

// quiet reports a post that lets Slack fetch its links.
func (w *Workspace) quiet(name string, args object) {
	for _, flag := range []string{"unfurl_links", "unfurl_media"} {
		if v := args[flag]; v != false && v != "false" {
			w.violate("%s: %s is not false, so Slack fetches the message's links", name, flag)
		}
	}
}
