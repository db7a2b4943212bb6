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
// (cobrowsingapi.com/docs/rest-api/object-types). The page, or the person who typed into it, claims everything that
// identifies the person; nothing of it is proven. A field is zero if the service left it out or sent null. The
// service does not return integrationIds.
//
// ShortID, UniqueID, Identities, LookupCode and IsOnline decide whose screen an agent sees. If one of them has a type
// that is not documented, the call fails with ErrUpstream. Any other field is then zero, and a session that cannot
// be read is left out.
type Visitor struct {
	ShortID    string   `json:"short_id"`  // Upscope's id, used in all calls; a reset by the page replaces it
	UniqueID   string   `json:"unique_id"` // the page's own id for the person
	Identities []string `json:"identities"`
	Name       string   `json:"name"`
	Nickname   string   `json:"nickname"`
	Email      string   `json:"email"`
	Tags       []string `json:"tags"`
	LookupCode string   `json:"lookup_code"` // four digits, once the page asked for them; not unique

	IsOnline         bool   `json:"is_online"` // connected and can be watched; false for an idle tab
	IsInSession      bool   `json:"is_in_session"`
	IsSupported      bool   `json:"is_supported"` // the browser supports co-browsing
	IsWaitingForCall bool   `json:"is_waiting_for_call"`
	CallName         string `json:"call_name"` // the agent whose personal link the visitor followed

	LastURL    string    `json:"last_url"` // the latest page; web only
	LastSeenAt time.Time `json:"last_seen_at"`
	AddedAt    time.Time `json:"added_at"` // first seen

	BrowserName         string `json:"browser_name"`
	DeviceName          string `json:"device_name"`
	DeviceType          string `json:"device_type"` // desktop, mobile, tablet, …
	IPAddress           string `json:"ip_address"`
	LocationCity        string `json:"location_city"`
	LocationCountry     string `json:"location_country"` // ISO 3166 code
	LocationCountryName string `json:"location_country_name"`

	// Integration names chat products that the script found, separated by commas.
	Integration     string `json:"integration"`
	SDK             string `json:"sdk"`     // web, ios, android, …
	PublicKey       string `json:"api_key"` // the account's public key, not the secret one
	JSConfiguration bool   `json:"js_configuration"`
	// WatchLink leads agents who have an Upscope account to the visitor. It gives no access without an account,
	// so it is not secret.
	WatchLink string `json:"watch_link"`

	Sessions []Session `json:"sessions"` // at most the last fifty
}

// UnmarshalJSON reads a visitor as the service writes it, and replaces all fields of v.
func (v *Visitor) UnmarshalJSON(b []byte) error {
	*v = Visitor{}
	type plain Visitor
	in := struct {
		*plain
		LastSeenAt lenientTime          `json:"last_seen_at"`
		AddedAt    lenientTime          `json:"added_at"`
		Sessions   lenientList[Session] `json:"sessions"`
	}{plain: (*plain)(v)}
	odd, err := decodeLenient(b, &in)
	if err != nil {
		return err
	}
	if odd { // perhaps a field that decides
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
	}
	v.LastSeenAt, v.AddedAt, v.Sessions = time.Time(in.LastSeenAt), time.Time(in.AddedAt), in.Sessions
	return nil
}

// Search finds visitors by one exact token: GET /list. most is 1 to MaxResults; 0 means MaxResults. The result may
// be empty, and its order is not documented.
//
// With most 1 the service is faster: it answers with the first visitor of the first region and does not wait for the
// others. So the result does not show whether other visitors match, and may be offline while another is online.
func (c *Client) Search(ctx context.Context, t Term, most int) ([]Visitor, error) {
	if t == (Term{}) {
		return nil, invalidRequest("search", "no search term")
	}
	return c.list(ctx, "search", t.wire(), most)
}

// Latest lists the visitors who were online last, with most as in Search: GET /list without a search.
func (c *Client) Latest(ctx context.Context, most int) ([]Visitor, error) {
	return c.list(ctx, "latest", "", most)
}

func (c *Client) list(ctx context.Context, op, search string, most int) ([]Visitor, error) {
	if most == 0 {
		most = MaxResults
	}
	if most < 1 || most > MaxResults {
		return nil, invalidRequest(op, "the number of results must be 1 to 10")
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
	for i := range answer.Visitors {
		if answer.Visitors[i].ShortID == "" {
			return nil, badAnswer(op, "a visitor without a short id")
		}
		c.wire.clock.convertVisitor(&answer.Visitors[i])
	}
	return answer.Visitors, nil
}

// Visitor reads one visitor: GET /visitors/{short_id}. It is much faster than a search. The error is ErrNotFound if
// there is no visitor with the id, or no longer.
func (c *Client) Visitor(ctx context.Context, shortID string) (Visitor, error) {
	r, err := visitorRequest("visitor", http.MethodGet, shortID)
	if err != nil {
		return Visitor{}, err
	}
	var answer struct{ Visitor Visitor }
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return Visitor{}, err
	}
	if !strings.EqualFold(answer.Visitor.ShortID, shortID) {
		return Visitor{}, badAnswer(r.op, "the answer has another visitor")
	}
	c.wire.clock.convertVisitor(&answer.Visitor)
	return answer.Visitor, nil
}

// StopSession ends the visitor's running session: DELETE /visitors/{short_id}/session. Without a running session
// the service answers with success too.
func (c *Client) StopSession(ctx context.Context, shortID string) error {
	r, err := visitorRequest("stop session", http.MethodDelete, shortID, "session")
	if err != nil {
		return err
	}
	return c.wire.call(ctx, r, nil)
}

// ValidShortID reports whether id can be a visitor's short id: 1 to 64 of A-Z a-z 0-9 _ and -. The vendor
// documents no form, but all examples have it, and it is safe in a path. Calls with other ids fail with ErrInvalid
// and send nothing.
func ValidShortID(id string) bool { return consistsOf(id, 64, word) }

// visitorRequest makes a request below /visitors/{short_id}.
func visitorRequest(op, method, shortID string, rest ...string) (request, error) {
	if !ValidShortID(shortID) {
		return request{}, invalidRequest(op, "not a short id")
	}
	return request{
		op: op, method: method, path: append([]string{"visitors", shortID}, rest...),
		deadline: quickDeadline, private: []string{shortID},
	}, nil
}
