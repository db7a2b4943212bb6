package bridge_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// repeatWindow is how long repeated presses count as one press.
const repeatWindow = 3 * time.Second

// wantPage checks that the answer to a press is the page of the door, with a button for the
// visitor.
func (a *answer) wantPage(t testing.TB, visitor string) {
	t.Helper()
	if a.StatusCode != http.StatusOK || formValues(a)[visitor] == "" || !strings.Contains(a.body, "<button") {
		t.Errorf("answered %d to %q, want the page with its button: %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
}

func TestPromise8ADoubleClickIsOneLinkAndOneRecord(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		ann := s.addVisitor("Ann", pageKey)
		began := time.Now()
		// Bob may make six links in a minute. If a double click counted twice, the later rounds
		// would fail.
		for round, presses := range []int{2, 3, 4, 5, 6, 8} {
			_, door := s.card(withPageKey())
			straight := round > 0 || s.oidc != nil
			if !s.pressAtOnce(door, ann, presses, straight) {
				return
			}
			if n := s.countWatching(); n != round+1 {
				s.Fatalf("%d audit records for %d double clicks", n, round+1)
			}
		}
		_, door := s.card(withPageKey())
		if got := s.bob.press(s.replicas[0], door); time.Since(began) < time.Minute && got.StatusCode != http.StatusTooManyRequests {
			s.Errorf("the seventh press is answered %d, want 429", got.StatusCode)
		}
	})
}

// pressAtOnce presses several times at once in one browser, on all replicas: with the button,
// and, if straight is set, also with the link. It checks that all presses count as one, and
// returns false if they took too long for that.
func (s *setup) pressAtOnce(door, visitor string, presses int, straight bool) bool {
	s.Helper()
	s.wire.forget()
	form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(s.replicas[0], door))}}
	answers := make([]*answer, presses)
	began := time.Now()
	var pressing sync.WaitGroup
	for i := range answers {
		pressing.Go(func() {
			r := postRequest(door, form)
			if straight && i%3 == 1 {
				r = followRequest(door)
			}
			answers[i] = s.bob.send(s.replicas[i%len(s.replicas)], r)
		})
	}
	pressing.Wait()
	if took := time.Since(began); took > repeatWindow {
		s.Logf("%d presses took %v on this machine", presses, took)
		return false
	}
	links := s.wire.links()
	if len(links) != 1 || links[0].visitor != visitor {
		s.Fatalf("%d presses made the links %+v, want one", presses, links)
	}
	all := s.upscope.Watches()
	location := all[len(all)-1].URL
	for i, a := range answers {
		if i%len(s.replicas) != links[0].replica {
			a.wantPage(s, visitor)
		} else if got := a.wantWatch(s); got != location {
			s.Errorf("press %d of %d leads to %s, want %s", i+1, presses, got, location)
		}
	}
	return true
}

func TestPromise8RepeatedPressesCountOnceForThreeSeconds(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		s.addVisitor("Ann", pageKey)
		_, door := s.card(withPageKey())
		began := time.Now()
		first := s.bob.press(s.replicas[0], door).wantWatch(s)
		// Within three seconds a press gets the same link, later a new one.
		form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(s.replicas[0], door))}}
		for again, tries := first, 0; again == first; tries++ {
			if tries > 0 {
				<-time.After(500 * time.Millisecond)
			}
			again = s.bob.post(s.replicas[0], door, form).wantWatch(s)
			if took := time.Since(began); again != first && took < repeatWindow {
				s.Errorf("a second link after %v", took)
			} else if again == first && took > 10*repeatWindow {
				s.Fatalf("no second link after %v", took)
			}
		}
		if n, m := s.upscope.Minted(), s.countWatching(); n != 2 || m != 2 {
			s.Errorf("%d links and %d audit records, want 2", n, m)
		}
	})
}

