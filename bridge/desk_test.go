package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope/upscopetest"
)

// note checks that a form redirects to the desk with this note.
func (a *answer) note(t testing.TB, want templates.Note) {
	t.Helper()
	if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || !strings.HasSuffix(to, "?note="+string(want)) {
		t.Errorf("answered %d to %q, want the note %q: %s", a.StatusCode, to, want, a.body)
	}
}

func TestADeskFindsTheCallerWhoReadsOutACode(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann := o.visitorWithCode("Ann Silva", "4821")
		o.visitorWithCode("Carl", "7777")
		o.visitorWithCode("Dora", "7777")
		bob := o.signedIn("bob")
		found := bob.press("/desk/look-up", url.Values{"code": {" 48 21 "}})
		card := found.Header.Get("Location")
		if found.StatusCode != http.StatusSeeOther || !strings.HasPrefix(card, "/desk/card/") {
			t.Fatalf("answered %d to %q", found.StatusCode, card)
		}
		door := bob.follow(card).Header.Get("Location")
		bob.follow(door).want(t, http.StatusOK, "Co-browse with", "Ann Silva") // a code never skips the page
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		if got := o.records("watching"); len(got) != 1 || got[0].Agent != bobID || got[0].Connector != "desk" || !strings.Contains(got[0].Detail, "code") {
			t.Errorf("audited %+v", got)
		}

		bob.press("/desk/look-up", url.Values{"code": {"0000"}}).note(t, templates.NoteNoCustomer)
		bob.press("/desk/look-up", url.Values{"code": {"7777"}}).note(t, templates.NoteSeveral)
		for _, malformed := range []string{"", "482", "48211", "48a1", "4821 4822", "crm:4711", "jane@acme.com"} {
			bob.press("/desk/look-up", url.Values{"code": {malformed}}).note(t, templates.NoteMalformed)
		}
		for _, typed := range []string{"4821", "48-21", "４８２１", "#4821.", "code 4821"} {
			if to := bob.press("/desk/look-up", url.Values{"code": {typed}}).Header.Get("Location"); !strings.HasPrefix(to, "/desk/card/") {
				t.Errorf("%q leads to %q", typed, to)
			}
		}
		// Only the agent who looked up the caller may open the card.
		o.signedIn("eve").follow(card).want(t, http.StatusForbidden, "another agent")
	})
}

func TestPromise12ACodeThatSeveralHaveCountsAsWrong(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.visitorWithCode("Carl", "7777")
		o.visitorWithCode("Dora", "7777")
		bob := o.signedIn("bob")
		for range 5 {
			bob.press("/desk/look-up", url.Values{"code": {"7777"}}).note(t, templates.NoteSeveral)
		}
		bob.press("/desk/look-up", url.Values{"code": {"7777"}}).note(t, templates.NoteTooMany)
	})
}

func TestCodeGuessesOfAnAgentAreLimitedAcrossReplicas(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.visitorWithCode("Ann Silva", "9999")
		bob, replica := o.signedIn("bob"), o.replica()
		bridges := []*bridge.Bridge{o.bridge, replica}
		before := o.callsTo(upscopetest.List)
		notes := map[string]int{}
		for n := range guessCount() {
			r := bob.form("/desk/look-up", url.Values{"code": {fmt.Sprintf("%04d", n)}})
			r.Header.Set("Sec-Fetch-User", "?1")
			for _, c := range bob.cookies {
				r.AddCookie(c)
			}
			rec := httptest.NewRecorder()
			bridges[n%2].ServeHTTP(rec, r)
			notes[rec.Header().Get("Location")]++
		}
		if asked := o.callsTo(upscopetest.List) - before; asked > 5 {
			t.Errorf("%d searches at Upscope, want at most 5", asked)
		}
		if notes["/?note=too-many"]+notes["/?note=too-often"] < guessCount()-5 {
			t.Errorf("the redirects are %v", notes)
		}
		// Another agent is not limited.
		eve := o.signedIn("eve")
		if got := eve.press("/desk/look-up", url.Values{"code": {"9999"}}); !strings.HasPrefix(got.Header.Get("Location"), "/desk/card/") {
			t.Errorf("another agent is redirected to %q", got.Header.Get("Location"))
		}
		// The limit survives a restart.
		o.pass(time.Second)
		o.restartWithSignIn()
		o.sameBrowser(bob).press("/desk/look-up", url.Values{"code": {"9999"}}).note(t, templates.NoteTooMany)
		o.idle(2 * time.Minute)
		if got := o.sameBrowser(bob).press("/desk/look-up", url.Values{"code": {"9999"}}); !strings.HasPrefix(got.Header.Get("Location"), "/desk/card/") {
			t.Errorf("two minutes later the agent is redirected to %q", got.Header.Get("Location"))
		}
	})
}

