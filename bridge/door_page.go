package bridge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// showDoor shows who the visitor is, read from Upscope a moment ago.
func (b *Bridge) showDoor(w http.ResponseWriter, r *http.Request, c card) error {
	page, err := b.doorPage(r.Context(), c)
	if err != nil {
		return err
	}
	return b.render(w, http.StatusOK, page)
}

// doorPage is the page that showDoor shows.
func (b *Bridge) doorPage(ctx context.Context, c card) (templates.Door, error) {
	if len(c.about.Choices) > 0 {
		m, err := b.finder.find(ctx, c.about.Clues)
		if err != nil {
			return templates.Door{}, err
		}
		if c, err = b.chosenAmong(ctx, c, m); err != nil {
			return templates.Door{}, err
		}
		if len(c.about.Choices) > 0 {
			return c.door(b.describeAll(m.Visitors)...), nil
		}
	}
	if c.Visitor == "" {
		return c.door(), nil
	}
	v, err := b.finder.visitor(ctx, c.Visitor)
	if errors.Is(err, upscope.ErrNotFound) {
		return c.door(), nil
	}
	if err != nil {
		return templates.Door{}, err
	}
	b.noticed(ctx, c, v)
	return b.doorOf(c, v), nil
}

// chosenAmong brings a card whose agent has to choose to the visitors who match now, so that
// the page offers them all. It returns the card as it then is.
func (b *Bridge) chosenAmong(ctx context.Context, c card, m Match) (card, error) {
	same := func(now *card) bool {
		return slices.Equal(now.about.Choices, c.about.Choices) && reflect.DeepEqual(now.about.Clues, c.about.Clues)
	}
	after := c
	if after.apply(m); same(&after) {
		return c, nil
	}
	after, err := b.revise(ctx, c.ID, func(now *card) []store.Entry {
		if !same(now) {
			return nil // another request has searched meanwhile
		}
		now.apply(m)
		now.about.Unseen = now.Visitor != ""
		return []store.Entry{b.entry(*now, "asked", m.Trail)}
	})
	if err != nil {
		return c, storeFault(err)
	}
	after.who, after.holder, after.page, after.over = c.who, c.holder, c.page, c.over
	return after, nil
}

// chosenMark ends what the form sends back for one of several visitors, after the digits of
// their identity.
const chosenMark = "c"

func (c *card) door(visitors ...templates.Visitor) templates.Door {
	if len(visitors) > 1 {
		for i := range visitors {
			visitors[i].ID += chosenMark
		}
	}
	return templates.Door{
		Path: samePage, Agent: c.actorName(), Claimed: c.about.Visitor, Chat: c.chatLink(),
		Reason: c.about.Reason, Visitors: visitors, Now: time.Now(),
	}
}

// connectPage asks whoever is signed in whether the card's agent is them.
func (b *Bridge) connectPage(c card) templates.Connect {
	return templates.Connect{
		Path: samePage, Agent: agentOf(c.who), CanSignOut: b.oidc != nil,
		Service: b.title(c.Connector), Account: c.about.Agent.Name, Chat: c.chatLink(),
	}
}

// chatLink leads an agent back to the conversation.
func (c *card) chatLink() templates.Link {
	return templates.Link{Label: "Back to the chat", Address: c.about.ChatURL}
}

// doorOf is the door's page for one visitor. Where that is no longer who was
// matched, the page says so.
func (b *Bridge) doorOf(c card, v upscope.Visitor) templates.Door {
	d := c.door(b.describe(v))
	d.Tells, d.Stops = b.tells(c) && c.waitable(), c.stoppable()
	if b.enters(c) && !c.over {
		d.Enter = chatPage
	}
	if v.IsInSession {
		d.Yours, d.Watching = c.watches(v, time.Now()), c.watching(v)
	}
	if s := c.about.Sighting; s != nil && v.ShortID == c.Visitor && s.Identity != identity(v) {
		d.Changed, d.Before = true, s.Name
	}
	return d
}

// seen is the identity of a visitor as the agent knows them: what the page they
// pressed on showed, or else what the card was made for.
func (c *card) seen(p press) string {
	if p.seen == "" && p.visitor == c.Visitor {
		return c.identity()
	}
	return p.seen
}

// identity is that of the card's visitor when they were matched, or "".
func (c *card) identity() string {
	if c.about.Sighting == nil {
		return ""
	}
	return c.about.Sighting.Identity
}

// certain reports whether the card leads to one visitor by a clue that is good
// enough to follow without another look at the page.
func (c *card) certain() bool {
	return c.Visitor != "" && slices.Contains([]State{Ready, Opened, Live, Ended}, c.state()) && c.about.Reason != templates.ReasonCode && !c.about.Unseen
}

// describe is a visitor in the words of a page.
func describe(v upscope.Visitor) templates.Visitor {
	return templates.Visitor{
		ID: v.ShortID, Name: cmp.Or(v.Name, v.Nickname, v.Email, v.UniqueID), Page: v.LastURL,
		Where:    joined(", ", v.LocationCity, v.LocationCountryName),
		Device:   joined(" on ", v.BrowserName, v.DeviceName),
		LastSeen: v.LastSeenAt, Online: v.IsOnline, InSession: v.IsInSession, Supported: v.IsSupported,
	}
}

// describe is a visitor in the words of a page, with a warning where their page
// is not one of the operator's own: anybody can put our script on a page that is
// made to be watched.
//
// What its button sends back says who was shown, so that a press cannot lead to
// somebody else who has taken over the id.
func (b *Bridge) describe(v upscope.Visitor) templates.Visitor {
	d := describe(v)
	d.ID += "." + identity(v)
	d.Foreign = b.foreign(v)
	return d
}

func (b *Bridge) describeAll(visitors []upscope.Visitor) (all []templates.Visitor) {
	for _, v := range visitors {
		all = append(all, b.describe(v))
	}
	return all
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
