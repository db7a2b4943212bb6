package bridge

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

// deskLookUp makes a card for the visitor who shows a lookup code now. Whoever is
// found is shown before anything is opened. None and several are answered alike.
func (b *Bridge) deskLookUp(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	ctx := r.Context()
	code := strings.Join(strings.Fields(r.PostForm.Get("code")), "")
	if !IsLookupCode(code) {
		return backTo(w, deskPath, templates.NoteMalformed)
	}
	if !b.looks.allow(who.ID) {
		b.refused(ctx, card{who: who, from: b.address(r)}, errThrottled, string(policy.LookUp))
		return backTo(w, deskPath, templates.NoteTooMany)
	}
	c, err := b.newCard(deskName)
	if err != nil {
		return err
	}
	c.Chat, c.Agent = "asked/"+c.ID, who.ID
	c.about = detail{Agent: Agent{ID: who.ID, Name: cmp.Or(who.Name, who.Email)}, Asked: true, Clued: true}
	c.who, c.from = who, b.address(r)
	m, err := b.tryCode(ctx, c, Clues{LookupCode: code})
	switch {
	case errors.Is(err, errThrottled):
		b.refused(ctx, card{who: who, from: c.from}, err, string(policy.LookUp))
		return backTo(w, deskPath, templates.NoteTooMany)
	case errors.Is(err, errStore):
		return err
	case err != nil:
		b.log.WarnContext(ctx, "code not looked up", "agent", who.ID, "err", err)
		return backTo(w, deskPath, templates.NoteDown)
	}
	c.apply(m)
	change := store.Change{Audit: []store.Entry{b.entry(c, "asked", m.Trail)}}
	if len(m.Visitors) == 0 {
		if err := b.store.Commit(ctx, change); err != nil {
			return storeFault(err)
		}
		return backTo(w, deskPath, templates.NoteNoSingle)
	}
	b.follow(&c, card{}, &change)
	if err := b.keep(ctx, &c, change); err != nil {
		return err
	}
	seeOther(w, cardPath+c.ID)
	return nil
}
