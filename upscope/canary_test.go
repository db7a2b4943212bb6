package upscope_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// printed returns what a program may print, log or marshal of v.
func printed(v any) string {
	var b bytes.Buffer
	nested := struct {
		Public  any
		private any
		list    []any
		byKey   map[string]any
	}{v, v, []any{v}, map[string]any{"k": v}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%w"} {
		fmt.Fprintf(&b, verb+"\n", v)
		fmt.Fprintf(&b, verb+"\n", nested)
		fmt.Fprintf(&b, verb+"\n", &nested)
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
		slog.New(h).Info("m", "v", v, "nested", nested, "public", nested.Public)
	}
	for _, marshalled := range []any{v, nested, map[string]any{"v": v}} {
		j, err := json.Marshal(marshalled)
		fmt.Fprintln(&b, string(j), err)
	}
	var g bytes.Buffer
	fmt.Fprintln(&b, gob.NewEncoder(&g).Encode(v))
	b.Write(g.Bytes())
	if err, ok := v.(error); ok {
		fmt.Fprintln(&b, err.Error(), errors.Unwrap(err))
	}
	return b.String()
}

// checkHidden fails if printed(v) contains one of the secrets, plain or encoded.
func checkHidden(t *testing.T, v any, secrets ...string) {
	t.Helper()
	text := printed(v)
	for _, s := range secrets {
		j, _ := json.Marshal(s)
		for _, form := range []string{
			s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(j), `"`), hex.EncodeToString([]byte(s)),
			strings.ToUpper(hex.EncodeToString([]byte(s))), base64.RawStdEncoding.EncodeToString([]byte(s)),
			base64.RawURLEncoding.EncodeToString([]byte(s)),
		} {
			if form != "" && strings.Contains(text, form) {
				t.Errorf("%T shows %q in\n%.600s", v, form, text)
				return
			}
		}
	}
}

func TestTheSearchForSecretsFindsAPlantedOne(t *testing.T) {
	t.Parallel()
	for _, planted := range []any{
		"CANARY", []byte("CANARY"), struct{ s string }{"CANARY"}, &struct{ S string }{"CANARY"}, errors.New("a CANARY"),
	} {
		text := printed(planted)
		if !strings.Contains(text, "CANARY") && !strings.Contains(text, hex.EncodeToString([]byte("CANARY"))) {
			t.Errorf("the secret in a %T is not found", planted)
		}
	}
}

// everySecret lists texts that an error of a call must not contain.
var everySecret = []string{
	"CANARY-key-1f9b", "canarykey", onlineID, offlineID, ownKey, "CANARYagent", "CANARY-link", "CANARY-SECRET-VIDEO", "CANARY-body",
}

func TestAKeyOfLettersIsNotReturnedAsACode(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"canarykey", "bad_canarykey", "canarykey_not_known"} {
		f := setup(t, upscopetest.Options{})
		f.client, f.eraser = clients(t, upscope.Config{URL: f.url, Key: "canaryKey"})
		f.Fail(upscopetest.Any, upscopetest.Fault{Status: 401, Code: code}, -1)
		for _, call := range everyCall {
			checkHidden(t, call.do(t.Context(), f), everySecret...)
		}
	}
}

func TestErrorsContainNoSecret(t *testing.T) {
	t.Parallel()
	const secretKey = "CANARY-key-1f9b"
	faults := map[string]upscopetest.Fault{
		"key as code":      {Status: 401, Code: secretKey},
		"short id as code": {Status: 404, Code: onlineID},
		"short id inside":  {Status: 404, Code: "no_" + onlineID + "_here"},
		"quoting page":     {Status: 502, Body: "<p>CANARY-body " + secretKey + " " + onlineID + " " + ownKey},
		"quoting text":     {Status: 500, Code: "CANARY-body: " + ownKey},
		"wrong type":       {Status: 200, Body: `{"usage":"CANARY-body","visitor":"CANARY-body","visitors":"CANARY-body","agent":"CANARY-body","watch_url":["CANARY-link"],"cobrowsing_sessions":"CANARY-body","token":["CANARY-body"]}`},
		"bad time":         {Status: 200, Body: `{"visitor":{"short_id":"canaryid","added_at":"CANARY-body"},"expiration":"CANARY-body","watch_url":"https://cobrowsingapi.com/CANARY-link"}`},
		"not JSON":         {Status: 200, Body: `CANARY-body`},
		"redirect":         {RedirectTo: "https://CANARY-link.example/" + secretKey},
		"retry":            {Status: 429, RetryAfter: "CANARY-body"},
		"reset":            {Reset: true},
		"truncated":        {Truncate: true},
		"dropped":          {Drop: true},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{Key: secretKey})
			f.client, f.eraser = clients(t, upscope.Config{URL: f.url, Key: secretKey})
			populate(f)
			f.Fail(upscopetest.Any, fault, -1)
			for _, call := range everyCall {
				if strings.Contains(name, "short id") && !call.aboutOnline {
					continue // the request does not contain that id
				}
				if err := call.do(t.Context(), f); err != nil {
					checkHidden(t, err, everySecret...)
					checkHidden(t, fmt.Errorf("card 7: %w", err), everySecret...)
				}
			}
			checkHidden(t, f.client, secretKey)
			checkHidden(t, *f.client, secretKey)
			checkHidden(t, f.eraser, secretKey)
		})
	}
}

