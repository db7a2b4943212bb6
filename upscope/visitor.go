package upscope

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MaxResults is the most visitors one search returns (cobrowsingapi.com/docs/rest-api/api-endpoints).
const MaxResults = 10

// Visitor is a person whose browser or app has loaded Upscope's script
// (cobrowsingapi.com/docs/rest-api/object-types). Everything that identifies the person was claimed by the
// page or typed into it: it says where to look, never who somebody is. Fields the service left out or sent as
// null are zero. The ids given as integrationIds are never returned.
//
// ShortID, UniqueID, Identities, LookupCode and IsOnline decide whose screen somebody sees: of another type than
// documented, they make the answer ErrUpstream. All other fields inform, and are then zero, and sessions that
// cannot be read are left out.
type Visitor struct {
	ShortID    string   `json:"short_id"`  // Upscope's id, the key of all calls; replaced when the page resets
	UniqueID   string   `json:"unique_id"` // the page's own id for the person
	Identities []string `json:"identities"`
	Name       string   `json:"name"`
	Nickname   string   `json:"nickname"`
	Email      string   `json:"email"`
	Tags       []string `json:"tags"`
	LookupCode string   `json:"lookup_code"` // four digits once asked for; not unique

	IsOnline         bool   `json:"is_online"` // connected and can be watched; an idle tab reads false
	IsInSession      bool   `json:"is_in_session"`
	IsSupported      bool   `json:"is_supported"` // the browser is capable
	IsWaitingForCall bool   `json:"is_waiting_for_call"`
	CallName         string `json:"call_name"` // whose personal link brought the visitor

	LastURL    string    `json:"last_url"` // page shown last; web only
	LastSeenAt time.Time `json:"last_seen_at"`
	AddedAt    time.Time `json:"added_at"` // first seen

	BrowserName         string `json:"browser_name"`
	DeviceName          string `json:"device_name"`
	DeviceType          string `json:"device_type"` // desktop, mobile, tablet, …; an open set
	IPAddress           string `json:"ip_address"`
	LocationCity        string `json:"location_city"`
	LocationCountry     string `json:"location_country"` // ISO 3166 code
	LocationCountryName string `json:"location_country_name"`

	// Integration names chat products the script detected, several separated by commas.
	Integration     string `json:"integration"`
	SDK             string `json:"sdk"`     // web, ios or android; an open set
	PublicKey       string `json:"api_key"` // the account's public key, not the secret one
	JSConfiguration bool   `json:"js_configuration"`
	// WatchLink leads agents who have an Upscope account to the visitor. It gives no access by itself, and
	// may be shared.
	WatchLink string `json:"watch_link"`

	Sessions []Session `json:"sessions"` // at most the last fifty
}

// UnmarshalJSON reads a visitor as the service writes it, replacing what v held.
func (v *Visitor) UnmarshalJSON(b []byte) error {
	*v = Visitor{}
	var decisive struct {
		ShortID    string   `json:"short_id"`
		UniqueID   string   `json:"unique_id"`
		Identities []string `json:"identities"`
		LookupCode string   `json:"lookup_code"`
		IsOnline   bool     `json:"is_online"`
	}
	if err := json.Unmarshal(b, &decisive); err != nil {
		return err
	}
	type plain Visitor
	in := struct {
		*plain
		LastSeenAt when          `json:"last_seen_at"`
		AddedAt    when          `json:"added_at"`
		Sessions   list[Session] `json:"sessions"`
	}{plain: (*plain)(v)}
	if err := informing(b, &in); err != nil {
		return err
	}
	v.LastSeenAt, v.AddedAt, v.Sessions = time.Time(in.LastSeenAt), time.Time(in.AddedAt), in.Sessions
	return nil
}

// Search finds visitors by one exact token: GET /list. most is 1 to MaxResults, 0 meaning MaxResults.
//
// Asking for 1 is faster, because the service then answers with the first hit of the first region instead of
// waiting for all; for the same reason it hides that there are others, and may bring a visitor who is offline
// while another is not. The order is not documented, and there may be nobody.
func (c *Client) Search(ctx context.Context, t Term, most int) ([]Visitor, error) {
	if t == (Term{}) {
		return nil, refuse("search", "no search term")
	}
	return c.list(ctx, "search", t.wire(), most)
}

// Latest lists the visitors seen last, with most as in Search: GET /list with no search.
func (c *Client) Latest(ctx context.Context, most int) ([]Visitor, error) {
	return c.list(ctx, "latest", "", most)
}

func (c *Client) list(ctx context.Context, op, search string, most int) ([]Visitor, error) {
	if most == 0 {
		most = MaxResults
	}
	if most < 1 || most > MaxResults {
		return nil, refuse(op, "the number of results must be 1 to 10")
	}
	query := url.Values{"max_results": {strconv.Itoa(most)}}
	var private []string
	if search != "" {
		query.Set("search", search)
		_, value, ok := strings.Cut(search, ":")
		if !ok {
			value = strings.TrimPrefix(search, "#")
		}
		_, own, _ := strings.Cut(value, ":")
		private = []string{value, own}
	}
	r := request{
		op: op, method: http.MethodGet, path: []string{"list"}, query: query,
		deadline: slowDeadline, private: private,
	}
	var answer struct{ Visitors []Visitor }
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	for _, v := range answer.Visitors {
		if v.ShortID == "" {
			return nil, unreadable(op, "a visitor without a short id")
		}
	}
	return answer.Visitors, nil
}

// Visitor reads one visitor: GET /visitors/{short_id}, much faster than a search. ErrNotFound when the id is
// not known (any more).
func (c *Client) Visitor(ctx context.Context, shortID string) (Visitor, error) {
	r, err := aboutVisitor("visitor", http.MethodGet, shortID)
	if err != nil {
		return Visitor{}, err
	}
	var answer struct{ Visitor Visitor }
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return Visitor{}, err
	}
	if !strings.EqualFold(answer.Visitor.ShortID, shortID) {
		return Visitor{}, unreadable(r.op, "the answer is not about the visitor asked for")
	}
	return answer.Visitor, nil
}

// StopSession ends the session a visitor is in: DELETE /visitors/{short_id}/session. With no session running
// the service has been seen to answer as if there were one.
func (c *Client) StopSession(ctx context.Context, shortID string) error {
	r, err := aboutVisitor("stop session", http.MethodDelete, shortID, "session")
	if err != nil {
		return err
	}
	return c.wire.call(ctx, r, nil)
}

// ValidShortID reports whether id can be a visitor's short id: 1 to 64 of A-Z a-z 0-9 _ and -. The vendor
// promises no form; all examples have this one, and it cannot change the meaning of a path. Other ids are
// refused with ErrInvalid before any request.
func ValidShortID(id string) bool { return made(id, 64, word) }

// aboutVisitor begins a request below /visitors/{short_id}.
func aboutVisitor(op, method, shortID string, rest ...string) (request, error) {
	if !ValidShortID(shortID) {
		return request{}, refuse(op, "that is no short id")
	}
	return request{
		op: op, method: method, path: append([]string{"visitors", shortID}, rest...),
		deadline: quickDeadline, private: []string{shortID},
	}, nil
}
