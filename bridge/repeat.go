package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"cobrowse-bridge/templates"
)

// pressTimeout bounds a press, within the server's own limit for an answer.
const pressTimeout = 25 * time.Second

// errUnanswered is for the second of two presses, if answering the first panicked.
var errUnanswered = errors.New("the press before this one was not answered")

// repeatLife is how long a press made twice counts as one. The second press gets the answer
// of the first, which this process keeps in memory for that long and no longer.
const repeatLife = 3 * time.Second

// repeats makes one press of a press that is made twice, as by a double click. It holds
// addresses that open a screen or a chat, so it is the one place besides the answer itself
// where a watch link exists.
type repeats struct {
	mu      sync.Mutex
	answers map[repeatKey]*repeat
}

// A repeatKey tells presses apart: what is opened, from which card, by which agent, in which
// browser. The browser is "" if it returned no cookie.
type repeatKey struct{ opens, card, agent, browser string }

// A repeat is a press that is being answered, or was within the last repeatLife.
type repeat struct {
	what   string // whom exactly the press was for
	done   chan struct{}
	answer outcome // valid once done is closed, as is err
	err    error
}

// An outcome is how a press is answered: with the address that it opens, or else with a
// page that says why not.
type outcome struct {
	address string
	page    templates.Page
}

func newRepeats() *repeats { return &repeats{answers: map[repeatKey]*repeat{}} }

// once answers a press by act, or as an equal press was answered that began before. What
// says whom the press is for: with the same key and another what, same is false and act is
// not called. Act runs to its end although ctx ends, since a browser that sends a second
// press gives up on the first.
func (r *repeats) once(ctx context.Context, key repeatKey, what string, act func(context.Context) (outcome, error)) (answer outcome, same bool, err error) {
	r.mu.Lock()
	before, known := r.answers[key]
	if !known {
		before = &repeat{what: what, done: make(chan struct{})}
		r.answers[key] = before
	}
	r.mu.Unlock()
	if !known {
		r.run(ctx, key, before, act)
		return before.answer, true, before.err
	}
	select {
	case <-before.done:
		return before.answer, before.what == what, before.err
	case <-ctx.Done():
		return outcome{}, true, context.Cause(ctx)
	}
}

// run does act and keeps its address for repeatLife. Anything else is forgotten at once, so
// that the next press tries again.
func (r *repeats) run(ctx context.Context, key repeatKey, now *repeat, act func(context.Context) (outcome, error)) {
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.answers, key)
	}
	defer func() {
		if now.err == nil && now.answer.address != "" {
			time.AfterFunc(repeatLife, forget)
		} else {
			forget()
		}
		close(now.done)
	}()
	now.err = errUnanswered // unless act returns
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pressTimeout)
	defer cancel()
	now.answer, now.err = act(ctx)
}
