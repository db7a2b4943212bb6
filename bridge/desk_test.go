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
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope/upscopetest"
)

// note is what the desk says after a form, by the address it leads to.
func (a *answer) note(t testing.TB, want templates.Note) {
	t.Helper()
	if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || !strings.HasSuffix(to, "?note="+string(want)) {
		t.Errorf("answered %d to %q, want the note %q: %s", a.StatusCode, to, want, a.body)
	}
}

func TestADeskFindsTheCallerWhoReadsOutACode(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann := o.coded("Ann Silva", "4821")
		o.coded("Carl", "7777")
		o.coded("Dora", "7777")
		bob := o.at("bob")
		found := bob.press("/desk/look-up", url.Values{"code": {" 48 21 "}})
		card := found.Header.Get("Location")
		if found.StatusCode != http.StatusSeeOther || !strings.HasPrefix(card, "/desk/card/") {
			t.Fatalf("answered %d to %q", found.StatusCode, card)
		}
		door := bob.follow(card).Header.Get("Location")
		bob.follow(door).want(t, http.StatusOK, "Co-browse with", "Ann Silva") // a code is asked about, never followed straight on
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		if got := o.records("watching"); len(got) != 1 || got[0].Agent != bobID || got[0].Connector != "desk" || !strings.Contains(got[0].Detail, "code") {
			t.Errorf("recorded %+v", got)
		}

		// None and several are answered alike.
		none, several := bob.press("/desk/look-up", url.Values{"code": {"0000"}}), bob.press("/desk/look-up", url.Values{"code": {"7777"}})
		none.note(t, templates.NoteNoSingle)
		several.note(t, templates.NoteNoSingle)
		if none.body != several.body || fmt.Sprint(none.Header) != fmt.Sprint(several.Header) {
			t.Error("none and several are told apart")
		}
		for _, malformed := range []string{"", "482", "48211", "４８２１", "48a1"} {
			bob.press("/desk/look-up", url.Values{"code": {malformed}}).note(t, templates.NoteMalformed)
		}
		// The card of a caller is nobody else's.
		o.at("eve").follow(card).want(t, http.StatusForbidden, "another agent")
	})
}

func TestGuessesOfCodesAreBoundedWhoeverGuesses(t *testing.T) {
	inOffice(t, "", func(o *office) {
		o.coded("Ann Silva", "9999")
		bob, replica := o.at("bob"), o.replica()
		bridges := []*bridge.Bridge{o.bridge, replica}
		before := o.asked(upscopetest.List)
		notes := map[string]int{}
		for n := range guesses() {
			r := bob.form("/desk/look-up", url.Values{"code": {fmt.Sprintf("%04d", n)}})
			r.Header.Set("Sec-Fetch-User", "?1")
			for _, c := range bob.cookies {
				r.AddCookie(c)
			}
			rec := httptest.NewRecorder()
			bridges[n%2].ServeHTTP(rec, r)
			notes[rec.Header().Get("Location")]++
		}
		if asked := o.asked(upscopetest.List) - before; asked > 5 {
			t.Errorf("Upscope was asked %d times", asked)
		}
		if notes["/?note=too-many"] < guesses()-5 {
			t.Errorf("answered %v", notes)
		}
		// Another agent is not in the way of it.
		eve := o.at("eve")
		if got := eve.press("/desk/look-up", url.Values{"code": {"9999"}}); !strings.HasPrefix(got.Header.Get("Location"), "/desk/card/") {
			t.Errorf("another agent is answered %q", got.Header.Get("Location"))
		}
		// Nor is it forgotten by a restart.
		o.pass(time.Second)
		o.restartOffice()
		o.again(bob).press("/desk/look-up", url.Values{"code": {"9999"}}).note(t, templates.NoteTooMany)
		o.idle(2 * time.Minute)
		if got := o.again(bob).press("/desk/look-up", url.Values{"code": {"9999"}}); !strings.HasPrefix(got.Header.Get("Location"), "/desk/card/") {
			t.Errorf("two minutes later the agent is answered %q", got.Header.Get("Location"))
		}
	})
}

