// Package match finds the visitor at Upscope by the clues of a chat, and limits how many wrong
// lookup codes an agent may try. Read find.go first.
package match

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A Matcher finds visitors for cards. Its Finder asks Upscope.
type Matcher struct {
	Finder *Finder

	store   *store.Store
	budgets web.Budgets
	limits  web.Limits
	log     *slog.Logger
}

// New returns a Matcher. With matchEmail it also searches by e-mail address.
func New(client *upscope.Client, matchEmail bool, s *store.Store, budgets web.Budgets, limits web.Limits, log *slog.Logger) *Matcher {
	return &Matcher{Finder: newFinder(client, matchEmail, log), store: s, budgets: budgets, limits: limits, log: log}
}

// Finder looks visitors up at Upscope. It caches answers for a few seconds, so that many
// deliveries about one visitor cost one request. It never caches the answer to a lookup code.
type Finder struct {
	upscope    *upscope.Client
	MatchEmail bool // search by e-mail address too
	log        *slog.Logger
	searches   *cache.Cache[[]upscope.Visitor]
	visitors   *cache.Cache[upscope.Visitor]
}

// How long answers of Upscope are cached. An answer in which nobody is online is cached for a shorter
// time, because a page may connect to Upscope a moment after the chat began.
const (
	visitorTTL = 4500 * time.Millisecond
	searchTTL  = visitorTTL
	offlineTTL = 2 * time.Second
)

func newFinder(client *upscope.Client, matchEmail bool, log *slog.Logger) *Finder {
	return &Finder{
		upscope:    client,
		MatchEmail: matchEmail,
		log:        log,
		searches: cache.New(cache.Bound, func(vs []upscope.Visitor) time.Duration {
			if card.AnyOnline(vs) {
				return searchTTL
			}
			return offlineTTL
		}),
		visitors: cache.New(cache.Bound, func(upscope.Visitor) time.Duration { return visitorTTL }),
	}
}

// Fresh returns a Finder without caches: it asks Upscope each time.
func (f *Finder) Fresh() *Finder {
	return &Finder{upscope: f.upscope, MatchEmail: f.MatchEmail, log: f.log}
}

// Find tries the clues from the most to the least reliable, and stops at the first that matches
// a visitor. A visitor matches only if the clue is in Upscope's answer; for integration ids see
// byIntegrationID. If several visitors match, Find returns all, for the agent to choose. It skips
// clues that are no valid search term.
func (f *Finder) Find(ctx context.Context, c chat.Clues) (card.Match, error) {
	m, err := f.find(ctx, c)
	if err == nil && f.log.Enabled(ctx, slog.LevelDebug) {
		f.log.DebugContext(ctx, "customer searched", "clues", m.Steps, "decision", decision(m))
	}
	return m, err
}

// decision says in words what a search led to, for the log.
func decision(m card.Match) string {
	switch {
	case m.OneTrusted:
		return "one customer"
	case len(m.Visitors) > 0:
		return "the agent chooses or confirms"
	case m.CodeShared:
		return "several customers have the code"
	}
	return "no customer"
}

func (f *Finder) find(ctx context.Context, c chat.Clues) (card.Match, error) {
	var steps []string
	var codeShared bool
	for _, step := range f.steps(c) {
		found, err := step.look(ctx)
		switch {
		case errors.Is(err, errMalformed):
			steps = append(steps, step.name+": malformed")
			continue
		case err != nil:
			return card.Match{}, fmt.Errorf("find by %s: %w", step.name, err)
		}
		steps = append(steps, step.name+": "+found.countText())
		codeShared = codeShared || found.codeShared
		if len(found.visitors) > 0 {
			return card.Match{
				Visitors:   found.visitors,
				OneTrusted: found.complete && found.trusted && len(found.visitors) == 1,
				Reason:     step.reason,
				Steps:      strings.Join(steps, "; "),
			}, nil
		}
	}
	return card.Match{CodeShared: codeShared, Steps: strings.Join(steps, "; ")}, nil
}

// errMalformed means that a clue is no valid search term.
var errMalformed = errors.New("clue is malformed")

