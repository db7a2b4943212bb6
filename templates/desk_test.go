package templates

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

func texts(s *goquery.Selection) []string {
	return s.Map(func(_ int, s *goquery.Selection) string { return text(s) })
}

// card is the row of one card at the desk.
func card(t *testing.T, d Desk, id string) *goquery.Selection {
	t.Helper()
	row := parsed(t, d).Find(`[data-card="` + id + `"]`)
	if row.Length() != 1 {
		t.Fatalf("%d rows for card %s", row.Length(), id)
	}
	return row
}

func TestTheDeskShowsFirstWhoCanBeHelpedAtOnce(t *testing.T) {
	doc := parsed(t, busyDesk(nil))
	want := []string{
		"c-back", "c-ready", "c-choose", "c-opened", "c-live",
		"c-offline", "c-waited", "c-searching", "c-no-visitor", "c-failed",
		"c-ended", "c-closed", "c-moved",
	}
	got := doc.Find("[data-card]").Map(func(_ int, s *goquery.Selection) string { return s.AttrOr("data-card", "") })
	if !slices.Equal(got, want) {
		t.Errorf("in order %q, want %q", got, want)
	}
	if got, want := texts(doc.Find("#live h2")), []string{"Ready for you 5", "Not there yet 5", "Finished 3", "Recent sessions"}; !slices.Equal(got, want) {
		t.Errorf("headings %q, want %q", got, want)
	}
	if got, want := texts(doc.Find("#live section:last-child h3")), []string{"Kim Larsen", "Mira Novak", "Joana Prates"}; !slices.Equal(got, want) {
		t.Errorf("sessions of %q, want the newest first: %q", got, want)
	}
}

func TestTheDeskAndTheChatSayTheSameOfACard(t *testing.T) {
	for state := range cardStates {
		said := Card{State: state}.Text()
		c := DeskCard{ID: "c", State: state, CanOpen: true, CanStop: true}
		row := card(t, Desk{Cards: []DeskCard{c}, Now: noon}, "c")
		if said.Button != "" && text(row.Find(`[data-key="open-c"]`)) != said.Button {
			t.Errorf("%s: button %q, in the chat %q", state, text(row.Find(`[data-key="open-c"]`)), said.Button)
		}
		for _, l := range said.Lines {
			if (l.Label == "Next" || l.Label == "Why") && !strings.Contains(text(row), l.Text) {
				t.Errorf("%s: does not say %q: %s", state, l.Text, text(row))
			}
		}
		if text(row.Find(".status")) == "" {
			t.Errorf("%s has no status", state)
		}
	}
}

func TestACardAtTheDeskOffersWhatItsAgentMayDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*DeskCard)
		want   []string
	}{
		{"nothing", func(c *DeskCard) { c.CanOpen, c.Chat = false, Link{} }, nil},
		{"open", func(c *DeskCard) { c.Chat = Link{} }, []string{"Co-browse · Ann Silva /desk/card/c"}},
		{"stop", func(c *DeskCard) { c.State, c.CanStop, c.CanOpen = StateLive, true, false }, []string{"Stop · Ann Silva /desk/card/c?stop=1", "Open the chat · Ann Silva " + chat.Address}},
		{"tell", func(c *DeskCard) { c.State, c.CanOpen, c.CanTell, c.Chat = StateOffline, false, true, Link{} }, []string{"Tell me when they are back · Ann Silva /desk/tell hidden card=c"}},
		{"waiting", func(c *DeskCard) {
			c.State, c.CanOpen, c.CanTell, c.Waiting, c.Chat = StateOffline, false, true, true, Link{}
		}, nil},
		{"no web page", func(c *DeskCard) { c.CanOpen, c.Chat = false, Link{Address: "javascript:alert(1)"} }, nil},
	} {
		row := card(t, Desk{Cards: []DeskCard{deskCard("c", StateReady, c.change)}, Now: noon}, "c")
		var got []string
		row.Find("a, button").Each(func(_ int, s *goquery.Selection) {
			leads := s.AttrOr("href", "")
			if form := s.Closest("form"); form.Length() > 0 {
				leads = form.AttrOr("action", "") + " " + fields(form)
			}
			got = append(got, text(s)+" "+leads)
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: offers %q, want %q", c.name, got, c.want)
		}
		if said := strings.Contains(text(row), "We’ll tell you here"); said != (c.name == "waiting") {
			t.Errorf("%s: says that it waits: %v", c.name, said)
		}
	}
}

