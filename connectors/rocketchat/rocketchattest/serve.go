package rocketchattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Fault says how a request fails.
type Fault struct {
	// Status, Body and Header are the answer. With a zero Status the workspace answers as
	// without a Fault.
	Status int
	Body   string
	Header http.Header
	// Delay is the time before the request is handled.
	Delay time.Duration
	// Hang sends no answer until the caller gives up.
	Hang bool
	// Done handles the request first, so that only the answer is lost.
	Done bool
	// Cut breaks the connection in the middle of the answer.
	Cut bool
}

// Fail makes the next requests of a route, such as "chat.sendMessage", fail. times is how
// many of them.
func (w *Workspace) Fail(route string, f Fault, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range times {
		w.faults[route] = append(w.faults[route], f)
	}
}

// An answer is a status and a JSON value.
type answer struct {
	status int
	body   any
	header http.Header
}

type object = map[string]any

// ServeHTTP records the request and answers it as the workspace does, or with a Fault.
func (w *Workspace) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path, inside := strings.CutPrefix(r.URL.Path, w.Prefix)
	if !inside {
		http.Error(out, "<html>no workspace here</html>", http.StatusNotFound)
		return
	}
	route := strings.TrimPrefix(path, "/api/v1/")

	w.mu.Lock()
	w.requests = append(w.requests, Request{
		Method: r.Method, Path: path, Query: r.URL.RawQuery, Body: string(body), User: r.Header.Get("X-User-Id"),
	})
	w.watch(r, body)
	var fault Fault
	failing := len(w.faults[route]) > 0
	if failing {
		fault, w.faults[route] = w.faults[route][0], w.faults[route][1:]
	}
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
		a = w.handle(r, route, path, body)
		w.mu.Unlock()
	}
	switch {
	case fault.Hang:
		<-r.Context().Done()
		return
	case fault.Cut:
		out.Header().Set("Content-Length", "1000")
		out.WriteHeader(http.StatusOK)
		io.WriteString(out, `{"success":true,"mess`)
		http.NewResponseController(out).Flush()
		panic(http.ErrAbortHandler)
	case fault.Status != 0:
		for k, v := range fault.Header {
			out.Header()[k] = v
		}
		out.WriteHeader(fault.Status)
		io.WriteString(out, fault.Body)
		return
	}
	for k, v := range a.header {
		out.Header()[k] = v
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(a.status)
	json.NewEncoder(out).Encode(a.body)
}

// watch reports a request other than a GET that contains the id of a livechat or Voip room
// outside its texts. Sender, field and permissions do not matter.
func (w *Workspace) watch(r *http.Request, body []byte) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	aims := append([]byte(r.URL.String()+" "), targets(body)...)
	for id, room := range w.rooms {
		if (room.Type == "l" || room.Type == "v") && bytes.Contains(aims, []byte(id)) {
			w.violate("%s %s aims at the livechat room %s", r.Method, r.URL.Path, id)
		}
	}
}

// targets returns the body without texts for people, which may contain a link to the chat.
func targets(body []byte) []byte {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return body
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case object:
			delete(v, "msg")
			delete(v, "text")
			for _, e := range v {
				strip(e)
			}
		case []any:
			for _, e := range v {
				strip(e)
			}
		}
	}
	strip(v)
	rest, _ := json.Marshal(v)
	return rest
}

func (w *Workspace) handle(r *http.Request, route, path string, body []byte) answer {
	if path == "/api/info" {
		return good(object{"version": w.Version})
	}
	if path == "/api/v1/settings.public" {
		return w.publicSettings(r.URL.Query())
	}
	handler, exists := routes[r.Method+" "+route]
	if route == "livechat/visitor.info" || route == "livechat/visitors.info" {
		exists = exists && w.SingularVisitorRoute == (route == "livechat/visitor.info")
	}
	if !exists || !strings.HasPrefix(path, "/api/v1/") {
		return answer{status: http.StatusNotFound, body: object{"status": "error", "message": "API endpoint does not exist"}}
	}
	u := w.users[r.Header.Get("X-User-Id")]
	if u == nil || u.Token == "" || u.Token != r.Header.Get("X-Auth-Token") {
		return w.unauthorized()
	}
	limits, limited := w.limit(u, r.Method+" "+route)
	if limited {
		a := failed(http.StatusTooManyRequests, "Error, too many requests. Please slow down. You must wait 60 seconds before trying this endpoint again. [error-too-many-requests]", "")
		a.header = limits
		return a
	}
	a := handler(w, u, r, body)
	if a.header == nil {
		a.header = limits
	}
	return a
}

// A window counts calls for a minute.
type window struct {
	ends  time.Time
	calls int
}

// limit counts the calls of users who may not bypass the rate limit: ten a minute for each
// route, for all such users together.
func (w *Workspace) limit(u *User, route string) (h http.Header, exceeded bool) {
	if u.may("api-bypass-rate-limit") {
		return nil, false
	}
	now := w.now()
	win := w.calls[route]
	if win == nil || !now.Before(win.ends) {
		win = &window{ends: now.Add(time.Minute)}
		w.calls[route] = win
	}
	win.calls++
	return http.Header{
		"X-Ratelimit-Limit":     {"10"},
		"X-Ratelimit-Remaining": {fmt.Sprint(max(0, 10-win.calls))},
		"X-Ratelimit-Reset":     {fmt.Sprint(win.ends.UnixMilli())},
	}, win.calls > 10
}

func good(body object) answer {
	body["success"] = true
	return answer{status: http.StatusOK, body: body}
}

func failed(status int, text, kind string) answer {
	body := object{"success": false, "error": text}
	if kind != "" {
		body["errorType"] = kind
	}
	return answer{status: status, body: body}
}

// unauthorized has three forms: up to 7.7, from 7.8 on, and from 9.0 on.
func (w *Workspace) unauthorized() answer {
	const text = "You must be logged in to do this."
	body := object{"success": false, "error": text}
	if w.before9() {
		body["status"], body["message"] = "error", text
		if slices.Contains([]string{"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.7"}, w.Version) {
			delete(body, "success")
			delete(body, "error")
		}
	}
	return answer{status: http.StatusUnauthorized, body: body}
}

// forbidden is the answer if the user lacks the permission for a route.
func (w *Workspace) forbidden() answer {
	if w.before9() {
		return failed(http.StatusForbidden, "User does not have the permissions required for this action [error-unauthorized]", "")
	}
	return failed(http.StatusForbidden, "User does not have the permissions required for this action", "error-forbidden")
}

// notAllowed is the answer if a method refuses the call: 400 before 9.0, then 403.
func (w *Workspace) notAllowed(text, kind string) answer {
	if w.before9() {
		return failed(http.StatusBadRequest, text, kind)
	}
	return failed(http.StatusForbidden, text, kind)
}

func invalid(what string) answer {
	return failed(http.StatusBadRequest, what+" [invalid-params]", "invalid-params")
}
