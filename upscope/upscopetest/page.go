package upscopetest

import (
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed session.html
var sessionHTML string

var sessionPage = template.Must(template.New("session").Parse(sessionHTML))

type sessionView struct {
	Who, Page, Agent string
	End              string // where the end button posts to; empty when there is no session
	Problem, Retry   string
}

// page serves a watch link to the agent's browser.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead { // link previews send HEAD; it opens nothing
		return
	}
	status, view := s.view(r.PathValue("uuid"))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = sessionPage.Execute(w, view)
}

func (s *Server) view(uuid string) (status int, view sessionView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.links[uuid]
	if !ok {
		return http.StatusNotFound, sessionView{Problem: "There is no such session."}
	}
	if retry := l.record.Body.Branding.RetryURL; retry != nil {
		view.Retry = *retry
	}
	c, why := s.openLink(l)
	if why != "" {
		view.Problem = why
		return http.StatusGone, view
	}
	v := s.find(c.VisitorID)
	view.Who = v.Name
	for _, other := range append([]string{v.Email}, append(v.Identities, "visitor "+v.ShortID)...) {
		if view.Who == "" {
			view.Who = other
		}
	}
	view.Page, view.Agent = v.LastURL, l.record.Body.Agent.Name
	view.End = uuid + "/end" // relative, so it works below a path
	return http.StatusOK, view
}

// pageEnd ends the session of a link when the agent presses the button, and redirects to OnEndURL if there is one.
func (s *Server) pageEnd(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	l, ok := s.links[r.PathValue("uuid")]
	id, next := "", ""
	if ok {
		id = l.session
		if to := l.record.Body.Branding.OnEndURL; to != nil {
			next = *to
		}
	}
	s.mu.Unlock()
	if id == "" {
		http.NotFound(w, r)
		return
	}
	s.End(id, 0)
	if next != "" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = sessionPage.Execute(w, sessionView{Problem: "The session has ended. You can close this window."})
}
