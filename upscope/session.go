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

// Session is one co-browsing session (cobrowsingapi.com/docs/rest-api/object-types). A field is zero if the service
// left it out or sent null. All fields but ID and VisitorID are also zero if they are not as documented.
//
// Two documented fields are not read, because they give access: secret_video_url plays the recording without a
// sign-in, and webhook_logs[].webhook_url is the caller's secret webhook address.
type Session struct {
	ID              string    `json:"id"`
	VisitorID       string    `json:"visitor_id"` // the visitor's short id
	VisitorUniqueID string    `json:"visitor_unique_id"`
	StartedAt       time.Time `json:"started_at"`
	EndedAt         time.Time `json:"ended_at"`           // zero while it runs
	WentLive        bool      `json:"went_live"`          // an agent saw the screen
	Authorized      bool      `json:"session_authorized"` // the visitor agreed, or did not have to
	LengthSeconds   int       `json:"length_seconds"`
	Agents          []Agent   `json:"agents"`
	// Metadata is WatchRequest.Metadata, with values that the page added under names that begin with visitor_.
	// Values are string, bool or json.Number. Nil if there is none.
	Metadata   map[string]any `json:"metadata"`
	Source     string         `json:"source"`    // how it began; the vendor may add values
	CallName   string         `json:"call_name"` // for sessions from a personal link
	AgentNotes []Note         `json:"agent_notes"`
	// VisitorAgentRating is the visitor's rating of the agent, which may have a fraction; nil if there is none.
	VisitorAgentRating *float64     `json:"visitor_agent_rating"`
	VideoStatus        string       `json:"video_status"`     // pending, recording, not_available, ready, expired, removed, or a new value
	PublicVideoURL     string       `json:"public_video_url"` // the recording, for people who sign in to Upscope
	WebhookLogs        []WebhookLog `json:"webhook_logs"`
}

// Note is a note that an agent wrote during a session.
type Note struct {
	Text string `json:"text"`
	By   string `json:"by"` // Agent.ID of the agent, not a name
}

