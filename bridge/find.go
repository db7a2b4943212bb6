package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A Match is what Upscope knows under some clues.
type Match struct {
	// Visitors holds nobody, the one visitor, or those an agent has to choose
	// from.
	Visitors []upscope.Visitor
	// Sure says that there is one visitor and that nobody else can be meant.
	Sure bool
	// Reason is the clue that led to them.
	Reason templates.Reason
	// Trail says for each clue that was followed what it led to, for the
	// record: "integration id: none; lookup code: one".
	Trail string
}

// online reports whether anybody is.
func online(all []upscope.Visitor) bool {
	return slices.ContainsFunc(all, func(v upscope.Visitor) bool { return v.IsOnline })
}

// finder looks visitors up at Upscope. Its caches hold an answer for seconds,
// so that a burst of deliveries about one visitor costs one request; a lookup
// code's answer is never among them.
type finder struct {
	upscope    *upscope.Client
	matchEmail bool
	searches   *cache[[]upscope.Visitor]
	visitors   *cache[upscope.Visitor]
}

// Lives of what Upscope answered. A visitor may be acted on for as long as
// visitorLife after it was read. That nobody is online is believed only briefly:
// pages connect late, and people come back.
const (
	visitorLife = 4500 * time.Millisecond
	searchLife  = visitorLife
	nobodyLife  = 2 * time.Second
	cacheBound  = 10_000
)

func newFinder(client *upscope.Client, matchEmail bool) *finder {
	return &finder{
		upscope:    client,
		matchEmail: matchEmail,
		searches: newCache(cacheBound, func(vs []upscope.Visitor) time.Duration {
			if online(vs) {
				return searchLife
			}
			return nobodyLife
		}),
		visitors: newCache(cacheBound, func(upscope.Visitor) time.Duration { return visitorLife }),
	}
}

// fresh is a finder that asks Upscope each time and remembers nothing.
func (f *finder) fresh() *finder { return &finder{upscope: f.upscope, matchEmail: f.matchEmail} }

// find follows the clues from the most to the least trustworthy and stops at
// the first that leads to somebody. A clue counts only if what Upscope returns
// proves it, and only an answer that is the only one is taken; where several
// fit, they are all returned for the agent to choose from. Clues that cannot be
// a search term are passed over.
func (f *finder) find(ctx context.Context, c Clues) (Match, error) {
	var trail []string
	for _, step := range f.steps(c) {
		found, err := step.look(ctx)
		switch {
		case errors.Is(err, errUnfit):
			trail = append(trail, step.name+": malformed")
			continue
		case err != nil:
			return Match{}, fmt.Errorf("find by %s: %w", step.name, err)
		}
		trail = append(trail, step.name+": "+found.count())
		if len(found.visitors) > 0 {
			return Match{
				Visitors: found.visitors,
				Sure:     found.sure && len(found.visitors) == 1,
				Reason:   step.reason,
				Trail:    strings.Join(trail, "; "),
			}, nil
		}
	}
	return Match{Trail: strings.Join(trail, "; ")}, nil
}

// errUnfit marks a clue that is no search term.
var errUnfit = errors.New("clue is malformed")

// A step follows one clue.
type step struct {
	name   string
	reason templates.Reason
	look   func(context.Context) (hits, error)
}

// hits are the visitors whom a clue fits. They are sure if nobody else can fit
// and the clue is one to act on without an agent's word.
type hits struct {
	visitors []upscope.Visitor
	sure     bool
}

func (h hits) count() string {
	switch len(h.visitors) {
	case 0:
		return "none"
	case 1:
		return "one"
	}
	return "several"
}

func (f *finder) steps(c Clues) []step {
	var steps []step
	add := func(present bool, name string, reason templates.Reason, look func(context.Context) (hits, error)) {
		if present {
			steps = append(steps, step{name, reason, look})
		}
	}
	add(c.ShortID != "", "short id", templates.ReasonShortID, func(ctx context.Context) (hits, error) {
		v, err := f.visitor(ctx, c.ShortID)
		if errors.Is(err, upscope.ErrNotFound) {
			return hits{}, nil
		}
		return hits{[]upscope.Visitor{v}, true}, err
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
		return f.exact(ctx, term, err, c.UniqueID, func(v upscope.Visitor) bool { return v.UniqueID == c.UniqueID })
	})
	add(c.Email != "" && f.matchEmail, "e-mail", templates.ReasonEmail, func(ctx context.Context) (hits, error) {
		term, err := upscope.Email(c.Email)
		found, err := f.exact(ctx, term, err, c.Email, func(v upscope.Visitor) bool { return strings.EqualFold(v.Email, c.Email) })
		found.sure = false // anybody can type an address
		return found, err
	})
	return steps
}

