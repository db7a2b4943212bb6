// Package export collects what the store has about a person, for the person (GDPR, article 15).
package export

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/mention"
)

// A Person is what the store has about a person. It has no secrets, links or contents of messages.
// Agents are named by their ids, and other customers not at all.
type Person struct {
	Made       time.Time   `json:"made"`
	Kind       string      `json:"id_kind"`
	ID         string      `json:"id"`
	Cards      []Card      `json:"cards"`
	Deliveries []Delivery  `json:"deliveries"`
	Jobs       []Job       `json:"jobs"`
	Failures   []Failure   `json:"failures"`
	Audit      []AuditItem `json:"audit"`
}

// A Card is a co-browse request about the person.
type Card struct {
	ID        string    `json:"id"`
	Connector string    `json:"connector"`
	State     string    `json:"state"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	// OnlyMatched says that the person was one of several customers who matched, or that another
	// customer took their place. Of the fields below only their own Sessions are then filled in.
	OnlyMatched bool       `json:"only_matched,omitempty"`
	Chat        string     `json:"chat,omitempty"`
	Agent       string     `json:"agent,omitempty"`
	Visitor     string     `json:"visitor,omitempty"`
	NameInChat  string     `json:"name_in_chat,omitempty"`
	IDs         []IDOf     `json:"ids,omitempty"`
	Email       string     `json:"email,omitempty"`
	AtUpscope   *AtUpscope `json:"at_upscope,omitempty"`
	Sessions    []Session  `json:"sessions,omitempty"`
	// OtherSessions counts the card's sessions with another short id.
	OtherSessions int `json:"sessions_with_another_id,omitempty"`
	// Posts are the connectors of the places where the card was posted.
	Posts []string `json:"posted_by,omitempty"`
}

// An IDOf is one id of the person.
type IDOf struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// AtUpscope is what Upscope said about the person.
type AtUpscope struct {
	Name       string   `json:"name,omitempty"`
	Page       string   `json:"page,omitempty"`
	Place      string   `json:"place,omitempty"`
	Device     string   `json:"device,omitempty"`
	UniqueID   string   `json:"unique_id,omitempty"`
	Identities []string `json:"identities,omitempty"`
}

// A Session is a co-browse session.
type Session struct {
	ID       string    `json:"id"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Seconds  int       `json:"seconds"`
	Live     bool      `json:"live"`
	Agreed   bool      `json:"agreed"`
	Agents   int       `json:"agents"`
	Rating   *float64  `json:"rating,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
	Recorded bool      `json:"recorded"`
}

// A Delivery is an event of a chat service that mentions the person.
type Delivery struct {
	ID        string    `json:"id"`
	Connector string    `json:"connector"`
	Key       string    `json:"key"`
	State     string    `json:"state"`
	Received  time.Time `json:"received"`
	Finished  time.Time `json:"finished,omitzero"`
	// ContentKept says that the store still has the content of the event.
	ContentKept bool `json:"content_kept"`
}

// A Job is work about the person.
type Job struct {
	ID      int64     `json:"id"`
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Errors  []string  `json:"errors,omitempty"`
}

// A Failure is work about the person that failed.
type Failure struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Cause   string    `json:"cause"`
}

// An AuditItem is an audit record about the person.
type AuditItem struct {
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"`
	Action    string    `json:"action"`
	Agent     string    `json:"agent"`
	Visitor   string    `json:"visitor,omitempty"`
	Connector string    `json:"connector,omitempty"`
	Chat      string    `json:"chat,omitempty"`
	Card      string    `json:"card,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

// Make collects what the store has about p, and writes to the audit log that agent exported it. The
// record has p's short id of Upscope; other ids are left out, because an erasure by the short id
// could not find them.
func Make(ctx context.Context, db *store.Store, finder *erase.Eraser, p card.Person, agent string) (Person, error) {
	found, err := finder.Find(ctx, p)
	if err != nil {
		return Person{}, err
	}
	c := collection{
		db: db, finder: finder, person: p, found: found, others: map[string]bool{},
		out: Person{Made: time.Now().UTC(), Kind: string(p.Kind), ID: p.ID, Cards: []Card{}, Deliveries: []Delivery{}, Jobs: []Job{}, Failures: []Failure{}, Audit: []AuditItem{}},
	}
	for _, collect := range []func(context.Context) error{c.cards, c.deliveries, c.jobs, c.audit} {
		if err := collect(ctx); err != nil {
			return Person{}, err
		}
	}
	for _, f := range found.Failures {
		if !c.others[f.Subject] {
			c.out.Failures = append(c.out.Failures, Failure{f.Kind, f.Subject, f.First, f.Last, f.Cause})
		}
	}
	entry := audit.Entry{Action: "exported", Agent: agent}
	if p.Kind == card.ByShortID {
		entry.Visitor = p.ID
	}
	counts := map[string]int{"cards": len(c.out.Cards), "deliveries": len(c.out.Deliveries), "jobs": len(c.out.Jobs), "records": len(c.out.Audit)}
	detail, err := json.Marshal(counts)
	if err != nil {
		return Person{}, err
	}
	entry.Detail = string(detail)
	return c.out, db.Commit(ctx, store.Change{Audit: []audit.Entry{entry}})
}

// A collection fills in a Person.
type collection struct {
	db     *store.Store
	finder *erase.Eraser
	person card.Person
	found  store.ErasureMatches
	out    Person

	visitors []string        // the short ids of the person
	others   map[string]bool // the ids of cards and deliveries of others with whom the person matched
	chats    []string        // the chats of these cards
}

func (c *collection) cards(ctx context.Context) error {
	for _, id := range c.found.Cards {
		row, err := c.db.Card(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		opened, err := card.Open(row)
		if err != nil {
			return err
		}
		posts, err := c.db.Posts(ctx, id)
		if err != nil {
			return err
		}
		c.out.Cards = append(c.out.Cards, c.card(opened, posts))
	}
	return nil
}

// card leaves out what is about other people.
func (c *collection) card(from card.Card, posts []store.Post) Card {
	to := Card{ID: from.ID, Connector: from.Connector, State: from.State, Created: from.Created, Updated: from.Updated}
	// A closed card has lost all ids but the short one. Its keyed hashes say whose it was.
	theirs := slices.Contains(from.Persons(), c.person) || from.CurrentState() == card.Closed && c.finder.WasCustomer(from, c.person)
	about := from.About
	for _, s := range about.Sessions {
		if s.Visitor == c.person.ID || theirs && s.Visitor == from.Visitor {
			to.Sessions = append(to.Sessions, sessionOf(s))
		} else {
			to.OtherSessions++
		}
	}
	if !theirs {
		c.others[from.ID], c.others[about.Opener] = true, true
		c.chats = append(c.chats, from.Chat)
		to.OnlyMatched = true
		return to
	}
	c.visitors = append(c.visitors, from.Visitor)
	to.Chat, to.Agent, to.Visitor, to.NameInChat, to.Email = from.Chat, from.Agent, from.Visitor, about.Visitor, about.Clues.Email
	for _, p := range from.Persons() {
		if id := (IDOf{string(p.Kind), p.ID}); !slices.Contains(to.IDs, id) {
			to.IDs = append(to.IDs, id)
		}
	}
	if s := about.Sighting; s != nil {
		to.AtUpscope = &AtUpscope{s.Name, s.Page, s.Where, s.Device, s.UniqueID, s.Identities}
	}
	for _, p := range posts {
		to.Posts = append(to.Posts, p.Place.Connector)
	}
	return to
}

func sessionOf(s card.Session) Session {
	to := Session{
		ID: s.ID, Started: s.Started, Ended: s.Ended, Seconds: s.Seconds, Live: s.Live, Agreed: s.Agreed,
		Agents: len(s.Agents), Rating: s.Rating, Recorded: s.Recording != "",
	}
	for _, n := range s.Notes {
		to.Notes = append(to.Notes, n.Text)
	}
	return to
}

func (c *collection) deliveries(ctx context.Context) error {
	chats := mention.Of(c.chats)
	for _, id := range c.found.Deliveries {
		d, err := c.db.DeliveryStatus(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if c.others[id] || chats.In(d.Key) {
			c.others[id] = true
			continue
		}
		c.out.Deliveries = append(c.out.Deliveries, Delivery{d.ID, d.Connector, d.Key, d.State, d.Received, d.Finished, d.State != store.DeliveryDone})
	}
	return nil
}

func (c *collection) jobs(ctx context.Context) error {
	for j, err := range c.db.Jobs().WithIDs(ctx, c.found.Jobs) {
		if err != nil {
			return err
		}
		if c.others[j.Job.Subject] {
			continue
		}
		job := Job{ID: j.ID, Kind: j.Job.Kind, Subject: j.Job.Subject, State: string(j.State), Created: j.CreatedAt}
		for _, e := range j.Failed() {
			job.Errors = append(job.Errors, e.Error)
		}
		c.out.Jobs = append(c.out.Jobs, job)
	}
	return nil
}

func (c *collection) audit(ctx context.Context) error {
	for _, seq := range c.found.Records {
		r, ok, err := c.db.AuditLog().Record(ctx, seq)
		if err != nil {
			return err
		}
		if ok && c.isTheirs(r) {
			c.out.Audit = append(c.out.Audit, AuditItem{r.Seq, r.At, r.Action, r.Agent, r.Visitor, r.Connector, r.Chat, r.Card, r.Detail})
		}
	}
	return nil
}

// isTheirs reports whether an audit record is about the person and not about another customer of the
// same card.
func (c *collection) isTheirs(r audit.Record) bool {
	if r.Visitor == c.person.ID && c.person.Kind == card.ByShortID {
		return true
	}
	return !c.others[r.Card] && (r.Visitor == "" || slices.Contains(c.visitors, r.Visitor))
}
