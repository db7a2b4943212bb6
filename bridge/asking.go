package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

// Paths of pages that others lead to.
const (
	signInPath = "/signin"
	deskPath   = "/"
	cardPath   = "/desk/card/" // and a card's id
)

// deskName stands for a connector in cards that agents make at the desk.
const deskName = "desk"

// signsIn reports whether agents sign in. Where they do not, whoever holds a
// card's address is its agent, in the browser that used it first.
func (b *Bridge) signsIn() bool { return b.oidc != nil || b.header != nil }

// who says who makes a request: nobody in particular where nobody signs in, or
// else an error of signin.
func (b *Bridge) who(r *http.Request) (signin.Identity, error) {
	switch {
	case b.oidc != nil:
		return b.oidc.Who(r)
	case b.header != nil:
		who, err := b.header.Who(r)
		if errors.Is(err, signin.ErrSpoofed) {
			b.metrics.spoofed()
		}
		return who, err
	}
	return signin.Identity{}, nil
}

// peek is who for a page that asks by itself: an open page alone keeps nobody
// signed in.
func (b *Bridge) peek(r *http.Request) (signin.Identity, error) {
	if b.oidc != nil {
		return b.oidc.Peek(r)
	}
	return b.who(r)
}

// asAgent does what whoever makes the request may ask for. A person who opens a
// page without being signed in is led to sign in, and from there back to it.
func (b *Bridge) asAgent(w http.ResponseWriter, r *http.Request, do func(signin.Identity) error) error {
	who, err := b.who(r)
	mode := r.Header.Get("Sec-Fetch-Mode")
	switch {
	case err == nil:
		return do(who)
	case errors.Is(err, signin.ErrNobody) && b.oidc != nil && r.Method == http.MethodGet && (mode == "navigate" || mode == ""):
		return b.oidc.Begin(w, r, r.URL.RequestURI())
	case errors.Is(err, signin.ErrNobody) && b.oidc != nil && strings.HasPrefix(r.URL.Path, doorPath):
		return &noticeError{err, templates.Notice{Retry: samePage}}
	case errors.Is(err, signin.ErrNobody) && b.oidc != nil:
		return &noticeError{err, templates.Notice{Retry: deskPath}}
	case errors.Is(err, signin.ErrNobody):
		return fmt.Errorf("%w: %w", errNobody, err)
	}
	return err
}

// signIn begins a sign-in that leads to the desk.
func (b *Bridge) signIn(w http.ResponseWriter, r *http.Request) error {
	if b.oidc == nil {
		return errNoPage
	}
	return b.oidc.Begin(w, r, deskPath)
}

// signedIn takes an agent who comes back from the issuer to the page they asked
// for.
func (b *Bridge) signedIn(w http.ResponseWriter, r *http.Request) error {
	if b.oidc == nil {
		return errNoPage
	}
	tries := store.Spending{Limit: b.budgets.signIns, Subject: b.address(r)}
	if err := b.limits.left(r.Context(), tries); err != nil {
		return err
	}
	who, next, err := b.oidc.Finish(w, r)
	if err != nil {
		b.signInFailed(r.Context(), tries, err)
		return &noticeError{err, templates.Notice{Retry: signInPath}}
	}
	b.writeDown(r.Context(), store.Entry{Action: "signed in", Agent: who.ID})
	next = strings.TrimSuffix(next, "?") // as a link to the same page ends
	if !strings.Contains(next, "?") && (strings.HasPrefix(next, doorPath) || strings.HasPrefix(next, cardPath)) {
		next += signedInPage
	}
	leadAway(w, cmp.Or(next, deskPath))
	return nil
}

// signInFailed counts a sign-in that may have been a guess, and writes down one of
// somebody who may not. What a stranger can cause in the browser of others, such as a
// callback that nobody began, and what is the issuer's fault, is no guess: it must
// not keep a whole office from signing in.
func (b *Bridge) signInFailed(ctx context.Context, tries store.Spending, err error) {
	switch {
	case errors.Is(err, signin.ErrToken), errors.Is(err, signin.ErrDenied):
		if spent := b.limits.spend(ctx, tries); errors.Is(spent, errStore) {
			b.log.WarnContext(ctx, "failed sign-in not counted", "err", spent)
		}
	case errors.Is(err, signin.ErrDomain), errors.Is(err, signin.ErrGroup):
		b.refused(ctx, card{from: tries.Subject}, errPolicy, "sign in")
	}
}

// signOut ends the session of whoever asks.
func (b *Bridge) signOut(w http.ResponseWriter, r *http.Request) error {
	if b.oidc == nil {
		return errNoPage
	}
	if err := b.readPress(w, r); err != nil {
		return err
	}
	if who, err := b.oidc.Who(r); err == nil {
		b.writeDown(r.Context(), store.Entry{Action: "signed out", Agent: who.ID})
	}
	if err := b.oidc.End(w, r); err != nil {
		return err
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindSignedOut, Retry: signInPath})
}

// writeDown records what nobody has to wait for.
func (b *Bridge) writeDown(ctx context.Context, e store.Entry) {
	e.At = time.Now()
	if err := b.store.Commit(context.WithoutCancel(ctx), store.Change{Audit: []store.Entry{e}}); err != nil {
		b.log.ErrorContext(ctx, "not recorded", "action", e.Action, "agent", e.Agent, "card", e.Card, "err", err)
	}
}

