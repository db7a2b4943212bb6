package chatvisortest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

const token = "a-token-of-the-tenant"

func ask(s *chatvisortest.Service, path, header string) (int, string) {
	r := httptest.NewRequest(http.MethodGet, "https://app.chatvisor.com"+path, nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

func TestOnlyDocumentedRequestsWithATokenAreAnswered(t *testing.T) {
	t.Parallel()
	s := chatvisortest.New(token)
	for i := range 3 {
		s.AddCustomer(chatvisortest.Customer{ID: string(rune('a' + i))})
	}
	const list = chatvisortest.Prefix + "/customer"
	for _, c := range []struct {
		path, header string
		status       int
		body         string
	}{
		{list, "", 401, ""},
		{list, "Bearer another", 401, ""},
		{list, token, 401, ""},
		{list + "?access_token=" + token, "", 200, `"customerId":"c"`},
		{list + "?pageNumber=1&pageSize=2", "Bearer " + token, 200, `{"page":1,"results":[{"customerId":"c","status":""}]}`},
		{list + "?pageNumber=9", "Bearer " + token, 200, `{"page":9,"results":[]}`},
		{list + "/a", "Bearer " + token, 404, ""},
		{chatvisortest.Prefix + "/conversation", "Bearer " + token, 404, ""},
	} {
		status, body := ask(s, c.path, c.header)
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s is answered %d %s, want %d %s", c.path, status, body, c.status, c.body)
		}
	}
	if strange := s.Unexpected(); !slices.Equal(strange, []string{"GET " + list + "/a", "GET " + chatvisortest.Prefix + "/conversation"}) {
		t.Errorf("unexpected requests: %q", strange)
	}
	if chatvisortest.New(token).Rules() == s.Rules() {
		t.Error("two tenants have the same random paths")
	}
}

func TestHooksAreSentAsTheVendorDocuments(t *testing.T) {
	t.Parallel()
	s := chatvisortest.New(token)
	for _, c := range []struct {
		what   string
		hooks  []chatvisortest.Hook
		events []string
		status string
	}{
		{"a first message", s.Write("c-1", "hello"), []string{"new-conversation", "status-change", "new-message"}, chatvisortest.Unread},
		{"another", s.Write("c-1", "more"), []string{"new-message"}, ""},
		{"an agent is done", s.SetStatus("c-1", chatvisortest.Done), []string{"status-change"}, chatvisortest.Done},
		{"an agent is done again", s.SetStatus("c-1", chatvisortest.Done), nil, ""},
		{"the customer writes", s.Write("c-1", "wait"), []string{"new-conversation", "status-change", "new-message"}, chatvisortest.Unread},
		{"an agent opens it", s.SetStatus("c-1", chatvisortest.Unresolved), []string{"status-change"}, chatvisortest.Unresolved},
		{"the customer writes again", s.Write("c-1", "so?"), []string{"status-change", "new-message"}, chatvisortest.Unread},
	} {
		var events []string
		for _, h := range c.hooks {
			events = append(events, h.Event)
			var body struct{ CustomerID, Status, Text string }
			if err := json.Unmarshal(h.Body, &body); err != nil || body.CustomerID != "c-1" || h.Event != "new-message" && body.Status != c.status ||
				h.Event == "new-message" && (body.Text == "" || body.Status != "") {
				t.Errorf("%s: %s %s", c.what, h.Event, h.Body)
			}
		}
		if !slices.Equal(events, c.events) {
			t.Errorf("%s: hooks %q, want %q", c.what, events, c.events)
		}
	}
}
