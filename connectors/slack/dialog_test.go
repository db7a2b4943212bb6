package slack

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func (d *desk) oneView(t *testing.T) slacktest.View {
	t.Helper()
	views := d.Views()
	if len(views) != 1 {
		t.Fatalf("%d dialogs", len(views))
	}
	return views[0]
}

func TestAShortcutOpensADialogThatFindsACustomer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func(*desk) []byte{
		"global": func(d *desk) []byte { return d.Shortcut("U1", shortcutGlobal) },
		"at a message without a clue": func(d *desk) []byte {
			return d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C1", "", "hello"))
		},
		"at a message with two of them": func(d *desk) []byte {
			return d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C1", "", "4821 4822"))
		},
	} {
		d := newDesk(t)
		if got := d.mustAsk(t, body(d)); got.Verb != chat.Nothing {
			t.Errorf("%s: %+v", name, got)
		}
		// The dialog is opened before any other request, and filled afterwards.
		if m := d.methods(0); m[0] != "views.open" || m[len(m)-1] != "views.update" {
			t.Errorf("%s: %v", name, m)
		}
		v := d.oneView(t)
		r, err := d.receive(d.Submit(v, blockQuery, inputQuery, " 4821 "))
		if err != nil || r.Key == "" || r.Answer != nil {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		got, err := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body})
		if err != nil || got.Verb != chat.LookUp || got.Clues.LookupCode != "4821" || got.Agent != bob || got.Place.Address != "dm/U1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestADialogWithoutAClueShowsAnError(t *testing.T) {
	t.Parallel()
	for _, emails := range []bool{false, true} {
		d := newDesk(t, func(c *Config) { c.Emails = emails })
		d.mustAsk(t, d.Shortcut("U1", shortcutGlobal))
		v := d.oneView(t)
		for typed, says := range map[string]string{
			"": "Type one four-digit code", "who": "Type one four-digit code", "status": "Type one four-digit code", "<b>": "Type one four-digit code",
			"4821 4822": "more than one customer", "jörg@example.org": map[bool]string{false: "Type one four-digit code", true: "letters like ö"}[emails],
		} {
			r, err := d.receive(d.Submit(v, blockQuery, inputQuery, typed))
			var answer struct {
				Action string            `json:"response_action"`
				Errors map[string]string `json:"errors"`
			}
			if err != nil || r.Key != "" || json.Unmarshal(r.Answer, &answer) != nil || answer.Action != "errors" || !strings.Contains(answer.Errors[blockQuery], says) || r.AnswerType != "application/json" {
				t.Errorf("%q: %+v, %v", typed, r, err)
			}
			if strings.Contains(answer.Errors[blockQuery], "e-mail") != emails && says != "letters like ö" {
				t.Errorf("look-ups by e-mail address are %v, and %q is answered %q", emails, typed, answer.Errors[blockQuery])
			}
			// The error must name an input block of the dialog.
			if !strings.Contains(string(v.Body), `"block_id":"`+blockQuery+`"`) {
				t.Errorf("the dialog is %s", v.Body)
			}
		}
	}
}

func TestAMessageWithAnEMailAddressOnlyOpensTheDialogIfAddressesAreNotLookedUp(t *testing.T) {
	t.Parallel()
	for _, emails := range []bool{false, true} {
		d := newDesk(t, func(c *Config) { c.Emails = emails })
		got := d.mustAsk(t, d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C1", "", "mail of <mailto:jane@acme.com|jane@acme.com>")))
		if looksUp, opens := got.Clues.Email == "jane@acme.com", len(d.Views()) == 1; looksUp != emails || opens == emails {
			t.Errorf("look-ups by e-mail address are %v: %+v, %d dialogs", emails, got, len(d.Views()))
		}
	}
}

func TestTheDialogOffersAnEMailAddressOnlyIfItCanBeLookedUp(t *testing.T) {
	t.Parallel()
	for _, emails := range []bool{false, true} {
		d := newDesk(t, func(c *Config) { c.Emails = emails })
		d.mustAsk(t, d.Shortcut("U1", shortcutGlobal))
		if v := d.oneView(t); strings.Contains(string(v.Body), "e-mail address") != emails {
			t.Errorf("look-ups by e-mail address are %v, and the dialog is %s", emails, v.Body)
		}
	}
}

func TestADialogThatIsSentTwiceIsOneCommand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.mustAsk(t, d.Shortcut("U1", shortcutGlobal))
	v := d.oneView(t)
	first, err1 := d.receive(d.Submit(v, blockQuery, inputQuery, "4821"))
	again, err2 := d.receive(d.Submit(v, blockQuery, inputQuery, "4821"))
	if err1 != nil || err2 != nil || first.Key != again.Key {
		t.Errorf("%q, %q, %v, %v", first.Key, again.Key, err1, err2)
	}
}

func TestAGuestsDialogIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.Shortcut("U3GUEST", shortcutGlobal))
	if got.Verb != chat.Refuse || got.Refusal != chat.RefuseGuest || got.Place.Address != "dm/U3GUEST" {
		t.Errorf("%+v", got)
	}
	if v := d.oneView(t); !strings.Contains(string(v.Body), "Your chat account is not allowed to co-browse") || strings.Contains(string(v.Body), "input") {
		t.Errorf("%s", v.Body)
	}
	// A submitted dialog of a guest is refused too.
	v := slacktest.View{ID: "V9", Hash: "h", User: "U3GUEST", Body: []byte(`{"callback_id":"cobrowse_search"}`)}
	if got := d.mustAsk(t, d.Submit(v, blockQuery, inputQuery, "4821")); got.Refusal != chat.RefuseGuest {
		t.Errorf("%+v", got)
	}
}

// A trigger expires after three seconds. Then a message offers a button.
func TestAfterAnExpiredTriggerAButtonOpensTheDialog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		anywhere := d.Shortcut("U1", shortcutGlobal)
		atMessage := d.MessageShortcut("U2", shortcutMessage, d.Write("U1", "C1", "", "hello"))
		guests := d.Shortcut("U3GUEST", shortcutGlobal)
		time.Sleep(4 * time.Second)
		d.mustAsk(t, anywhere)
		d.mustAsk(t, atMessage)
		if got := d.mustAsk(t, guests); got.Refusal != chat.RefuseGuest || len(d.Direct("U3GUEST")) != 0 {
			t.Errorf("%+v", got)
		}
		bobs, eves := d.Direct("U1"), d.Ephemeral("U2")
		if len(d.Views()) != 0 || len(bobs) != 1 || len(eves) != 1 {
			t.Fatalf("%d dialogs, %+v, %+v", len(d.Views()), bobs, eves)
		}
		d.mustAsk(t, d.Press("U1", bobs[0], 0))
		d.mustAsk(t, d.Press("U2", eves[0], 0))
		if v := d.Views(); len(v) != 2 || v[0].User != "U1" || v[1].User != "U2" || !strings.Contains(string(v[1].Body), inputQuery) {
			t.Errorf("%+v", v)
		}
	})
}

func TestADialogIsFilledIfTheAnswerToItsOpeningWasLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r, err := d.receive(d.Shortcut("U1", shortcutGlobal))
	if err != nil {
		t.Fatal(err)
	}
	d.Fail("views.open", slacktest.Fault{Done: true, Status: 502}, 1)
	for try := range 2 {
		_, err := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body})
		if (try == 0) != (err != nil) || chat.IsPermanent(err) {
			t.Errorf("try %d: %v", try+1, err)
		}
	}
	if v := d.oneView(t); !strings.Contains(string(v.Body), inputQuery) {
		t.Errorf("%s", v.Body)
	}
}

func TestADialogThatTheAgentHasClosedIsNoError(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("views.update", slacktest.Fault{Error: "not_found"}, 1)
	if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err != nil {
		t.Error(err)
	}
}

func TestAButtonIsOfferedIfSlackRefusesToOpenTheDialog(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("views.open", slacktest.Fault{Error: "a_new_code_for_expired"}, 1)
	if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err != nil || len(d.Direct("U1")) != 1 {
		t.Errorf("%v, %d messages", err, len(d.Direct("U1")))
	}
}

func TestAGuestsRefusalDoesNotNeedTheDialog(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("views.update", slacktest.Fault{Error: "a_new_code"}, 1)
	if got := d.mustAsk(t, d.Shortcut("U3GUEST", shortcutGlobal)); got.Refusal != chat.RefuseGuest {
		t.Errorf("%+v", got)
	}
	d.Fail("views.update", slacktest.Fault{Error: "a_new_code"}, 1)
	if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "a_new_code") {
		t.Errorf("an agent's dialog stays empty: %v", err)
	}
}

func TestAButtonIsOfferedIfThereIsNoTrigger(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	v, err := url.ParseQuery(string(d.Shortcut("U1", shortcutGlobal)))
	if err != nil {
		t.Fatal(err)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(v.Get("payload")), &p); err != nil {
		t.Fatal(err)
	}
	delete(p, "trigger_id")
	payload, _ := json.Marshal(p)
	d.mustAsk(t, form(string(payload)))
	if dm := d.Direct("U1"); len(dm) != 1 || slacktest.Buttons(dm[0].Blocks)[0].Action != actionSearch {
		t.Errorf("%+v", dm)
	}
}
