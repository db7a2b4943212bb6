package bridge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"

	"github.com/gorilla/mux"
)

// doorPath is where doors are; a handle follows it.
const doorPath = "/w/"

// Addresses on a door's own page are relative to it, so that its handle stands
// in no page.
const (
	samePage  = "?"
	renewPage = "?renew=1"
	stopPage  = "?stop=1"
	chatPage  = "?chat=1"
	// signedInPage is where a sign-in leads back to. Browsers hold the form-action of
	// the issuer's page against the whole way that its form leads, so from there
	// nobody gets straight on to the watch link.
	signedInPage = "?signed-in=1"
)

// doorAddress is what the card's button leads to.
func (b *Bridge) doorAddress(c store.Card) (string, error) {
	h, err := b.doors.of(c)
	if err != nil {
		return "", err
	}
	return b.origin.JoinPath(doorPath, h.String()).String(), nil
}

// peekDoor answers what does not press: HEAD, link previews, prefetching
// browsers, scanners that follow links, and agents. Only the last may go on,
// and only in the browser that is remembered as theirs.
func (b *Bridge) peekDoor(w http.ResponseWriter, r *http.Request) error {
	neutral := templates.Notice{Kind: templates.KindNeutral}
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return nil
	case prefetching(r):
		return b.render(w, http.StatusServiceUnavailable, neutral)
	case r.Method == http.MethodHead, robot(r):
		return b.render(w, http.StatusOK, neutral)
	}
	b.mark(w, b.token(r))
	return b.asAgent(w, r, func(who signin.Identity) error {
		return again(func() error { return b.peekOnce(w, r, who) })
	})
}

func (b *Bridge) peekOnce(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := b.doorCard(r, who)
	if err != nil {
		b.refused(r.Context(), c, err)
		return err
	}
	before := r.URL.RawQuery == "" && b.markShown(w, r, c) // an address with a query never leads straight on
	c.page = pageOf(r.URL.Query())
	browser := b.token(r)
	known, err := b.admit(r.Context(), &c, who, browser)
	if errors.Is(err, errConnect) {
		return b.render(w, http.StatusOK, b.connectPage(c))
	}
	if err != nil {
		b.refused(r.Context(), c, err)
		return c.told(err)
	}
	if known && b.straight(r, c, before) {
		return c.told(b.open(w, r, c, press{visitor: c.Visitor, straight: true, from: b.sourceOf(r, c), browser: browser}))
	}
	if c.page == chatPage && b.enters(c) {
		if c.over {
			return c.told(errClosed)
		}
		d := c.door()
		d.Entering = true
		return c.told(b.render(w, http.StatusOK, d))
	}
	if c.page == stopPage && c.stoppable() {
		d := c.door()
		d.Stopping = true
		return c.told(b.render(w, http.StatusOK, d))
	}
	return c.told(b.showDoor(w, r, c))
}

// straight reports whether a GET leads straight to the screen, without a look at the page:
// a person clicked, and the card leads to one visitor, or back into the agent's own session.
// The policy may ask for the page nevertheless.
//
// A browser that goes back, reloads or restores a tab says the same as one whose user typed
// the address or clicked in an app (Sec-Fetch-Site none). So such a request leads straight on
// only in a browser that was not at this address before, which its cookies tell, and not
// lately after a press.
func (b *Bridge) straight(r *http.Request, c card, before bool) bool {
	if !clicked(r) || r.URL.RawQuery != "" || !c.certain() && (!c.ownSession() || len(c.running()) == 0) {
		return false
	}
	if metadataOf(r).site == "none" && (before || b.token(r) == "" || time.Since(c.about.Pressed) < lately) {
		return false
	}
	switch b.decide(c, policy.Watch).PageFirst {
	case policy.PageFirstAlways:
		return false
	case policy.PageFirstOtherSites:
		from := b.sourceOf(r, c)
		return from != fromSite && from != fromSomewhere
	}
	return true
}

// lately is how long after a press a typed address is taken for one that the browser went
// back to, whatever its cookies say.
const lately = 10 * time.Minute

