package slack

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
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
		"anywhere": func(d *desk) []byte { return d.Shortcut("U1", shortcutGlobal) },
		"at a message without a clue": func(d *desk) []byte {
			return d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C1", "", "hello"))
		},
		"at a message with two of them": func(d *desk) []byte {
			return d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C1", "", "4821 4822"))
		},
	} {
		d := newDesk(t)
		if got := d.mustAsk(t, body(d)); got.Verb != bridge.Nothing {
			t.Errorf("%s: %+v", name, got)
		}
		// It was opened before anything else was asked, and filled afterwards.
		if m := d.methods(0); m[0] != "views.open" || m[len(m)-1] != "views.update" {
			t.Errorf("%s: %v", name, m)
		}
		v := d.oneView(t)
		r, err := d.receive(d.Submit(v, blockQuery, inputQuery, " 4821 "))
		if err != nil || r.Key == "" || r.Answer != nil {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		got, err := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body})
		if err != nil || got.Verb != bridge.LookUp || got.Clues.LookupCode != "4821" || got.Agent != bob || got.Place.Address != "dm/U1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestADialogSaysWhatItCannotUnderstand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.mustAsk(t, d.Shortcut("U1", shortcutGlobal))
	v := d.oneView(t)
	for _, typed := range []string{"", "who", "status", "<b>"} {
		r, err := d.receive(d.Submit(v, blockQuery, inputQuery, typed))
		var answer struct {
			Action string            `json:"response_action"`
			Errors map[string]string `json:"errors"`
		}
		if err != nil || r.Key != "" || json.Unmarshal(r.Answer, &answer) != nil || answer.Action != "errors" || answer.Errors[blockQuery] == "" || r.AnswerType != "application/json" {
			t.Errorf("%q: %+v, %v", typed, r, err)
		}
		// The error has to be at an input block of the dialog.
		if !strings.Contains(string(v.Body), `"block_id":"`+blockQuery+`"`) {
			t.Errorf("the dialog is %s", v.Body)
		}
	}
}

func TestADialogThatWasSentTwiceIsOneWish(t *testing.T) {
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

func TestAGuestsDialogSaysNo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.Shortcut("U3GUEST", shortcutGlobal))
	if got.Verb != bridge.Refuse || got.Refusal != bridge.RefuseGuest || got.Place.Address != "dm/U3GUEST" {
		t.Errorf("%+v", got)
	}
	if v := d.oneView(t); !strings.Contains(string(v.Body), "cannot be done from your account") || strings.Contains(string(v.Body), "input") {
		t.Errorf("%s", v.Body)
	}
	// Nor does a dialog help that another one filled in for them.
	v := slacktest.View{ID: "V9", Hash: "h", User: "U3GUEST", Body: []byte(`{"callback_id":"cobrowse_search"}`)}
	if got := d.mustAsk(t, d.Submit(v, blockQuery, inputQuery, "4821")); got.Refusal != bridge.RefuseGuest {
		t.Errorf("%+v", got)
	}
}

// A trigger lives three seconds. Afterwards a message has the button.
func TestATriggerThatIsTooOldIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		anywhere := d.Shortcut("U1", shortcutGlobal)
		atMessage := d.MessageShortcut("U2", shortcutMessage, d.Write("U1", "C1", "", "hello"))
		guests := d.Shortcut("U3GUEST", shortcutGlobal)
		time.Sleep(4 * time.Second)
		d.mustAsk(t, anywhere)
		d.mustAsk(t, atMessage)
		if got := d.mustAsk(t, guests); got.Refusal != bridge.RefuseGuest || len(d.Direct("U3GUEST")) != 0 {
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

func TestADialogWhoseOpeningWasNotAnsweredIsFilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r, err := d.receive(d.Shortcut("U1", shortcutGlobal))
	if err != nil {
		t.Fatal(err)
	}
	d.Fail("views.open", slacktest.Fault{Done: true, Status: 502}, 1)
	for try := range 2 {
		_, err := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body})
		if (try == 0) != (err != nil) || bridge.IsPermanent(err) {
			t.Errorf("try %d: %v", try+1, err)
		}
	}
	if v := d.oneView(t); !strings.Contains(string(v.Body), inputQuery) {
		t.Errorf("%s", v.Body)
	}
}

func TestADialogThatWasClosedMeanwhileIsNoFault(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("views.update", slacktest.Fault{Error: "not_found"}, 1)
	if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err != nil {
		t.Error(err)
	}
}

func TestADialogThatSlackRefusesIsOfferedByAButton(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("views.open", slacktest.Fault{Error: "a_new_name_for_too_late"}, 1)
	if _, err := d.ask(t, d.Shortcut("U1", shortcutGlobal)); err != nil || len(d.Direct("U1")) != 1 {
		t.Errorf("%v, %d messages", err, len(d.Direct("U1")))
	}
}

func TestAShortcutWithoutATriggerOffersTheButton(t *testing.T) {
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
