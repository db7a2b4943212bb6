package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"

	"github.com/gorilla/mux"
)

const (
	// shownAtDesk is how many cards of each of an agent's accounts the desk looks at.
	shownAtDesk = 30
	// sharedAtDesk is how many of each chat service's that several people see.
	sharedAtDesk = 50
)

// atDesk wraps a handler of the desk's pages, which are for those who sign in.
// They alone have a script, ours.
func (b *Bridge) atDesk(h func(w http.ResponseWriter, r *http.Request, who signin.Identity) error) http.Handler {
	return b.page(func(w http.ResponseWriter, r *http.Request) error {
		switch {
		case !b.signsIn():
			return errNoPage
		case r.Method == http.MethodPost:
			if err := b.readPress(w, r); err != nil {
				return err
			}
		case r.Method == http.MethodHead, prefetching(r), robot(r):
			return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindNeutral})
		default:
			b.mark(w, b.token(r))
			if err := r.ParseForm(); err != nil {
				return fmt.Errorf("%w: %w", errBody, err)
			}
		}
		w.Header().Set("Content-Security-Policy", b.csp+"; script-src 'self'; connect-src 'self'")
		return b.asAgent(w, r, func(who signin.Identity) error { return h(w, r, who) })
	})
}

// atDeskFor wraps a handler of the desk that needs an act to be allowed.
func (b *Bridge) atDeskFor(act policy.Act, h func(w http.ResponseWriter, r *http.Request, who signin.Identity) error) http.Handler {
	return b.atDesk(func(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
		if !b.may(who, act).Allowed {
			b.refused(r.Context(), card{who: who}, errPolicy, string(act))
			return errPolicy
		}
		return h(w, r, who)
	})
}

func agentOf(who signin.Identity) templates.Agent {
	return templates.Agent{Name: who.Name, Email: who.Email, ID: who.ID}
}

func (b *Bridge) seat(who signin.Identity) templates.Seat {
	may := func(act policy.Act) bool { return b.may(who, act).Allowed }
	return templates.Seat{
		Agent: agentOf(who), CanSignOut: b.oidc != nil,
		CanOperate: may(policy.Operate), CanAudit: may(policy.Audit), CanErase: may(policy.Erase),
	}
}

// backTo leads a browser from a form to the page that says what came of it.
func backTo(w http.ResponseWriter, page string, note templates.Note) error {
	seeOther(w, page+"?"+url.Values{"note": {string(note)}}.Encode())
	return nil
}

// desk is an agent's own page.
func (b *Bridge) desk(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page, err := b.deskOf(r.Context(), who)
	if err != nil {
		return err
	}
	page.Note = templates.Note(r.Form.Get("note"))
	return b.render(w, http.StatusOK, page)
}

func (b *Bridge) deskOf(ctx context.Context, who signin.Identity) (templates.Desk, error) {
	page := templates.Desk{Seat: b.seat(who), CanLookUp: b.may(who, policy.LookUp).Allowed, Now: time.Now()}
	accounts, err := b.store.Accounts(ctx, who.ID)
	if err != nil {
		return page, storeFault(err)
	}
	ids := []string{who.ID}
	for _, a := range accounts {
		service, _, _ := strings.Cut(a.ID, ":")
		page.Accounts = append(page.Accounts, templates.Account{
			ID: a.ID, Service: b.title(service), Name: a.Name, How: connectedHow[a.How], Since: a.Since,
		})
		ids = append(ids, a.ID)
	}
	var cards []card
	cards, page.More, err = b.cardsFor(ctx, who, ids)
	if err != nil {
		return page, err
	}
	for _, c := range cards {
		own := c.holder.Agent == who.ID
		if own || c.about.ByID == who.ID {
			page.Sessions = append(page.Sessions, b.deskSessions(c)...)
		}
		shown, err := b.deskCard(ctx, c, page.Now)
		if err != nil {
			return page, err
		}
		if shown.ID != "" {
			shown.Shared, shown.By = !own, c.about.By
			page.Cards = append(page.Cards, shown)
		}
	}
	slices.SortStableFunc(page.Sessions, func(a, z templates.DeskSession) int { return z.Started.Compare(a.Started) })
	page.Sessions = page.Sessions[:min(len(page.Sessions), shownAtDesk)]
	return page, nil
}

// cardsFor are the cards of an agent's accounts, whose holder they are, and those of a
// whole team that they may watch; and whether there are more of the latter.
func (b *Bridge) cardsFor(ctx context.Context, who signin.Identity, accounts []string) (cards []card, more bool, err error) {
	var rows []store.Card
	for _, id := range accounts {
		own, err := b.store.CardsOfAgent(ctx, id, shownAtDesk)
		if err != nil {
			return nil, false, storeFault(err)
		}
		rows = append(rows, own...)
	}
	shared, more, err := b.sharedCards(ctx)
	if err != nil {
		return nil, false, err
	}
	seen := map[string]bool{}
	for _, row := range append(rows, shared...) {
		c, err := openCard(row)
		if err != nil {
			return nil, false, err
		}
		c.who = who
		own := slices.Contains(accounts, c.Agent)
		if seen[c.ID] || !own && (!b.shared(c.about.Place) || !b.mayWatch(c)) {
			continue
		}
		seen[c.ID] = true
		if own {
			c.holder.Agent = who.ID
		}
		cards = append(cards, c)
	}
	return cards, more, nil
}

