package bridge

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
)

// A Person is somebody to erase, by one of the ids that stand for them.
type Person struct {
	Kind PersonKind `json:"kind"`
	ID   string     `json:"id"`
}

// A PersonKind says what id a Person has.
type PersonKind string

// The kinds of id.
const (
	ByShortID       PersonKind = "visitor"        // Upscope's short id of a browser
	ByUniqueID      PersonKind = "unique id"      // the site's own
	ByIntegrationID PersonKind = "integration id" // of the page script, such as rocketchat:key
)

// Valid refuses an id that Upscope would not take, so that a mistyped one erases
// nobody.
func (p Person) Valid() (err error) {
	switch p.Kind {
	case ByUniqueID:
		_, err = upscope.UniqueID(p.ID)
	case ByIntegrationID:
		_, err = upscope.IntegrationID(p.ID)
	case ByShortID:
		if p.ID == "" || strings.Trim(p.ID, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			err = errors.New("a visitor's short id is made of letters, digits, _ and -")
		}
	default:
		err = fmt.Errorf("%q is no kind of id", p.Kind)
	}
	return err
}

// subjectKeys make keyed hashes of ids, by which the card of a closed chat, whose
// clues are forgotten, is still found when its visitor is to be erased. The first
// makes new ones; the other is that of the secret before.
type subjectKeys [][]byte

func newSubjectKeys(secrets ...[]byte) (keys subjectKeys, err error) {
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "bridge subject", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive subject key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func subject(key []byte, kind PersonKind, id string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(string(kind) + "\x00" + id))
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// add adds the hashes of people to a card's.
func (k subjectKeys) add(subjects []string, people []Person) []string {
	for _, p := range people {
		if s := subject(k[0], p.Kind, p.ID); !slices.Contains(subjects, s) {
			subjects = append(slices.Clip(subjects), s)
		}
	}
	return subjects
}

// have reports whether a card's hashes have one of p.
func (k subjectKeys) have(subjects []string, p Person) bool {
	return slices.ContainsFunc(k, func(key []byte) bool { return slices.Contains(subjects, subject(key, p.Kind, p.ID)) })
}

// persons are all the names that the card has for its visitor now.
func (c *card) persons() (all []Person) {
	add := func(kind PersonKind, ids ...string) {
		for _, id := range ids {
			if id != "" {
				all = append(all, Person{kind, id})
			}
		}
	}
	clues := c.about.Clues
	add(ByShortID, c.Visitor, clues.ShortID)
	add(ByUniqueID, clues.UniqueID)
	add(ByIntegrationID, clues.IntegrationIDs...)
	if seen := c.about.Sighting; seen != nil {
		add(ByUniqueID, seen.UniqueID)
		add(ByIntegrationID, seen.Identities...) // where our page script repeats them
	}
	return all
}

// An Eraser removes people from the store. It needs no running bridge.
type Eraser struct {
	store    *store.Store
	subjects subjectKeys
}

// NewEraser takes the secrets of the bridge; the old one may be nil.
func NewEraser(s *store.Store, secret, oldSecret []byte) (*Eraser, error) {
	keys, err := newSubjectKeys(secret, oldSecret)
	return &Eraser{s, keys}, err
}

// An erasure is what is still to be done for a receipt. It is sealed.
type erasure struct {
	Person Person `json:"person"`
	// Visitors are the short ids that Upscope had for the person.
	Visitors []string `json:"visitors,omitempty"`
}

// passes is how often the store is looked through at most: a bridge that runs may
// be writing about the person while it is.
const passes = 4

// Look counts what of p is in the store.
func (e *Eraser) Look(ctx context.Context, p Person) (store.Removed, error) {
	found, err := e.find(ctx, erasure{Person: p})
	return found.Removed(), err
}

// eraseQueue has the jobs that remove people from Upscope.
const eraseQueue = "erasures"

// Erase removes p from the store in the name of agent, and if they are to be removed
// from Upscope too, that follows as soon as a bridge runs and they are not online.
func (e *Eraser) Erase(ctx context.Context, p Person, agent string, atUpscope bool) (store.Receipt, error) {
	r, err := store.NewReceipt()
	if err != nil {
		return r, err
	}
	want := erasure{Person: p}
	var jobs []store.Job
	r.State = store.ErasureDone
	if atUpscope {
		r.State, r.Note = store.ErasurePending, "the bridge has not asked Upscope yet"
		jobs = append(jobs, store.Job{Queue: eraseQueue, Kind: jobErase, Subject: r.ID})
		if r.Subject, err = json.Marshal(want); err != nil {
			return r, err
		}
	}
	err = e.remove(ctx, want, &r, agent, jobs...)
	return r, err
}

// remove removes what the store has of a person, until a look finds nothing, and
// stores r with jobs.
func (e *Eraser) remove(ctx context.Context, want erasure, r *store.Receipt, agent string, jobs ...store.Job) error {
	for pass := range passes {
		found, err := e.find(ctx, want)
		if err != nil {
			return err
		}
		by := agent
		if found.Empty() {
			if pass > 0 {
				break
			}
			if agent == itself {
				by = "" // that it was asked for is on record already
			}
		}
		if err := e.store.Erase(ctx, found, r, by, jobs...); err != nil {
			return err
		}
		jobs = nil
	}
	return e.store.Scrub(ctx)
}

// itself is the bridge as the agent of a record.
const itself = "bridge"

// find looks through the store for a person: first for their cards, then for what
// those and the person's ids lead to.
func (e *Eraser) find(ctx context.Context, want erasure) (store.Remains, error) {
	visitors := slices.Clone(want.Visitors)
	if want.Person.Kind == ByShortID {
		visitors = append(visitors, want.Person.ID)
	}
	trace := store.Trace{Words: append(slices.Clone(visitors), want.Person.ID)}
	if _, key, ok := strings.Cut(want.Person.ID, ":"); ok && want.Person.Kind == ByIntegrationID {
		trace.Words = append(trace.Words, key) // as the chat service knows it
	}
	for after := ""; ; {
		part, err := e.store.Cards(ctx, after)
		if err != nil {
			return store.Remains{}, err
		}
		if len(part) == 0 {
			break
		}
		for _, row := range part {
			after = row.ID
			c, err := e.open(row)
			if err != nil {
				return store.Remains{}, err
			}
			if !e.about(c, want.Person, visitors) {
				continue
			}
			trace.Cards = append(trace.Cards, row)
			trace.Deliveries = append(trace.Deliveries, c.about.Opener)
			trace.Words = append(trace.Words, c.conversation()) // deliveries do not number conversations
			if _, own, ok := strings.Cut(row.Chat, "/"); ok {
				trace.Words = append(trace.Words, own) // without what tells a wish from a chat
			}
		}
	}
	trace.Visitors = visitors
	return e.store.Find(ctx, trace)
}

func (e *Eraser) open(row store.Card) (card, error) {
	if row.Detail == nil {
		return card{Card: row}, nil
	}
	return openCard(row)
}

// about reports whether a card is about a person, whose short ids are visitors.
func (e *Eraser) about(c card, p Person, visitors []string) bool {
	names := append(c.persons(), persons(ByShortID, c.about.Choices)...)
	return slices.ContainsFunc(append(persons(ByShortID, visitors), p), func(p Person) bool {
		return slices.Contains(names, p) || e.subjects.have(c.about.Subjects, p)
	})
}

func persons(kind PersonKind, ids []string) (all []Person) {
	for _, id := range ids {
		all = append(all, Person{kind, id})
	}
	return all
}
