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

func card(t *testing.T, d Desk, id string) *goquery.Selection {
	t.Helper()
	row := parsed(t, d).Find(`[data-card="` + id + `"]`)
	if row.Length() != 1 {
		t.Fatalf("%d rows for card %s", row.Length(), id)
	}
	return row
}

func TestTheDeskShowsOnlineVisitorsFirst(t *testing.T) {
	doc := parsed(t, busyDesk(nil))
	want := []string{
		"c-back", "c-ready", "c-choose", "c-one", "c-opened", "c-expired", "c-live",
		"c-offline", "c-waited", "c-no-visitor", "c-failed",
		"c-ended",
	}
	got := doc.Find("[data-card]").Map(func(_ int, s *goquery.Selection) string { return s.AttrOr("data-card", "") })
	if !slices.Equal(got, want) {
		t.Errorf("in order %q, want %q", got, want)
	}
	if got, want := texts(doc.Find("#live h2")), []string{"Your customers online 7", "Offline or not found 4", "Ended 1", "Recent sessions"}; !slices.Equal(got, want) {
		t.Errorf("headings %q, want %q", got, want)
	}
	if got, want := texts(doc.Find("#live section:last-child h3")), []string{"Kim Larsen", "Mira Novak", "Joana Prates"}; !slices.Equal(got, want) {
		t.Errorf("sessions of %q, want the newest first: %q", got, want)
	}
}

func TestACardReadsTheSameOnTheDeskAndInTheChat(t *testing.T) {
	for state := range cardStatuses {
		message := Card{State: state}.Text()
		c := DeskCard{ID: "c", State: state, CanOpen: true, CanStop: true}
		row := card(t, Desk{Cards: []DeskCard{c}, Now: noon}, "c")
		if message.Button != "" && text(row.Find(`[data-key="open-c"]`)) != message.Button {
			t.Errorf("%s: button %q, in the chat %q", state, text(row.Find(`[data-key="open-c"]`)), message.Button)
		}
		for _, l := range message.Lines {
			if (l.Label == "Next" || l.Label == "Why") && !strings.Contains(text(row), l.Text) {
				t.Errorf("%s: %q is missing: %s", state, l.Text, text(row))
			}
		}
		if text(row.Find(".status")) == "" {
			t.Errorf("%s has no status", state)
		}
	}
}

func TestACardOnTheDeskOffersWhatItsAgentMayDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*DeskCard)
		want   []string
	}{
		{"nothing", func(c *DeskCard) { c.CanOpen, c.Chat = false, Link{} }, nil},
		{"open", func(c *DeskCard) { c.Chat = Link{} }, []string{"Co-browse · Ann Silva /desk/card/c"}},
		{"stop", func(c *DeskCard) { c.State, c.CanStop, c.CanOpen = StateLive, true, false }, []string{"End session · Ann Silva /desk/card/c?stop=1", "Open the customer’s chat · Ann Silva " + chat.Address}},
		{"tell", func(c *DeskCard) { c.State, c.CanOpen, c.CanTell, c.Chat = StateOffline, false, true, Link{} }, []string{"Tell me when the customer is back · Ann Silva /desk/tell hidden card=c"}},
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
		if said := strings.Contains(text(row), "You will see it here"); said != (c.name == "waiting") {
			t.Errorf("%s: says that the agent will be told: %v", c.name, said)
		}
	}
}

