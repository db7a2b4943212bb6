package upscope_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const documentedVisitor = `{
	"short_id":"AB12","unique_id":"123","identities":["Joe Smith","joe@example.com"],"name":"Joe Smith","nickname":"Joe",
	"email":"joe@example.com","tags":["#customer"],"lookup_code":"0042","is_online":true,"is_in_session":true,
	"is_supported":true,"is_waiting_for_call":true,"call_name":"Dana","last_url":"https://shop.example/cart",
	"last_seen_at":"2026-04-17T14:43:44.000Z","added_at":"2026-03-16T16:25:59.500+01:00","browser_name":"Chrome 65",
	"device_name":"iPhone","device_type":"mobile","ip_address":"8.8.8.8","location_city":"New York, NY",
	"location_country":"US","location_country_name":"united states","integration":"intercom,zendesk","sdk":"web",
	"api_key":"public","js_configuration":true,"watch_link":"https://upscope.com/w/AB12","_type":"visitor","new_field":{"a":[1]},
	"sessions":[` + documentedSession + `]}`

const documentedSession = `{
	"id":"s1","visitor_id":"AB12","visitor_unique_id":"123","started_at":"2026-07-05T11:53:38.000+01:00",
	"ended_at":"2026-07-05T11:55:09.000+01:00","went_live":true,"session_authorized":true,"length_seconds":91,
	"agents":[{"id":"ea_1","name":"Dana","email":null,"external_id":"slack:T1/U2"}],
	"metadata":{"card":"c1","n":12345678901234567890,"ok":true,"visitor_plan":"pro","nested":{"a":1},"none":null},"source":"api",
	"call_name":"Dana","agent_notes":[{"text":"fixed it","by":"ea_1"}],"visitor_agent_rating":4.5,"video_status":"ready",
	"public_video_url":"https://app.upscope.io/v/1","secret_video_url":"https://x.example/CANARY",
	"webhook_logs":[{"id":7,"created_at":"2026-07-05T10:55:10Z","updated_at":"2026-07-05T10:55:11Z",
	"webhook_url":"https://bridge.example/CANARY","status_code":502,"timed_out":true,"will_retry_at":"2026-07-05T11:00:00Z"}]}`

func wantedSession() upscope.Session {
	at := func(s string) time.Time {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		return t
	}
	return upscope.Session{
		ID: "s1", VisitorID: "AB12", VisitorUniqueID: "123", StartedAt: at("2026-07-05T10:53:38Z"),
		EndedAt: at("2026-07-05T10:55:09Z"), WentLive: true, Authorized: true, LengthSeconds: 91,
		Agents:   []upscope.Agent{{ID: "ea_1", Name: "Dana", ExternalID: "slack:T1/U2"}},
		Metadata: map[string]any{"card": "c1", "n": json.Number("12345678901234567890"), "ok": true, "visitor_plan": "pro"},
		Source:   "api", CallName: "Dana", AgentNotes: []upscope.Note{{Text: "fixed it", By: "ea_1"}}, VisitorAgentRating: new(4.5),
		VideoStatus: "ready", PublicVideoURL: "https://app.upscope.io/v/1",
		WebhookLogs: []upscope.WebhookLog{{
			ID: "7", CreatedAt: at("2026-07-05T10:55:10Z"), UpdatedAt: at("2026-07-05T10:55:11Z"), StatusCode: 502,
			TimedOut: true, WillRetryAt: at("2026-07-05T11:00:00Z"),
		}},
	}
}

func clientAnswered(t *testing.T, body string) *upscope.Client {
	t.Helper()
	client, _ := clients(t, upscope.Config{Key: key, Transport: &fixedAnswer{body: body}})
	return client
}