func TestTheDeskShowsAnAgentsCardsAndSessions(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Online", "shop.example.org", "basket", "/desk/card/")
		if strings.Contains(page.body, "/w/") {
			t.Error("the page holds the address of a door")
		}
		for _, part := range []string{"script-src 'self'", "connect-src 'self'"} {
			if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, part) {
				t.Errorf("the policy lacks %q: %s", part, policy)
			}
		}
		card := o.cardPath(page)
		door := bob.follow(card)
		if to := door.Header.Get("Location"); door.StatusCode != http.StatusSeeOther || to != o.door("bob") {
			t.Fatalf("the card leads to %q", to)
		}
		bob.follow(o.door("bob")).wantWatch(t)
		session := o.openLatestLink()
		o.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "Live", card+"?stop=1")
		bob.follow(bob.follow(card+"?stop=1").Header.Get("Location")).want(t, http.StatusOK, "End the session with")
		o.upscope.End(session, 4, "wants a refund")
		o.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "Session ended", "Customer’s rating: 4 of 5", "wants a refund")
		o.signedIn("eve").follow("/").want(t, http.StatusOK, "desk")
		if eve := o.signedIn("eve").follow("/"); strings.Contains(eve.body, "basket") {
			t.Error("another agent sees the card")
		}
	})
}

func TestTheDeskTellsWhenAVisitorIsBack(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann, _ := bobHasCard(o.world)
		bob := o.connectedBob()
		o.upscope.Go(strings.Split(ann, ".")[0])
		o.pass(3 * time.Minute)
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Offline", "/desk/tell")
		id := strings.TrimPrefix(o.cardPath(page), "/desk/card/")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteWaiting)
		if page := bob.follow("/"); strings.Contains(page.body, `action="/desk/tell"`) {
			t.Error("the page still offers to tell when the visitor is back")
		}
		o.upscope.Return(strings.Split(ann, ".")[0])
		o.pass(time.Minute)
		bob.follow("/").want(t, http.StatusOK, "Back online")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteOnline)
		bob.press("/desk/tell", url.Values{"card": {"nothing"}}).note(t, templates.NoteNoCard)
	})
}

func TestTheDeskTellsWhenALookedUpVisitorIsBack(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann := o.visitorWithCode("Ann Silva", "4821")
		bob := o.signedIn("bob")
		bob.press("/desk/look-up", url.Values{"code": {"4821"}})
		o.upscope.Go(ann)
		o.pass(3 * time.Minute)
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Offline")
		id := strings.TrimPrefix(o.cardPath(page), "/desk/card/")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteWaiting)
		o.upscope.Return(ann)
		o.pass(time.Minute)
		bob.follow("/").want(t, http.StatusOK, "Back online")
		if strings.Contains(o.log.String(), `"level":"ERROR"`) {
			t.Error("the log has an error")
		}
	})
}

// A stream is the event stream of an open desk.
type stream struct {
	mu     sync.Mutex
	events []string
	status int
	done   chan struct{}
}

// listen opens the desk's event stream in a browser. The returned function closes it.
func (o *oidcWorld) listen(b *browser) (*stream, func()) { return o.listenAt(b, "/desk/events?rows=1") }