func TestTheDeskHoldsNoSecrets(t *testing.T) {
	html := render(t, busyDesk(nil))
	for _, secret := range []string{"s3cr3t", "token=", "/w/", "?token"} {
		if strings.Contains(html, secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}

func TestTheIDOfACardIsEscapedInItsAddress(t *testing.T) {
	for _, id := range []string{"a/b", "a?stop=1", "a#b", "../../signout", "a b", "a%2fb"} {
		href := card(t, Desk{Cards: []DeskCard{{ID: id, State: StateReady, CanOpen: true}}}, id).Find("a").AttrOr("href", "")
		u, err := url.Parse(href)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || strings.Count(u.EscapedPath(), "/") != 3 || u.Path != "/desk/card/"+id {
			t.Errorf("%q has the address %q", id, href)
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

func TestEmptyPagesOfTheDeskSayWhatToDo(t *testing.T) {
	pages := samplePages()
	for name, want := range map[string][]string{
		"desk-empty": {
			"First connect your chat account.", "You can also look up a customer by the code that they see on your website.", "Your co-browse sessions appear here.",
			"To connect it, press the first button of a co-browse message",
		},
		"desk-empty-connected": {"Customers appear here when their chat is assigned to you."},
		"operations-fresh":     {"Nothing failed", "No connectors.", "No rules file."},
		"audit-empty":          {"No entries yet", "Before an agent opens a customer’s page"},
		"audit-none":           {"No matching entries", "Show all"},
	} {
		all := text(parsed(t, pages[name]).Find("main"))
		for _, s := range want {
			if !strings.Contains(all, s) {
				t.Errorf("%s: %q is missing: %s", name, s, all)
			}
		}
	}
	if all := text(parsed(t, Desk{Now: noon}).Find("main")); strings.Contains(all, "look up a customer") {
		t.Error("offers to look up a caller without the form")
	}
}

func TestTheNavigationHasThePagesThatTheAgentMayOpen(t *testing.T) {
	nav := func(p Page) []string { return texts(parsed(t, p).Find("nav[aria-label=Pages] a")) }
	if got := nav(Desk{SignedIn: plainAgent}); len(got) > 0 {
		t.Errorf("a plain agent has the links %q", got)
	}
	if got, want := nav(Desk{SignedIn: SignedInAgent{CanAudit: true}}), []string{"Desk", "Audit log"}; !slices.Equal(got, want) {
		t.Errorf("an auditor has the links %q", got)
	}
	for _, p := range []Page{Desk{SignedIn: operator}, Operations{SignedIn: operator}, Audit{SignedIn: operator}, Erase{SignedIn: operator}} {
		doc := parsed(t, p)
		here := doc.Find("nav [aria-current=page]")
		if here.Length() != 1 || len(nav(p)) != 4 {
			t.Errorf("%T: %d of the links %q are marked as current", p, here.Length(), nav(p))
		}
		if doc.Find(`form[action="/signout"]`).Length() != 1 || !strings.Contains(text(doc.Find(".me")), "Signed in as Sam Okoro sam@corp.example") {
			t.Errorf("%T does not say who is signed in, or how to sign out", p)
		}
	}
	if doc := parsed(t, samplePages()["desk-proxy"]); doc.Find(`form[action="/signout"]`).Length() != 0 {
		t.Error("offers to sign out where a proxy signs people in")
	}
}

func TestTheLinksOfTheAuditLogKeepTheFilter(t *testing.T) {
	doc := parsed(t, samplePages()["audit-filtered"])
	want := url.Values{"agent": {sam.ID}, "action": {"watching"}, "since": {"2031-05-01"}, "until": {"2031-05-07"}}
	for label, path := range map[string]string{"Export results": "/desk/audit/export", "Search older": "/desk/audit", "Show newest": "/desk/audit"} {
		link := doc.Find("a").FilterFunction(func(_ int, s *goquery.Selection) bool { return text(s) == label })
		u, err := url.Parse(link.AttrOr("href", ""))
		if err != nil || u.Path != path {
			t.Fatalf("%s leads to %q", label, link.AttrOr("href", ""))
		}
		q := u.Query()
		if before := q.Get("before"); (before == "4127") != (label == "Search older") || before != "" && label != "Search older" {
			t.Errorf("%s has before=%q", label, before)
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
		t.Errorf("%d invalid dates are shown", got)
	}
}

func TestAnErasedRecordShowsNoPersonalData(t *testing.T) {
	r := AuditRecord{Seq: 1, At: noon, Action: "watching", Agent: "slack:T1/U2", Visitor: "AB12CD", Detail: "secret", Erased: true}
	if all := text(parsed(t, Audit{Records: []AuditRecord{r}}).Find("tbody")); strings.Contains(all, "AB12CD") || strings.Contains(all, "secret") || strings.Count(all, "deleted") != 2 {
		t.Errorf("it says %s", all)
	}
}

func TestErasingPostsTheSameFieldsToConfirm(t *testing.T) {
	pages := samplePages()
	const asked = "checkbox upscope=1, radio kind=integration id, radio kind=unique id, radio kind=visitor"
	for name, want := range map[string]struct{ fields, button string }{
		"erase":         {" id=, " + asked, "Show summary"},
		"erase-invalid": {" id=AB 12, " + asked, "Show summary"},
		"erase-confirm": {"hidden confirm=1, hidden id=customer-8841, hidden kind=unique id, hidden upscope=1", "Delete permanently"},
		"erase-here":    {"hidden confirm=1, hidden id=customer-8841, hidden kind=unique id", "Delete permanently"},
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
	if doc := parsed(t, pages["erase-invalid"]); !strings.Contains(text(doc.Find("#fault")), "This ID is not valid.") || doc.Find("input[checked][value=visitor]").Length() != 1 {
		t.Error("a bad ID is not explained")
	}
}

func TestAnUnknownStateOfAnErasureReadsAsFailed(t *testing.T) {
	doc := parsed(t, Erase{Receipt: &EraseReceipt{ID: "r", State: "new"}})
	if got := text(doc.Find("h1")); got != "Not everything was deleted" {
		t.Errorf("it says %q", got)
	}
	// Nothing is listed that could be retried.
	if got := text(doc.Find("main")); !strings.Contains(got, "delete the person’s data again") || strings.Contains(got, "operations page") {
		t.Errorf("it says %q", got)
	}
}

func TestConnectingAnAccountTakesOnePress(t *testing.T) {
	doc := parsed(t, samplePages()["connect"])
	form := doc.Find(`form[action^="/w/"]`)
	if fields(form) != "hidden connect=1" || text(form.Find("button")) != "Yes, this is my account" {
		t.Errorf("%q posts %q", text(form), fields(form))
	}
	if all := text(doc.Find("main")); !strings.Contains(all, "@sam.okoro · Slack") || !strings.Contains(all, "Sam Okoro · sam@corp.example") {
		t.Errorf("an account is missing: %s", all)
	}
	if n := parsed(t, samplePages()["connect-nameless"]).Find(`form[action="/signout"]`).Length(); n != 0 {
		t.Error("offers to sign out where a proxy signs people in")
	}
}

func TestANoticeAboutSignInLinksToIt(t *testing.T) {
	for kind, label := range map[Kind]string{
		KindSignIn: "Sign in", KindSignedOut: "Sign in", KindStaleSignIn: "Start again", KindDomain: "Use another account", KindDenied: "Try again",
		KindSignInSetup: "Try again",
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

func TestAnUnknownNoteIsNotShown(t *testing.T) {
	for note, want := range map[Note]int{NoteWaiting: 1, "": 0, "<b>no</b>": 0} {
		if got := parsed(t, Desk{Note: note}).Find("#note").Length(); got != want {
			t.Errorf("%q: %d notes", note, got)
		}
	}
	if parsed(t, Desk{CanLookUp: true, Note: NoteMalformed}).Find(`input[aria-invalid][aria-describedby="note"]`).Length() != 1 {
		t.Error("the field of the code is not marked as invalid")
	}
}

func TestRetryAllNeedsADeliveryThatIsNotRetriedAutomatically(t *testing.T) {
	for waiting, want := range map[bool]int{true: 0, false: 1} {
		doc := parsed(t, Operations{Failed: []FailedJob{{ID: "d1", Waiting: waiting}}})
		if got := doc.Find(`input[name=all]`).Length(); got != want {
			t.Errorf("waiting %v: %d buttons to retry all", waiting, got)
		}
		if got := doc.Find(`input[name=failure]`).AttrOr("value", ""); got != "d1" {
			t.Errorf("retries %q", got)
		}
	}
}