// A step searches by one clue.
type step struct {
	name   string
	reason templates.Reason
	look   func(context.Context) (hits, error)
}

// hits are the visitors who match a clue.
type hits struct {
	visitors []upscope.Visitor
	complete bool // Upscope's answer was not cut off
	trusted  bool // the clue may be used without asking the agent
	// codeShared says that the code does not identify one visitor: several have it, or the answer
	// was cut off. visitors is then empty.
	codeShared bool
}

func (h hits) countText() string {
	switch len(h.visitors) {
	case 0:
		return "none"
	case 1:
		return "one"
	}
	return "several"
}

func (f *Finder) steps(c chat.Clues) []step {
	var steps []step
	add := func(present bool, name string, reason templates.Reason, look func(context.Context) (hits, error)) {
		if present {
			steps = append(steps, step{name, reason, look})
		}
	}
	add(c.ShortID != "", "short id", templates.ReasonShortID, func(ctx context.Context) (hits, error) {
		v, err := f.Visitor(ctx, c.ShortID)
		switch {
		case errors.Is(err, upscope.ErrNotFound):
			return hits{}, nil
		case err != nil:
			return hits{}, err
		}
		return hits{visitors: []upscope.Visitor{v}, complete: true, trusted: true}, nil
	})
	for _, id := range c.IntegrationIDs {
		add(true, "integration id", templates.ReasonIntegration, func(ctx context.Context) (hits, error) {
			return f.byIntegrationID(ctx, id)
		})
	}
	add(c.LookupCode != "", "lookup code", templates.ReasonCode, func(ctx context.Context) (hits, error) {
		return f.byLookupCode(ctx, c.LookupCode)
	})
	add(c.UniqueID != "", "unique id", templates.ReasonUnique, func(ctx context.Context) (hits, error) {
		term, err := upscope.UniqueID(c.UniqueID)
		if err != nil {
			return hits{}, errMalformed
		}
		return f.exact(ctx, term, c.UniqueID, func(v upscope.Visitor) bool { return v.UniqueID == c.UniqueID })
	})
	add(c.Email != "" && f.MatchEmail, "e-mail", templates.ReasonEmail, func(ctx context.Context) (hits, error) {
		term, err := upscope.Email(c.Email)
		if err != nil {
			return hits{}, errMalformed
		}
		found, err := f.exact(ctx, term, c.Email, func(v upscope.Visitor) bool { return strings.EqualFold(v.Email, c.Email) })
		found.trusted = false // visitors can type any address
		return found, err
	})
	return steps
}

// Visitor returns one visitor, as read from Upscope at most visitorTTL ago.
func (f *Finder) Visitor(ctx context.Context, shortID string) (upscope.Visitor, error) {
	return f.visitors.Get(ctx, shortID, func(ctx context.Context) (upscope.Visitor, error) {
		v, err := f.upscope.Visitor(ctx, shortID)
		v.Sessions = runningSessions(v.Sessions)
		if err == nil && v.ShortID != shortID {
			return v, fmt.Errorf("%w: asked for one visitor and got another", upscope.ErrUpstream)
		}
		return v, err
	})
}

// byIntegrationID searches by an integration id. Upscope does not return integration ids, but our
// page script puts the same key among the identities. If some of the visitors have it there, only
// they match; if none has it there, all match.
func (f *Finder) byIntegrationID(ctx context.Context, id string) (hits, error) {
	term, err := upscope.IntegrationID(id)
	if err != nil {
		return hits{}, errMalformed
	}
	all, err := f.search(ctx, term, id)
	if err != nil {
		return hits{}, err
	}
	if proven := matching(all, func(v upscope.Visitor) bool { return slices.Contains(v.Identities, id) }); len(proven.visitors) > 0 {
		return proven, nil
	}
	return matching(all, func(upscope.Visitor) bool { return true }), nil
}