func TestPromise8AnotherReplicaShowsThePageForThreeSeconds(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		if len(s.replicas) == 1 {
			s.Skip("needs two replicas")
		}
		ann := s.addVisitor("Ann", pageKey)
		_, door := s.card(withPageKey())
		form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(s.replicas[0], door))}}
		began := time.Now()
		first := s.bob.post(s.replicas[0], door, form).wantWatch(s)
		for {
			got := s.bob.post(s.replicas[1], door, form)
			if got.StatusCode == http.StatusSeeOther {
				if took := time.Since(began); took < repeatWindow {
					s.Errorf("a second link after %v", took)
				}
				if again := got.wantWatch(s); again == first {
					s.Error("a replica has the link of another replica")
				}
				break
			}
			got.wantPage(s, ann)
			if time.Since(began) > 10*repeatWindow {
				s.Fatal("the other replica makes no link")
			}
			<-time.After(500 * time.Millisecond)
		}
		if n, m := s.upscope.Minted(), s.countWatching(); n != 2 || m != 2 {
			s.Errorf("%d links and %d audit records, want 2", n, m)
		}
	})
}

func TestPromise8ACancelledPressAndTheNextOneCountOnce(t *testing.T) {
	for name, hold := range map[string]func(*wire) *hold{
		"before Upscope made the link": (*wire).holdNextRequest,
		"after Upscope made the link":  (*wire).holdNextResponse,
	} {
		t.Run(name, func(t *testing.T) {
			onEachSetup(t, func(s *setup) {
				s.addVisitor("Ann", pageKey)
				for round, secondFirst := range []bool{false, true} {
					_, door := s.card(withPageKey())
					form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(s.replicas[0], door))}}
					ctx, giveUp := context.WithCancel(s.Context())
					held := hold(s.wire)
					began := time.Now()
					var pressing sync.WaitGroup
					pressing.Go(func() {
						s.bob.send(s.replicas[0], postRequest(door, form).WithContext(ctx))
					})
					<-held.reached
					var second *answer
					again := func() { pressing.Go(func() { second = s.bob.post(s.replicas[0], door, form) }) }
					if secondFirst {
						again()
					}
					giveUp()
					if !secondFirst {
						again()
					}
					close(held.release)
					pressing.Wait()
					if time.Since(began) > repeatWindow {
						s.Skip("this machine is slow")
					}
					second.wantWatch(s)
					if n, m := s.upscope.Minted(), s.countWatching(); n != round+1 || m != round+1 {
						s.Errorf("%d links and %d audit records, want %d", n, m, round+1)
					}
				}
			})
		})
	}
}

// TestPromise8RepeatedPressesCountOnceInVirtualTime checks the exact times, in virtual time.
func TestPromise8RepeatedPressesCountOnceInVirtualTime(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		bob := w.browser()
		form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}}
		first := bob.press(door, form).wantWatch(t)
		for _, wait := range []time.Duration{0, time.Second, 1900 * time.Millisecond} {
			time.Sleep(wait)
			if got := bob.press(door, form).wantWatch(t); got != first {
				t.Error("a second link within three seconds")
			}
			if got := bob.follow(door).wantWatch(t); got != first {
				t.Error("the link in the chat makes a second link within three seconds")
			}
		}
		if n := w.countAudited("watching"); w.upscope.Minted() != 1 || n != 1 {
			t.Fatalf("%d links and %d audit records, want 1", w.upscope.Minted(), n)
		}
		time.Sleep(200 * time.Millisecond)
		if got := bob.press(door, form).wantWatch(t); got == first {
			t.Error("the first link again after three seconds")
		}
		// Two of the six links in a minute are used, although eight presses were answered.
		for range 4 {
			w.pass(repeatWindow + time.Second)
			bob.press(door, form).wantWatch(t)
		}
		w.pass(repeatWindow + time.Second)
		bob.press(door, form).want(t, http.StatusTooManyRequests)
		if n := w.countAudited("watching"); w.upscope.Minted() != 6 || n != 6 {
			t.Errorf("%d links and %d audit records, want 6", w.upscope.Minted(), n)
		}
	})
}
