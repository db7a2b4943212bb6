// Package desk serves the pages for agents and their team leads, who sign in. Read desk.go first.
package desk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/door"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/bridge/work"
	"cobrowse-bridge/templates"
)

const (
	maxOwnCards    = 30 // that the desk reads for each of an agent's accounts
	maxSharedCards = 50 // that the desk reads for each chat service
	maxSessions    = 30 // that the desk shows
)

// An agentHandler answers a request of a signed-in agent.
type agentHandler func(w http.ResponseWriter, r *http.Request, who signin.Identity) error

// atDesk wraps a handler of the desk's pages, which are for signed-in agents.
func (desk *Desk) atDesk(h agentHandler) http.Handler { return desk.web.Page(desk.signedInOnly(h)) }

// atDeskLong is atDesk for an answer that may take long.
func (desk *Desk) atDeskLong(h agentHandler) http.Handler {
	return desk.web.LongPage(desk.signedInOnly(h))
}

// signedInOnly calls h for signed-in agents. Only the desk's pages have a script, so signedInOnly
// extends the Content-Security-Policy.
func (desk *Desk) signedInOnly(h agentHandler) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !desk.web.SignsIn() {
			return web.ErrNoPage
		}
		if r.Method == http.MethodPost {
			if err := desk.web.ReadPress(w, r); err != nil {
				return err
			}
		} else {
			if r.Method == http.MethodHead || web.Prefetching(r) || web.Robot(r) {
				return desk.web.Render(w, http.StatusOK, templates.Notice{Kind: templates.KindNeutral})
			}
			desk.web.SetBrowserCookie(w, desk.web.Token(r))
			if err := r.ParseForm(); err != nil {
				return fmt.Errorf("%w: %w", web.ErrBody, err)
			}
		}
		w.Header().Set("Content-Security-Policy", desk.web.CSP+"; script-src 'self'; connect-src 'self'")
		return desk.web.AsAgent(w, r, func(who signin.Identity) error { return h(w, r, who) })
	}
}

// allowed calls h for agents whom the policy allows act.
func (desk *Desk) allowed(act policy.Act, h agentHandler) agentHandler {
	return func(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
		if !desk.door.DecideAtDesk(who, act).Allowed {
			desk.door.Refused(r.Context(), door.CardRequest{Who: who}, web.ErrPolicy, string(act))
			n := templates.Notice{Chat: templates.Link{Label: templates.GoToDesk, Address: web.DeskPath}}
			if act == policy.LookUp {
				n.Case = templates.CaseLookUp
			}
			return web.WithNotice(web.ErrPolicy, n)
		}
		return h(w, r, who)
	}
}

// signedInAgent returns the agent's name and which links each page of the desk offers.
func (desk *Desk) signedInAgent(who signin.Identity) templates.SignedInAgent {
	may := func(act policy.Act) bool { return desk.door.DecideAtDesk(who, act).Allowed }
	return templates.SignedInAgent{
		Agent: door.AgentOf(who), CanSignOut: desk.web.OIDC != nil,
		CanOperate: may(policy.Operate), CanAudit: may(policy.Audit), CanErase: may(policy.Erase),
	}
}

// backTo answers a form with a redirect to page, which shows note.
func backTo(w http.ResponseWriter, page string, note templates.Note) error {
	web.SeeOther(w, page+"?"+url.Values{"note": {string(note)}}.Encode())
	return nil
}

// showDesk shows an agent's own page.
func (desk *Desk) showDesk(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page, _, err := desk.deskOf(r.Context(), who)
	if err != nil {
		return err
	}
	page.Note = templates.Note(r.Form.Get("note"))
	return desk.web.Render(w, http.StatusOK, page)
}