func (o *oidcWorld) listenAt(b *browser, path string) (*stream, func()) {
	ctx, cancel := context.WithCancel(o.Context())
	s := &stream{done: make(chan struct{})}
	r := request(http.MethodGet, path, nil).WithContext(ctx)
	r.Header.Set("Sec-Fetch-Mode", "cors")
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	in, out := io.Pipe()
	go func() {
		defer close(s.done)
		o.bridge.ServeHTTP(&streamWriter{header: http.Header{}, stream: s, out: out}, r)
		out.Close()
	}()
	go func() {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, 1<<20)
		event := ""
		for lines.Scan() {
			if line := lines.Text(); line != "" {
				event += line + "\n"
				continue
			}
			s.mu.Lock()
			s.events = append(s.events, event)
			s.mu.Unlock()
			event = ""
		}
	}()
	return s, cancel
}

func (s *stream) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}

// streamWriter is a response writer that passes on what is written at once.
type streamWriter struct {
	header http.Header
	stream *stream
	out    *io.PipeWriter
}

func (w *streamWriter) Header() http.Header              { return w.header }
func (w *streamWriter) WriteHeader(status int)           { w.stream.status = status }
func (w *streamWriter) Write(p []byte) (int, error)      { return w.out.Write(p) }
func (w *streamWriter) Flush()                           {}
func (w *streamWriter) SetWriteDeadline(time.Time) error { return nil }

func TestAnOpenDeskIsKeptUpToDate(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		s, stop := o.listen(bob)
		defer stop()
		o.pass(time.Second)
		if got := s.all(); len(got) != 1 || !strings.HasPrefix(got[0], "event: cards\ndata: ") || !strings.Contains(got[0], "Online") {
			t.Fatalf("the events are %q", got)
		}
		bob.follow(o.door("bob")).wantWatch(t)
		o.pass(5 * time.Second)
		if got := s.all(); !strings.Contains(got[len(got)-1], "Waiting for customer") {
			t.Errorf("the last event is %q", got[len(got)-1])
		}
		before := len(s.all())
		o.pass(40 * time.Second)
		quiet := s.all()[before:]
		if len(quiet) < 2 || len(quiet) > 6 {
			t.Errorf("%d events in 40 seconds without a change, want 2 to 6", len(quiet))
		}
		bob.press("/signout", nil)
		o.pass(5 * time.Second)
		select {
		case <-s.done:
		default:
			t.Error("the stream did not end when the agent signed out")
		}
	})
}

func TestDeskStreamsEndWhenTheServerStops(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bob := o.signedIn("bob")
		var all []*stream
		for range 8 {
			s, stop := o.listen(bob)
			defer stop()
			all = append(all, s)
		}
		o.pass(time.Second)
		one, stop := o.listen(bob)
		defer stop()
		o.pass(time.Second)
		if one.status != http.StatusTooManyRequests {
			t.Errorf("the ninth stream is answered %d", one.status)
		}
		o.bridge.EndStreams()
		o.pass(time.Second)
		for _, s := range all {
			select {
			case <-s.done:
			default:
				t.Error("a stream did not end")
			}
		}
	})
}

const leadsOperate = `
rules:
  - name: leads
    who: {groups: [leads]}
    may: [watch, stop, look-up, any-card, operate, audit, erase]
  - name: everybody
    may: [watch, stop, look-up]
`

func TestOperatorsSeeFailedDeliveriesAndRetryThem(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		eve, bob := o.signedIn("eve"), o.signedIn("bob")
		for _, path := range []string{"/desk/operations", "/desk/audit", "/desk/audit/export", "/desk/erase"} {
			bob.follow(path).want(t, http.StatusForbidden)
			eve.follow(path).want(t, http.StatusOK)
		}
		bob.press("/desk/retry", url.Values{"all": {"1"}}).want(t, http.StatusForbidden)
		if strings.Contains(bob.follow("/").body, "/desk/audit") {
			t.Error("the desk links to a page that the agent may not see")
		}
		eve.follow("/").want(t, http.StatusOK, "/desk/operations", "/desk/audit", "/desk/erase")

		o.ann()
		o.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
		o.bobTakes(o.openChat(withPageKey()))
		o.posts("bob", 0)
		eve.follow("/desk/operations").want(t, http.StatusOK, "Retry", "error-invalid-user")
		eve.press("/desk/retry", url.Values{"all": {"1"}}).note(t, templates.NoteRetried)
		o.pass(time.Second)
		o.posts("bob", 1)
		eve.press("/desk/retry", url.Values{"failure": {"nothing"}}).note(t, templates.NoteRetryGone)
		if got := o.records("retried"); len(got) == 0 || got[0].Agent != eveID {
			t.Errorf("audited %+v", got)
		}
	})
}

