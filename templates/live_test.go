package templates

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

func renderLive(t testing.TB, d Desk) string {
	t.Helper()
	html, err := new(LiveDesk).Update(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(html)
}

// timeTexts match the text of a time, which is relative in the page.
var timeTexts = regexp.MustCompile(`(?:UTC">)[^<]*`)

func TestTheLivePartIsAPartOfThePage(t *testing.T) {
	for name, p := range samplePages() {
		d, ok := p.(Desk)
		if !ok {
			continue
		}
		want := `data-now="just now">` + timeTexts.ReplaceAllString(renderLive(t, d), ">") + "</div>"
		if !strings.Contains(timeTexts.ReplaceAllString(render(t, d), ">"), want) {
			t.Errorf("%s: the live part differs from that of the page", name)
		}
	}
}

func TestTheLivePartCanBeSentAsAnEvent(t *testing.T) {
	// A carriage return would end a line of the event.
	for _, s := range append(corpus(t), "a\rb", "a\r\nb") {
		live := renderLive(t, poisoned(s)["desk-busy"].(Desk))
		if strings.ContainsAny(live, "\r\x00") || strings.Contains(live, "<script") {
			t.Errorf("%.40q: cannot be sent:\n%s", s, live)
		}
	}
}

// A deskSite serves one agent's desk with its events.
type deskSite struct {
	*testing.T
	*httptest.Server
	// desk is what the page shows when it is loaded.
	desk atomic.Pointer[Desk]
	// events are sent to the page; an empty one ends the stream.
	events chan string
	// refused answers the stream as for an agent who is no longer signed in.
	refused atomic.Bool
	posted  chan string
}

func newDeskSite(t *testing.T, d Desk) *deskSite {
	s := &deskSite{T: t, events: make(chan string), posted: make(chan string, 1)}
	s.desk.Store(&d)
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(Static())))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { sendPage(t, w, *s.desk.Load()) })
	mux.HandleFunc("POST /desk/look-up", func(w http.ResponseWriter, r *http.Request) {
		s.posted <- r.PostFormValue("code")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /desk/events", s.stream)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *deskSite) stream(w http.ResponseWriter, r *http.Request) {
	if s.refused.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 10\n\n")
	w.(http.Flusher).Flush()
	for {
		select {
		case html := <-s.events:
			if html == "" {
				return
			}
			fmt.Fprint(w, "event: cards\n")
			for line := range strings.SplitSeq(html, "\n") {
				fmt.Fprintf(w, "data: %s\n", line)
			}
			fmt.Fprint(w, "\n")
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *deskSite) send(html string) {
	s.Helper()
	select {
	case s.events <- html:
	case <-time.After(30 * time.Second):
		s.Fatal("the page does not receive events")
	}
}

// open shows the desk on a small screen and waits until it is live. The page counts
// changes of its parts in "went".
func (s *deskSite) open() context.Context {
	s.Helper()
	ctx, cancel := context.WithTimeout(browser(s.T), 3*time.Minute)
	s.Cleanup(cancel)
	dress(s.T, ctx, "light", 900)
	do(s.T, ctx, chromedp.Navigate(s.URL+"/"))
	until(s.T, ctx, `document.getElementById("pulse").textContent === "Live updates on"`)
	do(s.T, ctx, chromedp.Evaluate[chromedp.Void](`
		window.went = {pulse: [], live: 0, at: 0};
		new MutationObserver(() => went.pulse.push(pulse.textContent)).observe(pulse, {childList: true});
		new MutationObserver(() => { went.live++; went.at = performance.now(); }).observe(live, {childList: true});
		0`))
	return ctx
}

// until waits for a condition in the page.
func until(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](condition, chromedp.WithPollingTimeout(3*time.Minute))); err != nil {
		t.Fatalf("waiting for %s: %v", condition, err)
	}
}

func is[T comparable](t *testing.T, ctx context.Context, script string, want T) {
	t.Helper()
	if got := get[T](t, ctx, script); got != want {
		t.Errorf("%s is %v, want %v", script, got, want)
	}
}

// threeCards is a desk with a card that is ready, one whose visitor the agent waits
// for, and one whose visitor they may wait for.
func threeCards(change func(cards []DeskCard)) Desk {
	d := samplePages()["desk-agent"].(Desk)
	if change != nil {
		change(d.Cards)
	}
	return d
}

func returned(cards []DeskCard) { // Joana; the agent did not wait for her
	cards[1].State, cards[1].CanTell, cards[1].Changed = StateReady, false, noon
}

const focus = `document.activeElement.dataset.key || document.activeElement.id`

func TestTheDeskKeepsItselfUpToDate(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx := s.open()

	do(t, ctx, chromedp.Evaluate[chromedp.Void](`document.querySelector("[data-key='chat-c-waited']").focus(); scrollTo(0, 120)`))
	s.send(renderLive(t, threeCards(nil))) // nothing new
	s.send(renderLive(t, threeCards(nil)))
	s.send(renderLive(t, threeCards(returned)))
	until(t, ctx, `document.querySelector("[data-card='c-offline']").dataset.here === "1"`)
	is(t, ctx, `went.live`, 1)
	is(t, ctx, focus, "chat-c-waited")
	is(t, ctx, `scrollY`, 120)
	is(t, ctx, `news.textContent`, "Joana Prates is back online.")
	is(t, ctx, `getComputedStyle(news).display !== "none" && news.getAttribute("role")`, "status")
	is(t, ctx, `document.title`, "Your desk · "+Product) // a visible tab gets no mark
	is(t, ctx, `[...live.querySelectorAll("h3")].slice(0, 2).map(e => e.textContent).join()`, "Joana Prates,Ann Silva")

	// A new card is announced, and one that is gone is not.
	s.send(renderLive(t, threeCards(func(cards []DeskCard) {
		returned(cards)
		cards[0].ID, cards[0].Customer.Text = "c-new", "Zoë <b>Ash</b>"
	})))
	until(t, ctx, `!!document.querySelector("[data-card='c-new']")`)
	is(t, ctx, `news.textContent`, "Zoë <b>Ash</b> is online.")
}

func TestFocusStaysOnACardThatChanges(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx := s.open()
	do(t, ctx, chromedp.Evaluate[chromedp.Void](`document.querySelector("[data-key='tell-c-offline']").focus()`))

	s.send(renderLive(t, threeCards(returned))) // its button is gone
	until(t, ctx, `went.live === 1`)
	is(t, ctx, focus, "card-c-offline")

	d := threeCards(nil)
	d.Cards = d.Cards[:1]
	s.send(renderLive(t, d)) // and now the card
	until(t, ctx, `went.live === 2`)
	is(t, ctx, focus, "live")

	do(t, ctx, chromedp.Evaluate[chromedp.Void](`document.getElementById("code").focus()`))
	s.send(renderLive(t, threeCards(nil)))
	until(t, ctx, `went.live === 3`)
	is(t, ctx, focus, "code")
}

func TestATabInTheBackgroundIsMarkedWhenAVisitorIsBack(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx := s.open()
	hide := func(hidden bool) {
		do(t, ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`
			Object.defineProperty(document, "hidden", {value: %t, configurable: true});
			document.dispatchEvent(new Event("visibilitychange"))`, hidden)))
	}
	hide(true)
	s.send(renderLive(t, threeCards(func(cards []DeskCard) { cards[2].Waiting = false }))) // no news
	until(t, ctx, `went.live === 1`)
	is(t, ctx, `document.title`, "Your desk · "+Product)
	s.send(renderLive(t, threeCards(returned)))
	until(t, ctx, `went.live === 2`)
	is(t, ctx, `document.title`, "● Your desk · "+Product)
	hide(false)
	is(t, ctx, `document.title`, "Your desk · "+Product)
}