// deskOf returns the data of an agent's desk page, and what it depends on.
func (desk *Desk) deskOf(ctx context.Context, who signin.Identity) (page templates.Desk, depends dependencies, err error) {
	page = templates.Desk{SignedIn: desk.signedInAgent(who), CanLookUp: desk.door.DecideAtDesk(who, policy.LookUp).Allowed, Now: time.Now()}
	accounts, err := desk.store.Accounts(ctx, who.ID)
	if err != nil {
		return page, depends, web.StoreFault(err)
	}
	depends.agents = []string{who.ID}
	for _, a := range accounts {
		service, _, _ := strings.Cut(a.ID, ":")
		page.Accounts = append(page.Accounts, templates.Account{
			ID: a.ID, Service: desk.book.Title(service), Name: a.Name, How: a.How, Since: a.Since,
		})
		depends.agents = append(depends.agents, a.ID)
	}
	var cards []door.CardRequest
	cards, page.More, err = desk.cardsFor(ctx, who, depends.agents)
	if err != nil {
		return page, depends, err
	}
	depends.connectors = desk.sharing()
	for _, c := range cards {
		own := c.Holder.Agent == who.ID
		if own || c.About.ByID == who.ID {
			page.Sessions = append(page.Sessions, desk.deskSessions(c.Card)...)
		}
		shown, err := desk.deskCard(ctx, c, page.Now)
		if err != nil {
			return page, depends, err
		}
		if shown.ID != "" || own && len(c.About.Sessions) > 0 {
			if own {
				depends.cards = append(depends.cards, c.ID)
			} else {
				depends.shared = append(depends.shared, c.ID)
			}
		}
		if shown.ID != "" {
			depends.expires(page.Now, c.DoorUntil)
			depends.expires(page.Now, c.About.NotifiedAt.Add(work.NotificationTTL))
			shown.Shared, shown.Agent, shown.By = !own, c.About.Agent.Name, c.About.By
			page.Cards = append(page.Cards, shown)
		}
	}
	slices.SortStableFunc(page.Sessions, func(a, z templates.DeskSession) int { return z.Started.Compare(a.Started) })
	page.Sessions = page.Sessions[:min(len(page.Sessions), maxSessions)]
	return page, depends, nil
}

// cardsFor returns the cards of an agent's accounts, with Holder.Agent set to the agent, and the shared
// cards whose visitors the agent may watch. more says that there are more shared cards.
func (desk *Desk) cardsFor(ctx context.Context, who signin.Identity, accounts []string) (cards []door.CardRequest, more bool, err error) {
	var rows []store.Card
	for _, id := range accounts {
		own, err := desk.store.CardsOfAgent(ctx, id, maxOwnCards)
		if err != nil && !desk.book.SkipUnreadable(ctx, err, "agent", id) {
			return nil, false, web.StoreFault(err)
		}
		rows = append(rows, own...)
	}
	shared, more, err := desk.sharedCards(ctx)
	if err != nil {
		return nil, false, err
	}
	seen := map[string]bool{}
	for _, row := range append(rows, shared...) {
		opened, err := card.Open(row)
		if err != nil {
			return nil, false, err
		}
		c := door.CardRequest{Card: opened, Who: who}
		own := slices.Contains(accounts, c.Agent)
		if seen[c.ID] || !own && (!desk.book.IsShared(c.About.Place) || !desk.door.MayWatch(c)) {
			continue
		}
		seen[c.ID] = true
		if own {
			c.Holder.Agent = who.ID
		}
		cards = append(cards, c)
	}
	return cards, more, nil
}

// sharedCards returns the newest cards of each connector whose configured place (ShowAt) is shared,
// and whether there are more.
func (desk *Desk) sharedCards(ctx context.Context) (rows []store.Card, more bool, err error) {
	for _, name := range desk.sharing() {
		open, err := desk.store.CardsWithValidLink(ctx, name, maxSharedCards+1)
		if err != nil && !desk.book.SkipUnreadable(ctx, err, "connector", name) {
			return nil, false, web.StoreFault(err)
		}
		if len(open) > maxSharedCards {
			open, more = open[:maxSharedCards], true
		}
		rows = append(rows, open...)
	}
	return rows, more, nil
}

// sharing returns the connectors whose configured place is shared, in order.
func (desk *Desk) sharing() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(desk.connectors)) {
		if at := desk.connectors[name].ShowAt; at != (chat.Place{}) && desk.book.IsShared(at) {
			names = append(names, name)
		}
	}
	return names
}

// deskCard converts a card for the page. ID is empty if the desk does not show the card.
func (desk *Desk) deskCard(ctx context.Context, c door.CardRequest, now time.Time) (templates.DeskCard, error) {
	addressWorks := c.DoorUntil.After(now)
	if !c.Visible() {
		return templates.DeskCard{}, nil
	}
	if !c.Stoppable() && (!addressWorks || c.About.SharedCard != "") {
		return templates.DeskCard{}, nil // nothing to open or stop; a shared card is shown itself
	}
	waiting := false
	if c.CurrentState() == card.Offline {
		var err error
		if waiting, err = desk.store.Waiting(ctx, c.ID, c.Agent); err != nil {
			return templates.DeskCard{}, web.StoreFault(err)
		}
	}
	d := templates.DeskCard{
		ID: c.ID, State: c.State, Found: len(c.About.Choices), Customer: c.Name(), Reason: c.About.Reason, Asked: c.LookedUp(),
		Chat: templates.Link{Address: c.About.ChatURL}, Changed: c.Updated,
		CanOpen: addressWorks && desk.door.DecideForCard(c, policy.Watch).Allowed, Expired: !addressWorks,
		CanStop: addressWorks && c.Stoppable() && desk.door.DecideForCard(c, policy.Stop).Allowed,
		CanTell: c.CurrentState() == card.Offline && !waiting, Waiting: waiting,
	}
	if addressWorks && desk.book.HasChatLink(c.Card) {
		d.Chat.Address = web.CardPath + c.ID + web.ChatPage
	}
	if s := c.About.Sighting; s != nil {
		d.Page, d.Where, d.Device = s.Page, s.Where, s.Device
	}
	if c.CurrentState() == card.Ready && now.Sub(c.About.NotifiedAt) < work.NotificationTTL {
		d.State = templates.StateBack
	}
	return d, nil
}

// deskSessions returns the sessions of a card for the page.
func (desk *Desk) deskSessions(c card.Card) (all []templates.DeskSession) {
	for _, s := range c.About.Sessions {
		shown := templates.DeskSession{
			Card: c.ID, Customer: c.Name(), Started: s.Started, Session: s.Words(), Chat: templates.Link{Address: c.About.ChatURL},
		}
		if s.Recording != "" && desk.hosts.Allow(s.Recording) {
			shown.Recording.Address = s.Recording
		}
		all = append(all, shown)
	}
	return all
}

// cardAtDesk returns a card if the signed-in agent may use it.
func (desk *Desk) cardAtDesk(ctx context.Context, id string, who signin.Identity) (door.CardRequest, error) {
	stored, err := desk.book.Card(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return door.CardRequest{}, web.ErrUnknown
	}
	if err != nil {
		return door.CardRequest{}, web.StoreFault(err)
	}
	account, err := desk.store.Account(ctx, stored.Agent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return door.CardRequest{}, web.StoreFault(err)
	}
	c := door.CardRequest{Card: stored, Holder: store.Holder{Agent: account.Agent}}
	if err := desk.door.AdmitAgent(ctx, &c, who); err != nil {
		desk.door.Refused(ctx, c, err)
		return door.CardRequest{}, err
	}
	return c, nil
}

// redirectToCard redirects from /desk/card/{id} to a card's co-browse page.
func (desk *Desk) redirectToCard(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := desk.cardAtDesk(r.Context(), mux.Vars(r)["id"], who)
	if errors.Is(err, web.ErrUnknown) || errors.Is(err, web.ErrConnect) {
		return backTo(w, web.DeskPath, templates.NoteNoCard)
	}
	if err != nil {
		return web.WithNotice(err, templates.Notice{Case: templates.CaseWatch, Chat: templates.Link{Label: templates.GoToDesk, Address: web.DeskPath}})
	}
	h, err := desk.book.Doors.CurrentHandle(c.Card.Card)
	if err != nil {
		return err
	}
	location := web.DoorPath + h.String()
	switch {
	case r.Form.Get("stop") != "":
		location += web.StopPage
	case r.Form.Get("chat") != "":
		location += web.ChatPage
	case r.URL.RawQuery != "": // after a sign-in, or an unknown query: show the page, not the screen
		location += web.SignedInPage
	}
	web.RedirectWithoutReferrer(w, location)
	return nil
}

// tellWhenBack stores that an agent wants to be told when the visitor is back.
func (desk *Desk) tellWhenBack(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := desk.cardAtDesk(r.Context(), r.PostForm.Get("card"), who)
	switch {
	case err == nil && c.CurrentState() == card.Live:
		return backTo(w, web.DeskPath, templates.NoteInSession)
	case errors.Is(err, web.ErrUnknown), errors.Is(err, web.ErrConnect), err == nil && !c.CanWaitForVisitor():
		return backTo(w, web.DeskPath, templates.NoteNoCard)
	case err != nil:
		return err
	case c.CurrentState() == card.Ready:
		return backTo(w, web.DeskPath, templates.NoteOnline)
	}
	if err := desk.work.StartWait(r.Context(), c.Card); err != nil {
		return err
	}
	return backTo(w, web.DeskPath, templates.NoteWaiting)
}

// disconnectAccount disconnects a chat account from the agent.
func (desk *Desk) disconnectAccount(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	account := store.Account{ID: r.PostForm.Get("account"), Agent: who.ID}
	stored, err := desk.store.Account(r.Context(), account.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && stored.Agent != who.ID {
		return backTo(w, web.DeskPath, "")
	}
	if err == nil {
		entry := audit.Entry{At: time.Now(), Action: "disconnected", Agent: who.ID, Detail: account.ID}
		err = desk.store.Commit(r.Context(), store.Change{Disconnect: &account, Audit: []audit.Entry{entry}})
	}
	if err != nil {
		return web.StoreFault(err)
	}
	return backTo(w, web.DeskPath, templates.NoteDisconnected)
}