func TestWhatTheDeskHoldsIsNoSecret(t *testing.T) {
	html := render(t, busyDesk(nil))
	for _, secret := range []string{"s3cr3t", "token=", "/w/", "?token"} {
		if strings.Contains(html, secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}

func TestACardsIdStaysOnePartOfItsAddress(t *testing.T) {
	for _, id := range []string{"a/b", "a?stop=1", "a#b", "../../signout", "a b", "a%2fb"} {
		href := card(t, Desk{Cards: []DeskCard{{ID: id, State: StateReady, CanOpen: true}}}, id).Find("a").AttrOr("href", "")
		u, err := url.Parse(href)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || strings.Count(u.EscapedPath(), "/") != 3 || u.Path != "/desk/card/"+id {
			t.Errorf("%q is led to by %q", id, href)
		}
	}
}

func TestOnlyADoubtfulMatchIsMarked(t *testing.T) {
	for reason, want := range map[Reason]bool{ReasonEmail: true, ReasonIntegration: false, "": false} {
		row := card(t, Desk{Cards: []DeskCard{{ID: "c", State: StateReady, Reason: reason}}}, "c")
		if got := row.Find(".doubt").Length() == 1; got != want {
			t.Errorf("%q: doubt %v", reason, got)
		}
	}
}

func TestEmptyPagesOfTheDeskLeadOn(t *testing.T) {
	pages := samplePages()
	for name, want := range map[string][]string{
		"desk-empty": {
			"Cards appear here when a chat starts, or look a caller up by the code on their page.", "Your first session shows up here",
			"Press Co-browse on a card in your chat once: you are asked whether the account is yours",
		},
		"operations-fresh": {"Nothing failed", "None is configured", "No file is set."},
		"audit-empty":      {"No records yet", "Each time an agent opens a visitor’s screen"},
		"audit-none":       {"No record fits", "show all records"},
	} {
		all := text(parsed(t, pages[name]).Find("main"))
		for _, s := range want {
			if !strings.Contains(all, s) {
				t.Errorf("%s does not say %q: %s", name, s, all)
			}
		}
	}
	if all := text(parsed(t, Desk{Now: noon}).Find("main")); strings.Contains(all, "look a caller up") {
		t.Error("offers to look up a caller without the form")
	}
}

func TestPagesOfTheDeskLeadWhereTheAgentMayGo(t *testing.T) {
	nav := func(p Page) []string { return texts(parsed(t, p).Find("nav[aria-label=Pages] a")) }
	if got := nav(Desk{Seat: seat}); len(got) > 0 {
		t.Errorf("a plain agent is led to %q", got)
	}
	if got, want := nav(Desk{Seat: Seat{CanAudit: true}}), []string{"Desk", "Audit"}; !slices.Equal(got, want) {
		t.Errorf("an auditor is led to %q", got)
	}
	for _, p := range []Page{Desk{Seat: operator}, Operations{Seat: operator}, Audit{Seat: operator}, Erase{Seat: operator}} {
		doc := parsed(t, p)
		here := doc.Find("nav [aria-current=page]")
		if here.Length() != 1 || len(nav(p)) != 4 {
			t.Errorf("%T: %d of %q are here", p, here.Length(), nav(p))
		}
		if doc.Find(`form[action="/signout"]`).Length() != 1 || !strings.Contains(text(doc.Find(".me")), "Signed in as Sam Okoro sam@corp.example") {
			t.Errorf("%T does not say who is signed in, or how to sign out", p)
		}
	}
	if doc := parsed(t, samplePages()["desk-proxy"]); doc.Find(`form[action="/signout"]`).Length() != 0 {
		t.Error("offers to sign out where a proxy signs people in")
	}
}

func TestTheAuditTrailsLinksKeepTheFilter(t *testing.T) {
	doc := parsed(t, samplePages()["audit-filtered"])
	want := url.Values{"agent": {sam.ID}, "action": {"watching"}, "since": {"2031-05-01"}, "until": {"2031-05-07"}}
	for label, path := range map[string]string{"Export what fits": "/desk/audit/export", "Older": "/desk/audit", "Newest": "/desk/audit"} {
		link := doc.Find("a").FilterFunction(func(_ int, s *goquery.Selection) bool { return text(s) == label })
		u, err := url.Parse(link.AttrOr("href", ""))
		if err != nil || u.Path != path {
			t.Fatalf("%s leads to %q", label, link.AttrOr("href", ""))
		}
		q := u.Query()
		if before := q.Get("before"); (before == "4127") != (label == "Older") || before != "" && label != "Older" {
			t.Errorf("%s goes on before %q", label, before)
		}
		q.Del("before")
		if q.Encode() != want.Encode() {
			t.Errorf("%s: filter %q, want %q", label, q.Encode(), want.Encode())
		}
	}
	if got := doc.Find("option[selected]").AttrOr("value", ""); got != "watching" {
		t.Errorf("chosen action %q", got)
	}
	bad := parsed(t, Audit{Filter: AuditFilter{Since: "yesterday", Until: "2031-13-01"}})
	if got := bad.Find("input[type=date][value!='']").Length(); got != 0 {
		t.Errorf("%d dates that are none", got)
	}
}

func TestAnErasedRecordNamesNobody(t *testing.T) {
	r := AuditRecord{Seq: 1, At: noon, Action: "watching", Agent: "slack:T1/U2", Visitor: "AB12CD", Detail: "secret", Erased: true}
	if all := text(parsed(t, Audit{Records: []AuditRecord{r}}).Find("tbody")); strings.Contains(all, "AB12CD") || strings.Contains(all, "secret") || strings.Count(all, "erased") != 2 {
		t.Errorf("it says %s", all)
	}
}

func TestErasingIsConfirmedWithWhatWasAskedFor(t *testing.T) {
	pages := samplePages()
	const asked = "checkbox upscope=1, radio kind=integration id, radio kind=unique id, radio kind=visitor"
	for name, want := range map[string]struct{ fields, button string }{
		"erase":         {" id=, " + asked, "See what there is"},
		"erase-invalid": {" id=AB 12, " + asked, "See what there is"},
		"erase-confirm": {"hidden confirm=1, hidden id=customer-8841, hidden kind=unique id, hidden upscope=1", "Erase for good"},
		"erase-here":    {"hidden confirm=1, hidden id=customer-8841, hidden kind=unique id", "Erase for good"},
		"erase-done":    {"", ""},
	} {
		form := parsed(t, pages[name]).Find(`form[action="/desk/erase"]`)
		if got := fields(form); got != want.fields {
			t.Errorf("%s posts %q, want %q", name, got, want.fields)
		}
		if got := text(form.Find("button")); got != want.button {
			t.Errorf("%s: button %q", name, got)
		}
	}
	if doc := parsed(t, pages["erase-invalid"]); !strings.Contains(text(doc.Find("#fault")), "not an ID of this kind") || doc.Find("input[checked][value=visitor]").Length() != 1 {
		t.Error("a bad ID is not explained")
	}
}

func TestAnUnknownStateOfAnErasureIsNoSuccess(t *testing.T) {
	doc := parsed(t, Erase{Receipt: &EraseReceipt{ID: "r", State: "new"}})
	if got := text(doc.Find("h1")); got != "They could not be erased completely" {
		t.Errorf("it says %q", got)
	}
}

func TestConnectingAnAccountAsksForOnePress(t *testing.T) {
	doc := parsed(t, samplePages()["connect"])
	form := doc.Find(`form[action^="/w/"]`)
	if fields(form) != "hidden connect=1" || text(form.Find("button")) != "Yes, this is my account" {
		t.Errorf("%q posts %q", text(form), fields(form))
	}
	if all := text(doc.Find("main")); !strings.Contains(all, "@sam.okoro · Slack") || !strings.Contains(all, "Sam Okoro · sam@corp.example") {
		t.Errorf("it does not say who is who: %s", all)
	}
	if n := parsed(t, samplePages()["connect-nameless"]).Find(`form[action="/signout"]`).Length(); n != 0 {
		t.Error("offers to sign out where a proxy signs people in")
	}
}

func TestANoticeAboutSignInLeadsBackToIt(t *testing.T) {
	for kind, label := range map[Kind]string{
		KindSignIn: "Sign in", KindSignedOut: "Sign in", KindStaleSignIn: "Start again", KindDomain: "Use another account", KindDenied: "Try again",
	} {
		if got := text(parsed(t, Notice{Kind: kind, Retry: "/signin"}).Find(`main a[href="/signin"]`)); got != label {
			t.Errorf("%s: %q, want %q", kind, got, label)
		}
	}
	form := parsed(t, Notice{Kind: KindOther, SignOut: true}).Find("form")
	if form.AttrOr("action", "") != "/signout" || text(form) != "Sign out" {
		t.Errorf("%q to %q", text(form), form.AttrOr("action", ""))
	}
}

func TestANoteThatIsNoneSaysNothing(t *testing.T) {
	for note, want := range map[Note]int{NoteTold: 1, "": 0, "<b>no</b>": 0} {
		if got := parsed(t, Desk{Note: note}).Find("#note").Length(); got != want {
			t.Errorf("%q: %d notes", note, got)
		}
	}
	if parsed(t, Desk{CanLookUp: true, Note: NoteMalformed}).Find(`input[aria-invalid][aria-describedby="note"]`).Length() != 1 {
		t.Error("the code’s field does not know of its fault")
	}
}

func TestRetryAllIsForWhatWasGivenUp(t *testing.T) {
	for waiting, want := range map[bool]int{true: 0, false: 1} {
		doc := parsed(t, Operations{Failed: []FailedJob{{ID: "d1", Waiting: waiting}}})
		if got := doc.Find(`input[name=all]`).Length(); got != want {
			t.Errorf("waiting %v: %d ways to retry all", waiting, got)
		}
		if got := doc.Find(`input[name=job]`).AttrOr("value", ""); got != "d1" {
			t.Errorf("retries %q", got)
		}
	}
}
