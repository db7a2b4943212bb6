package work

import (
	"context"
	"errors"
	"reflect"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/match"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
)

// applyAsk changes a card as an ask says, and commits it in one transaction with all effects.
func (work *Worker) applyAsk(ctx context.Context, j jobs.Job, d store.Delivery, ask chat.Ask, c card.Card) error {
	before := c
	switch {
	case ask.Verb == chat.Close:
		closeCard(&c, d.Received)
		return work.commitAsk(ctx, d, before, c, search{})
	case c.CurrentState() == card.Closed, ask.Agent.ID == "" && c.Version == 0:
		// The chat is over, or it has no agent yet to whom a card could be shown.
		return work.commitAsk(ctx, d, before, c, search{})
	}
	serveCard(&c, ask, d)
	if !c.Looking() {
		return work.commitAsk(ctx, d, before, c, search{served: true})
	}
	found := work.searchFor(ctx, &c, before, j, d, ask.Clues)
	if found.tooLate {
		return work.finishUnless(ctx, d, found.failure)
	}
	return work.commitAsk(ctx, d, before, c, found)
}

// closeCard closes a card, unless a delivery received after this one said that another
// conversation began: then the card belongs to that conversation.
func closeCard(c *card.Card, received time.Time) {
	if c.About.StartHeard.After(received) {
		c.About.EndHeard = card.Latest(c.About.EndHeard, received.UTC())
		return
	}
	c.Close(received)
}

// serveCard stores in the card who serves the chat, and in a new card its first delivery.
func serveCard(c *card.Card, ask chat.Ask, d store.Delivery) {
	c.Serve(ask)
	if ask.New {
		c.About.StartHeard = card.Latest(c.About.StartHeard, d.Received.UTC())
	}
	if c.Version == 0 {
		c.About.Opener = d.ID
	}
}

// A search is the result of the search for a card's visitor. The zero value means that there was
// no search.
type search struct {
	// served says that serveCard was called.
	served bool
	// failure is the error of Upscope. The delivery is then not finished.
	failure error
	// tooLate says that a sweep found the chat late and its visitor is not online.
	tooLate bool
	// again are jobs that repeat the search. The delivery is then not finished.
	again []jobs.Job
	// steps says what each clue led to, for the audit log.
	steps string
}

// searchFor searches for the visitor of a card and applies the result to the card.
func (work *Worker) searchFor(ctx context.Context, c *card.Card, before card.Card, j jobs.Job, d store.Delivery, clues chat.Clues) search {
	if d.Found || time.Since(d.Received) > codeLife {
		clues.LookupCode = "" // it may be another visitor's by now
	}
	found, err := work.matcher.Search(ctx, c, clues, j.Step > 0)
	if errors.Is(err, match.ErrNoNewClue) {
		return search{served: true}
	}
	if d.FoundLate && before.Version == 0 && !card.AnyOnline(found.Visitors) {
		return search{tooLate: true, failure: err}
	}
	if err != nil {
		if time.Since(d.Received) > failedAfter {
			c.ApplyEvent(card.EventUpscopeFailed)
		}
		return search{served: true, failure: err}
	}
	c.Apply(found)
	result := search{served: true, steps: found.Steps}
	if c.CurrentState() == card.NoVisitor && before.CurrentState() == card.Searching && c.Kind == store.KindChat {
		result.again = searchAgain(c, before, j)
	}
	return result
}

// searchAgain repeats the search for a visitor who was not found. Only the delivery that opened the
// card returns a job for that; meanwhile other deliveries keep the card in state Searching.
func searchAgain(c *card.Card, before card.Card, j jobs.Job) []jobs.Job {
	if c.About.Opener != j.Subject {
		if before.Version == 0 || time.Since(before.Created) < openerTime {
			c.State = string(card.Searching)
		}
		return nil
	}
	if j.Step >= len(searchWaits) {
		return nil
	}
	c.State = string(card.Searching)
	return []jobs.Job{{Queue: j.Queue, Kind: book.JobAnswer, Subject: j.Subject, Step: j.Step + 1, At: time.Now().Add(searchWaits[j.Step])}}
}

// finishUnless finishes a delivery, or returns failure if there is one.
func (work *Worker) finishUnless(ctx context.Context, d store.Delivery, failure error) error {
	if failure != nil {
		return failure
	}
	return work.store.Commit(ctx, store.Change{Finish: d.ID})
}

// commitAsk stores the card as changed by an ask and a search, and finishes the delivery unless the
// search is to be repeated. It does not write a card that did not change.
func (work *Worker) commitAsk(ctx context.Context, d store.Delivery, before, c card.Card, found search) error {
	change := store.Change{Finish: d.ID, Jobs: found.again}
	if found.failure != nil || len(found.again) > 0 {
		change.Finish = ""
		if d.ChangesPending {
			change.Applied = d.ID // who serves the chat is stored with this change
		}
	}
	if c.State != before.State && found.steps != "" {
		change.Audit = append(change.Audit, work.book.Entry(c, "asked", found.steps))
	}
	handsOver := found.served && d.ChangesPending
	switch {
	case !reflect.DeepEqual(c, before):
		work.book.ScheduleEffects(&c, before, &change)
	case !handsOver && found.failure != nil && change.Applied == "":
		return found.failure
	case !handsOver:
		return errors.Join(found.failure, work.store.Commit(ctx, change))
	}
	if handsOver { // people do not see this change
		c.About.HandedOver = card.Latest(c.About.HandedOver, d.Received.UTC())
	}
	return errors.Join(found.failure, work.book.Commit(ctx, &c, change))
}

const (
	// failedAfter is how long after a delivery the card says that Upscope does not answer.
	failedAfter = 15 * time.Second
	// openerTime is how long after a card was made its first delivery may repeat the search.
	openerTime = time.Minute
)

// searchWaits are the pauses before the delivery that opened a card is read again if no visitor was
// found: pages send their ids to the chat and to Upscope a little after the chat begins.
var searchWaits = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}

const (
	// personalLife is how long the address of a card works that was made from a shared card. A
	// second press within doubleClick makes no other card.
	personalLife = 2 * time.Minute
	doubleClick  = 10 * time.Second
	// codeLife is how long after its delivery a lookup code may be used. Later another
	// visitor may have it.
	codeLife = 2 * time.Minute
)