func TestErrorsOfABrokenProtocolQuoteNothing(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"CANARY-body\r\n\r\n",
		"HTTP/1.1 CANARY-body\r\n\r\n",
		"HTTP/1.1 200 OK\r\nCANARY-body\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: CANARY-body\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: CANARY-body\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY-body\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("CANARY-body", 10_000) + "\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						_, _ = io.Copy(io.Discard, r.Body)
						_, _ = io.WriteString(c, answer)
					}
				}()
			}
		}()
		f := fixture{}
		f.client, f.eraser = clients(t, upscope.Config{URL: "http://" + l.Addr().String(), Key: "CANARY-key-1f9b"})
		for _, call := range everyCall {
			err := call.do(t.Context(), f)
			if err == nil && call.bodyless {
				continue
			}
			if !errors.Is(err, upscope.ErrUpstream) {
				t.Errorf("%s of %.40q: %v", call.name, answer, err)
			}
			checkHidden(t, err, everySecret...)
		}
	}
}

func TestErrorsOfTheNetworkContainNoAddress(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"name": func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "CANARY-body.example", IsNotFound: true}
		},
		"other": func(context.Context, string, string) (net.Conn, error) {
			return nil, &url.Error{Op: "Get", URL: "https://CANARY-body", Err: errors.New("CANARY-link")}
		},
	} {
		transport := upscope.NewTransport()
		transport.DialContext = dial
		f := fixture{}
		f.client, f.eraser = clients(t, upscope.Config{Key: "CANARY-key-1f9b", Transport: transport})
		for _, call := range everyCall {
			err := call.do(t.Context(), f)
			if !errors.Is(err, upscope.ErrUpstream) {
				t.Errorf("%s: %s: %v", name, call.name, err)
			}
			checkHidden(t, err, everySecret...)
		}
	}
}

func TestConfigPrintsWithoutItsKey(t *testing.T) {
	t.Parallel()
	c := upscope.Config{URL: "https://api.example/x", Key: "CANARY-key"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, "CANARY") || !strings.Contains(s, "api.example") {
			t.Errorf("%s: %s", verb, s)
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "config", c)
	j, err := json.Marshal(c)
	b.Write(j)
	if err == nil && strings.Contains(b.String(), "CANARY") {
		t.Error(b.String())
	}
	if s := fmt.Sprint(upscope.Config{URL: "https://u:CANARY@api.example"}); strings.Contains(s, "CANARY") {
		t.Error(s)
	}
}

func TestWatchLinkShowsNothing(t *testing.T) {
	t.Parallel()
	link := mint(t, "https://cobrowsingapi.com/session/CANARY-link", `"2040-01-01T00:00:00Z"`)
	checkHidden(t, link, "CANARY-link", "cobrowsingapi")
	checkHidden(t, &link, "CANARY-link", "cobrowsingapi")
	for _, m := range []interface{ MarshalText() ([]byte, error) }{link, &link} {
		if _, err := json.Marshal(m); err == nil {
			t.Error("a watch link was marshalled")
		}
		if _, err := m.MarshalText(); err == nil {
			t.Error("a watch link was marshalled as text")
		}
	}
	if got := fmt.Sprintf("%v %s %#v %d", link, link, link, link); got != "[watch link] [watch link] [watch link] [watch link]" {
		t.Error(got)
	}
	_, err := link.Location(upscope.Hosts{}, time.Now())
	checkHidden(t, err, "CANARY-link")
}

func TestTermShowsOnlyItsKind(t *testing.T) {
	t.Parallel()
	term, err := upscope.Email("canary@example.com")
	if err != nil {
		t.Fatal(err)
	}
	checkHidden(t, term, "canary@example.com", "canary")
	if got := fmt.Sprintf("%v %s %#v %q", term, term, term, term); got != "[e-mail] [e-mail] [e-mail] [e-mail]" {
		t.Error(got)
	}
	if j, err := json.Marshal(term); err != nil || string(j) != `"[e-mail]"` {
		t.Errorf("%s, %v", j, err)
	}
}

func TestSecretVideoAndWebhookAddressAreDroppedWhenRead(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	r := watchRequest()
	r.WebhookURL = "https://bridge.example/upscope/ended/CANARY-webhook"
	if _, err := f.client.Watch(t.Context(), onlineID, r); err != nil {
		t.Fatal(err)
	}
	id, err := f.Open(f.Watches()[0])
	if err != nil {
		t.Fatal(err)
	}
	f.End(id, 5)
	_, _ = f.SendWebhook(t.Context(), &http.Client{Transport: refusing{}}, id, upscopetest.Bare)

	v, err := f.client.Visitor(t.Context(), onlineID)
	if err != nil || len(v.Sessions) != 1 || len(v.Sessions[0].WebhookLogs) != 1 || !v.Sessions[0].WebhookLogs[0].TimedOut {
		t.Fatalf("%+v, %v", v, err)
	}
	a, err := f.client.AgentByExternalID(t.Context(), agentID)
	if err != nil {
		t.Fatal(err)
	}
	results := []any{v, a}
	for s, err := range f.client.Sessions(t.Context(), upscope.SessionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, s)
	}
	for _, result := range results {
		checkHidden(t, result, "CANARY-SECRET-VIDEO", "CANARY-webhook")
	}
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }
