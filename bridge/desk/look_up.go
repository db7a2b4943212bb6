package desk

import (
	"cmp"
	"errors"
	"net/http"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/door"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// lookUpCode makes a card for the visitor online with a lookup code, and redirects to its page. The
// agent is told whether no visitor or several visitors have the code. Both count as a wrong code.
func (desk *Desk) lookUpCode(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	ctx := r.Context()
	clues, _ := chat.Typed(r.PostForm.Get("code"))
	code := clues.LookupCode
	if code == "" {
		return backTo(w, web.DeskPath, templates.NoteMalformed)
	}
	if !desk.lookUps.Allow(who.ID) {
		desk.door.Refused(ctx, door.CardRequest{Who: who, From: desk.web.Address(r)}, web.ErrThrottled, string(policy.LookUp))
		return backTo(w, web.DeskPath, templates.NoteTooOften)
	}
	c, err := desk.book.NewCard(book.DeskName, store.KindLookUp)
	if err != nil {
		return err
	}
	c.Chat, c.Agent = c.ID, who.ID
	c.About = card.Detail{Agent: chat.Agent{ID: who.ID, Name: cmp.Or(who.Name, who.Email)}, HasClue: true}
	from := desk.web.Address(r)
	m, err := desk.matcher.TryCode(ctx, who.ID, from, chat.Clues{LookupCode: code})
	switch {
	case errors.Is(err, web.ErrThrottled):
		desk.door.Refused(ctx, door.CardRequest{Who: who, From: from}, err, string(policy.LookUp))
		if desk.matcher.Withheld(err) == templates.WithheldOthers {
			return backTo(w, web.DeskPath, templates.NoteTooManyOthers)
		}
		return backTo(w, web.DeskPath, templates.NoteTooMany)
	case errors.Is(err, web.ErrStore):
		return err
	case err != nil:
		desk.log.WarnContext(ctx, "code not looked up", "agent", who.ID, "err", err)
		return backTo(w, web.DeskPath, templates.NoteDown)
	}
	c.Apply(m)
	change := store.Change{Audit: []audit.Entry{desk.book.Entry(c, "asked", m.Steps)}}
	if len(m.Visitors) == 0 {
		if err := desk.store.Commit(ctx, change); err != nil {
			return web.StoreFault(err)
		}
		if m.CodeShared {
			return backTo(w, web.DeskPath, templates.NoteSeveral)
		}
		return backTo(w, web.DeskPath, templates.NoteNoCustomer)
	}
	desk.book.ScheduleEffects(&c, card.Card{}, &change)
	if err := desk.book.CommitForRequest(ctx, &c, change); err != nil {
		return err
	}
	web.SeeOther(w, web.CardPath+c.ID)
	return nil
}