// again begins anew when the card changed while it was worked on, so that the
// answer fits what the card has become. Nothing is answered before.
func again(answer func() error) (err error) {
	for range 3 {
		if err = answer(); !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

// pressDoor answers the buttons of the door's page.
func (b *Bridge) pressDoor(w http.ResponseWriter, r *http.Request) error {
	return b.asAgent(w, r, func(who signin.Identity) error {
		return again(func() error { return b.pressOnce(w, r, who) })
	})
}

// pageOf is the page of a door that a form or a link names. To try again leads back
// there, and not to a screen that nobody asked for.
func pageOf(form url.Values) string {
	switch {
	case form.Get("stop") != "":
		return stopPage
	case form.Get("chat") != "":
		return chatPage
	}
	return samePage
}

func (b *Bridge) pressOnce(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := b.doorCard(r, who)
	if err != nil {
		b.refused(r.Context(), c, err)
		return err
	}
	c.page = pageOf(r.PostForm)
	browser := b.token(r)
	_, err = b.admit(r.Context(), &c, who, browser)
	if errors.Is(err, errConnect) {
		if r.PostForm.Get("connect") == "" {
			return b.render(w, http.StatusOK, b.connectPage(c))
		}
		if err := b.connect(r.Context(), &c, connectedByAgent); errors.Is(err, store.ErrTaken) {
			return c.told(errTaken)
		} else if err != nil {
			return storeFault(err)
		}
		if _, err = b.admit(r.Context(), &c, who, browser); err == nil {
			return c.told(b.showDoor(w, r, c))
		}
	}
	if err != nil {
		b.refused(r.Context(), c, err)
		return c.told(err)
	}
	if r.PostForm.Get("look") != "" {
		// By the clues that last, or else at the visitor who is known.
		if c.Visitor == "" || !c.about.Clues.Empty() {
			if err := b.lookAgain(r.Context(), &c); err != nil {
				return c.told(err)
			}
		}
		return c.told(b.showDoor(w, r, c))
	}
	switch {
	case c.page == stopPage:
		return c.told(b.stop(w, r, c))
	case c.page == chatPage:
		return c.told(b.enterChat(w, r, c, browser))
	case r.PostForm.Get("tell") != "":
		return c.told(b.wait(w, r, c))
	}
	visitor, seen, _ := strings.Cut(r.PostForm.Get("visitor"), ".")
	chosen := len(seen) > identityDigits && seen[identityDigits:] == chosenMark
	seen = seen[:min(len(seen), identityDigits)]
	return c.told(b.open(w, r, c, press{visitor: visitor, seen: seen, chosen: chosen, anyway: r.PostForm.Get("anyway") != "", from: fromOurPage, browser: browser}))
}

// doorCard finds the card behind an address, if its door opens now. Addresses
// that lead nowhere all look alike and are counted against whoever tries them.
func (b *Bridge) doorCard(r *http.Request, who signin.Identity) (card, error) {
	c, generation, err := b.cardAt(r, who)
	if err != nil {
		return card{who: who, from: b.address(r)}, err
	}
	c.who = who
	switch {
	case c.state() == Closed:
		return c, c.told(errClosed)
	case generation < c.about.Since:
		return c, c.told(errMoved)
	case generation < c.Generation:
		return c, c.told(errReplaced)
	case time.Now().After(c.DoorUntil):
		return c, c.told(errExpired)
	}
	err = b.sharedOpen(r.Context(), c)
	if errors.Is(err, errClosed) && c.stoppable() {
		c.over = true
		return c, nil
	}
	return c, c.told(err)
}

func (b *Bridge) cardAt(r *http.Request, who signin.Identity) (card, int, error) {
	unknown := func() error {
		tries := []store.Spending{{Limit: b.budgets.unknownDoors, Subject: b.address(r)}}
		if who.ID != "" {
			tries = append(tries, store.Spending{Limit: b.budgets.unknownDoors, Subject: who.ID})
		}
		err := b.limits.spend(r.Context(), tries...)
		if err == nil {
			err = errUnknown
		}
		return err
	}
	h, err := parseHandle(mux.Vars(r)["handle"])
	if err != nil {
		return card{}, 0, unknown()
	}
	row, holder, err := b.store.CardByHandle(r.Context(), h.hash())
	if errors.Is(err, store.ErrNotFound) {
		return card{}, 0, unknown()
	}
	if err != nil {
		return card{}, 0, storeFault(err)
	}
	generation, ok := b.doors.generation(row, h)
	if !ok {
		return card{}, 0, unknown()
	}
	c, err := openCard(row)
	c.holder = holder
	return c, generation, err
}

// told attaches what the error's page may say about the card. Whoever merely
// holds an address is not told whose it is.
func (c *card) told(err error) error {
	if err == nil {
		return nil
	}
	var already *noticeError
	if errors.As(err, &already) {
		return err
	}
	n := templates.Notice{Chat: c.chatLink()}
	switch {
	case errors.Is(err, errClosed), errors.Is(err, errMoved), errors.Is(err, errReplaced):
	case c.about.Shared != "": // the card that was pressed gives another
	case errors.Is(err, errExpired) && c.Connector == deskName:
		n.Chat = templates.Link{Label: "Go to your desk", Address: deskPath}
	case errors.Is(err, errExpired):
		n.Renew = renewPage
	case errors.Is(err, errElsewhere):
		n.Chat, n.Renew = templates.Link{}, renewPage
	case errors.Is(err, errOther), errors.Is(err, errTaken), errors.Is(err, errPolicy):
		n.Agent, n.SignOut = c.actorName(), strings.HasPrefix(c.who.ID, "oidc:")
	default:
		n.Agent, n.Retry = c.actorName(), cmp.Or(c.page, samePage)
	}
	return &noticeError{err, n}
}

// lookAgain searches for the card's visitor anew, by the clues that last.
func (b *Bridge) lookAgain(ctx context.Context, c *card) error {
	if !b.looks.allow(c.actor()) {
		return errThrottled
	}
	before := *c
	b.finder.forget(c.about.Clues)
	m, err := b.finder.find(ctx, c.about.Clues)
	if err != nil {
		return err
	}
	b.finder.keep(m.Visitors)
	c.Visitor, c.about.Sighting = "", nil
	c.apply(m)
	if before.Visitor != "" && c.Visitor != "" {
		c.about.Unseen = c.about.Unseen || c.Visitor != before.Visitor || c.about.Sighting.Identity != before.identity()
	}
	change := store.Change{Audit: []store.Entry{b.entry(*c, "asked", m.Trail)}}
	b.follow(c, before, &change)
	return b.keep(ctx, c, change)
}

// keep commits a change that a person waits for.
func (b *Bridge) keep(ctx context.Context, c *card, change store.Change) error {
	err := b.commit(ctx, c, change)
	if err == nil || errors.Is(err, errAgain) {
		return err
	}
	return storeFault(err)
}
