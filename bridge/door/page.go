package door

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// AgentOf converts a signed-in agent for the templates.
func AgentOf(who signin.Identity) templates.Agent {
	return templates.Agent{Name: who.Name, Email: who.Email, ID: who.ID}
}

// showPage shows the co-browse page. The visitor's data is at most a few seconds old.
func (door *Door) showPage(w http.ResponseWriter, r *http.Request, c CardRequest) error {
	page, err := door.coBrowsePage(r.Context(), c)
	if err != nil {
		return err
	}
	return door.web.Render(w, http.StatusOK, page)
}

// coBrowsePage returns the page that showPage shows.
func (door *Door) coBrowsePage(ctx context.Context, c CardRequest) (templates.Door, error) {
	severalMatched := len(c.About.Choices) > 0
	noneMatched := c.Visitor == "" && !c.About.Clues.Empty()
	if severalMatched || noneMatched {
		m, err := door.matcher.Finder.Find(ctx, c.About.Clues)
		if err != nil {
			return templates.Door{}, err
		}
		if c, err = door.refreshMatches(ctx, c, m); err != nil {
			return templates.Door{}, err
		}
		if len(c.About.Choices) > 0 {
			return c.pageWith(door.describeAll(m.Visitors)...), nil
		}
	}
	if c.Visitor == "" {
		page := c.pageWith()
		page.Withheld, page.CanType = c.About.Withheld, door.DecideForCard(c, policy.LookUp).Allowed
		return page, nil
	}
	v, err := door.matcher.Finder.Visitor(ctx, c.Visitor)
	if errors.Is(err, upscope.ErrNotFound) {
		return c.pageWith(), nil
	}
	if err != nil {
		return templates.Door{}, err
	}
	door.work.ShowPresence(ctx, c.Card, v)
	return door.visitorPage(c, v), nil
}

// refreshMatches stores the visitors who match now on a card without one visitor, so that the page can offer
// them. It returns the updated card.
func (door *Door) refreshMatches(ctx context.Context, c CardRequest, m card.Match) (CardRequest, error) {
	unchanged := func(now *card.Card) bool {
		return now.Visitor == c.Visitor && slices.Equal(now.About.Choices, c.About.Choices) && reflect.DeepEqual(now.About.Clues, c.About.Clues)
	}
	candidate := c.Card
	candidate.Apply(m)
	if unchanged(&candidate) {
		return c, nil
	}
	after, err := door.book.Revise(ctx, c.ID, func(now *card.Card) []audit.Entry {
		if !unchanged(now) {
			return nil // another request has searched meanwhile
		}
		now.Apply(m)
		now.About.NotYetShown = now.Visitor != ""
		return []audit.Entry{door.book.Entry(*now, "asked", m.Steps)}
	})
	if err != nil {
		return c, web.StoreFault(err)
	}
	c.Card = after
	return c, nil
}

// A form value is shortID + "." + identity, and ends in chosenMark if the agent chose among several visitors.
// formatChoice and pageWith write it, parseChoice reads it.
const chosenMark = "c"

func formatChoice(v upscope.Visitor) string { return v.ShortID + "." + card.Identity(v) }

// parseChoice returns the parts of a form value. The identity has a fixed length, so chosenMark needs no separator.
func parseChoice(value string) (visitor, identity string, chosen bool) {
	visitor, identity, _ = strings.Cut(value, ".")
	chosen = len(identity) > card.IdentityDigits && identity[card.IdentityDigits:] == chosenMark
	return visitor, identity[:min(len(identity), card.IdentityDigits)], chosen
}

// pageWith returns the co-browse page with these visitors. It appends chosenMark to their IDs if there are several.
func (c *CardRequest) pageWith(visitors ...templates.Visitor) templates.Door {
	if len(visitors) > 1 {
		for i := range visitors {
			visitors[i].ID += chosenMark
		}
	}
	return templates.Door{
		Path: web.SamePage, Agent: c.actorName(), NameInChat: c.About.Visitor, Chat: c.ChatLink(),
		Reason: c.About.Reason, Asked: c.LookedUp(), Visitors: visitors, Now: time.Now(),
	}
}

// connectPage returns the page that asks the signed-in agent whether the card's chat account is theirs.
func (door *Door) connectPage(c CardRequest) templates.Connect {
	return templates.Connect{
		Path: web.SamePage, Agent: AgentOf(c.Who), CanSignOut: door.web.OIDC != nil,
		Service: door.book.Title(c.Connector), Account: c.accountName(), Chat: c.ChatLink(),
	}
}