// visitor reads one visitor, or recalls one read within visitorLife.
func (f *finder) visitor(ctx context.Context, shortID string) (upscope.Visitor, error) {
	return f.visitors.get(ctx, shortID, func(ctx context.Context) (upscope.Visitor, error) {
		v, err := f.upscope.Visitor(ctx, shortID)
		v.Sessions = running(v.Sessions)
		if err == nil && v.ShortID != shortID {
			return v, fmt.Errorf("%w: asked for one visitor and got another", upscope.ErrUpstream)
		}
		return v, err
	})
}

// byIntegrationID asks for every visitor under an integration id. Upscope does
// not return integration ids, so our page script repeats its key among the
// identities: where anybody on the page has it there, only they count.
func (f *finder) byIntegrationID(ctx context.Context, id string) (hits, error) {
	term, err := upscope.IntegrationID(id)
	if err != nil {
		return hits{}, errUnfit
	}
	all, err := f.search(ctx, term, id)
	if err != nil {
		return hits{}, err
	}
	if proven := fitting(all, func(v upscope.Visitor) bool { return slices.Contains(v.Identities, id) }); len(proven.visitors) > 0 {
		return proven, nil
	}
	return fitting(all, func(upscope.Visitor) bool { return true }), nil
}

// byLookupCode asks for visitors who show this code now. Codes are four digits
// and collide, and several people with one code are as good as nobody.
func (f *finder) byLookupCode(ctx context.Context, code string) (hits, error) {
	term, err := upscope.LookupCode(code)
	if err != nil {
		return hits{}, errUnfit
	}
	all, err := f.upscope.Search(ctx, term, upscope.MaxResults)
	if err != nil {
		return hits{}, err
	}
	found := fitting(all, func(v upscope.Visitor) bool { return v.LookupCode == code && v.IsOnline })
	if len(found.visitors) != 1 || !found.sure {
		return hits{}, nil
	}
	return found, nil
}

// exact asks for a term whose answer can be proven by a field of the visitor.
func (f *finder) exact(ctx context.Context, term upscope.Term, unfit error, key string, proves func(upscope.Visitor) bool) (hits, error) {
	if unfit != nil {
		return hits{}, errUnfit
	}
	all, err := f.search(ctx, term, key)
	if err != nil {
		return hits{}, err
	}
	return fitting(all, proves), nil
}

// fitting keeps the visitors of an answer who are proven to be meant. People
// leave records behind when they clear their browser, so those who are online
// are taken before any who are not. A full page may hide others, so that nobody
// on it is sure.
func fitting(all []upscope.Visitor, proves func(upscope.Visitor) bool) hits {
	unproven := func(v upscope.Visitor) bool { return !proves(v) }
	offline := func(v upscope.Visitor) bool { return !v.IsOnline }
	fit := slices.DeleteFunc(slices.Clone(all), unproven)
	if online := slices.DeleteFunc(slices.Clone(fit), offline); len(online) > 0 {
		fit = online
	}
	return hits{visitors: fit, sure: len(all) < upscope.MaxResults}
}

// forget makes the next find by these clues, and the next read of these visitors, ask
// Upscope again.
func (f *finder) forget(c Clues, visitors ...string) {
	for _, id := range append(visitors, c.ShortID) {
		f.visitors.drop(id)
	}
	for _, id := range c.IntegrationIDs {
		f.searches.drop(searchKey(upscope.KindIntegrationID, id))
	}
	f.searches.drop(searchKey(upscope.KindUniqueID, c.UniqueID))
	f.searches.drop(searchKey(upscope.KindEmail, c.Email))
}

// keep has the next read of these visitors return them as they were just found.
func (f *finder) keep(visitors []upscope.Visitor) {
	for _, v := range visitors {
		f.visitors.put(v.ShortID, v)
	}
}

func searchKey(kind upscope.Kind, value string) string { return string(kind) + ":" + value }

func (f *finder) search(ctx context.Context, term upscope.Term, key string) ([]upscope.Visitor, error) {
	return f.searches.get(ctx, searchKey(term.Kind(), key), func(ctx context.Context) ([]upscope.Visitor, error) {
		visitors, err := f.upscope.Search(ctx, term, upscope.MaxResults)
		for i := range visitors {
			visitors[i].Sessions = running(visitors[i].Sessions)
		}
		return visitors, err
	})
}

// running keeps of a visitor's last fifty sessions those that go on.
func running(sessions []upscope.Session) (left []upscope.Session) {
	for _, s := range sessions {
		if s.EndedAt.IsZero() {
			left = append(left, s)
		}
	}
	return left
}

// stable leaves out the clues that may stand for somebody else tomorrow.
func (c Clues) stable() Clues {
	c.LookupCode = ""
	return c
}
