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
// required; what is zero is left to the account's settings.
type WatchRequest struct {
	Agent       Agent // ID and Name; without a name the visitor is asked for consent by nobody in particular
	Viewer      Agent // ID and Name of the person who watches, if not the agent
	Branding    Branding
	Permissions Permissions
	// Metadata comes back in Session.Metadata. Values are strings, numbers or booleans. Names must not begin
	// with visitor_, which marks what the page wrote.
	Metadata     map[string]any
	InitialNotes string // what the agent's notes begin with
	Language     string // else the browser's
	WebhookURL   string // is posted the session after it ended; unsigned, so put something unguessable into it
}

// Naked says how much of Upscope's own surroundings the agent sees.
type Naked int

// The zero value, NakedNo, is the service's default.
const (
	NakedNo       Naked = iota // with logo and controls
	NakedYes                   // without the logo
	NakedPageOnly              // without controls too: a frame around it has to have them
)

// Branding is about the page the agent sees. Addresses are https, or http on loopback.
type Branding struct {
	Naked Naked
	// RetryURL is where "retry" leads when a session cannot start; empty for no such button. It must be an
	// address that mints a new link. The vendor's words are that the visitor can click it, so it must be no
	// secret.
	RetryURL string
	// OnEndURL is where the agent lands afterwards; empty closes the window where possible.
	OnEndURL string
}

// Switch is a setting that can also be left alone.
type Switch int

// The zero value is Unset.
const (
	Unset Switch = iota
	On
	Off
)

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

// IsZero reports whether the setting is left alone, and so not written.
func (s Switch) IsZero() bool { return s == Unset }

// MarshalJSON writes true for On and false for Off.
func (s Switch) MarshalJSON() ([]byte, error) {
	switch s {
	case On:
		return []byte("true"), nil
	case Off:
		return []byte("false"), nil
	}
	return nil, errors.New("upscope: a switch that is neither on nor off")
}

// Permissions is what the agent may do. What is Unset is on, except AllowConsole and HidePrivateDetails, which
// are off. Redirect, audio, click, draw, scroll and type stay off where the page's script has switched them off.
type Permissions struct {
	AllowAgentRedirect        Switch `json:"allow_agent_redirect,omitzero"` // lead the visitor to another page, or reload
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
	HidePrivateDetails        Switch `json:"hide_private_details,omitzero"` // e.g. address and place of the visitor
}

// sentWatch is a WatchRequest as the service reads it.
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

// Watch mints a secure watch link for a visitor: POST /visitors/{short_id}/watch_url. Mint at the moment of the
// click, redirect, and forget: the vendor forbids keeping links, they expire soon, and a second click mints
// again. A link says nothing about the visitor being online or willing.
//
// ErrNotFound when there is no such visitor, ErrOverPlan when the session would exceed the plan, ErrInvalid
// when r breaks a rule of WatchRequest. Watch is never repeated: it may have counted although no answer came.
func (c *Client) Watch(ctx context.Context, shortID string, r WatchRequest) (WatchLink, error) {
	req, err := aboutVisitor("watch", http.MethodPost, shortID, "watch_url")
	if err != nil {
		return WatchLink{}, err
	}
	body, why := r.wire()
	if why != "" {
		return WatchLink{}, refuse(req.op, why)
	}
	req.body = body
	req.private = append(req.private, r.Agent.ID)
	var answer struct {
		WatchURL   string `json:"watch_url"`
		Expiration stamp  `json:"expiration"`
	}
	if err := c.wire.call(ctx, req, &answer); err != nil {
		return WatchLink{}, err
	}
	if answer.WatchURL == "" {
		return WatchLink{}, unreadable(req.op, "the answer has no link")
	}
	return WatchLink{secret: seal("watch link", answer.WatchURL), expires: time.Time(answer.Expiration)}, nil
}

// wire writes the request down, or says which rule it breaks.
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
		return body, "naked is none of its three values"
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
			return body, "metadata: a value that is no string, number or boolean"
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