func TestEveryDocumentedFieldOfAVisitorIsRead(t *testing.T) {
	t.Parallel()
	want := upscope.Visitor{
		ShortID: "AB12", UniqueID: "123", Identities: []string{"Joe Smith", "joe@example.com"}, Name: "Joe Smith",
		Nickname: "Joe", Email: "joe@example.com", Tags: []string{"#customer"}, LookupCode: "0042", IsOnline: true,
		IsInSession: true, IsSupported: true, IsWaitingForCall: true, CallName: "Dana",
		LastURL:     "https://shop.example/cart",
		LastSeenAt:  time.Date(2026, 4, 17, 14, 43, 44, 0, time.UTC),
		AddedAt:     time.Date(2026, 3, 16, 15, 25, 59, 5e8, time.UTC),
		BrowserName: "Chrome 65", DeviceName: "iPhone", DeviceType: "mobile", IPAddress: "8.8.8.8",
		LocationCity: "New York, NY", LocationCountry: "US", LocationCountryName: "united states",
		Integration: "intercom,zendesk", SDK: "web", PublicKey: "public", JSConfiguration: true,
		WatchLink: "https://upscope.com/w/AB12", Sessions: []upscope.Session{wantedSession()},
	}
	got, err := clientAnswered(t, `{"visitor":`+documentedVisitor+`}`).Visitor(t.Context(), "AB12")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	list, err := clientAnswered(t, `{"visitors":[`+documentedVisitor+`]}`).Latest(t.Context(), 10)
	if diff := cmp.Diff([]upscope.Visitor{want}, list); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestFieldsOfAVisitorMayBeNullOrAbsent(t *testing.T) {
	t.Parallel()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(documentedVisitor), &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		fields[name] = json.RawMessage("null")
	}
	fields["short_id"] = json.RawMessage(`"AB12"`)
	nulls, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(nulls), `{"short_id":"AB12"}`, `{"short_id":"AB12","added_at":"","sessions":[]}`} {
		v, err := clientAnswered(t, `{"visitor":`+body+`}`).Visitor(t.Context(), "AB12")
		if len(v.Sessions) == 0 {
			v.Sessions = nil
		}
		if diff := cmp.Diff(upscope.Visitor{ShortID: "AB12"}, v); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

// These fields decide whose screen an agent sees.
func TestFieldsThatIdentifyAVisitorAreReadStrictly(t *testing.T) {
	t.Parallel()
	for _, visitor := range []string{
		`{"short_id":7}`, `{"short_id":["AB12"]}`, `{"short_id":"AB12","is_online":"true"}`, `{"short_id":"AB12","is_online":1}`,
		`{"short_id":"AB12","unique_id":7}`, `{"short_id":"AB12","identities":"joe"}`, `{"short_id":"AB12","identities":[1]}`,
		`{"short_id":"AB12","lookup_code":42}`, `{"short_id":"AB12","is_online":true,"is_online":false}`,
		`{"short_id":"AB12","sessions":[{"id":"a","id":"b"}]}`, `{"short_id":"AB12","\u006eame":"a","name":"b"}`,
		`{"name":7,"short_id":"AB12","sessions":[7],"is_online":"true"}`, `7`, `"AB12"`, `[]`, `null`, `{}`,
	} {
		if _, err := clientAnswered(t, `{"visitor":`+visitor+`}`).Visitor(t.Context(), "AB12"); !errors.Is(err, upscope.ErrUpstream) {
			t.Errorf("%s: %v", visitor, err)
		}
		// If one visitor of a list cannot be read, the caller cannot know whether another is the only match.
		if all, err := clientAnswered(t, `{"visitors":[{"short_id":"CD34"},`+visitor+`]}`).Latest(t.Context(), 10); !errors.Is(err, upscope.ErrUpstream) {
			t.Errorf("in a list with another, %s: %+v, %v", visitor, all, err)
		}
	}
	for _, list := range []string{`{}`, `"none"`, `7`, `[[]]`} {
		if _, err := clientAnswered(t, `{"visitors":`+list+`}`).Latest(t.Context(), 10); !errors.Is(err, upscope.ErrUpstream) {
			t.Errorf("visitors %s: %v", list, err)
		}
	}
}

// A field of the wrong type is zero, and all other fields are read.
func TestAWrongOtherFieldDoesNotMakeAVisitorUnreadable(t *testing.T) {
	t.Parallel()
	known := `"unique_id":"u","identities":["joe"],"lookup_code":"0042","is_online":true,"name":"Joe"`
	want := upscope.Visitor{ShortID: "AB12", UniqueID: "u", Identities: []string{"joe"}, LookupCode: "0042", IsOnline: true, Name: "Joe"}
	for _, odd := range []string{
		`"nickname":7`, `"email":{}`, `"call_name":false`, `"is_in_session":0`, `"is_supported":"yes"`, `"is_waiting_for_call":[]`,
		`"last_url":["https://shop.example/"]`, `"last_seen_at":"2022-01-11 18:01:49 UTC"`, `"last_seen_at":1700000000`,
		`"added_at":"yesterday"`, `"added_at":{}`, `"browser_name":65`, `"device_name":true`, `"device_type":{}`, `"ip_address":1`,
		`"location_city":{"name":"Lisbon"}`, `"location_country":351`, `"location_country_name":[]`, `"integration":["zendesk"]`,
		`"sdk":2`, `"api_key":1`, `"js_configuration":{}`, `"watch_link":{}`, `"tags":"#a"`, `"sessions":{}`, `"sessions":"many"`,
	} {
		for _, visitor := range []string{`{"short_id":"AB12",` + odd + `,` + known + `}`, `{"short_id":"AB12",` + known + `,` + odd + `}`} {
			v, err := clientAnswered(t, `{"visitor":`+visitor+`}`).Visitor(t.Context(), "AB12")
			if diff := cmp.Diff(want, v); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", odd, err, diff)
			}
			all, err := clientAnswered(t, `{"visitors":[{"short_id":"CD34"},`+visitor+`]}`).Latest(t.Context(), 10)
			if diff := cmp.Diff([]upscope.Visitor{{ShortID: "CD34"}, want}, all); err != nil || diff != "" {
				t.Errorf("in a list with another, %s: %v\n%s", odd, err, diff)
			}
		}
	}
}