func TestTheAuditLogIsSearchedAndExportedAtTheDesk(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(o.door("bob")).wantWatch(t)
		eve := o.signedIn("eve")
		page := eve.follow("/desk/audit?action=watching&agent=" + url.QueryEscape(bobID))
		page.want(t, http.StatusOK, "found by the ID", bobID)
		if strings.Contains(page.body, "rocketchat:a1 by the agent") {
			t.Error("the page shows records that do not match the filter")
		}
		eve.follow("/desk/audit?since=2001-01-01&until=2001-02-01").want(t, http.StatusOK)
		eve.follow("/desk/audit?since=yesterday").want(t, http.StatusOK, "was not valid")

		for _, filter := range []string{"since=yesterday", "until=2026-13-01", "agent=" + url.QueryEscape(bobID) + "&since=21.11.2026"} {
			refused := eve.follow("/desk/audit/export?" + filter)
			refused.want(t, http.StatusBadRequest, "Nothing was exported", "<form")
			if got := refused.Header.Get("Content-Disposition"); got != "" {
				t.Errorf("%s is answered with a file: %s", filter, got)
			}
		}

		export := eve.follow("/desk/audit/export")
		if got := export.Header.Get("Content-Disposition"); !strings.Contains(got, "attachment") {
			t.Errorf("the Content-Disposition of the export is %q", got)
		}
		var seq int64
		for line := range strings.Lines(export.body) {
			var r audit.ExportedRecord
			o.must(json.Unmarshal([]byte(line), &r))
			if seq++; r.Seq != seq {
				t.Fatalf("record %d comes instead of record %d", r.Seq, seq)
			}
		}
		if got := o.records("audit exported"); len(got) != 1 || got[0].Agent != eveID || seq < got[0].Seq {
			t.Errorf("the export is audited as %+v", got)
		}
	})
}

func TestAPersonIsErasedAtTheDesk(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		bobHasCard(o.world)
		eve := o.signedIn("eve")
		form := url.Values{"kind": {"unique id"}, "id": {"cust-77"}}
		eve.press("/desk/erase", form).want(t, http.StatusOK, "Delete this person’s data?", "Delete permanently")
		if _, err := o.store.CardOfChat(o.Context(), "rocketchat", store.KindChat, "room00000000000001"); err != nil {
			t.Fatalf("looking for the person removed the card: %v", err)
		}
		form.Set("confirm", "1")
		done := eve.press("/desk/erase", form)
		receipt := done.Header.Get("Location")
		if done.StatusCode != http.StatusSeeOther || !strings.HasPrefix(receipt, "/desk/erase?receipt=") {
			t.Fatalf("answered %d to %q: %s", done.StatusCode, receipt, done.body)
		}
		eve.follow(receipt).want(t, http.StatusOK, "Keep this receipt number")
		if _, err := o.store.CardOfChat(o.Context(), "rocketchat", store.KindChat, "room00000000000001"); err == nil {
			t.Error("the card was not removed")
		}
		eve.press("/desk/erase", url.Values{"kind": {"visitor"}, "id": {"a b"}, "confirm": {"1"}}).want(t, http.StatusBadRequest)
		eve.press("/desk/erase", url.Values{"kind": {"everybody"}, "id": {"x"}, "confirm": {"1"}}).want(t, http.StatusBadRequest)
		o.signedIn("bob").press("/desk/erase", form).want(t, http.StatusForbidden)
	})
}

