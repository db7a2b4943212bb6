package bridge

import (
	"errors"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

// renewDoor sends a fresh door to the place where the card already is. Whoever
// asks learns nothing but that. A door that still opens for them is left as it
// is, or anybody with the address could take it from its agent.
func (b *Bridge) renewDoor(w http.ResponseWriter, r *http.Request) error {
	return b.asAgent(w, r, func(who signin.Identity) error {
		return again(func() error { return b.renewOnce(w, r, who) })
	})
}

func (b *Bridge) renewOnce(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, generation, err := b.cardAt(r, who)
	if err != nil {
		return err
	}
	switch {
	case c.state() == Closed:
		return c.told(errClosed)
	case generation < c.about.Since:
		return c.told(errMoved)
	case c.about.Shared != "":
		return c.told(errExpired)
	}
	_, err = b.admit(r.Context(), &c, who, b.token(r))
	if b.signsIn() && err != nil && !errors.Is(err, errConnect) {
		b.refused(r.Context(), c, err)
		return c.told(err) // nobody takes a door from another agent
	}
	if err == nil && generation == c.Generation && time.Now().Before(c.DoorUntil) {
		return c.told(b.showDoor(w, r, c))
	}
	if c.Connector == deskName {
		return c.told(errExpired) // there is no place to send another to
	}
	if !b.renewals.allow(c.ID) {
		return c.told(errThrottled)
	}
	before := c
	c.Generation++
	change := store.Change{Audit: []store.Entry{b.entry(c, "renewed", "")}}
	b.follow(&c, before, &change)
	if err := b.keep(r.Context(), &c, change); err != nil {
		return c.told(err)
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindRenewed, Chat: c.chatLink()})
}
