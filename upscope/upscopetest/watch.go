package upscopetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cobrowse-bridge/upscope"
)

// WatchBody is the body of a request for a watch link.
type WatchBody struct {
	Agent    Person  `json:"agent"`
	Viewer   *Person `json:"viewer"`
	Branding struct {
		Naked    any     `json:"naked"` // bool or "page_only"
		RetryURL *string `json:"retry_url"`
		OnEndURL *string `json:"on_end_url"`
	} `json:"branding"`
	Permissions  map[string]bool `json:"permissions"`
	Metadata     map[string]any  `json:"metadata"`
	InitialNotes string          `json:"initial_notes"`
	Language     string          `json:"language"`
	WebhookURL   string          `json:"webhook_url"`
}

// Person is an agent or viewer in a WatchBody.
type Person struct{ ID, Name string }

// WatchRecord is a request for a watch link, with the link.
type WatchRecord struct {
	VisitorID string
	Body      WatchBody
	Raw       json.RawMessage // the body, byte for byte
	URL       string          // the link
}

type link struct {
	record  WatchRecord
	expires time.Time
	used    bool
	session string // id of its session, once opened
}

type session struct {
	upscope.Session
	webhookURL string
	updatedAt  time.Time
	logs       []object
}

// Minted returns how many watch links were made.
func (s *Server) Minted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches)
}

// Opened returns how often a watch link was opened successfully.
func (s *Server) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Watches returns the watch links that were made, in order.
func (s *Server) Watches() []WatchRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.watches)
}

func (s *Server) watch(r *http.Request, body []byte) (int, any) {
	v := s.find(r.PathValue("id"))
	if v == nil {
		return notFound()
	}
	var in WatchBody
	if json.Unmarshal(body, &in) != nil || in.Agent.ID == "" {
		return badRequest()
	}
	if s.overPlan {
		return http.StatusPaymentRequired, object{}
	}
	id := uuid()
	l := &link{
		record: WatchRecord{
			VisitorID: v.ShortID, Body: in, Raw: slices.Clone(body), URL: s.watchBase + "/session/" + id,
		},
		expires: s.opts.Now().Add(s.opts.LinkLife),
	}
	s.links[id] = l
	s.watches = append(s.watches, l.record)
	return http.StatusOK, object{"status": "ok", "watch_url": l.record.URL, "expiration": timeOrNull(l.expires)}
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// beginSession begins the session of a link, or returns the one that it began before. The caller holds the lock.
func (s *Server) beginSession(l *link, v *visitor) *session {
	s.opened++
	if i := slices.IndexFunc(s.sessions, func(c *session) bool { return c.ID == l.session }); i >= 0 {
		return s.sessions[i]
	}
	body, now := l.record.Body, s.opts.Now()
	c := &session{
		Session: upscope.Session{
			ID: "s" + strconv.Itoa(len(s.sessions)+1), VisitorID: v.ShortID, VisitorUniqueID: v.UniqueID,
			StartedAt: now, WentLive: true, Authorized: true, Source: "api", VideoStatus: "not_available",
			Agents:   []upscope.Agent{*s.agentFor(body.Agent.ID, body.Agent.Name)},
			Metadata: merged(body.Metadata, v.metadata),
		},
		webhookURL: body.WebhookURL,
		updatedAt:  now,
	}
	if body.InitialNotes != "" {
		c.AgentNotes = []upscope.Note{{Text: body.InitialNotes, By: c.Agents[0].ID}}
	}
	s.sessions = append(s.sessions, c)
	l.session, v.IsInSession = c.ID, true
	return c
}

// Open opens a watch link as the agent's browser does, and returns the id of its session.
func (s *Server) Open(r WatchRecord) (sessionID string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l.record.URL == r.URL {
			c, why := s.openLink(l)
			if why != "" {
				return "", errors.New("upscopetest: " + why)
			}
			return c.ID, nil
		}
	}
	return "", errors.New("upscopetest: no such link")
}

