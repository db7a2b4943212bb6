package upscopetest

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/upscope"
)

type visitor struct {
	upscope.Visitor
	integrationIDs []string // searched, but not returned
	region         string
	metadata       map[string]any
}

// Add puts visitors into the account without changes. A visitor without a short id gets a random one.
func (s *Server) Add(all ...upscope.Visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range all {
		s.add(v)
	}
}

// Come adds a visitor who opens a page in a browser now: online and supported. It returns the short id of seed, or a
// new one.
func (s *Server) Come(seed upscope.Visitor) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	seed.IsOnline, seed.IsSupported = true, true
	seed.LastSeenAt = now
	if seed.AddedAt.IsZero() {
		seed.AddedAt = now
	}
	seed.SDK = cmp.Or(seed.SDK, "web")
	return s.add(seed).ShortID
}

func (s *Server) add(v upscope.Visitor) *visitor {
	v.ShortID = cmp.Or(v.ShortID, rand.Text()[:8])
	v.WatchLink = cmp.Or(v.WatchLink, "https://upscope.com/w/"+v.ShortID)
	v.PublicKey = cmp.Or(v.PublicKey, "public-key")
	v.Sessions = nil // sessions are added by watching
	added := &visitor{Visitor: v, region: s.opts.Regions[0]}
	if i := slices.IndexFunc(s.visitors, func(o *visitor) bool { return o.ShortID == v.ShortID }); i >= 0 {
		s.visitors[i] = added
	} else {
		s.visitors = append(s.visitors, added)
	}
	return added
}

// change applies f to a visitor. It panics if there is no such visitor, which is a fault of the test.
func (s *Server) change(shortID string, f func(*visitor)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.find(shortID)
	if v == nil {
		panic("upscopetest: no visitor " + shortID)
	}
	f(v)
}

func (s *Server) find(shortID string) *visitor {
	for _, v := range s.visitors {
		if v.ShortID == shortID {
			return v
		}
	}
	return nil
}

// Go takes a visitor offline, as closing the tab or a long idle time does.
func (s *Server) Go(shortID string) { s.change(shortID, func(v *visitor) { v.IsOnline = false }) }

// Return brings a visitor back online, under the same short id.
func (s *Server) Return(shortID string) {
	s.change(shortID, func(v *visitor) { v.IsOnline, v.LastSeenAt = true, s.opts.Now() })
}

// ChangePage moves a visitor to another page.
func (s *Server) ChangePage(shortID, url string) {
	s.change(shortID, func(v *visitor) { v.LastURL, v.LastSeenAt = url, s.opts.Now() })
}

// SetLookupCode sets a visitor's code; empty removes it. Several visitors may have the same code.
func (s *Server) SetLookupCode(shortID, code string) {
	s.change(shortID, func(v *visitor) { v.LookupCode = code })
}

// SetIntegrationIDs replaces a visitor's integration ids. Several visitors may have the same ids.
func (s *Server) SetIntegrationIDs(shortID string, ids ...string) {
	s.change(shortID, func(v *visitor) { v.integrationIDs = slices.Clone(ids) })
}

// SetIdentities replaces a visitor's identities. Without identities the field is null.
func (s *Server) SetIdentities(shortID string, identities ...string) {
	s.change(shortID, func(v *visitor) { v.Identities = slices.Clone(identities) })
}

// SetUniqueID replaces a visitor's unique id.
func (s *Server) SetUniqueID(shortID, id string) {
	s.change(shortID, func(v *visitor) { v.UniqueID = id })
}

// SetMetadata replaces the page's metadata of a visitor. In sessions its names begin with visitor_.
func (s *Server) SetMetadata(shortID string, metadata map[string]any) {
	s.change(shortID, func(v *visitor) { v.metadata = metadata })
}

// SetRegion sets the one of Options.Regions to which a visitor is connected.
func (s *Server) SetRegion(shortID, region string) {
	s.change(shortID, func(v *visitor) { v.region = region })
}

// Reset does what the page's reset call does: it adds a new visitor without identity and returns its short id. The
// old visitor goes offline and stays in the account.
func (s *Server) Reset(shortID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.find(shortID)
	if old == nil {
		panic("upscopetest: no visitor " + shortID)
	}
	old.IsOnline = false
	s.endAll(shortID)
	fresh := old.Visitor
	fresh.ShortID, fresh.WatchLink = "", ""
	fresh.UniqueID, fresh.Identities, fresh.Name, fresh.Nickname, fresh.Email = "", nil, "", "", ""
	fresh.Tags, fresh.LookupCode, fresh.CallName, fresh.IsWaitingForCall = nil, "", "", false
	fresh.IsOnline, fresh.IsInSession = true, false
	fresh.AddedAt, fresh.LastSeenAt = s.opts.Now(), s.opts.Now()
	v := s.add(fresh)
	v.region = old.region
	return v.ShortID
}

// Expire removes a visitor, as Upscope does some weeks after the last visit.
func (s *Server) Expire(shortID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visitors = slices.DeleteFunc(s.visitors, func(v *visitor) bool { return v.ShortID == shortID })
}

func (s *Server) visitor(r *http.Request, _ []byte) (int, any) {
	v := s.find(r.PathValue("id"))
	if v == nil {
		return notFound()
	}
	return http.StatusOK, object{"status": "ok", "visitor": s.visitorJSON(v)}
}

func (s *Server) deleteVisitor(r *http.Request, _ []byte) (int, any) {
	v := s.find(r.PathValue("id"))
	switch {
	case v == nil:
		return notFound()
	case v.IsOnline:
		return http.StatusConflict, object{}
	}
	s.visitors = slices.DeleteFunc(s.visitors, func(o *visitor) bool { return o == v })
	return http.StatusOK, object{"status": "ok"}
}

