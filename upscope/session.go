package upscope

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Session is one co-browsing session (cobrowsingapi.com/docs/rest-api/object-types). Fields the service left
// out, sent as null, or, except ID and VisitorID, wrote otherwise than documented are zero.
//
// Two documented fields are dropped when read, because whoever has them can act: secret_video_url, which plays
// the recording without signing in, and webhook_logs[].webhook_url, which is where the caller wanted to be told.
type Session struct {
	ID              string    `json:"id"`
	VisitorID       string    `json:"visitor_id"` // the visitor's short id
	VisitorUniqueID string    `json:"visitor_unique_id"`
	StartedAt       time.Time `json:"started_at"`
	EndedAt         time.Time `json:"ended_at"`           // zero while it goes on
	WentLive        bool      `json:"went_live"`          // somebody has seen the screen
	Authorized      bool      `json:"session_authorized"` // the visitor agreed, or did not have to
	LengthSeconds   int       `json:"length_seconds"`
	Agents          []Agent   `json:"agents"`
	// Metadata is what WatchRequest.Metadata was, and what the page added under names that begin with
	// visitor_. Values are string, bool or json.Number. Nil when there is none.
	Metadata   map[string]any `json:"metadata"`
	Source     string         `json:"source"`    // how it began; an open set
	CallName   string         `json:"call_name"` // for sessions from a personal link
	AgentNotes []Note         `json:"agent_notes"`
	// VisitorAgentRating is what the visitor thought of the agent, 0 when not rated.
	VisitorAgentRating int          `json:"visitor_agent_rating"`
	VideoStatus        string       `json:"video_status"`     // pending, recording, not_available, ready, expired, removed; an open set
	PublicVideoURL     string       `json:"public_video_url"` // the recording, for those who sign in
	WebhookLogs        []WebhookLog `json:"webhook_logs"`
}

// Note is what an agent wrote during a session.
type Note struct {
	Text string `json:"text"`
	By   string `json:"by"`
}