// openLink opens a link, or returns why it cannot be opened. The caller holds the lock.
func (s *Server) openLink(l *link) (c *session, why string) {
	v := s.find(l.record.VisitorID)
	switch {
	case l.used && s.opts.OneUse:
		return nil, "This link has been used."
	case !s.opts.Now().Before(l.expires):
		return nil, "This link has expired."
	case v == nil || !v.IsOnline:
		return nil, "The visitor is not online."
	}
	l.used = true
	return s.beginSession(l, v), ""
}

// End ends the session with this id, or all running sessions of the visitor with this short id. It adds the visitor's
// rating (0 for none) and the agent's notes, and reports whether a session was running.
func (s *Server) End(id string, rating int, notes ...string) bool {
	s.mu.Lock()
	var ended []string
	for _, c := range s.sessions {
		if !c.EndedAt.IsZero() || c.ID != id && c.VisitorID != id {
			continue
		}
		if rating > 0 {
			c.VisitorAgentRating = new(float64(rating))
		}
		for _, text := range notes {
			c.AgentNotes = append(c.AgentNotes, upscope.Note{Text: text, By: c.Agents[0].ID})
		}
		s.finish(c)
		ended = append(ended, c.ID)
	}
	s.mu.Unlock()
	s.callOnEnd(ended)
	return len(ended) > 0
}

// Change changes a session, as Upscope does while it asks the visitor for consent, and after the end when the visitor
// rates it or the recording is ready. It reports whether there is such a session.
func (s *Server) Change(sessionID string, change func(*upscope.Session)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		if c.ID == sessionID {
			change(&c.Session)
			c.updatedAt = s.opts.Now()
			return true
		}
	}
	return false
}

func (s *Server) callOnEnd(ended []string) {
	if s.opts.OnEnd == nil {
		return
	}
	for _, id := range ended {
		s.opts.OnEnd(id)
	}
}

// endAll ends the running sessions of a visitor. The caller holds the lock, so OnEnd is called in a goroutine.
func (s *Server) endAll(shortID string) {
	var ended []string
	for _, c := range s.sessions {
		if c.VisitorID == shortID && c.EndedAt.IsZero() {
			s.finish(c)
			ended = append(ended, c.ID)
		}
	}
	if len(ended) > 0 {
		go s.callOnEnd(ended)
	}
}

func (s *Server) finish(c *session) {
	c.EndedAt = s.opts.Now()
	c.updatedAt = c.EndedAt
	c.LengthSeconds = int(c.EndedAt.Sub(c.StartedAt).Seconds())
	c.VideoStatus, c.PublicVideoURL = "ready", "https://app.upscope.io/recordings/"+c.ID
	running := func(o *session) bool { return o.VisitorID == c.VisitorID && o.EndedAt.IsZero() }
	if v := s.find(c.VisitorID); v != nil && !slices.ContainsFunc(s.sessions, running) {
		v.IsInSession = false
	}
}

func (s *Server) stop(r *http.Request, _ []byte) (int, any) {
	v := s.find(r.PathValue("id"))
	if v == nil {
		return notFound()
	}
	s.endAll(v.ShortID)
	return http.StatusOK, object{"status": "ok"}
}

// SessionIDs returns the ids of all sessions, in the order they began.
func (s *Server) SessionIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, c := range s.sessions {
		ids = append(ids, c.ID)
	}
	return ids
}

// SecretVideoURL returns the address that plays a session's recording without a sign-in. Answers with an ended session
// contain it; nothing else may.
func SecretVideoURL(sessionID string) string {
	return "https://cobrowsingapi.com/video/CANARY-SECRET-VIDEO-" + sessionID
}