// byLookupCode searches for the visitor who is online with this code. Codes have four digits, so
// several visitors can have the same code; then nobody matches.
func (f *Finder) byLookupCode(ctx context.Context, code string) (hits, error) {
	term, err := upscope.LookupCode(code)
	if err != nil {
		return hits{}, errMalformed
	}
	all, err := f.upscope.Search(ctx, term, upscope.MaxResults)
	if err != nil {
		return hits{}, err
	}
	found := matching(all, func(v upscope.Visitor) bool { return v.LookupCode == code && v.IsOnline })
	if len(found.visitors) != 1 || !found.complete {
		return hits{codeShared: len(found.visitors) > 0}, nil
	}
	return found, nil
}

// exact searches for a term and keeps the visitors for whom matches returns true.
func (f *Finder) exact(ctx context.Context, term upscope.Term, key string, matches func(upscope.Visitor) bool) (hits, error) {
	all, err := f.search(ctx, term, key)
	if err != nil {
		return hits{}, err
	}
	return matching(all, matches), nil
}

// matching returns the visitors for whom matches returns true; if any of them is online, only those
// who are. People who clear their browser leave offline visitors behind. Upscope returns at most
// MaxResults visitors, so an answer of that length may lack some.
func matching(all []upscope.Visitor, matches func(upscope.Visitor) bool) hits {
	found := keep(all, matches)
	if online := keep(found, func(v upscope.Visitor) bool { return v.IsOnline }); len(online) > 0 {
		found = online
	}
	return hits{visitors: found, complete: len(all) < upscope.MaxResults, trusted: true}
}

func keep(all []upscope.Visitor, wanted func(upscope.Visitor) bool) (kept []upscope.Visitor) {
	for _, v := range all {
		if wanted(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// Forget removes the cached answers for these clues and visitors.
func (f *Finder) Forget(c chat.Clues, visitors ...string) {
	for _, id := range append(visitors, c.ShortID) {
		f.visitors.Drop(id)
	}
	for _, id := range c.IntegrationIDs {
		f.searches.Drop(searchKey(upscope.KindIntegrationID, id))
	}
	f.searches.Drop(searchKey(upscope.KindUniqueID, c.UniqueID))
	f.searches.Drop(searchKey(upscope.KindEmail, c.Email))
}

// Remember caches these visitors, so that Visitor does not ask Upscope for them.
func (f *Finder) Remember(visitors []upscope.Visitor) {
	for _, v := range visitors {
		f.visitors.Put(v.ShortID, v)
	}
}

func searchKey(kind upscope.Kind, value string) string { return string(kind) + ":" + value }

func (f *Finder) search(ctx context.Context, term upscope.Term, key string) ([]upscope.Visitor, error) {
	return f.searches.Get(ctx, searchKey(term.Kind(), key), func(ctx context.Context) ([]upscope.Visitor, error) {
		visitors, err := f.upscope.Search(ctx, term, upscope.MaxResults)
		for i := range visitors {
			visitors[i].Sessions = runningSessions(visitors[i].Sessions)
		}
		return visitors, err
	})
}

// runningSessions returns those of a visitor's sessions that have not ended. Upscope returns the
// last fifty.
func runningSessions(sessions []upscope.Session) (running []upscope.Session) {
	for _, s := range sessions {
		if s.EndedAt.IsZero() {
			running = append(running, s)
		}
	}
	return running
}

// CurrentVisitor reads the card's visitor, with at most one request to Upscope for each clue. It
// searches by the clue that led to them, which also finds them under a new short id, or else by
// short id. The error is upscope.ErrNotFound if no visitor or several visitors match.
func (matcher *Matcher) CurrentVisitor(ctx context.Context, c card.Card) (upscope.Visitor, error) {
	clues := card.CluesBehind(c.About.Reason, c.About.Clues)
	if clues.Empty() {
		if c.Visitor == "" {
			return upscope.Visitor{}, upscope.ErrNotFound
		}
		return matcher.Finder.Visitor(ctx, c.Visitor)
	}
	m, err := matcher.Finder.Find(ctx, clues)
	if err != nil {
		return upscope.Visitor{}, err
	}
	if !m.OneTrusted {
		return upscope.Visitor{}, upscope.ErrNotFound
	}
	return m.Visitors[0], nil
}