func TestAWrongPastSessionDoesNotMakeAVisitorUnreadable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		session string
		want    []upscope.Session
	}{
		"a note by an object":      {`{"id":"s1","agent_notes":[{"text":"x","by":{"id":"ea_1"}}]}`, []upscope.Session{{ID: "s1", AgentNotes: []upscope.Note{{Text: "x"}}}}},
		"a note in one word":       {`{"id":"s1","agent_notes":["x"]}`, []upscope.Session{{ID: "s1", AgentNotes: []upscope.Note{{}}}}},
		"a rating of zero":         {`{"id":"s1","visitor_agent_rating":0}`, []upscope.Session{{ID: "s1", VisitorAgentRating: new(0.0)}}},
		"a rating as a text":       {`{"id":"s1","visitor_agent_rating":"4.5"}`, []upscope.Session{{ID: "s1", VisitorAgentRating: new(4.5)}}},
		"no rating":                {`{"id":"s1","visitor_agent_rating":null}`, []upscope.Session{{ID: "s1"}}},
		"a rating in words":        {`{"id":"s1","visitor_agent_rating":"good"}`, []upscope.Session{{ID: "s1"}}},
		"a length in words":        {`{"id":"s1","length_seconds":"long","source":"api"}`, []upscope.Session{{ID: "s1", Source: "api"}}},
		"a length beyond numbers":  {`{"id":"s1","length_seconds":1e300}`, []upscope.Session{{ID: "s1"}}},
		"a time as a number":       {`{"id":"s1","started_at":1700000000}`, []upscope.Session{{ID: "s1"}}},
		"a flag as a number":       {`{"id":"s1","went_live":1}`, []upscope.Session{{ID: "s1"}}},
		"agents that are no list":  {`{"id":"s1","agents":{}}`, []upscope.Session{{ID: "s1"}}},
		"an agent that is a name":  {`{"id":"s1","agents":["Bob",{"id":"ea_1","name":7}]}`, []upscope.Session{{ID: "s1", Agents: []upscope.Agent{{ID: "ea_1"}}}}},
		"a log entry that is none": {`{"id":"s1","webhook_logs":[7,{"id":1,"status_code":"ok"}]}`, []upscope.Session{{ID: "s1", WebhookLogs: []upscope.WebhookLog{{ID: "1"}}}}},
		"an id that is none":       {`{"id":{}}`, []upscope.Session{}},
		"a number":                 {`7`, []upscope.Session{}},
		"nothing":                  {`null`, []upscope.Session{}},
	} {
		body := `{"visitor":{"short_id":"AB12","sessions":[` + tt.session + `,` + documentedSession + `],"is_online":true}}`
		v, err := clientAnswered(t, body).Visitor(t.Context(), "AB12")
		if err != nil || !v.IsOnline {
			t.Errorf("%s: %+v, %v", name, v, err)
			continue
		}
		if diff := cmp.Diff(append(tt.want, wantedSession()), v.Sessions); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestAnAnswerAboutAnotherVisitorIsAnError(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"visitor":{"short_id":"CD34"}}`, `{"visitor":{"short_id":""}}`, `{"visitor":{}}`, `{"visitors":[{"short_id":"AB12"}]}`} {
		if v, err := clientAnswered(t, body).Visitor(t.Context(), "AB12"); !errors.Is(err, upscope.ErrUpstream) || v.ShortID != "" {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, body := range []string{`{"visitors":[null]}`, `{"visitors":[{"name":"Joe"}]}`} {
		if _, err := clientAnswered(t, body).Latest(t.Context(), 10); !errors.Is(err, upscope.ErrUpstream) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestMetadataOfThePageCannotMakeAnAnswerUnreadable(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{
		`{"visitor_n":1e999}`, `{"visitor_a":{"b":[1]},"visitor_A":2}`, `[]`, `"text"`, `7`, `null`, `{"":""}`, `{"visitor_x":null}`,
	} {
		body := `{"visitor":{"short_id":"AB12","sessions":[{"id":"s1","metadata":` + metadata + `}]}}`
		if _, err := clientAnswered(t, body).Visitor(t.Context(), "AB12"); err != nil {
			t.Errorf("%s: %v", metadata, err)
		}
	}
}

func TestTheLargestDocumentedListFits(t *testing.T) {
	t.Parallel()
	// The list has ten visitors with fifty sessions each, with all fields and some lines of notes.
	session := strings.Replace(documentedSession, "fixed it", strings.Repeat("The customer could not pay. ", 15), 1)
	visitor := strings.Replace(documentedVisitor, documentedSession, strings.TrimSuffix(strings.Repeat(session+",", 50), ","), 1)
	body := `{"visitors":[` + strings.TrimSuffix(strings.Repeat(visitor+",", 10), ",") + `]}`
	list, err := clientAnswered(t, body).Latest(t.Context(), 10)
	if err != nil || len(list) != 10 || len(list[9].Sessions) != 50 {
		t.Errorf("%d bytes: %v", len(body), err)
	}
}

func TestAVisitorIsReadFromTheService(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	id := f.Come(upscope.Visitor{UniqueID: "u", Name: "Joe", Tags: []string{"#a"}, LastURL: "https://shop.example/"})
	f.SetIntegrationIDs(id, "rocketchat:k1")
	v, err := f.client.Visitor(t.Context(), id)
	if err != nil || v.ShortID != id || !v.IsOnline || v.Name != "Joe" || v.Identities != nil || v.LastSeenAt.IsZero() || v.LookupCode != "" {
		t.Errorf("%+v, %v", v, err)
	}
	if strings.Contains(fmt.Sprintf("%+v", v), "rocketchat") {
		t.Error("the service returns integration ids")
	}
	if _, err := f.client.Visitor(t.Context(), "Nobody99"); !errors.Is(err, upscope.ErrNotFound) {
		t.Error(err)
	}
}

// An answer is read as a visitor with the requested id, or is an upstream fault. A visitor that is written and read
// again stays the same.
func FuzzVisitorJSON(f *testing.F) {
	f.Add([]byte(documentedVisitor))
	f.Add([]byte(`{"short_id":"AB12"}`))
	f.Add([]byte(`{"short_id":"AB12","identities":null,"sessions":[{"id":1,"metadata":{"a":1e9}}]}`))
	f.Add([]byte(`{"short_id":"AB12","name":7,"last_seen_at":7,"sessions":[7,{"id":"s1","agents":[7],"agent_notes":["x"]}]}`))
	f.Add([]byte(`{"short_id":"AB12","short_id":"CD34"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(strings.Repeat("[", 10_001)))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, err := upscope.New(upscope.Config{Key: key, Transport: &fixedAnswer{body: `{"visitor":` + string(b) + `}`}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := client.Visitor(t.Context(), "AB12")
		if err != nil {
			if !errors.Is(err, upscope.ErrUpstream) {
				t.Fatal(err)
			}
			return
		}
		if !strings.EqualFold(v.ShortID, "AB12") {
			t.Fatalf("short id %q", v.ShortID)
		}
		roundTrip[upscope.Visitor](t, v)
	})
}

func roundTrip[T any](t *testing.T, v T) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	var again T
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if diff := cmp.Diff(v, again); diff != "" {
		t.Fatal(diff)
	}
}