// sharedCards are the latest cards that the operator has shown where several people see
// them, and whether there are more. Whoever may watch may take one up.
func (b *Bridge) sharedCards(ctx context.Context) (rows []store.Card, more bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(b.connectors)) {
		c := b.connectors[name]
		if c.ShowAt == (Place{}) || !b.shared(c.ShowAt) {
			continue
		}
		open, err := b.store.CardsToOpen(ctx, name, sharedAtDesk+1)
		if err != nil {
			return nil, false, storeFault(err)
		}
		if len(open) > sharedAtDesk {
			open, more = open[:sharedAtDesk], true
		}
		rows = append(rows, open...)
	}
	return rows, more, nil
}

// deskCard is a card as the desk shows it; one without an ID is not for it.
func (b *Bridge) deskCard(ctx context.Context, c card, now time.Time) (templates.DeskCard, error) {
	opens := c.DoorUntil.After(now)
	if !c.visible() || !opens && !c.stoppable() || c.about.Shared != "" && !c.stoppable() {
		return templates.DeskCard{}, nil
	}
	waiting := false
	if c.state() == Offline {
		var err error
		if waiting, err = b.store.Waiting(ctx, c.ID, c.Agent); err != nil {
			return templates.DeskCard{}, storeFault(err)
		}
	}
	d := templates.DeskCard{
		ID: c.ID, State: c.State, Visitor: c.about.Visitor, Reason: c.about.Reason,
		Chat: templates.Link{Address: c.about.ChatURL}, Changed: c.Updated,
		CanOpen: opens && b.decide(c, policy.Watch).Allowed,
		CanStop: c.stoppable() && b.decide(c, policy.Stop).Allowed,
		CanTell: c.state() == Offline && !waiting, Waiting: waiting,
	}
	if opens && b.enters(c) {
		d.Chat.Address = cardPath + c.ID + chatPage
	}
	if s := c.about.Sighting; s != nil {
		d.Visitor = cmp.Or(d.Visitor, s.Name)
		d.Page, d.Where, d.Device = s.Page, s.Where, s.Device
	}
	if c.state() == Ready && now.Sub(c.about.ToldAt) < newsLife {
		d.State = templates.StateBack
	}
	return d, nil
}

func (b *Bridge) deskSessions(c card) (all []templates.DeskSession) {
	for _, s := range c.about.Sessions {
		shown := templates.DeskSession{
			Card: c.ID, Visitor: c.about.Visitor, Started: s.Started, Session: s.words(), Chat: templates.Link{Address: c.about.ChatURL},
		}
		if s.Recording != "" && b.hosts.Allow(s.Recording) {
			shown.Recording.Address = s.Recording
		}
		all = append(all, shown)
	}
	return all
}

// cardAtDesk is a card that whoever asks may use.
func (b *Bridge) cardAtDesk(ctx context.Context, id string, who signin.Identity) (card, error) {
	c, err := b.card(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return card{}, errUnknown
	}
	if err != nil {
		return card{}, storeFault(err)
	}
	account, err := b.store.Account(ctx, c.Agent)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return card{}, storeFault(err)
	}
	c.holder.Agent = account.Agent
	if err := b.admitAgent(ctx, &c, who); err != nil {
		b.refused(ctx, c, err)
		return card{}, err
	}
	return c, nil
}

// deskDoor leads from the desk to a card's door.
func (b *Bridge) deskDoor(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := b.cardAtDesk(r.Context(), mux.Vars(r)["id"], who)
	if errors.Is(err, errUnknown) || errors.Is(err, errConnect) {
		return backTo(w, deskPath, templates.NoteNoCard)
	}
	if err != nil {
		return err
	}
	h, err := b.doors.of(c.Card)
	if err != nil {
		return err
	}
	location := doorPath + h.String()
	switch {
	case r.Form.Get("stop") != "":
		location += stopPage
	case r.Form.Get("chat") != "":
		location += chatPage
	case r.URL.RawQuery != "":
		location += signedInPage
	}
	leadAway(w, location)
	return nil
}

// deskTell has an agent told at the desk, and where the card is, that the visitor
// is back.
func (b *Bridge) deskTell(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	c, err := b.cardAtDesk(r.Context(), r.PostForm.Get("card"), who)
	switch {
	case errors.Is(err, errUnknown), errors.Is(err, errConnect), err == nil && !c.waitable():
		return backTo(w, deskPath, templates.NoteNoCard)
	case err != nil:
		return err
	case c.state() == Ready:
		return backTo(w, deskPath, templates.NoteOnline)
	}
	if err := b.startWait(r.Context(), c); err != nil {
		return err
	}
	return backTo(w, deskPath, templates.NoteTold)
}

// deskUnlink takes a chat account from the agent.
func (b *Bridge) deskUnlink(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	account := store.Account{ID: r.PostForm.Get("identity"), Agent: who.ID}
	known, err := b.store.Account(r.Context(), account.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && known.Agent != who.ID {
		return backTo(w, deskPath, "")
	}
	if err == nil {
		entry := store.Entry{At: time.Now(), Action: "disconnected", Agent: who.ID, Detail: account.ID}
		err = b.store.Commit(r.Context(), store.Change{Disconnect: &account, Audit: []store.Entry{entry}})
	}
	if err != nil {
		return storeFault(err)
	}
	return backTo(w, deskPath, templates.NoteUnlinked)
}