func TestTheDeskShowsAnAgentsCardsAndSessions(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
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
		session := o.begun()
		o.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "Live", card+"?stop=1")
		bob.follow(bob.follow(card+"?stop=1").Header.Get("Location")).want(t, http.StatusOK, "End the session with")
		o.upscope.End(session, 4, "wants a refund")
		o.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "Session over", "Rated 4 of 5", "wants a refund")
		o.at("eve").follow("/").want(t, http.StatusOK, "desk")
		if eve := o.at("eve").follow("/"); strings.Contains(eve.body, "basket") {
			t.Error("another agent sees the card")
		}
	})
}

func TestTheDeskTellsWhenAVisitorIsBack(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann, _ := ready(o.world)
		bob := o.connected()
		o.upscope.Go(strings.Split(ann, ".")[0])
		o.pass(3 * time.Minute)
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Offline", "/desk/tell")
		id := strings.TrimPrefix(o.cardPath(page), "/desk/card/")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteTold)
		if page := bob.follow("/"); strings.Contains(page.body, `action="/desk/tell"`) {
			t.Error("it is offered once more")
		}
		o.upscope.Return(strings.Split(ann, ".")[0])
		o.pass(time.Minute)
		bob.follow("/").want(t, http.StatusOK, "Back online")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteOnline)
		bob.press("/desk/tell", url.Values{"card": {"nothing"}}).note(t, templates.NoteNoCard)
	})
}

func TestACardMadeAtTheDeskIsFollowedThereToo(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann := o.coded("Ann Silva", "4821")
		bob := o.at("bob")
		bob.press("/desk/look-up", url.Values{"code": {"4821"}})
		o.upscope.Go(ann)
		o.pass(3 * time.Minute)
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Offline")
		id := strings.TrimPrefix(o.cardPath(page), "/desk/card/")
		bob.press("/desk/tell", url.Values{"card": {id}}).note(t, templates.NoteTold)
		o.upscope.Return(ann)
		o.pass(time.Minute)
		bob.follow("/").want(t, http.StatusOK, "Back online")
		if strings.Contains(o.log.String(), `"level":"ERROR"`) {
			t.Error("something failed")
		}
	})
}

// A stream is a desk that listens.
type stream struct {
	mu     sync.Mutex
	events []string
	status int
	done   chan struct{}
}

// listen opens the desk's events in a browser until the returned function is called.
func (o *office) listen(b *browser) (*stream, func()) {
	ctx, cancel := context.WithCancel(o.Context())
	s := &stream{done: make(chan struct{})}
	r := request(http.MethodGet, "/desk/events", nil).WithContext(ctx)
	r.Header.Set("Sec-Fetch-Mode", "cors")
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	in, out := io.Pipe()
	go func() {
		defer close(s.done)
		o.bridge.ServeHTTP(&streamed{header: http.Header{}, stream: s, out: out}, r)
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

// streamed is an answer that arrives while it is written.
type streamed struct {
	header http.Header
	stream *stream
	out    *io.PipeWriter
}

func (w *streamed) Header() http.Header              { return w.header }
func (w *streamed) WriteHeader(status int)           { w.stream.status = status }
func (w *streamed) Write(p []byte) (int, error)      { return w.out.Write(p) }
func (w *streamed) Flush()                           {}
func (w *streamed) SetWriteDeadline(time.Time) error { return nil }

func TestAnOpenDeskIsKeptUpToDate(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
		s, stop := o.listen(bob)
		defer stop()
		o.pass(time.Second)
		if got := s.all(); len(got) != 1 || !strings.HasPrefix(got[0], "event: cards\ndata: ") || !strings.Contains(got[0], "Online") {
			t.Fatalf("events %q", got)
		}
		bob.follow(o.door("bob")).wantWatch(t)
		o.pass(5 * time.Second)
		if got := s.all(); !strings.Contains(got[len(got)-1], "Opened") {
			t.Errorf("the last event is %q", got[len(got)-1])
		}
		before := len(s.all())
		o.pass(40 * time.Second)
		quiet := s.all()[before:]
		if len(quiet) < 2 || len(quiet) > 6 {
			t.Errorf("%d events in 40 quiet seconds", len(quiet))
		}
		bob.press("/signout", nil)
		o.pass(5 * time.Second)
		select {
		case <-s.done:
		default:
			t.Error("the desk of somebody who signed out goes on")
		}
	})
}