func (s *Server) sessionJSON(c *session) object {
	agents, notes, secretVideo := []any{}, []any{}, any(nil)
	for _, a := range c.Agents {
		agents = append(agents, agentJSON(a))
	}
	for _, n := range c.AgentNotes {
		notes = append(notes, object{"text": n.Text, "by": n.By})
	}
	if !c.EndedAt.IsZero() {
		secretVideo = SecretVideoURL(c.ID)
	}
	logs := c.logs
	if logs == nil {
		logs = []object{}
	}
	return object{
		"id": c.ID, "visitor_id": c.VisitorID, "visitor_unique_id": orNull(c.VisitorUniqueID),
		"started_at": timeOrNull(c.StartedAt), "ended_at": timeOrNull(c.EndedAt), "went_live": c.WentLive,
		"session_authorized": c.Authorized, "length_seconds": c.LengthSeconds, "agents": agents,
		"metadata": c.Metadata, "source": c.Source, "call_name": orNull(c.CallName), "agent_notes": notes,
		"visitor_agent_rating": c.VisitorAgentRating, "video_status": c.VideoStatus,
		"public_video_url": orNull(c.PublicVideoURL), "secret_video_url": secretVideo, "webhook_logs": logs,
	}
}

// sessionList lists sessions by their start, oldest first.
func (s *Server) sessionList(r *http.Request, _ []byte) (int, any) {
	q := r.URL.Query()
	at := func(id string) int {
		return slices.IndexFunc(s.sessions, func(c *session) bool { return c.ID == id })
	}
	var since time.Time
	if given := q.Get("updated_after"); given != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, given); err != nil {
			return badRequest()
		}
	}
	from, to := 0, len(s.sessions)
	if id := q.Get("after_id"); id != "" {
		from = at(id) + 1
	}
	if i := at(q.Get("before_id")); i >= 0 {
		to = i
	}
	shown, more, last := []any{}, false, any(nil)
	for _, c := range s.sessions[min(from, to):to] {
		if q.Get("ongoing_only") == "true" && !c.EndedAt.IsZero() || !since.IsZero() && !c.updatedAt.After(since) {
			continue
		}
		if more = len(shown) == s.opts.PageSize; more {
			break
		}
		shown, last = append(shown, s.sessionJSON(c)), c.ID
	}
	return http.StatusOK, object{"status": "ok", "cobrowsing_sessions": shown, "has_more": more, "last_id": last}
}

// Wrap is the shape in which SendWebhook sends a session. The vendor does not document it.
type Wrap string

// The shapes that a receiver must be able to read.
const (
	Bare              Wrap = ""
	SessionKey        Wrap = "session"
	CobrowsingSession Wrap = "cobrowsing_session"
)

// SendWebhook posts a session once to the webhook_url of its link, and adds the attempt to the session's webhook_logs.
// It returns the receiver's status. The server does not call it.
func (s *Server) SendWebhook(ctx context.Context, client *http.Client, sessionID string, wrap Wrap) (int, error) {
	s.mu.Lock()
	var address string
	var body any
	for _, c := range s.sessions {
		if c.ID == sessionID {
			address, body = c.webhookURL, s.sessionJSON(c)
		}
	}
	s.mu.Unlock()
	if address == "" {
		return 0, errors.New("upscopetest: no such session, or no webhook_url with it")
	}
	if wrap != Bare {
		body = object{string(wrap): body}
	}
	_, text := render(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(text))
	if err != nil {
		return 0, errors.New("upscopetest: webhook_url is not an address")
	}
	req.Header.Set("Content-Type", "application/json")
	status := 0
	resp, err := client.Do(req)
	if err == nil {
		status = resp.StatusCode
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		resp.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		if c.ID == sessionID {
			now := s.opts.Now()
			c.logs = append(c.logs, object{
				"id": len(c.logs) + 1, "created_at": timeOrNull(now), "updated_at": timeOrNull(now), "webhook_url": address,
				"status_code": status, "timed_out": err != nil, "will_retry_at": nil,
			})
			c.updatedAt = now
		}
	}
	return status, err
}