func TestCardsDoNotMoveUnderThePointer(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx := s.open()
	at := get[struct{ X, Y float64 }](t, ctx, `(r => ({X: r.x + r.width / 2, Y: r.y + r.height / 2}))(
		document.querySelector("[data-key='open-c-ready']").getBoundingClientRect())`)
	do(t, ctx, chromedp.Evaluate[chromedp.Void](`live.addEventListener("pointermove", () => { went.moved = performance.now(); })`))
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at.X, at.Y))
	until(t, ctx, `went.moved > 0 && !!live.querySelector("a:hover")`)

	s.send(renderLive(t, threeCards(returned))) // would put Joana first
	until(t, ctx, `went.live === 1`)
	if waited := get[float64](t, ctx, `went.at - went.moved`); waited < 1500 {
		t.Errorf("the cards moved %.0f ms after the pointer", waited)
	}
}

func TestTheDeskShowsThatItIsNotLive(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx := s.open()

	s.send("") // the connection breaks
	s.send(renderLive(t, threeCards(returned)))
	until(t, ctx, `went.live === 1 && pulse.textContent === "Live updates on"`)
	is(t, ctx, `went.pulse.join(" ")`, "Reconnecting… Live updates on")

	s.refused.Store(true) // the sign-in has ended
	s.send("")
	until(t, ctx, `pulse.dataset.state === "off"`)
	is(t, ctx, `pulse.querySelector("a").getAttribute("href")`, "/")
	is(t, ctx, `went.live`, 1) // the content stays

	s.refused.Store(false) // signed in again in another tab
	until(t, ctx, `pulse.textContent === "Live updates on"`)
}