func TestOpenDesksEndWhenTheServerStops(t *testing.T) {
	inOffice(t, "", func(o *office) {
		bob := o.at("bob")
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
			t.Errorf("the ninth is answered %d", one.status)
		}
		o.bridge.EndStreams()
		o.pass(time.Second)
		for _, s := range all {
			select {
			case <-s.done:
			default:
				t.Error("a desk goes on")
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

func TestOperatorsSeeWhatFailedAndHaveItTriedAgain(t *testing.T) {
	inOffice(t, leadsOperate, func(o *office) {
		eve, bob := o.at("eve"), o.at("bob")
		for _, path := range []string{"/desk/operations", "/desk/audit", "/desk/audit/export", "/desk/erase"} {
			bob.follow(path).want(t, http.StatusForbidden)
			eve.follow(path).want(t, http.StatusOK)
		}
		bob.press("/desk/retry", url.Values{"all": {"1"}}).want(t, http.StatusForbidden)
		if strings.Contains(bob.follow("/").body, "/desk/audit") {
			t.Error("an agent is offered what they may not see")
		}
		eve.follow("/").want(t, http.StatusOK, "/desk/operations", "/desk/audit", "/desk/erase")

		o.ann()
		o.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
		o.taken(o.opens(keyed()))
		o.posts("bob", 0)
		eve.follow("/desk/operations").want(t, http.StatusOK, "Retry", "error-invalid-user")
		eve.press("/desk/retry", url.Values{"all": {"1"}}).note(t, templates.NoteRetried)
		o.pass(time.Second)
		o.posts("bob", 1)
		eve.press("/desk/retry", url.Values{"job": {"nothing"}}).note(t, templates.NoteRetryGone)
		if got := o.records("retried"); len(got) == 0 || got[0].Agent != eveID {
			t.Errorf("recorded %+v", got)
		}
	})
}

func TestTheAuditTrailIsSearchedAndExportedAtTheDesk(t *testing.T) {
	inOffice(t, leadsOperate, func(o *office) {
		ready(o.world)
		bob := o.connected()
		bob.follow(o.door("bob")).wantWatch(t)
		eve := o.at("eve")
		page := eve.follow("/desk/audit?action=watching&agent=" + url.QueryEscape(bobID))
		page.want(t, http.StatusOK, "by integration", bobID)
		if strings.Contains(page.body, "rocketchat:a1 by the agent") {
			t.Error("records that do not fit are shown")
		}
		eve.follow("/desk/audit?since=2001-01-01&until=2001-02-01").want(t, http.StatusOK)
		eve.follow("/desk/audit?since=yesterday").want(t, http.StatusOK, "could not be read")

		export := eve.follow("/desk/audit/export")
		if got := export.Header.Get("Content-Disposition"); !strings.Contains(got, "attachment") {
			t.Errorf("the export is sent as %q", got)
		}
		var seq int64
		for line := range strings.Lines(export.body) {
			var r store.ExportedRecord
			o.must(json.Unmarshal([]byte(line), &r))
			if seq++; r.Seq != seq {
				t.Fatalf("record %d comes where %d should", r.Seq, seq)
			}
		}
		if got := o.records("audit exported"); len(got) != 1 || got[0].Agent != eveID || seq < got[0].Seq {
			t.Errorf("the export is recorded as %+v", got)
		}
	})
}

func TestAPersonIsErasedAtTheDesk(t *testing.T) {
	inOffice(t, leadsOperate, func(o *office) {
		ready(o.world)
		eve := o.at("eve")
		form := url.Values{"kind": {"unique id"}, "id": {"cust-77"}}
		eve.press("/desk/erase", form).want(t, http.StatusOK, "Erase this person?", "Erase for good")
		if _, err := o.store.CardOfChat(o.Context(), "rocketchat", "room00000000000001"); err != nil {
			t.Fatalf("a look removed the card: %v", err)
		}
		form.Set("confirm", "1")
		done := eve.press("/desk/erase", form)
		receipt := done.Header.Get("Location")
		if done.StatusCode != http.StatusSeeOther || !strings.HasPrefix(receipt, "/desk/erase?receipt=") {
			t.Fatalf("answered %d to %q: %s", done.StatusCode, receipt, done.body)
		}
		eve.follow(receipt).want(t, http.StatusOK, "They are erased")
		if _, err := o.store.CardOfChat(o.Context(), "rocketchat", "room00000000000001"); err == nil {
			t.Error("the card is there")
		}
		eve.press("/desk/erase", url.Values{"kind": {"visitor"}, "id": {"a b"}, "confirm": {"1"}}).want(t, http.StatusBadRequest)
		eve.press("/desk/erase", url.Values{"kind": {"everybody"}, "id": {"x"}, "confirm": {"1"}}).want(t, http.StatusBadRequest)
		o.at("bob").press("/desk/erase", form).want(t, http.StatusForbidden)
	})
}

func TestRefusalsAtTheDeskAreOnRecordEachWithWhatItWas(t *testing.T) {
	inOffice(t, leadsOperate, func(o *office) {
		ready(o.world)
		path := o.cardPath(o.connected().follow("/"))
		carl := o.at("U1") // of no group
		carl.follow("/desk/operations").want(t, http.StatusForbidden)
		carl.press("/desk/erase", url.Values{"kind": {"unique id"}, "id": {"cust-77"}, "confirm": {"1"}}).want(t, http.StatusForbidden)
		carl.follow(path).want(t, http.StatusForbidden)
		var details []string
		for _, r := range o.records("refused") {
			details = append(details, r.Detail)
		}
		if got := strings.Join(details, ", "); got != "policy does not allow it: operate, policy does not allow it: erase, card belongs to another agent" {
			t.Errorf("recorded %s", got)
		}
	})
}

func TestLookUpsThatAreRefusedFillNoRecord(t *testing.T) {
	inOffice(t, "", func(o *office) {
		bob := o.at("bob")
		for range 200 {
			bob.press("/desk/look-up", url.Values{"code": {"0000"}})
		}
		if n := len(o.records("refused")); n == 0 || n > 2 {
			t.Errorf("%d refusals are on record", n)
		}
	})
}

func TestCodesThatVisitorsTypeTakeNothingFromAgents(t *testing.T) {
	inOffice(t, "", func(o *office) {
		for n := range 40 {
			o.taken(o.opens(map[string]string{"upscope_code": fmt.Sprintf("%04d", n)}))
		}
		o.coded("Ann Silva", "4821")
		if to := o.at("bob").press("/desk/look-up", url.Values{"code": {"4821"}}).Header.Get("Location"); !strings.HasPrefix(to, "/desk/card/") {
			t.Errorf("bob is answered %q", to)
		}
	})
}

func TestWhoMayNotLookUpWatchesNobodyByACodeFromTheChatEither(t *testing.T) {
	inOffice(t, "rules:\n  - may: [watch]\n", func(o *office) {
		ann := o.coded("Ann Silva", "0482")
		bob := o.at("bob")
		bob.press("/desk/look-up", url.Values{"code": {"0482"}}).want(t, http.StatusForbidden)
		o.types(o.chat.AddChannel("helpdesk", "bob", "eve"), "bob", "!cobrowse 0482")
		bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		bob.press(o.door("bob"), url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		if o.upscope.Minted() != 0 {
			t.Error("a link was made")
		}
	})
}

func TestACallersCardThatExpiredLeadsToTheDesk(t *testing.T) {
	inOffice(t, "", func(o *office) {
		o.coded("Ann Silva", "4821")
		bob := o.at("bob")
		door := bob.follow(bob.press("/desk/look-up", url.Values{"code": {"4821"}}).Header.Get("Location")).Header.Get("Location")
		o.stop()
		<-time.After(8*time.Hour + time.Minute)
		bob = o.at("bob")
		bob.follow(door).want(t, http.StatusGone, "Go to your desk")
		bob.press(door+"?renew=1", nil).want(t, http.StatusGone, "Go to your desk")
	})
}

func TestWhereNobodySignsInThereIsNoDesk(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, path := range []string{"/", "/desk/audit", "/desk/events", "/signin", "/signin/callback"} {
			w.browser().follow(path).want(t, http.StatusNotFound)
		}
		w.browser().press("/signout", nil).want(t, http.StatusNotFound)
	})
}