// WebhookLog is one call of WatchRequest.WebhookURL by the service.
type WebhookLog struct {
	ID          string    `json:"id"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	StatusCode  int       `json:"status_code"` // 0 without an answer
	TimedOut    bool      `json:"timed_out"`
	WillRetryAt time.Time `json:"will_retry_at"` // zero without a retry
}

// UnmarshalJSON reads a session as the service writes it, and replaces all fields of s.
func (s *Session) UnmarshalJSON(b []byte) error {
	*s = Session{}
	type plain Session
	in := struct {
		*plain
		ID                 idText                  `json:"id"`
		VisitorID          idText                  `json:"visitor_id"`
		StartedAt          lenientTime             `json:"started_at"`
		EndedAt            lenientTime             `json:"ended_at"`
		LengthSeconds      lenientInt              `json:"length_seconds"`
		Agents             lenientList[Agent]      `json:"agents"`
		Metadata           lenientMap              `json:"metadata"`
		VisitorAgentRating lenientFloat            `json:"visitor_agent_rating"`
		WebhookLogs        lenientList[WebhookLog] `json:"webhook_logs"`
	}{plain: (*plain)(s)}
	if _, err := decodeLenient(b, &in); err != nil {
		return err
	}
	s.ID, s.VisitorID = string(in.ID), string(in.VisitorID)
	s.StartedAt, s.EndedAt = time.Time(in.StartedAt), time.Time(in.EndedAt)
	s.LengthSeconds, s.VisitorAgentRating = int(in.LengthSeconds), in.VisitorAgentRating.value
	s.Agents, s.Metadata, s.WebhookLogs = in.Agents, in.Metadata, in.WebhookLogs
	return nil
}

// UnmarshalJSON reads a log entry as the service writes it, and replaces all fields of l.
func (l *WebhookLog) UnmarshalJSON(b []byte) error {
	*l = WebhookLog{}
	type plain WebhookLog
	in := struct {
		*plain
		ID          idText      `json:"id"`
		CreatedAt   lenientTime `json:"created_at"`
		UpdatedAt   lenientTime `json:"updated_at"`
		WillRetryAt lenientTime `json:"will_retry_at"`
	}{plain: (*plain)(l)}
	if _, err := decodeLenient(b, &in); err != nil {
		return err
	}
	l.ID, l.CreatedAt, l.UpdatedAt = string(in.ID), time.Time(in.CreatedAt), time.Time(in.UpdatedAt)
	l.WillRetryAt = time.Time(in.WillRetryAt)
	return nil
}

// SessionQuery selects the sessions that Sessions lists. The zero value selects all.
type SessionQuery struct {
	BeforeID     string // only sessions before this one
	AfterID      string // only sessions after this one
	OngoingOnly  bool
	UpdatedAfter time.Time // only sessions changed after this time, by this machine's clock; zero for all
	OnCall       func()    // called before each request, one for each page; nil for none
}

// maxPages is a limit in case a list has no end. The size of a page is not documented.
const maxPages = 1000

// Sessions lists sessions by their start, oldest first: GET /cobrowsing_sessions/list. It reads a page when the loop
// needs it, each with its own deadline, until the service says that there are no more. After an error it yields
// nothing more. A list that repeats itself, or has more than a thousand pages, ends with ErrUpstream.
//
// The vendor describes after_id with the text of before_id; its note on pages shows that "after" is meant.
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
		updatedAfter := func() time.Time { return c.wire.clock.theirs(q.UpdatedAfter) }
		asked := updatedAfter()
		seen := map[string]bool{q.AfterID: true}
		for pages := range maxPages {
			if !asked.IsZero() {
				r.query.Set("updated_after", asked.UTC().Format("2006-01-02T15:04:05.000Z"))
			}
			var page struct {
				Sessions []Session `json:"cobrowsing_sessions"`
				HasMore  bool      `json:"has_more"`
				LastID   idText    `json:"last_id"`
			}
			if q.OnCall != nil {
				q.OnCall()
			}
			r.private = []string{r.query.Get("before_id"), r.query.Get("after_id")}
			if err := c.wire.call(ctx, r, &page); err != nil {
				yield(Session{}, err)
				return
			}
			if now := updatedAfter(); pages == 0 && !now.Equal(asked) {
				asked = now // only this answer told how far the clocks differ
				continue
			}
			if slices.ContainsFunc(page.Sessions, func(s Session) bool { return s.ID == "" }) {
				yield(Session{}, badAnswer(r.op, "a session without an id"))
				return
			}
			c.wire.clock.convertSessions(page.Sessions)
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
				yield(Session{}, badAnswer(r.op, "the list has more pages, but no id of the next"))
				return
			}
			seen[last] = true
			r.query.Set("after_id", last)
		}
		yield(Session{}, badAnswer(r.op, "the list does not end"))
	}
}

// ParseWebhook reads the body that Upscope posts to WatchRequest.WebhookURL after a session. The vendor does not
// document its form, so ParseWebhook reads a bare session, or one under session or cobrowsing_session. The post is
// not signed: use it as a hint, and ask the service. An error does not quote the body.
func (c *Client) ParseWebhook(body []byte) (Session, error) {
	var in struct {
		Session  *Session `json:"session"`
		LongName *Session `json:"cobrowsing_session"`
	}
	if len(body) > maxBody {
		return Session{}, errors.New("upscope: webhook: longer than 1 MiB")
	}
	if err := decode(body, &in); err != nil {
		return Session{}, errors.New("upscope: webhook: " + err.Error())
	}
	s := in.Session
	if s == nil {
		s = in.LongName
	}
	if s == nil {
		s = new(Session)
		if err := json.Unmarshal(body, s); err != nil {
			return Session{}, errors.New("upscope: webhook: not of the documented shape")
		}
	}
	if s.ID == "" || s.VisitorID == "" {
		return Session{}, errors.New("upscope: webhook: it has no session with a visitor")
	}
	read := []Session{*s}
	c.wire.clock.convertSessions(read)
	return read[0], nil
}