func TestTheDeskWorksWithoutScript(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, threeCards(nil))
	ctx, cancel := context.WithTimeout(browser(t), 3*time.Minute)
	defer cancel()
	dress(t, ctx, "light", 900)
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate(s.URL+"/"))
	is(t, ctx, `document.querySelectorAll("[data-card]").length`, 3)
	is(t, ctx, `document.querySelector("#pulse a").textContent`, "Refresh to see changes")
	do(t, ctx, chromedp.Evaluate[chromedp.Void](`document.getElementById("code").focus()`))
	do(t, ctx, chromedp.KeyEvent("4821\r"))
	select {
	case code := <-s.posted:
		if code != "4821" {
			t.Errorf("posted %q", code)
		}
	case <-ctx.Done():
		t.Error("the form was not posted")
	}
}

func TestTheDesksScriptIsShortAndMakesNoMarkup(t *testing.T) {
	script, err := static.ReadFile("static/desk.js")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(script), "\n"); n > 140 {
		t.Errorf("%d lines", n)
	}
	for _, word := range []string{"eval", "Function(", "insertAdjacentHTML", "outerHTML", "document.write", "fetch(", "localStorage"} {
		if strings.Contains(string(script), word) {
			t.Errorf("the script contains %s", word)
		}
	}
	if n := strings.Count(string(script), "innerHTML = "); n != 1 {
		t.Errorf("%d places set HTML, want the one for events", n)
	}
}

// randomDesk changes a desk at random: cards come, go, move between groups and change, as sessions do.
func randomDesk(random *rand.Rand, d Desk, at time.Time) Desk {
	states := []string{StateReady, StateBack, StateChoose, StateOpened, StateLive, StateOffline, StateNoVisitor, StateFailed, StateEnded}
	d.Cards, d.Sessions = slices.Clone(d.Cards), slices.Clone(d.Sessions)
	card := func(c DeskCard) DeskCard {
		c.State, c.Changed, c.Found = states[random.IntN(len(states))], at, random.IntN(3)
		c.CanOpen, c.CanStop, c.Shared, c.Waiting = random.IntN(2) == 0, random.IntN(3) == 0, random.IntN(3) == 0, random.IntN(4) == 0
		return c
	}
	for range 1 + random.IntN(3) {
		switch n := len(d.Cards); random.IntN(8) {
		case 0, 1:
			d.Cards = append(d.Cards, card(DeskCard{ID: fmt.Sprint("c-", random.Uint32()), Customer: CustomerName{Text: fmt.Sprint("Ann <b>", random.IntN(100))}}))
		case 2:
			if n > 0 {
				i := random.IntN(n)
				d.Cards = slices.Delete(d.Cards, i, i+1)
			}
		case 3, 4, 5:
			if n > 0 {
				i := random.IntN(n)
				d.Cards[i] = card(d.Cards[i])
			}
		case 6:
			d.More = !d.More
		case 7:
			if random.IntN(6) == 0 {
				d.Cards = nil
			}
		}
	}
	switch n := len(d.Sessions); random.IntN(4) {
	case 0:
		d.Sessions = append(d.Sessions, DeskSession{Card: fmt.Sprint("c-", random.IntN(3)), Started: at, Session: Session{Outcome: Running}})
	case 1:
		if n > 0 {
			d.Sessions[random.IntN(n)].Session = Session{Outcome: Over, Length: time.Duration(random.IntN(90)) * time.Minute, Agents: []string{"Bob"}}
		}
	case 2:
		if n > 0 && random.IntN(3) == 0 {
			d.Sessions = d.Sessions[1:]
		}
	}
	return d
}