func TestRefusalsAtTheDeskAreAuditedWithTheirReason(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		bobHasCard(o.world)
		path := o.cardPath(o.connectedBob().follow("/"))
		carl := o.signedIn("U1") // of no group
		carl.follow("/desk/operations").want(t, http.StatusForbidden)
		carl.press("/desk/erase", url.Values{"kind": {"unique id"}, "id": {"cust-77"}, "confirm": {"1"}}).want(t, http.StatusForbidden)
		carl.follow(path).want(t, http.StatusForbidden)
		var details []string
		for _, r := range o.records("refused") {
			details = append(details, r.Detail)
		}
		if got := strings.Join(details, ", "); got != "policy does not allow it: operate, policy does not allow it: erase, card belongs to another agent" {
			t.Errorf("the reasons in the audit log are %s", got)
		}
	})
}

func TestRefusedLookUpsDoNotFillTheAuditLog(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bob := o.signedIn("bob")
		for range 200 {
			bob.press("/desk/look-up", url.Values{"code": {"0000"}})
		}
		if n := len(o.records("refused")); n == 0 || n > 2 {
			t.Errorf("%d audit records of refusals, want 1 or 2", n)
		}
	})
}

func TestCodesInChatsDoNotUseUpAgentsLookUps(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		for n := range 40 {
			o.bobTakes(o.openChat(map[string]string{"upscope_code": fmt.Sprintf("%04d", n)}))
		}
		o.visitorWithCode("Ann Silva", "4821")
		if to := o.signedIn("bob").press("/desk/look-up", url.Values{"code": {"4821"}}).Header.Get("Location"); !strings.HasPrefix(to, "/desk/card/") {
			t.Errorf("bob is redirected to %q", to)
		}
	})
}

func TestAnAgentWhoMayNotLookUpCannotWatchByACodeFromTheChat(t *testing.T) {
	inOIDCWorld(t, "rules:\n  - may: [watch]\n", func(o *oidcWorld) {
		ann := o.visitorWithCode("Ann Silva", "0482")
		bob := o.signedIn("bob")
		bob.press("/desk/look-up", url.Values{"code": {"0482"}}).want(t, http.StatusForbidden)
		o.typeCommand(o.chat.AddChannel("helpdesk", "bob", "eve"), "bob", "!cobrowse 0482")
		bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		bob.press(o.door("bob"), url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		if o.upscope.Minted() != 0 {
			t.Error("a watch link was made")
		}
	})
}

func TestACallersCardThatExpiredLeadsToTheDesk(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.visitorWithCode("Ann Silva", "4821")
		bob := o.signedIn("bob")
		door := bob.follow(bob.press("/desk/look-up", url.Values{"code": {"4821"}}).Header.Get("Location")).Header.Get("Location")
		o.stop()
		<-time.After(8*time.Hour + time.Minute)
		bob = o.signedIn("bob")
		bob.follow(door).want(t, http.StatusGone, "Go to your desk")
		bob.press(door+"?renew=1", nil).want(t, http.StatusGone, "Go to your desk")
	})
}

func TestWithoutSignInThereIsNoDesk(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, path := range []string{"/", "/desk/audit", "/desk/events", "/signin", "/signin/callback"} {
			w.browser().follow(path).want(t, http.StatusNotFound)
		}
		w.browser().press("/signout", nil).want(t, http.StatusNotFound)
	})
}

func TestADeskOpensWithoutTheCardsThatCannotBeDecrypted(t *testing.T) {
	for name, opts := range map[string]options{"own cards": {}, "shared cards": showInChannel} {
		t.Run(name, func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				o.ann()
				damaged, room := o.openChat(withPageKey()), o.openChat(withPageKey())
				o.bobTakes(damaged)
				o.bobTakes(room)
				bob := o.signedIn("bob")
				if opts.config == nil {
					bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Co-browse with")
				}
				before := strings.Count(bob.follow("/").body, "/desk/card/")
				o.sql("UPDATE cards SET detail = x'00' WHERE chat = '" + damaged + "'")
				page := bob.follow("/")
				page.want(t, http.StatusOK, "/desk/card/")
				if after := strings.Count(page.body, "/desk/card/"); after >= before {
					t.Errorf("%d links to cards, before there were %d", after, before)
				}
				o.trouble = true // the presence on the damaged card cannot be updated
			}, opts)
		})
	}
}