func (s *Server) deleteVisitors(r *http.Request, _ []byte) (int, any) {
	if r.URL.Query().Get("all") != "true" {
		return notFound()
	}
	s.visitors = slices.DeleteFunc(s.visitors, func(v *visitor) bool { return !v.IsOnline })
	return http.StatusOK, object{"status": "ok"}
}

func (s *Server) list(r *http.Request, _ []byte) (int, any) {
	most := upscope.MaxResults
	if given := r.URL.Query().Get("max_results"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n > upscope.MaxResults {
			return badRequest()
		}
		most = n
	}
	var found []*visitor
	if search := r.URL.Query().Get("search"); search == "" {
		found = s.latest()
	} else {
		found = s.search(search)
	}
	if most == 1 && len(found) > 1 {
		found = s.firstRegion(found)
	}
	shown := []any{}
	for _, v := range found[:min(most, len(found))] {
		shown = append(shown, s.visitorJSON(v))
	}
	return http.StatusOK, object{"status": "ok", "visitors": shown}
}

func (s *Server) latest() []*visitor {
	all := slices.Clone(s.visitors)
	slices.SortStableFunc(all, func(a, b *visitor) int { return b.LastSeenAt.Compare(a.LastSeenAt) })
	return all
}

// firstRegion returns only the first visitor of the region that answers first, online or not.
func (s *Server) firstRegion(found []*visitor) []*visitor {
	rank := func(v *visitor) int { return slices.Index(s.opts.Regions, v.region) }
	return []*visitor{slices.MinFunc(found, func(a, b *visitor) int { return rank(a) - rank(b) })}
}

var fourDigits = regexp.MustCompile(`^[0-9]{4}$`)

// search finds visitors by one token of a documented kind, and by any other text fuzzily. The order of the results
// has no meaning.
func (s *Server) search(q string) []*visitor {
	var match func(*visitor) bool
	prefix, value, _ := strings.Cut(q, ":")
	switch {
	case q == "online":
		match = func(v *visitor) bool { return v.IsOnline }
	case q == "-online":
		match = func(v *visitor) bool { return !v.IsOnline }
	case fourDigits.MatchString(q):
		match = func(v *visitor) bool { return v.LookupCode == q }
	case prefix == "id":
		match = func(v *visitor) bool { return v.UniqueID == value }
	case prefix == "integration_id":
		match = func(v *visitor) bool { return slices.Contains(v.integrationIDs, value) }
	case prefix == "ip":
		match = func(v *visitor) bool { return sameIP(v.IPAddress, value) }
	case strings.HasPrefix(q, "#") && !strings.Contains(q, " "):
		match = func(v *visitor) bool { return slices.Contains(v.Tags, q) }
	case strings.Count(q, "@") == 1 && !strings.Contains(q, " "):
		match = func(v *visitor) bool {
			return strings.EqualFold(v.UniqueID, q) ||
				slices.ContainsFunc(v.Identities, func(i string) bool { return strings.EqualFold(i, q) })
		}
	default:
		return s.fuzzy(q)
	}
	var found []*visitor
	for _, v := range s.visitors {
		if match(v) {
			found = append(found, v)
		}
	}
	return found
}

func sameIP(a, b string) bool {
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// fuzzy returns the visitors with three consecutive letters of q in a text, or the latest visitors if there are none.
// So the result is empty only if the account is.
func (s *Server) fuzzy(q string) []*visitor {
	q = strings.ToLower(q)
	var found []*visitor
	for _, v := range s.visitors {
		texts := append([]string{v.ShortID, v.UniqueID, v.Name, v.Nickname, v.Email, v.LastURL}, v.Identities...)
		all := strings.ToLower(strings.Join(append(texts, v.Tags...), "\n"))
		for i := range len(q) {
			if i+3 <= len(q) && strings.Contains(all, q[i:i+3]) {
				found = append(found, v)
				break
			}
		}
	}
	if found == nil {
		found = s.latest()
	}
	return found
}

func (s *Server) visitorJSON(v *visitor) object {
	sessions := []any{}
	for _, c := range s.sessions {
		if c.VisitorID == v.ShortID {
			sessions = append(sessions, s.sessionJSON(c))
		}
	}
	o := object{
		"short_id": v.ShortID, "ip_address": v.IPAddress, "sdk": v.SDK, "watch_link": v.WatchLink,
		"api_key": v.PublicKey, "is_online": v.IsOnline, "is_in_session": v.IsInSession,
		"is_supported": v.IsSupported, "is_waiting_for_call": v.IsWaitingForCall,
		"js_configuration": v.JSConfiguration, "added_at": timeOrNull(v.AddedAt), "last_seen_at": timeOrNull(v.LastSeenAt),
		"identities": v.Identities, "tags": v.Tags, // null when there are none
		"sessions": sessions[max(0, len(sessions)-50):],
	}
	for name, value := range map[string]string{
		"unique_id": v.UniqueID, "name": v.Name, "nickname": v.Nickname, "email": v.Email,
		"integration": v.Integration, "lookup_code": v.LookupCode, "call_name": v.CallName, "last_url": v.LastURL,
		"location_city": v.LocationCity, "location_country": v.LocationCountry,
		"location_country_name": v.LocationCountryName, "device_type": v.DeviceType, "device_name": v.DeviceName,
		"browser_name": v.BrowserName,
	} {
		o[name] = orNull(value)
	}
	return o
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func agentJSON(a upscope.Agent) object {
	return object{
		"id": a.ID, "name": orNull(a.Name), "email": orNull(a.Email), "external_id": orNull(a.ExternalID),
	}
}