func TestADeskThatEventsPatchedIsLikeOneThatWasLoaded(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := samplePages()["desk-team"].(Desk)
	d.Now = time.Time{}                              // the present, as for the script
	s, fresh := newDeskSite(t, d), newDeskSite(t, d) // of the page that is patched, and of the one that is loaded
	ctx := s.open()
	loaded, cancel := context.WithTimeout(browser(t), 3*time.Minute)
	defer cancel()
	var live LiveDesk
	rows, sent, before := 0, 0, ""
	for i := range 60 {
		if i > 0 {
			d = randomDesk(random, d, time.Now().Add(-time.Duration(random.IntN(40*24*60))*time.Minute-30*time.Second))
		}
		html, err := live.Update(d)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := live.Update(d); again != nil || err != nil {
			t.Fatalf("round %d: an update without a change sends %q, %v", i, again, err)
		}
		whole := renderLive(t, d)
		if changed := whole != before; changed != (html != nil) {
			t.Fatalf("round %d: the page changes: %t, and the event is %q", i, changed, html)
		}
		if before = whole; html == nil {
			continue
		}
		fresh.desk.Store(&d)
		rows += len(d.Cards) + len(d.Sessions)
		sent += len(d.Cards) + len(d.Sessions) - strings.Count(string(html), "data-same")
		s.send(string(html))
		do(t, loaded, chromedp.Navigate(fresh.URL+"/"))
		until(t, loaded, `document.getElementById("pulse").dataset.state === "live"`)
		want := get[string](t, loaded, `live.innerHTML`)
		quoted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("live.innerHTML === "+string(quoted), chromedp.WithPollingTimeout(20*time.Second))); err != nil {
			t.Fatalf("round %d (-loaded +patched):\n%s", i, cmp.Diff(want, get[string](t, ctx, `live.innerHTML`)))
		}
	}
	if sent*2 > rows {
		t.Errorf("%d of %d rows were sent", sent, rows)
	}
}

func TestTimesAreRelativeAndInTheReadersZone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := Desk{SignedIn: samplePages()["desk-agent"].(Desk).SignedIn}
	for i, ago := range []time.Duration{-time.Hour, 0, 90 * time.Second, 61 * time.Minute, 25 * time.Hour, 40 * 24 * time.Hour} {
		d.Cards = append(d.Cards, DeskCard{ID: fmt.Sprint(i), State: StateReady, Changed: now.Add(-ago)})
	}
	s := newDeskSite(t, d)
	ctx, cancel := context.WithTimeout(browser(t), 3*time.Minute)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kathmandu"}); err != nil {
		t.Fatal(err)
	}
	dress(t, ctx, "light", 900)
	do(t, ctx, chromedp.Navigate(s.URL+"/"))
	until(t, ctx, `document.getElementById("pulse").dataset.state === "live"`)
	zone := time.FixedZone("", 5*3600+45*60)
	is(t, ctx, `[...live.querySelectorAll("time")].map(e => e.textContent).join()`,
		"just now,just now,1 minute ago,1 hour ago,1 day ago,"+now.Add(-40*24*time.Hour).In(zone).Format("January 2, 2006"))
	is(t, ctx, `live.querySelector("time").title.includes("GMT+5:45")`, true)
}