// visitorPage returns the co-browse page for one visitor. It warns if v seems to be another person than the
// matched one.
func (door *Door) visitorPage(c CardRequest, v upscope.Visitor) templates.Door {
	d := c.pageWith(door.describe(v))
	d.CanNotify, d.CanStop = door.book.CanNotifyAgent(c.Card) && c.CanWaitForVisitor(), c.Stoppable()
	if door.book.HasChatLink(c.Card) && !c.chatEnded {
		d.OpenChat = web.ChatPage
	}
	if v.IsInSession {
		d.OwnSession, d.Watching = c.IsWatching(c.actor(), v, time.Now()), c.WatchingAgents(v)
	}
	if s := c.About.Sighting; s != nil && v.ShortID == c.Visitor && s.Identity != card.Identity(v) {
		d.OtherPerson, d.PreviousName = true, s.Name
	}
	return d
}

// describe converts a visitor for the templates, with a warning if they are on a page that is not the operator's:
// anyone can put Upscope's script on a page. The ID has the identity after a ".", so that the form is refused if
// the short id now belongs to another person.
func (door *Door) describe(v upscope.Visitor) templates.Visitor {
	d := card.Describe(v)
	d.ID = formatChoice(v)
	d.Foreign = door.onOtherSite(v)
	return d
}

func (door *Door) describeAll(visitors []upscope.Visitor) (all []templates.Visitor) {
	for _, v := range visitors {
		all = append(all, door.describe(v))
	}
	return all
}

// onOtherSite reports whether a visitor is on a page of a host that is not among the operator's sites. If no sites
// are configured, it reports false.
func (door *Door) onOtherSite(v upscope.Visitor) bool {
	if len(door.sites) == 0 || v.LastURL == "" {
		return false
	}
	u, err := url.Parse(v.LastURL)
	return err != nil || !slices.ContainsFunc(door.sites, func(site string) bool {
		host := strings.ToLower(u.Hostname())
		return host == site || strings.HasSuffix(host, "."+site)
	})
}

// lookAgain searches again for the card's visitor, by the card's stored clues (a lookup code is never stored).
func (door *Door) lookAgain(ctx context.Context, c *CardRequest) error {
	if !door.lookUps.Allow(c.actor()) {
		return web.ErrThrottled
	}
	before := c.Card
	door.matcher.Finder.Forget(c.About.Clues) // so that Find asks Upscope
	m, err := door.matcher.Finder.Find(ctx, c.About.Clues)
	if err != nil {
		return err
	}
	door.matcher.Finder.Remember(m.Visitors)
	c.Visitor, c.About.Sighting = "", nil // Apply sets them again
	c.Apply(m)
	if visitorReplaced(before, c.Card) {
		c.About.NotYetShown = true
	}
	change := store.Change{Audit: []audit.Entry{door.auditEntry(*c, "asked", m.Steps)}}
	door.book.ScheduleEffects(&c.Card, before, &change)
	return door.book.CommitForRequest(ctx, &c.Card, change)
}

// lookUpTyped searches for the customer by a code that the agent typed, because the code from the chat was not looked
// up. The code counts against the agent's limits.
func (door *Door) lookUpTyped(w http.ResponseWriter, r *http.Request, c CardRequest) error {
	ctx := r.Context()
	switch {
	case c.Visitor != "", c.About.Withheld == "":
		return door.showPage(w, r, c) // the card does not ask for a code any more
	case !door.DecideForCard(c, policy.LookUp).Allowed:
		door.Refused(ctx, c, web.ErrPolicy)
		return web.ErrPolicy
	}
	clues, _ := chat.Typed(r.PostForm.Get("code"))
	code := clues.LookupCode
	if code != "" {
		if !door.lookUps.Allow(c.actor()) {
			return web.ErrThrottled
		}
		m, err := door.matcher.TryCode(ctx, c.actor(), door.web.Address(r), chat.Clues{LookupCode: code})
		if errors.Is(err, web.ErrThrottled) {
			door.Refused(ctx, c, err)
			n := templates.Notice{Case: templates.CaseOwnCodes, Agent: c.actorName(), Retry: web.SamePage, Chat: c.ChatLink()}
			if door.matcher.Withheld(err) == templates.WithheldOthers {
				n.Case = templates.CaseOtherCodes
			}
			return web.WithNotice(err, n)
		}
		if err != nil {
			return err
		}
		door.matcher.Finder.Remember(m.Visitors)
		before := c.Card
		c.About.Code, c.About.Replaced = c.CodeHash(code), len(m.Visitors) > 0
		c.Apply(m)
		change := store.Change{Audit: []audit.Entry{door.auditEntry(c, "asked", m.Steps)}}
		door.book.ScheduleEffects(&c.Card, before, &change)
		if err := door.book.CommitForRequest(ctx, &c.Card, change); err != nil {
			return err
		}
	}
	page, err := door.coBrowsePage(ctx, c)
	if err != nil {
		return err
	}
	page.Malformed, page.WrongCode = code == "", code != ""
	return door.web.Render(w, http.StatusOK, page)
}

// visitorReplaced reports whether both versions of a card have a visitor, and these are two people.
func visitorReplaced(before, after card.Card) bool {
	if before.Visitor == "" || after.Visitor == "" {
		return false
	}
	return after.Visitor != before.Visitor || after.About.Sighting.Identity != before.VisitorIdentity()
}