// WebhookLog is one attempt of the service to deliver WatchRequest.WebhookURL.
type WebhookLog struct {
	ID          string    `json:"id"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	StatusCode  int       `json:"status_code"` // 0 when there was no answer
	TimedOut    bool      `json:"timed_out"`
	WillRetryAt time.Time `json:"will_retry_at"` // zero when it will not
}

// UnmarshalJSON reads a session as the service writes it, replacing what s held.
func (s *Session) UnmarshalJSON(b []byte) error {
	*s = Session{}
	type plain Session
	in := struct {
		*plain
		ID                 text             `json:"id"`
		VisitorID          text             `json:"visitor_id"`
		StartedAt          when             `json:"started_at"`
		EndedAt            when             `json:"ended_at"`
		LengthSeconds      whole            `json:"length_seconds"`
		Agents             list[Agent]      `json:"agents"`
		Metadata           flat             `json:"metadata"`
		VisitorAgentRating whole            `json:"visitor_agent_rating"`
		WebhookLogs        list[WebhookLog] `json:"webhook_logs"`
	}{plain: (*plain)(s)}
	if err := informing(b, &in); err != nil {
		return err
	}
	s.ID, s.VisitorID = string(in.ID), string(in.VisitorID)
	s.StartedAt, s.EndedAt = time.Time(in.StartedAt), time.Time(in.EndedAt)
	s.LengthSeconds, s.VisitorAgentRating = int(in.LengthSeconds), int(in.VisitorAgentRating)
	s.Agents, s.Metadata, s.WebhookLogs = in.Agents, in.Metadata, in.WebhookLogs
	return nil
}

// UnmarshalJSON reads a log entry as the service writes it, replacing what l held.
func (l *WebhookLog) UnmarshalJSON(b []byte) error {
	*l = WebhookLog{}
	type plain WebhookLog
	in := struct {
		*plain
		ID          text `json:"id"`
		CreatedAt   when `json:"created_at"`
		UpdatedAt   when `json:"updated_at"`
		WillRetryAt when `json:"will_retry_at"`
	}{plain: (*plain)(l)}
	if err := informing(b, &in); err != nil {
		return err
	}
	l.ID, l.CreatedAt, l.UpdatedAt = string(in.ID), time.Time(in.CreatedAt), time.Time(in.UpdatedAt)
	l.WillRetryAt = time.Time(in.WillRetryAt)
	return nil
}

// SessionQuery narrows Sessions. The zero value asks for all there are.
type SessionQuery struct {
	BeforeID     string // only sessions before this one
	AfterID      string // only sessions after this one
	OngoingOnly  bool
	UpdatedAfter time.Time // only sessions changed later; zero for all
}

// maxPages ends a list that does not. The size of a page is not documented.
const maxPages = 1000

// Sessions lists sessions by their start, oldest first: GET /cobrowsing_sessions/list, page after page until
// the service says there are no more. An error is the last thing it yields. Pages are fetched as the loop asks
// for them, each within its own deadline; a list that repeats itself, or has more than a thousand pages, ends
// in ErrUpstream.
//
// The vendor describes after_id with the words of before_id; its note on pages shows that "after" is meant.
func (c *Client) Sessions(ctx context.Context, q SessionQuery) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		r := request{
			op: "sessions", method: http.MethodGet, path: []string{"cobrowsing_sessions", "list"},
			query: url.Values{}, deadline: slowDeadline,
		}
		for name, value := range map[string]string{"before_id": q.BeforeID, "after_id": q.AfterID} {
			if value != "" {
				r.query.Set(name, value)
			}
		}
		if q.OngoingOnly {
			r.query.Set("ongoing_only", "true")
		}
		if !q.UpdatedAfter.IsZero() {
			r.query.Set("updated_after", q.UpdatedAfter.UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		seen := map[string]bool{q.AfterID: true}
		for range maxPages {
			var page struct {
				Sessions []Session `json:"cobrowsing_sessions"`
				HasMore  bool      `json:"has_more"`
				LastID   text      `json:"last_id"`
			}
			r.private = []string{r.query.Get("before_id"), r.query.Get("after_id")}
			if err := c.wire.call(ctx, r, &page); err != nil {
				yield(Session{}, err)
				return
			}
			if slices.ContainsFunc(page.Sessions, func(s Session) bool { return s.ID == "" }) {
				yield(Session{}, unreadable(r.op, "a session without an id"))
				return
			}
			for _, s := range page.Sessions {
				if !yield(s, nil) {
					return
				}
			}
			if !page.HasMore {
				return
			}
			last := string(page.LastID)
			if last == "" || seen[last] {
				yield(Session{}, unreadable(r.op, "the list says it goes on, but not where"))
				return
			}
			seen[last] = true
			r.query.Set("after_id", last)
		}
		yield(Session{}, unreadable(r.op, "the list does not end"))
	}
}

// ParseWebhook reads the body Upscope posts to WatchRequest.WebhookURL after a session: a bare session, or one
// under session or cobrowsing_session, since the vendor does not say. The post is not signed. Take it as a hint
// and look the session up; an error means there is no usable one in it, and quotes nothing of it.
func ParseWebhook(body []byte) (Session, error) {
	var in struct {
		Session      *Session `json:"session"`
		LongerNaming *Session `json:"cobrowsing_session"`
	}
	if len(body) > maxBody {
		return Session{}, errors.New("upscope: webhook: longer than 1 MiB")
	}
	if err := decode(body, &in); err != nil {
		return Session{}, errors.New("upscope: webhook: " + err.Error())
	}
	s := in.Session
	if s == nil {
		s = in.LongerNaming
	}
	if s == nil {
		s = new(Session)
		if err := json.Unmarshal(body, s); err != nil {
			return Session{}, errors.New("upscope: webhook: not of the documented shape")
		}
	}
	if s.ID == "" || s.VisitorID == "" {
		return Session{}, errors.New("upscope: webhook: no session and visitor in it")
	}
	return *s, nil
}
