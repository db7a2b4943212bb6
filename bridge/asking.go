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
	case errors.Is(err, signin.ErrNobody) && b.oidc != nil:
		return &noticeError{err, templates.Notice{Retry: samePage}}
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
	failed := store.Spending{Limit: b.budgets.signIns, Subject: b.address(r)}
	if err := b.limits.left(r.Context(), failed); err != nil {
		return err
	}
	who, next, err := b.oidc.Finish(w, r)
	if err != nil {
		if spent := b.limits.spend(r.Context(), failed); spent != nil {
			b.log.WarnContext(r.Context(), "failed sign-in not counted", "err", spent)
		}
		return &noticeError{err, templates.Notice{Retry: signInPath}}
	}
	b.writeDown(r.Context(), store.Entry{Action: "signed in", Agent: who.ID})
	if strings.HasPrefix(next, "/w/") && !strings.Contains(next, "?") {
		next += signedInPage
	}
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", cmp.Or(next, deskPath))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// signOut ends the session of whoever asks.
func (b *Bridge) signOut(w http.ResponseWriter, r *http.Request) error {
	if b.oidc == nil {
		return errNoPage
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
		b.log.ErrorContext(ctx, "not recorded", "action", e.Action, "agent", e.Agent, "err", err)
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
// policy says so, of anybody's.
func (b *Bridge) admitAgent(ctx context.Context, c *card, who signin.Identity) error {
	c.who = who
	own := who.ID == c.Agent || who.ID == c.holder.Agent
	if how := b.samePerson(c, who); !own && c.holder.Agent == "" && how != "" {
		if err := b.connect(ctx, c, how); err == nil {
			own = true
		} else if !errors.Is(err, store.ErrTaken) {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	switch {
	case own, b.shared(c.about.Place), b.decide(*c, policy.AnyCard).Allowed:
	case c.holder.Agent == "" && c.Agent != "" && c.Connector != deskName:
		return errConnect
	default:
		return errOther
	}
	if !b.decide(*c, policy.Watch).Allowed {
		return errPolicy
	}
	return nil
}

// samePerson says how it is known that the card's agent is who is signed in, or
// nothing if it is not known.
func (b *Bridge) samePerson(c *card, who signin.Identity) (how string) {
	service, _, _ := strings.Cut(c.Connector, "-")
	account := strings.TrimPrefix(c.Agent, c.Connector+":")
	switch {
	case service == "slack" && who.Slack != "" && who.Slack == account:
		return connectedBySlack
	case b.linkEmail && who.Email != "" && strings.EqualFold(who.Email, c.about.Agent.Email):
		return connectedByEmail
	}
	return ""
}

// connect makes the account of the card's agent that of who is signed in.
func (b *Bridge) connect(ctx context.Context, c *card, how string) error {
	account := store.Account{ID: c.Agent, Agent: c.who.ID, How: how, Since: time.Now(), Name: c.about.Agent.Name}
	entry := b.entry(*c, "connected", c.Agent+" "+how)
	entry.Visitor, entry.Chat = "", "" // it is about the agent alone
	if err := b.store.Commit(ctx, store.Change{Connect: &account, Audit: []store.Entry{entry}}); err != nil {
		return err
	}
	c.holder.Agent = c.who.ID
	return nil
}

// decide asks the policy whether whoever acts on a card may.
func (b *Bridge) decide(c card, act policy.Act) policy.Decision {
	q := policy.Question{Act: act, Agent: c.actor(), Email: c.who.Email, Groups: c.who.Groups, Connector: c.Connector}
	if p := c.about.Place; p.Address != "" {
		q.Place = p.Connector + ":" + p.Address
	}
	return b.policy.Current().Decide(q)
}

// may asks the policy about what has no card.
func (b *Bridge) may(who signin.Identity, act policy.Act) policy.Decision {
	return b.policy.Current().Decide(policy.Question{Act: act, Agent: who.ID, Email: who.Email, Groups: who.Groups, Connector: deskName})
}

// refused writes down that somebody may not use a card's door. One who tries over
// and over is written down now and then.
func (b *Bridge) refused(ctx context.Context, c card, err error) {
	reason := ""
	for _, refusal := range []error{errElsewhere, errOther, errPolicy, errThrottled, errMoved} {
		if errors.Is(err, refusal) {
			reason = refusal.Error()
		}
	}
	if reason == "" {
		return
	}
	b.metrics.refusal(reason)
	entry := b.entry(c, "refused", reason)
	if !b.signsIn() {
		entry.Agent = "" // whoever it was, it may not have been the card's agent
	}
	if b.refusals.allow(entry.Agent + "\x00" + c.ID + "\x00" + reason) {
		b.writeDown(ctx, entry)
	}
}
