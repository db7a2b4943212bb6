package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/connectortest"

	"github.com/google/go-cmp/cmp"
)

// inMemory carries requests to a handler without a network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	m.ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func address(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// newDesk returns a help desk with the open chat c1, which Robin serves.
func newDesk(t testing.TB, wrap func(http.RoundTripper) http.RoundTripper) (*HelpDesk, chat.Connector) {
	t.Helper()
	d := NewHelpDesk(Options{URL: address(t, "http://127.0.0.1:8080/demo")})
	d.begin("Ann", d.shop.key)
	c, err := d.Connector("demo", wrap(inMemory{d}))
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

func plain(rt http.RoundTripper) http.RoundTripper { return rt }

func signed(d *HelpDesk, body string) connectortest.Request {
	return connectortest.Request{
		Path: "/hooks/demo", Body: []byte(body),
		Header: http.Header{signatureHeader: {sign([]byte(d.secret), []byte(body))}},
	}
}

func accept(c chat.Connector, r connectortest.Request) (chat.Receipt, error) {
	req := httptest.NewRequest(http.MethodPost, r.Path, strings.NewReader(string(r.Body)))
	req.Header = r.Header
	return c.Accept(req, r.Body)
}

func TestConnectorPassesTheSuite(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{
		New: func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
			d, c := newDesk(t, wrap)
			genuine := func(body []byte) connectortest.Request { return signed(d, string(body)) }
			body := `{"id":"e1","type":"chat.assigned","chat":"c1"}`
			elsewhere := genuine([]byte(body))
			elsewhere.Name, elsewhere.Body = "another body with the same signature", []byte(strings.Replace(body, "c1", "c2", 1))
			named := func(chatID, key string) []byte {
				body, err := json.Marshal(event{ID: key, Type: typeClosed, Chat: chatID})
				if err != nil {
					t.Fatal(err)
				}
				return body
			}
			return connectortest.Service{
				Connector: c,
				Secrets:   []string{d.secret, d.token, d.shop.key},
				Genuine:   genuine,
				Event:     func() []byte { return []byte(body) },
				Closing: func() []byte {
					d.close(d.chats[0])
					return []byte(`{"id":"e3","type":"chat.closed","chat":"c1"}`)
				},
				HandOver: func() []byte {
					d.handOver(d.chats[0], d.agents[1])
					return []byte(`{"id":"e4","type":"chat.assigned","chat":"c1","agent":"sam"}`)
				},
				Remove: func() { d.chats = nil },
				Keyed:  func(key string) []byte { return named("c1", key) },
				Named:  named,
				Forged: []connectortest.Request{elsewhere},
				Same:   [][]byte{[]byte(body), []byte(`{"id":"e1","type":"chat.assigned","chat":"c1","attempt":2}`)},
				Different: [][]byte{
					[]byte(`{"id":"e1","type":"chat.assigned","chat":"c1"}`),
					[]byte(`{"id":"e2","type":"chat.message","chat":"c1"}`),
					[]byte(`{"id":"e3","type":"chat.closed","chat":"c1"}`),
				},
				Place: chat.Place{Connector: "demo", Address: "robin"},
				Shown: func(chat.Place) []string {
					var texts []string
					for _, m := range d.agents[0].Inbox {
						texts = append(texts, fmt.Sprintf("%+v", m.message))
					}
					return texts
				},
				VisitorReads: func() []string {
					var texts []string
					for _, m := range d.chats[0].Messages {
						texts = append(texts, m.Text)
					}
					return texts
				},
			}
		},
		OddFields: []string{"name", "email", "upscope_key", "url"},
	})
}

func TestReadReturnsThePresentStateOfTheChat(t *testing.T) {
	t.Parallel()
	d, c := newDesk(t, plain)
	delivery := chat.Delivery{Key: "e1", Body: []byte(`{"chat":"c1"}`)}
	read := func() chat.Ask {
		t.Helper()
		ask, err := c.Read(t.Context(), delivery)
		if err != nil {
			t.Fatal(err)
		}
		return ask
	}
	robins := chat.Ask{
		Verb: chat.Start, Chat: "c1", ChatURL: "http://127.0.0.1:8080/demo/?inbox=robin#c1",
		Agent: chat.Agent{ID: "robin", Name: "Robin", Email: RobinsEmail}, Visitor: "Ann",
		Clues: chat.Clues{IntegrationIDs: []string{"demo:" + d.shop.key}},
		Place: chat.Place{Address: "robin"},
	}
	if diff := cmp.Diff(robins, read()); diff != "" {
		t.Errorf("served by Robin (-want +got):\n%s", diff)
	}
	d.handOver(d.chats[0], d.agents[1])
	if ask := read(); ask.Agent != (chat.Agent{ID: "sam", Name: "Sam"}) || ask.Place.Address != "sam" {
		t.Errorf("after the hand-over to Sam: %+v", ask)
	}
	d.chats[0].key = `<script>`
	if ask := read(); !ask.Clues.Empty() {
		t.Errorf("an invalid key became a clue: %+v", ask.Clues)
	}
	d.close(d.chats[0])
	if diff := cmp.Diff(chat.Ask{Verb: chat.Close, Chat: "c1"}, read()); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
}

