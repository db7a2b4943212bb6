package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

// Addresses on a door's own page are relative to it, so that its handle stands
// in no page.
const (
	samePage  = "?"
	renewPage = "?renew=1"
)

// doorAddress is what the card's button leads to.
func (b *Bridge) doorAddress(c store.Card) (string, error) {
	h, err := b.doors.of(c)
	if err != nil {
		return "", err
	}
	return b.origin.JoinPath("w", h.String()).String(), nil
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
	c, err := b.doorCard(r)
	if err != nil {
		return err
	}
	mine, err := b.admit(r, c)
	if err != nil {
		return c.told(err)
	}
	if mine && navigated(r) && c.certain() {
		return c.told(b.open(w, r, c, press{visitor: c.Visitor, straight: true}))
	}
	return c.told(b.showDoor(w, r, c))
}

// pressDoor answers the button of the door's page.
func (b *Bridge) pressDoor(w http.ResponseWriter, r *http.Request) error {
	if !pressed(r) {
		return errPress
	}
	c, err := b.doorCard(r)
	if err != nil {
		return err
	}
	if _, err := b.admit(r, c); err != nil {
		return c.told(err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		return c.told(errForm)
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
	return c.told(b.open(w, r, c, press{
		visitor: r.PostForm.Get("visitor"),
		confirm: r.PostForm.Get("confirm"),
		anyway:  r.PostForm.Get("anyway") != "",
	}))
}

// doorCard finds the card behind an address, if its door opens now. Addresses
// that lead nowhere all look alike and are counted against whoever tries them.
func (b *Bridge) doorCard(r *http.Request) (card, error) {
	c, generation, err := b.cardAt(r)
	if err != nil {
		return card{}, err
	}
	switch {
	case c.state() == Closed:
		return c, c.told(errClosed)
	case generation < c.Generation && !c.about.Renewed:
		return c, c.told(errMoved)
	case generation < c.Generation:
		return c, c.told(errReplaced)
	case time.Now().After(c.DoorUntil):
		return c, c.told(errExpired)
	}
	return c, nil
}

func (b *Bridge) cardAt(r *http.Request) (card, int, error) {
	unknown := func() error {
		if !b.handleTries.allow(b.address(r)) {
			return errThrottled
		}
		return errUnknown
	}
	h, err := parseHandle(mux.Vars(r)["handle"])
	if err != nil {
		return card{}, 0, unknown()
	}
	row, err := b.store.CardByHandle(r.Context(), h.hash())
	if errors.Is(err, store.ErrNotFound) {
		return card{}, 0, unknown()
	}
	if err != nil {
		return card{}, 0, fmt.Errorf("%w: %w", errStore, err)
	}
	generation, ok := b.doors.generation(row, h)
	if !ok {
		return card{}, 0, unknown()
	}
	c, err := openCard(row)
	return c, generation, err
}

// told attaches what the error's page may say about the card.
func (c *card) told(err error) error {
	if err == nil {
		return nil
	}
	var already *noticeError
	if errors.As(err, &already) {
		return err
	}
	n := templates.Notice{Agent: c.about.Agent.Name, Retry: samePage}
	if c.about.ChatURL != "" {
		n.Chat = templates.Link{Label: "Back to the chat", Address: c.about.ChatURL}
	}
	switch {
	case errors.Is(err, errClosed), errors.Is(err, errMoved):
		n.Retry = ""
	case errors.Is(err, errExpired), errors.Is(err, errReplaced), errors.Is(err, errElsewhere):
		n.Retry, n.Renew = "", renewPage
	}
	return &noticeError{err, n}
}

// showDoor shows who the visitor is, read from Upscope a moment ago.
func (b *Bridge) showDoor(w http.ResponseWriter, r *http.Request, c card) error {
	if len(c.about.Choices) > 0 {
		visitors, err := b.choices(r.Context(), c)
		if err != nil {
			return err
		}
		return b.render(w, http.StatusOK, c.door(visitors...))
	}
	if c.Visitor == "" {
		return b.render(w, http.StatusOK, c.door())
	}
	v, err := b.finder.visitor(r.Context(), c.Visitor)
	if errors.Is(err, upscope.ErrNotFound) {
		return b.render(w, http.StatusOK, c.door())
	}
	if err != nil {
		return err
	}
	return b.render(w, http.StatusOK, b.doorOf(c, v))
}

// choices are the visitors an agent may choose from, as the search that found
// them knows them now. Those who no longer turn up are left out.
func (b *Bridge) choices(ctx context.Context, c card) ([]templates.Visitor, error) {
	m, err := b.finder.find(ctx, c.about.Clues)
	if err != nil {
		return nil, err
	}
	var visitors []templates.Visitor
	for _, v := range m.Visitors {
		if slices.Contains(c.about.Choices, v.ShortID) {
			visitors = append(visitors, b.describe(v))
		}
	}
	return visitors, nil
}

func (c *card) door(visitors ...templates.Visitor) templates.Door {
	d := templates.Door{
		Path: samePage, Agent: c.about.Agent.Name, Claimed: c.about.Visitor,
		Reason: c.about.Reason, Visitors: visitors, Now: time.Now(),
	}
	if c.about.ChatURL != "" {
		d.Chat = templates.Link{Label: "Back to the chat", Address: c.about.ChatURL}
	}
	return d
}

// doorOf is the door's page for one visitor. Where that is no longer who was
// matched, the page says so, and its button carries the agent's word that they
// have read it.
func (b *Bridge) doorOf(c card, v upscope.Visitor) templates.Door {
	d := c.door(b.describe(v))
	if c.changed(v) {
		d.Changed, d.Before, d.Confirm = true, c.about.Sighting.Name, identity(v)
	}
	return d
}

func (c *card) changed(v upscope.Visitor) bool {
	return v.ShortID == c.Visitor && c.about.Sighting != nil && c.about.Sighting.Identity != identity(v)
}

// certain reports whether the card leads to one visitor by a clue that is good
// enough to follow without another look at the page.
func (c *card) certain() bool {
	return c.Visitor != "" && (c.state() == Ready || c.state() == Opened) && c.about.Reason != templates.ReasonCode
}

// describe is a visitor in the words of a page.
func describe(v upscope.Visitor) templates.Visitor {
	name := v.Name
	for _, other := range []string{v.Nickname, v.Email, v.UniqueID} {
		if name == "" {
			name = other
		}
	}
	return templates.Visitor{
		ID: v.ShortID, Name: name, Page: v.LastURL,
		Where:    joined(", ", v.LocationCity, v.LocationCountryName),
		Device:   joined(" on ", v.BrowserName, v.DeviceName),
		LastSeen: v.LastSeenAt, Online: v.IsOnline, InSession: v.IsInSession, Supported: v.IsSupported,
	}
}

// describe is a visitor in the words of a page, with a warning where their page
// is not one of the operator's own: anybody can put our script on a page that is
// made to be watched.
func (b *Bridge) describe(v upscope.Visitor) templates.Visitor {
	d := describe(v)
	d.Foreign = b.foreign(v)
	return d
}

func (b *Bridge) foreign(v upscope.Visitor) bool {
	if len(b.sites) == 0 || v.LastURL == "" {
		return false
	}
	u, err := url.Parse(v.LastURL)
	return err != nil || !slices.ContainsFunc(b.sites, func(site string) bool {
		host := strings.ToLower(u.Hostname())
		return host == site || strings.HasSuffix(host, "."+site)
	})
}

func joined(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// lookAgain searches for the card's visitor anew, by the clues that last.
func (b *Bridge) lookAgain(ctx context.Context, c *card) error {
	if !b.watches.allow(c.Agent) {
		return errThrottled
	}
	before := *c
	m, err := b.finder.find(ctx, c.about.Clues)
	if err != nil {
		return err
	}
	c.Visitor, c.about.Sighting = "", nil
	c.apply(m)
	change := store.Change{Audit: []store.Entry{b.entry(*c, "asked", m.Trail)}}
	b.follow(c, before, &change)
	if err := b.commit(ctx, c, change); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return nil
}

// renewDoor sends a fresh door to the place where the card already is. Whoever
// asks learns nothing but that. A door that still opens for them is left as it
// is, or anybody with the address could take it from its agent.
func (b *Bridge) renewDoor(w http.ResponseWriter, r *http.Request) error {
	if !pressed(r) {
		return errPress
	}
	c, generation, err := b.cardAt(r)
	if err != nil {
		return err
	}
	switch {
	case c.state() == Closed:
		return c.told(errClosed)
	case generation < c.Generation && !c.about.Renewed:
		return c.told(errMoved)
	}
	if generation == c.Generation && time.Now().Before(c.DoorUntil) {
		if _, err := b.admit(r, c); err == nil {
			return c.told(b.showDoor(w, r, c))
		}
	}
	if !b.renewals.allow(c.ID) {
		return c.told(errThrottled)
	}
	before := c
	c.Generation++
	c.about.Renewed = true
	change := store.Change{Audit: []store.Entry{b.entry(c, "renewed", "")}}
	b.follow(&c, before, &change)
	if err := b.commit(r.Context(), &c, change); err != nil {
		return c.told(fmt.Errorf("%w: %w", errStore, err))
	}
	n := templates.Notice{Kind: templates.KindRenewed, Agent: c.about.Agent.Name}
	if c.about.ChatURL != "" {
		n.Chat = templates.Link{Label: "Back to the chat", Address: c.about.ChatURL}
	}
	return b.render(w, http.StatusOK, n)
}
