package slack

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/slack/slacktest"

	slackapi "github.com/slack-go/slack"
)

// The example of docs.slack.dev/authentication/verifying-requests-from-slack.
const (
	vectorTime      = "1531420618"
	vectorBody      = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	vectorSignature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
)

func TestSlacksOwnExampleIsAccepted(t *testing.T) {
	t.Parallel()
	if got := signature([]byte(testSecret), vectorTime, []byte(vectorBody)); got != vectorSignature {
		t.Errorf("signature %s, Slack documents %s", got, vectorSignature)
	}
	// Accept must accept it in the minute it was signed. Simulated time begins in 2000.
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		time.Sleep(time.Until(time.Unix(1531420618, 0)))
		h := http.Header{"X-Slack-Signature": {vectorSignature}, "X-Slack-Request-Timestamp": {vectorTime}}
		r, err := d.receiveWith([]byte(vectorBody), h)
		if err != nil || !strings.HasPrefix(r.Key, "command/") {
			t.Errorf("got %q, %v", r.Key, err)
		}
	})
}

func TestSlackGoAcceptsSignaturesOfTheFake(t *testing.T) {
	t.Parallel()
	body := []byte(vectorBody)
	v, err := slackapi.NewSecretsVerifier(slacktest.Sign(testSecret, time.Now(), body), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := v.Ensure(); err != nil {
		t.Error(err)
	}
}

func TestARequestMayBeSignedFiveMinutesEarlierOrLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for _, c := range []struct {
			off  time.Duration
			good bool
		}{
			{0, true},
			{-299 * time.Second, true},
			{299 * time.Second, true},
			{-300 * time.Second, false},
			{300 * time.Second, false},
			{-24 * time.Hour, false},
			{time.Hour, false},
		} {
			body := d.Command("U1", "C1", "4821")
			_, err := d.receiveWith(body, slacktest.Sign(testSecret, time.Now().Add(c.off), body))
			if c.good != (err == nil) || err != nil && !errors.Is(err, chat.ErrForged) {
				t.Errorf("%v off: %v", c.off, err)
			}
		}
	})
}

func TestUnsignedAndAlteredRequestsAreForged(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := d.Command("U1", "C1", "4821")
	good := d.Sign(body)
	set := func(name string, values ...string) http.Header {
		h := good.Clone()
		h[name] = values
		return h
	}
	for name, h := range map[string]http.Header{
		"no signature":           set(signatureHeader),
		"no time":                set(timeHeader),
		"an empty signature":     set(signatureHeader, ""),
		"two signatures":         set(signatureHeader, "v0=00", good.Get(signatureHeader)),
		"the signature unmarked": set(signatureHeader, strings.TrimPrefix(good.Get(signatureHeader), "v0=")),
		"another version":        set(signatureHeader, strings.Replace(good.Get(signatureHeader), "v0", "v1", 1)),
		"capital hex digits":     set(signatureHeader, "v0="+strings.ToUpper(good.Get(signatureHeader)[3:])),
		"a time with a sign":     set(timeHeader, "+"+good.Get(timeHeader)),
		"a time with a space":    set(timeHeader, good.Get(timeHeader)+" "),
		"a time out of range":    set(timeHeader, "99999999999999"),
		"another time":           set(timeHeader, "1531420618"),
		"no header":              {},
	} {
		if _, err := d.receiveWith(body, h); !errors.Is(err, chat.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	altered := bytes.Replace(body, []byte("4821"), []byte("4822"), 1)
	if _, err := d.receiveWith(altered, good); !errors.Is(err, chat.ErrForged) {
		t.Errorf("an altered body: %v", err)
	}
	if len(d.Requests()) != 0 {
		t.Error("Accept made a request to Slack")
	}
}

func TestTwoSecretsAreAcceptedDuringAChange(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.Secrets = secret.All(testSecret, oldSecret) })
	for _, secret := range []string{testSecret, oldSecret} {
		body := d.Command("U1", "C1", "4821")
		if _, err := d.receiveWith(body, slacktest.Sign(secret, time.Now(), body)); err != nil {
			t.Errorf("%.4s…: %v", secret, err)
		}
	}
}

func TestAnEmptySecretIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][]string{
		"none": nil, "empty": {""}, "blank": {strings.Repeat(" ", 32)}, "an empty second one": {testSecret, ""}, "three": {testSecret, oldSecret, testSecret},
	} {
		c := config()
		c.Secrets = secret.All(secrets...)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSlacksVerificationOfTheAddressIsAnswered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r, err := d.receive([]byte("ssl_check=1&token=deprecated"))
	if err != nil || r.Key != "" || r.Answer != nil {
		t.Errorf("ssl_check: %+v, %v", r, err)
	}
	r, err = d.receive([]byte(`{"type":"url_verification","token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`))
	if err != nil || r.Key != "" || string(r.Answer) != "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" || r.AnswerType != "text/plain" {
		t.Errorf("url_verification: %+v, %v", r, err)
	}
	if _, err := d.receive([]byte(`{"type":"url_verification","challenge":"<script>"}`)); err == nil {
		t.Error("an invalid challenge is echoed")
	}
}

func TestOnlyTheSignedBodyIsRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := []byte("unrelated=1")
	payload := url.Values{"payload": {`{"type":"shortcut","callback_id":"cobrowse_global","user":{"id":"U1"},"trigger_id":"1.2.3"}`}, "command": {"/cobrowse"}}
	r := httptest.NewRequest(http.MethodPost, "/hooks/slack?"+payload.Encode(), bytes.NewReader(body))
	r.Header = d.Sign(body)
	if receipt, err := d.Accept(r, body); err == nil || receipt.Key != "" {
		t.Errorf("the query became a delivery: %+v", receipt)
	}
}

func TestUnknownRequestsAreAcknowledgedAndIgnored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, body := range map[string][]byte{
		"an unknown event":             d.Event(map[string]any{"type": "star_added", "user": "U1"}),
		"a malformed block in it":      d.Event(map[string]any{"type": "message", "blocks": []any{map[string]any{"type": "header", "text": 5}}}),
		"an unknown outer type":        []byte(`{"type":"something_new"}`),
		"app_rate_limited":             []byte(`{"type":"app_rate_limited","team_id":"T0ACME"}`),
		"a mention by another bot":     d.Event(map[string]any{"type": "app_mention", "user": "U1", "channel": "C1", "text": "<@U0BRIDGE> 4821", "bot_id": "B9"}),
		"the messages tab":             d.HomeOpened("U1", "messages"),
		"a closed dialog":              form(`{"type":"view_closed","user":{"id":"U1"},"view":{"id":"V1"}}`),
		"another app's shortcut":       d.Shortcut("U1", "other"),
		"another message shortcut":     d.MessageShortcut("U1", "other", slacktest.Post{Channel: "C1", TS: "1700000000.000001"}),
		"another dialog":               form(`{"type":"view_submission","user":{"id":"U1"},"view":{"id":"V1","callback_id":"other"}}`),
		"another button":               form(`{"type":"block_actions","user":{"id":"U1"},"actions":[{"action_id":"other","value":"x"}]}`),
		"a button without a card":      form(`{"type":"block_actions","user":{"id":"U1"},"actions":[{"action_id":"cobrowse_open0"}]}`),
		"a button with a strange card": form(`{"type":"block_actions","user":{"id":"U1"},"actions":[{"action_id":"cobrowse_open0","value":"a b"}]}`),
		"a press without a user":       form(`{"type":"block_actions","actions":[{"action_id":"cobrowse_open0","value":"c1"}]}`),
		"an unfurl's payload":          form(`{"type":"something_new","app_unfurl":{}}`),
		"a command of a strange user":  []byte("command=%2Fcobrowse&user_id=%3Cx%3E&trigger_id=1"),
	} {
		r, err := d.receive(body)
		if err != nil || r.Key != "" || r.Body != nil || r.Answer != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for name, body := range map[string]string{
		"nothing": "", "not a form": "%zz", "null": "null", "a list": "[]", "an unknown form": "a=b", "no type": `{}`,
		"an empty payload": "payload=", "a payload without type": "payload={}",
	} {
		if r, err := d.receive([]byte(body)); err == nil || errors.Is(err, chat.ErrForged) || r.Key != "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func form(payload string) []byte { return []byte(url.Values{"payload": {payload}}.Encode()) }

func TestRetriesOfAnEventHaveTheSameKey(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, body := range map[string][]byte{"a mention": d.Mention("U1", "C1", "", "4821"), "the Home tab": d.HomeOpened("U1", "home")} {
		first, err := d.receive(body)
		if err != nil || first.Key == "" {
			t.Fatalf("%s: %+v, %v", name, first, err)
		}
		for n, reason := range []string{"http_timeout", "http_error", "connection_failed"} {
			again, header := d.Retry(body, n+1, reason)
			r, err := d.receiveWith(again, header)
			if err != nil || r.Key != first.Key || !bytes.Equal(r.Body, first.Body) {
				t.Errorf("%s, retry %d: %+v, %v; the first was %+v", name, n+1, r, err, first)
			}
		}
	}
}

// Slack may send one event for several workspaces of an organisation.
func TestAnEventHasTheSameKeyInEveryWorkspace(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, body := range map[string][]byte{"a mention": d.Mention("U1", "C1", "", "4821"), "the Home tab": d.HomeOpened("U1", "home")} {
		first, err := d.receive(body)
		if err != nil || first.Key == "" {
			t.Fatalf("%s: %+v, %v", name, first, err)
		}
		again, err := d.receive(bytes.ReplaceAll(body, []byte("T0ACME"), []byte("T5WEST")))
		if err != nil || again.Key != first.Key {
			t.Errorf("%s: %q, then %q, %v", name, first.Key, again.Key, err)
		}
	}
	// People of two workspaces may have the same id.
	payload := d.PressPayload("U1", slacktest.Post{Channel: "C1", TS: "1700000000.000001", Blocks: []byte(`[{"type":"actions","elements":[{"type":"button","text":{"text":"Open"},"action_id":"cobrowse_open0","value":"c1"}]}]`)}, 0)
	press := form2(payload)
	first, err := d.receive(press)
	if err != nil || first.Key == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	other, err := d.receive(bytes.ReplaceAll(press, []byte("T0ACME"), []byte("T5WEST")))
	if err != nil || other.Key == first.Key {
		t.Errorf("presses in two workspaces: %q and %q, %v", first.Key, other.Key, err)
	}
}

func TestTextsThatPeopleWriteAreNotStored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, body := range map[string][]byte{
		"a command":          d.Command("U1", "C1", "my secret words"),
		"a mention":          d.Mention("U1", "C1", "", "my secret words"),
		"a message shortcut": d.MessageShortcut("U1", shortcutMessage, d.Write("U1", "C1", "", "my secret words and 4821")),
	} {
		r, err := d.receive(body)
		if err != nil || r.Key == "" {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(string(r.Body)+r.Key+r.Note, "secret") || strings.Contains(string(r.Body), "deprecated") {
			t.Errorf("%s: stored %s", name, r.Body)
		}
	}
}

func TestAnotherPathHasNoRoute(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := d.Command("U1", "C1", "4821")
	for _, path := range []string{"/hooks/slack/", "/hooks/slack-emea", "/hooks/slack/commands"} {
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		r.Header = d.Sign(body)
		if _, err := d.Accept(r, body); !errors.Is(err, chat.ErrNoRoute) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// fuzzAccept sends genuine requests with any body, and checks what is stored.
func fuzzAccept(f *testing.F, wrap func(string) []byte, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(string(s))
	}
	c := config()
	c.Transport = inMemory(http.NotFoundHandler())
	k, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		body := wrap(text)
		r := httptest.NewRequest(http.MethodPost, "/hooks/slack", nil)
		r.Header = slacktest.Sign(testSecret, time.Now(), body)
		receipt, err := k.Accept(r, body)
		if errors.Is(err, chat.ErrForged) {
			t.Fatal("a genuine request is refused as forged")
		}
		if err != nil {
			if receipt.Key != "" || len(err.Error()) > 200 {
				t.Fatalf("%+v with %v", receipt, err)
			}
			return
		}
		if (receipt.Key == "") != (receipt.Body == nil) {
			t.Fatalf("key without body, or body without key: %+v", receipt)
		}
		if receipt.Key == "" {
			return
		}
		var kept kept
		if err := json.Unmarshal(receipt.Body, &kept); err != nil || !userID(kept.User) {
			t.Fatalf("stored %s: %v", receipt.Body, err)
		}
		if _, err := parsePlace(kept.place(time.Now()).address()); err != nil {
			t.Fatalf("%s has an invalid place: %q", receipt.Body, kept.place(time.Now()).address())
		}
	})
}

func FuzzAcceptCommand(f *testing.F) {
	d := workspace(f.Errorf)
	fuzzAccept(f, func(s string) []byte { return []byte("command=%2Fcobrowse&" + s) },
		d.Command("U1", "C1", "4821"), d.Command("U1", "", "help"), []byte(vectorBody))
}

func FuzzAcceptInteraction(f *testing.F) {
	d := workspace(f.Errorf)
	payload := func(body []byte) []byte {
		v, err := url.ParseQuery(string(body))
		if err != nil {
			f.Fatal(err)
		}
		return []byte(v.Get("payload"))
	}
	fuzzAccept(f, form,
		payload(d.Shortcut("U1", shortcutGlobal)),
		payload(d.MessageShortcut("U1", shortcutMessage, d.Write("U1", "C1", "", "code 4821"))),
		payload(d.Submit(slacktest.View{ID: "V1", Hash: "h", User: "U1", Body: []byte(`{"callback_id":"cobrowse_search"}`)}, blockQuery, inputQuery, "4821")),
		payload(d.Press("U1", slacktest.Post{Channel: "C1", TS: "1700000000.000001", Blocks: []byte(`[{"type":"actions","elements":[{"type":"button","text":{"text":"Open"},"action_id":"cobrowse_open0","value":"c1"}]}]`)}, 0)))
}

func FuzzAcceptEvent(f *testing.F) {
	d := workspace(f.Errorf)
	fuzzAccept(f, func(s string) []byte { return []byte(s) },
		d.Mention("U1", "C1", "1700000000.000001", "4821"), d.HomeOpened("U1", "home"),
		[]byte(`{"type":"url_verification","challenge":"abc"}`))
}
