package desk

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
)

// openStreams returns n desks with ten cards each, which are idle.
func openStreams(n int) (*streams, []*openDesk) {
	o := newStreams(nil, policy.Fixed(policy.Default), slog.New(slog.DiscardHandler))
	o.stop = func() {} // follow does not run
	var all []*openDesk
	for i := range n {
		s, _ := o.add(fmt.Sprint("agent-", i))
		<-s.wake
		o.take(s)
		d := dependencies{agents: []string{s.agent, fmt.Sprint("account-", i)}, session: fmt.Sprint("session-", i)}
		for c := range 10 {
			d.cards = append(d.cards, fmt.Sprintf("card-%d-%d", i, c))
		}
		o.wasRead(s, d, 0)
		all = append(all, s)
	}
	return o, all
}

func woken(all []*openDesk) (n int) {
	for _, s := range all {
		select {
		case <-s.wake:
			n++
		default:
		}
	}
	return n
}

func TestAChangeWakesOnlyTheDesksConcerned(t *testing.T) {
	t.Parallel()
	o, all := openStreams(1000)
	for name, change := range map[string]store.DeskChange{
		"card":    {Card: "card-7-3", Agent: "nobody", Connector: "slack"},
		"account": {Card: "new", Agent: "account-7", Connector: "slack"},
		"agent":   {Agent: "agent-7"},
		"session": {Session: "session-7"},
	} {
		o.wakeConcerned([]store.DeskChange{change}, false)
		if stale, _ := o.take(all[7]); !stale {
			t.Errorf("%s: the desk is not read again", name)
		}
		if n := woken(all); n != 1 {
			t.Errorf("%s: %d desks woke up", name, n)
		}
	}
	o.wakeConcerned(nil, true)
	if n := woken(all); n != len(all) {
		t.Errorf("after a change of the policy %d of %d desks woke up", n, len(all))
	}
	for _, s := range all {
		o.remove(s)
	}
	if len(o.topics) != 0 || len(o.all) != 0 || len(o.byAgent) != 0 || o.stop != nil {
		t.Errorf("after the end of all streams: %d topics, %d streams, %d agents", len(o.topics), len(o.all), len(o.byAgent))
	}
}

func TestATickOfIdleDesksAllocatesNothing(t *testing.T) {
	o, all := openStreams(2000)
	if n := testing.AllocsPerRun(10, func() { o.wakeConcerned(nil, false) }); n != 0 {
		t.Errorf("%.0f allocations for %d desks", n, len(all))
	}
	if n := woken(all); n != 0 {
		t.Errorf("%d idle desks woke up", n)
	}
}

// A change that is read between the read of a desk and wasRead may be about something that the desk did not
// depend on before.
func TestADeskThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	o, all := openStreams(1)
	before := o.changesSoFar()
	o.wakeConcerned([]store.DeskChange{{Card: "moved-here-and-away", Agent: "another"}}, false)
	o.wasRead(all[0], dependencies{agents: []string{"agent-0"}, cards: []string{"moved-here-and-away"}}, before)
	if stale, _ := o.take(all[0]); !stale {
		t.Error("the desk is not read again")
	}
	o.wasRead(all[0], dependencies{agents: []string{"agent-0"}, cards: []string{"moved-here-and-away"}}, o.changesSoFar())
	if stale, _ := o.take(all[0]); stale {
		t.Error("the desk is read again without a change")
	}
}

func TestSharedCardsWakeAllDesksAfterAWhile(t *testing.T) {
	t.Parallel()
	o, all := openStreams(1)
	s := all[0]
	d := dependencies{agents: []string{"agent-0"}, shared: []string{"shared"}, connectors: []string{"slack"}}
	for _, change := range []store.DeskChange{{Card: "shared", Agent: "another"}, {Card: "new", Connector: "slack"}} {
		o.wasRead(s, d, o.changesSoFar())
		o.wakeConcerned([]store.DeskChange{change}, false)
		if stale, _ := o.take(s); stale { // takes it as begun
			t.Fatal("the desk is read at once")
		}
		if want := s.last.Add(sharedInterval); !s.due.Equal(want) {
			t.Errorf("%+v: due at %s, want %s", change, s.due, want)
		}
		// The same while the desk is read.
		o.markStale(s)
		o.take(s)
		o.wakeConcerned([]store.DeskChange{change}, false)
		o.wasRead(s, d, o.changesSoFar())
		if want := s.last.Add(sharedInterval); !s.due.Equal(want) {
			t.Errorf("%+v while it is read: due at %s, want %s", change, s.due, want)
		}
	}
}

func BenchmarkIdleDesks(b *testing.B) {
	for _, n := range []int{1, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o, _ := openStreams(n)
			b.ReportAllocs()
			for b.Loop() {
				o.wakeConcerned(nil, false)
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(n)/float64(time.Nanosecond), "ns/tick/desk")
		})
	}
}