// How an account became known to be an agent's.
const (
	connectedBySlack = "signed in with Slack"
	connectedByEmail = "by e-mail address"
	connectedByAgent = "by the agent"
)

// connectedHow says it to the agent.
var connectedHow = map[string]string{
	connectedBySlack: "you signed in with Slack",
	connectedByEmail: "it has the same e-mail address",
	connectedByAgent: "you said so on a card",
}

// admitAgent decides whether somebody who is signed in may use a door: that of a
// card of their own, or one that is shown where several people see it, or, where
// policy says so, of anybody's. Whether they may watch comes before whether the card
// could be theirs, so that nobody claims an account who may do nothing with it.
func (b *Bridge) admitAgent(ctx context.Context, c *card, who signin.Identity) error {
	c.who = who
	if !b.mayWatch(*c) {
		return errPolicy
	}
	how, other := b.samePerson(c, who)
	if how != "" && who.ID != c.holder.Agent {
		if err := b.connect(ctx, c, how); err != nil && !errors.Is(err, store.ErrTaken) {
			return storeFault(err)
		}
	}
	switch {
	case who.ID == c.Agent, who.ID == c.holder.Agent, b.shared(c.about.Place), b.decide(*c, policy.AnyCard).Allowed:
		return nil
	case c.holder.Agent == "" && !other && c.Agent != "" && c.Connector != deskName:
		return errConnect
	}
	return errOther
}

// mayWatch decides whether whoever acts on a card may watch its visitor. Somebody whom
// an agent looked up is for those who may do that.
func (b *Bridge) mayWatch(c card) bool {
	return b.decide(c, policy.Watch).Allowed && (!c.about.Asked || c.about.Shared != "" || b.decide(c, policy.LookUp).Allowed)
}

// samePerson says how it is known that the card's agent is who is signed in, or
// nothing if it is not known, and whether it is known to be somebody else.
func (b *Bridge) samePerson(c *card, who signin.Identity) (how string, other bool) {
	if compare := b.connectors[c.Connector].SameAccount; compare != nil && who.Slack != "" {
		same, other := compare(strings.TrimPrefix(c.Agent, c.Connector+":"), who.Slack)
		switch {
		case same:
			return connectedBySlack, false
		case other:
			return "", true
		}
	}
	if b.linkEmail && who.Email != "" && who.Email == lowered(c.about.Agent.Email) {
		return connectedByEmail, false
	}
	return "", false
}

// lowered changes ASCII letters alone, as signin does: others become ASCII letters
// in lower case, and so one address would pass for another.
func lowered(address string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, address)
}

// connect makes the account of the card's agent that of who is signed in.
func (b *Bridge) connect(ctx context.Context, c *card, how string) error {
	account := store.Account{ID: c.Agent, Agent: c.who.ID, How: how, Since: time.Now(), Name: c.about.Agent.Name}
	if how != connectedByAgent {
		account.Replaces = connectedByAgent // a proof counts for more than somebody's word
	}
	entry := b.entry(*c, "connected", c.Agent+" "+how)
	entry.Visitor, entry.Chat = "", "" // it is about the agent alone
	if err := b.store.Commit(ctx, store.Change{Connect: &account, Audit: []store.Entry{entry}}); err != nil {
		return err
	}
	c.holder.Agent = c.who.ID
	return nil
}

// decide asks the policy whether whoever acts on a card may. What an agent got by
// pressing a card that several people see is decided as that card is.
func (b *Bridge) decide(c card, act policy.Act) policy.Decision {
	q := policy.Question{Act: act, Agent: c.actor(), Email: c.who.Email, Groups: c.who.Groups, Connector: c.Connector}
	place := c.about.Place
	if c.about.Shared != "" {
		q.Connector, place = c.about.SharedOf, c.about.SharedAt
	}
	if place.Address != "" {
		q.Place = place.Connector + ":" + place.Address
	}
	return b.policy.Current().Decide(q)
}

// may asks the policy about what has no card.
func (b *Bridge) may(who signin.Identity, act policy.Act) policy.Decision {
	return b.policy.Current().Decide(policy.Question{Act: act, Agent: who.ID, Email: who.Email, Groups: who.Groups, Connector: deskName})
}

// refused writes down that somebody may not, and what. One who tries over and over
// is written down now and then.
func (b *Bridge) refused(ctx context.Context, c card, err error, what ...string) {
	reason := ""
	for _, refusal := range []error{errElsewhere, errOther, errTaken, errPolicy, errThrottled, errMoved} {
		if errors.Is(err, refusal) {
			reason = refusal.Error()
		}
	}
	if reason == "" {
		return
	}
	b.metrics.refusal(reason)
	entry := b.entry(c, "refused", joined(": ", append([]string{reason}, what...)...))
	if !b.signsIn() {
		entry.Agent = "" // whoever it was, it may not have been the card's agent
	}
	if b.refusals.allow(strings.Join([]string{entry.Agent, c.from, c.ID, entry.Detail}, "\x00")) {
		b.writeDown(ctx, entry)
	}
}
