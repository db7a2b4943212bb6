package upscope

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// WatchRequest says who wants to watch, and how (cobrowsingapi.com/docs/rest-api/api-endpoints). Only Agent is
// required; zero fields are left to the account's settings.
type WatchRequest struct {
	Agent       Agent // ID and Name; without a name the question for consent names no agent
	Viewer      Agent // ID and Name of the person who watches, if not the agent
	Branding    Branding
	Permissions Permissions
	// Metadata is returned in Session.Metadata. Values are strings, numbers or booleans. Names must not begin with
	// visitor_, which marks values of the page.
	Metadata     map[string]any
	InitialNotes string // the beginning of the agent's notes
	Language     string // empty for the browser's
	WebhookURL   string // gets the session after its end, unsigned; it should contain a secret
}

// Naked says which of Upscope's own parts the agent sees around the visitor's page.
type Naked int

// The zero value, NakedNo, is the service's default.
const (
	NakedNo       Naked = iota // with logo and controls
	NakedYes                   // without the logo
	NakedPageOnly              // without controls too: the page around it must have them
)

// Branding changes the page that the agent sees. Addresses are https, or http on loopback.
type Branding struct {
	Naked Naked
	// RetryURL is the address of the "retry" button when a session cannot start; empty for no button. The address
	// must make a new link. According to the vendor the visitor can click it, so it must not be secret.
	RetryURL string
	// OnEndURL is where the agent goes after the session; if empty, the window closes where possible.
	OnEndURL string
}

// Switch is a setting that is on, off, or not sent.
type Switch int

// The zero value is Unset.
const (
	Unset Switch = iota
	On
	Off
)

// String returns unset, on or off, and invalid for other values.
func (s Switch) String() string {
	switch s {
	case Unset:
		return "unset"
	case On:
		return "on"
	case Off:
		return "off"
	}
	return "invalid"
}

// IsZero reports whether the setting is Unset, and so left out of the JSON.
func (s Switch) IsZero() bool { return s == Unset }

// MarshalJSON returns true for On and false for Off.
func (s Switch) MarshalJSON() ([]byte, error) {
	switch s {
	case On:
		return []byte("true"), nil
	case Off:
		return []byte("false"), nil
	}
	return nil, errors.New("upscope: the switch is neither on nor off")
}

// Permissions says what the agent may do. Unset means on, except for AllowConsole and HidePrivateDetails, where it
// means off. Redirect, audio, click, draw, scroll and type stay off if the page's script switched them off.
type Permissions struct {
	AllowAgentRedirect        Switch `json:"allow_agent_redirect,omitzero"` // open another page for the visitor, or reload
	AllowAudio                Switch `json:"allow_audio,omitzero"`
	AllowClick                Switch `json:"allow_click,omitzero"`
	AllowConfetti             Switch `json:"allow_confetti,omitzero"`
	AllowConsole              Switch `json:"allow_console,omitzero"` // run code in the visitor's page
	AllowDraw                 Switch `json:"allow_draw,omitzero"`
	AllowNotes                Switch `json:"allow_notes,omitzero"`
	AllowRequestVisitorScreen Switch `json:"allow_request_visitor_screen,omitzero"` // ask for the whole screen
	AllowScroll               Switch `json:"allow_scroll,omitzero"`
	AllowShowAgentScreen      Switch `json:"allow_show_agent_screen,omitzero"`
	AllowType                 Switch `json:"allow_type,omitzero"`
	HidePrivateDetails        Switch `json:"hide_private_details,omitzero"` // such as the visitor's IP address and city
}

// sentWatch is the JSON of a WatchRequest.
type sentWatch struct {
	Agent        sentAgent      `json:"agent"`
	Viewer       sentAgent      `json:"viewer,omitzero"`
	Branding     sentBranding   `json:"branding"`
	Permissions  Permissions    `json:"permissions,omitzero"`
	Metadata     map[string]any `json:"metadata,omitempty"`
	InitialNotes string         `json:"initial_notes,omitzero"`
	Language     string         `json:"language,omitzero"`
	WebhookURL   string         `json:"webhook_url,omitzero"`
}

