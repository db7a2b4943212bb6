package door

import (
	"context"
	"errors"
	"sync"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// errUnanswered is the error of a repeated press if the first one panicked.
var errUnanswered = errors.New("the press before this one was not answered")

// repeats gives a repeated press, as by a double click, the answer of the first. It holds links
// that open a screen or a chat, so besides the answer it is the only place where a watch link is.
type repeats struct {
	mu      sync.Mutex
	answers map[repeatKey]*repeat
}

// A repeatKey tells presses apart: what is opened, from which card, by which agent, in which
// browser. The browser is "" if it returned no cookie.
type repeatKey struct{ kind, card, agent, browser string }

// A repeat is a press that is being answered now, or was answered within the last RepeatLife.
type repeat struct {
	what   string // the visitor and identity that the press was for
	done   chan struct{}
	answer outcome // valid once done is closed, as is err
	err    error
}

// An outcome is the answer to a press: the address that it opens, or else a page that says why
// there is none.
type outcome struct {
	address string
	page    templates.Page
}

func newRepeats() *repeats { return &repeats{answers: map[repeatKey]*repeat{}} }

// deduplicate answers a press by act, or with the answer of an equal press that began before. what says
// whom the press is for: if the press before had the same key and another what, same is false and
// act is not called. act goes on after ctx ends, since a browser that sends a second press gives
// up the first.
func (r *repeats) deduplicate(ctx context.Context, key repeatKey, what string, act func(context.Context) (outcome, error)) (answer outcome, same bool, err error) {
	r.mu.Lock()
	before, repeated := r.answers[key]
	if !repeated {
		before = &repeat{what: what, done: make(chan struct{})}
		r.answers[key] = before
	}
	r.mu.Unlock()
	if !repeated {
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

// run calls act and keeps its address for RepeatLife. It keeps no page and no error, so that the
// next press tries again.
func (r *repeats) run(ctx context.Context, key repeatKey, now *repeat, act func(context.Context) (outcome, error)) {
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.answers, key)
	}
	defer func() {
		if now.err == nil && now.answer.address != "" {
			time.AfterFunc(card.RepeatLife, forget)
		} else {
			forget()
		}
		close(now.done)
	}()
	now.err = errUnanswered // unless act returns
	ctx, cancel := web.GoOn(ctx)
	defer cancel()
	now.answer, now.err = act(ctx)
}
