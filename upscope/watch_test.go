package upscope_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestAWatchRequestIsWrittenAsDocumented(t *testing.T) {
	t.Parallel()
	agent := upscope.Agent{ID: "slack:T1/U2", Name: "Dana"}
	for _, tt := range []struct {
		name string
		r    upscope.WatchRequest
		want string
	}{
		{
			"only what is required", upscope.WatchRequest{Agent: upscope.Agent{ID: "slack:T1/U2"}},
			`{"agent":{"id":"slack:T1/U2"},"branding":{"naked":false,"retry_url":null,"on_end_url":null}}`,
		},
		{
			"everything",
			upscope.WatchRequest{
				Agent: agent, Viewer: upscope.Agent{ID: "v1", Name: "Vic"},
				Branding: upscope.Branding{Naked: upscope.NakedYes, RetryURL: "https://b.example/w/1", OnEndURL: "http://127.0.0.1:8080/desk"},
				Permissions: upscope.Permissions{
					AllowAgentRedirect: upscope.On, AllowAudio: upscope.Off, AllowClick: upscope.On, AllowConfetti: upscope.Off,
					AllowConsole: upscope.On, AllowDraw: upscope.Off, AllowNotes: upscope.On, AllowRequestVisitorScreen: upscope.Off,
					AllowScroll: upscope.On, AllowShowAgentScreen: upscope.Off, AllowType: upscope.On, HidePrivateDetails: upscope.Off,
				},
				Metadata:     map[string]any{"s": "a", "n": 7, "f": 1.5, "j": json.Number("-2e3"), "t": true},
				InitialNotes: "Ticket 7", Language: "de", WebhookURL: "https://b.example/upscope/ended/x",
			},
			`{"agent":{"id":"slack:T1/U2","name":"Dana"},"viewer":{"id":"v1","name":"Vic"},
			"branding":{"naked":true,"retry_url":"https://b.example/w/1","on_end_url":"http://127.0.0.1:8080/desk"},
			"permissions":{"allow_agent_redirect":true,"allow_audio":false,"allow_click":true,"allow_confetti":false,"allow_console":true,
			"allow_draw":false,"allow_notes":true,"allow_request_visitor_screen":false,"allow_scroll":true,"allow_show_agent_screen":false,
			"allow_type":true,"hide_private_details":false},"metadata":{"s":"a","n":7,"f":1.5,"j":-2e3,"t":true},
			"initial_notes":"Ticket 7","language":"de","webhook_url":"https://b.example/upscope/ended/x"}`,
		},
		{
			"what is unset is not written",
			upscope.WatchRequest{
				Agent: agent, Branding: upscope.Branding{Naked: upscope.NakedPageOnly},
				Permissions: upscope.Permissions{AllowConsole: upscope.Off, HidePrivateDetails: upscope.On}, Metadata: map[string]any{},
			},
			`{"agent":{"id":"slack:T1/U2","name":"Dana"},"branding":{"naked":"page_only","retry_url":null,"on_end_url":null},
			"permissions":{"allow_console":false,"hide_private_details":true}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{})
			populate(f)
			if _, err := f.client.Watch(t.Context(), onlineID, tt.r); err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(f.Watches()[0].Raw, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWatchRequestThatBreaksARuleIsNotSent(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	for name, change := range map[string]func(*upscope.WatchRequest){
		"no agent":                    func(r *upscope.WatchRequest) { r.Agent = upscope.Agent{} },
		"an agent without an id":      func(r *upscope.WatchRequest) { r.Agent = upscope.Agent{Name: "Dana"} },
		"a control character":         func(r *upscope.WatchRequest) { r.Agent.ID = "a\nb" },
		"a very long agent id":        func(r *upscope.WatchRequest) { r.Agent.ID = strings.Repeat("a", 257) },
		"an agent read from Upscope":  func(r *upscope.WatchRequest) { r.Agent = upscope.Agent{ID: "ea_1", ExternalID: "x"} },
		"a user read from Upscope":    func(r *upscope.WatchRequest) { r.Agent = upscope.Agent{ID: "u_1", Email: "a@example.com"} },
		"a viewer without an id":      func(r *upscope.WatchRequest) { r.Viewer.Name = "Vic" },
		"metadata of the page":        func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"visitor_plan": "pro"} },
		"metadata without a name":     func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"": "a"} },
		"nested metadata":             func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": map[string]any{}} },
		"a list as metadata":          func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": []string{"b"}} },
		"null as metadata":            func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": nil} },
		"a pointer as metadata":       func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": new(string)} },
		"a time as metadata":          func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": time.Now()} },
		"NaN as metadata":             func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": math.NaN()} },
		"infinity as metadata":        func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": float32(math.Inf(1))} },
		"no number as metadata":       func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": json.Number("true")} },
		"JSON as a number":            func(r *upscope.WatchRequest) { r.Metadata = map[string]any{"a": json.Number("1,\"b\":2")} },
		"naked of another kind":       func(r *upscope.WatchRequest) { r.Branding.Naked = 7 },
		"a switch of another kind":    func(r *upscope.WatchRequest) { r.Permissions.AllowClick = 7 },
		"http as webhook":             func(r *upscope.WatchRequest) { r.WebhookURL = "http://b.example/" },
		"a relative retry address":    func(r *upscope.WatchRequest) { r.Branding.RetryURL = "/w/1" },
		"a script to end on":          func(r *upscope.WatchRequest) { r.Branding.OnEndURL = "javascript:alert(1)" },
		"a password in the webhook":   func(r *upscope.WatchRequest) { r.WebhookURL = "https://u:p@b.example/" },
		"an address without a host":   func(r *upscope.WatchRequest) { r.Branding.RetryURL = "https:///w/1" },
		"an address with line breaks": func(r *upscope.WatchRequest) { r.Branding.RetryURL = "https://b.example/\n" },
	} {
		r := watchRequest()
		change(&r)
		if link, err := f.client.Watch(t.Context(), onlineID, r); !errors.Is(err, upscope.ErrInvalid) || !link.Expires().IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestSwitchesPrintTheirValue(t *testing.T) {
	t.Parallel()
	if got := upscope.Unset.String() + upscope.On.String() + upscope.Off.String() + upscope.Switch(9).String(); got != "unsetonoffinvalid" {
		t.Error(got)
	}
	if _, err := json.Marshal(upscope.Unset); err == nil {
		t.Error("an unset switch was written")
	}
}

func TestAWatchLinkLeadsToTheSession(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	link, err := f.client.Watch(t.Context(), onlineID, watchRequest())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(link.Expires()); left <= 0 || left > 5*time.Minute {
		t.Errorf("expires in %v", left)
	}
	address, err := link.Location(hosts(t, strings.TrimPrefix(strings.TrimSuffix(f.url, prefix), "http://")), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || f.Opened() != 1 || f.Minted() != 1 {
		t.Errorf("%s; opened %d, minted %d", resp.Status, f.Opened(), f.Minted())
	}
}

func TestWatchFailuresOfTheService(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if _, err := f.client.Watch(t.Context(), "Nobody99", watchRequest()); !errors.Is(err, upscope.ErrNotFound) {
		t.Errorf("unknown visitor: %v", err)
	}
	f.SetOverPlan(true)
	if _, err := f.client.Watch(t.Context(), onlineID, watchRequest()); !errors.Is(err, upscope.ErrOverPlan) {
		t.Errorf("over plan: %v", err)
	}
	f.SetOverPlan(false)
	if _, err := f.client.Watch(t.Context(), offlineID, watchRequest()); err != nil {
		t.Errorf("offline, which the service accepts: %v", err)
	}
	f.Fail(upscopetest.Watch, upscopetest.Fault{WatchURL: "https://evil.example/session/1", Expiration: "null"}, 1)
	link, err := f.client.Watch(t.Context(), onlineID, watchRequest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link.Location(hosts(t, upscope.DefaultWatchHosts), time.Now()); !errors.Is(err, upscope.ErrUntrustedTarget) {
		t.Errorf("a foreign link: %v", err)
	}
}
