// Package secret has secrets that may change while the program runs.
package secret

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Value is a secret setting. It is safe for concurrent use. A nil Value is empty.
type Value struct {
	state     atomic.Pointer[state]
	replacing sync.Mutex
}

type state struct {
	current string
	former  []former // the latest first
}

type former struct {
	value string
	until time.Time
}

// New returns a Value.
func New(value string) *Value {
	v := new(Value)
	v.state.Store(&state{current: value})
	return v
}

// All returns Values.
func All(values ...string) (all []*Value) {
	for _, value := range values {
		all = append(all, New(value))
	}
	return all
}

// Current returns the secret to send.
func (v *Value) Current() string {
	if v == nil {
		return ""
	}
	return v.state.Load().current
}

// Accepted returns the secrets to accept: the current one, and those that Replace replaced and whose
// time is not over.
func (v *Value) Accepted() []string {
	if v == nil {
		return nil
	}
	s, now := v.state.Load(), time.Now()
	all := []string{s.current}
	for _, f := range s.former {
		if now.Before(f.until) {
			all = append(all, f.value)
		}
	}
	return all
}

// Replace replaces the secret. The former one is accepted for the overlap.
func (v *Value) Replace(value string, overlap time.Duration) {
	v.replacing.Lock()
	defer v.replacing.Unlock()
	old, now := v.state.Load(), time.Now()
	next := &state{current: value, former: []former{{old.current, now.Add(overlap)}}}
	for _, f := range old.former {
		if now.Before(f.until) {
			next.former = append(next.former, f)
		}
	}
	v.state.Store(next)
}

// AcceptedOf returns the secrets that several Values accept.
func AcceptedOf(values []*Value) (all []string) {
	for _, v := range values {
		all = append(all, v.Accepted()...)
	}
	return all
}

// String writes no secret.
func (v *Value) String() string { return "[secret]" }

// GoString writes no secret.
func (v *Value) GoString() string { return "[secret]" }