type sentBranding struct {
	Naked    any     `json:"naked"`
	RetryURL *string `json:"retry_url"`
	OnEndURL *string `json:"on_end_url"`
}

// Watch makes a watch link for a visitor: POST /visitors/{short_id}/watch_url. Call it when the agent clicks,
// redirect to the link, and do not keep it: the vendor forbids that, and links expire soon. A link does not mean that
// the visitor is online or agrees.
//
// The error is ErrNotFound if there is no such visitor, ErrOverPlan if the session would exceed the plan, and
// ErrInvalid if r breaks a rule of WatchRequest. Do not repeat a call that got no answer: it may have counted.
func (c *Client) Watch(ctx context.Context, shortID string, r WatchRequest) (WatchLink, error) {
	req, err := visitorRequest("watch", http.MethodPost, shortID, "watch_url")
	if err != nil {
		return WatchLink{}, err
	}
	body, why := r.wire()
	if why != "" {
		return WatchLink{}, invalidRequest(req.op, why)
	}
	req.body = body
	req.private = append(req.private, r.Agent.ID)
	var answer struct {
		WatchURL   string    `json:"watch_url"`
		Expiration timestamp `json:"expiration"`
	}
	if err := c.wire.call(ctx, req, &answer); err != nil {
		return WatchLink{}, err
	}
	if answer.WatchURL == "" {
		return WatchLink{}, badAnswer(req.op, "the answer has no link")
	}
	return WatchLink{secret: seal("watch link", answer.WatchURL), expires: c.wire.clock.ours(time.Time(answer.Expiration))}, nil
}

// wire returns the body of the request, or why r is not valid.
func (r WatchRequest) wire() (body sentWatch, why string) {
	if why := r.Agent.sendable(); why != "" {
		return body, why
	}
	if r.Viewer.ID != "" || r.Viewer.Name != "" {
		if why := r.Viewer.sendable(); why != "" {
			return body, "viewer: " + why
		}
	}
	body = sentWatch{
		Agent:        sentAgent{r.Agent.ID, r.Agent.Name},
		Viewer:       sentAgent{r.Viewer.ID, r.Viewer.Name},
		Permissions:  r.Permissions,
		Metadata:     r.Metadata,
		InitialNotes: r.InitialNotes,
		Language:     r.Language,
		WebhookURL:   r.WebhookURL,
	}
	switch r.Branding.Naked {
	case NakedNo, NakedYes:
		body.Branding.Naked = r.Branding.Naked == NakedYes
	case NakedPageOnly:
		body.Branding.Naked = "page_only"
	default:
		return body, "naked does not have one of its three values"
	}
	for _, address := range []string{r.Branding.RetryURL, r.Branding.OnEndURL, r.WebhookURL} {
		if address != "" && !webAddress(address) {
			return body, "an address is not absolute and https"
		}
	}
	if r.Branding.RetryURL != "" {
		body.Branding.RetryURL = &r.Branding.RetryURL
	}
	if r.Branding.OnEndURL != "" {
		body.Branding.OnEndURL = &r.Branding.OnEndURL
	}
	for name, value := range r.Metadata {
		if name == "" || strings.HasPrefix(name, "visitor_") {
			return body, "metadata: a name that is empty or begins with visitor_"
		}
		if !scalar(value) {
			return body, "metadata: a value that is not a string, number or boolean"
		}
	}
	return body, ""
}

func scalar(v any) bool {
	switch v := v.(type) {
	case string, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return true
	case float32:
		return scalar(float64(v))
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case json.Number:
		b := []byte(v)
		return len(b) > 0 && (b[0] == '-' || digit(b[0])) && json.Valid(b)
	}
	return false
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}