func TestAnEventThatTakesAChatFromItsAgentSaysSo(t *testing.T) {
	t.Parallel()
	d, c := newDesk(t, plain)
	for body, want := range map[string][]chat.ChatChange{
		`{"id":"e1","type":"chat.closed","chat":"c1","agent":"robin"}`:   {{Chat: "c1", Closed: true}},
		`{"id":"e1","type":"chat.assigned","chat":"c1","agent":"sam"}`:   {{Chat: "c1", Agent: "sam"}},
		`{"id":"e1","type":"chat.assigned","chat":"c1"}`:                 {{Chat: "c1"}},
		`{"id":"e1","type":"chat.assigned","chat":"c1","agent":"../me"}`: {{Chat: "c1"}},
		`{"id":"e1","type":"chat.message","chat":"c1","agent":"robin"}`:  nil,
		`{"id":"e1","type":"chat.rated","chat":"c1"}`:                    nil,
		`{"id":"e1","type":"chat.closed","chat":"../me"}`:                nil,
	} {
		r, err := accept(c, signed(d, body))
		if diff := cmp.Diff(want, r.Changes); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", body, err, diff)
		}
	}
	// The help desk names the agent in its own events.
	d.handOver(d.chats[0], d.agents[1])
	d.say(d.chats[0], "Hello?")
	d.close(d.chats[0])
	want := []event{
		{ID: "e1", Type: typeAssigned, Chat: "c1", Agent: "robin"}, {ID: "e2", Type: typeAssigned, Chat: "c1", Agent: "sam"},
		{ID: "e3", Type: "chat.message", Chat: "c1", Agent: "sam"}, {ID: "e4", Type: typeClosed, Chat: "c1", Agent: "sam"},
	}
	var got []event
	for range want {
		got = append(got, <-d.outbox)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of the help desk (-want +got):\n%s", diff)
	}
}

func TestReadOfAnUnknownChatFailsForGood(t *testing.T) {
	t.Parallel()
	_, c := newDesk(t, plain)
	for _, body := range []string{`{"chat":"c9"}`, `{"chat":"../me"}`, `{}`, ``} {
		if _, err := c.Read(t.Context(), chat.Delivery{Body: []byte(body)}); !chat.IsPermanent(err) {
			t.Errorf("%s: got %v, want a permanent error", body, err)
		}
	}
}

func TestServingReturnsTheAgentAndWhetherTheChatIsOpen(t *testing.T) {
	t.Parallel()
	d, c := newDesk(t, plain)
	if agent, open, err := c.Serving(t.Context(), "c1"); agent != "robin" || !open || err != nil {
		t.Errorf("got %q, %v, %v", agent, open, err)
	}
	d.close(d.chats[0])
	if _, open, err := c.Serving(t.Context(), "c1"); open || err != nil {
		t.Errorf("closed: got open %v, error %v", open, err)
	}
}

func TestCheckReportsAWrongToken(t *testing.T) {
	t.Parallel()
	d, c := newDesk(t, plain)
	if f := c.Check(t.Context()); len(f) != 1 || f[0].OK == "" || f[0].Problem != "" {
		t.Errorf("with the right token: %+v", f)
	}
	d.token = "another"
	if f := c.Check(t.Context()); len(f) != 1 || !strings.Contains(f[0].Problem, "token") || f[0].Remedy == "" {
		t.Errorf("with a wrong token: %+v", f)
	}
}

func TestNewRefusesAnInvalidConfigurationWithoutTellingSecrets(t *testing.T) {
	t.Parallel()
	good := Config{Name: "demo", URL: address(t, "http://127.0.0.1/demo/api"), Secret: "0123456789abcdef", Token: "s3cr3t-token"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no name":        func(c *Config) { c.Name = "" },
		"no address":     func(c *Config) { c.URL = nil },
		"plain http":     func(c *Config) { c.URL = address(t, "http://desk.example/api") },
		"a short secret": func(c *Config) { c.Secret = "0123456789abcde" },
		"no token":       func(c *Config) { c.Token = "" },
	} {
		c := good
		spoil(&c)
		_, err := New(c)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, secret := range []string{"0123456789", "s3cr3t-token"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error contains a secret", name)
			}
		}
	}
}

// For any body: without a valid signature it is refused, and with one only the chat's id is
// stored.
func FuzzAccept(f *testing.F) {
	d, c := newDesk(f, plain)
	f.Add(`{"id":"e1","type":"chat.assigned","chat":"c1"}`)
	f.Add(`{"id":"e1","type":"chat.message","chat":"c1","text":"my card number is 4111"}`)
	f.Add(`{"id":{},"chat":["c1"]}`)
	f.Add(`{"id":"e2","type":"chat.closed","chat":"c1"}`)
	f.Add(`[[[[`)
	f.Fuzz(func(t *testing.T, body string) {
		r := signed(d, body)
		receipt, err := accept(c, r)
		if err == nil && receipt.Key != "" {
			if again, err := accept(c, r); err != nil || again.Key != receipt.Key {
				t.Errorf("the same bytes got another key: %q, %v", again.Key, err)
			}
			if !id.MatchString(receipt.Key) || len(receipt.Body) > len(`{"chat":""}`)+64 {
				t.Errorf("stored %q with the key %q", receipt.Body, receipt.Key)
			}
			for _, change := range receipt.Changes {
				if !id.MatchString(change.Chat) || change.Agent != "" && !id.MatchString(change.Agent) {
					t.Errorf("invalid change %+v", change)
				}
			}
		}
		r.Body = append(r.Body, ' ')
		if _, err := accept(c, r); !errors.Is(err, chat.ErrForged) {
			t.Errorf("with another body: %v", err)
		}
	})
}
