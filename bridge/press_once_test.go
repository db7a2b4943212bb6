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

// once is how long a press and its repetitions count as one.
const once = 3 * time.Second

// wantPage checks that a press was answered by the page of the door, whose button still
// offers the visitor.
func (a *answer) wantPage(t testing.TB, visitor string) {
	t.Helper()
	if a.StatusCode != http.StatusOK || choicesOn(a)[visitor] == "" || !strings.Contains(a.body, "<button") {
		t.Errorf("answered %d to %q, want the page with its button: %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
}

func TestPromise8ADoubleClickIsOneLinkAndOneRecord(t *testing.T) {
	onEachStand(t, func(s *stand) {
		ann := s.visitor("Ann", pageKey)
		began := time.Now()
		// Six links are as many as bob gets at once: a click that counts twice makes the
		// later ones fail.
		for round, presses := range []int{2, 3, 4, 5, 6, 8} {
			_, door := s.card(keyed())
			straight := round > 0 || s.office != nil
			if !s.volley(door, ann, presses, straight) {
				return
			}
			if n := s.watching(); n != round+1 {
				s.Fatalf("%d records of %d double clicks", n, round+1)
			}
		}
		_, door := s.card(keyed())
		if got := s.bob.press(s.replicas[0], door); time.Since(began) < time.Minute && got.StatusCode != http.StatusTooManyRequests {
			s.Errorf("a seventh link is answered %d", got.StatusCode)
		}
	})
}

// volley is a browser that presses several times at once, by the button and by the link
// where that goes straight on, spread over the replicas. It reports whether that took
// so little time that it had to count as one.
func (s *stand) volley(door, visitor string, presses int, straight bool) bool {
	s.Helper()
	s.wire.forget()
	form := url.Values{"visitor": {onlyChoice(s, s.bob.look(s.replicas[0], door))}}
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
	if took := time.Since(began); took > once {
		s.Logf("%d presses took %v on this machine", presses, took)
		return false
	}
	links := s.wire.links()
	if len(links) != 1 || links[0].visitor != visitor {
		s.Fatalf("%d presses made the links %+v", presses, links)
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

func TestPromise8APressIsOneForThreeSeconds(t *testing.T) {
	onEachStand(t, func(s *stand) {
		s.visitor("Ann", pageKey)
		_, door := s.card(keyed())
		began := time.Now()
		first := s.bob.press(s.replicas[0], door).wantWatch(s)
		// Repeated in time it is the same link, later another.
		form := url.Values{"visitor": {onlyChoice(s, s.bob.look(s.replicas[0], door))}}
		for again, tries := first, 0; again == first; tries++ {
			if tries > 0 {
				time.Sleep(500 * time.Millisecond)
			}
			again = s.bob.post(s.replicas[0], door, form).wantWatch(s)
			if took := time.Since(began); again != first && took < once {
				s.Errorf("after %v there is a second link", took)
			} else if again == first && took > 10*once {
				s.Fatalf("after %v there is no second link", took)
			}
		}
		if n, m := s.upscope.Minted(), s.watching(); n != 2 || m != 2 {
			s.Errorf("%d links, %d records", n, m)
		}
	})
}

func TestPromise8AnotherReplicaShowsThePageForThreeSeconds(t *testing.T) {
	onEachStand(t, func(s *stand) {
		if len(s.replicas) == 1 {
			s.Skip("there is one")
		}
		ann := s.visitor("Ann", pageKey)
		_, door := s.card(keyed())
		form := url.Values{"visitor": {onlyChoice(s, s.bob.look(s.replicas[0], door))}}
		began := time.Now()
		first := s.bob.post(s.replicas[0], door, form).wantWatch(s)
		for {
			got := s.bob.post(s.replicas[1], door, form)
			if got.StatusCode == http.StatusSeeOther {
				if took := time.Since(began); took < once {
					s.Errorf("after %v there is a second link", took)
				}
				if again := got.wantWatch(s); again == first {
					s.Error("a replica knows the link of another")
				}
				break
			}
			got.wantPage(s, ann)
			if time.Since(began) > 10*once {
				s.Fatal("the other replica never makes a link")
			}
			time.Sleep(500 * time.Millisecond)
		}
		if n, m := s.upscope.Minted(), s.watching(); n != 2 || m != 2 {
			s.Errorf("%d links, %d records", n, m)
		}
	})
}

func TestPromise8APressWhoseBrowserGaveUpIsOneWithTheNext(t *testing.T) {
	for name, hold := range map[string]func(*wire) *hold{
		"before Upscope made the link": (*wire).hold,
		"after Upscope made the link":  (*wire).holdAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			onEachStand(t, func(s *stand) {
				s.visitor("Ann", pageKey)
				for round, secondFirst := range []bool{false, true} {
					_, door := s.card(keyed())
					form := url.Values{"visitor": {onlyChoice(s, s.bob.look(s.replicas[0], door))}}
					ctx, giveUp := context.WithCancel(s.Context())
					held := hold(s.wire)
					began := time.Now()
					var pressing sync.WaitGroup
					pressing.Go(func() {
						s.bob.send(s.replicas[0], postRequest(door, form).WithContext(ctx))
					})
					<-held.met
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
					if time.Since(began) > once {
						s.Skip("this machine is slow")
					}
					second.wantWatch(s)
					if n, m := s.upscope.Minted(), s.watching(); n != round+1 || m != round+1 {
						s.Errorf("%d links, %d records of %d presses", n, m, round+1)
					}
				}
			})
		})
	}
}

// The same to the moment, in virtual time.
func TestPromise8HowLongAPressIsOne(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := ready(w)
		bob := w.browser()
		form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}}
		first := bob.press(door, form).wantWatch(t)
		for _, wait := range []time.Duration{0, time.Second, 1900 * time.Millisecond} {
			time.Sleep(wait)
			if got := bob.press(door, form).wantWatch(t); got != first {
				t.Error("a second link before three seconds have passed")
			}
			if got := bob.follow(door).wantWatch(t); got != first {
				t.Error("the link in the chat makes a second one before three seconds have passed")
			}
		}
		if n := w.recorded("watching"); w.upscope.Minted() != 1 || n != 1 {
			t.Fatalf("%d links, %d records", w.upscope.Minted(), n)
		}
		time.Sleep(200 * time.Millisecond)
		if got := bob.press(door, form).wantWatch(t); got == first {
			t.Error("the old link after three seconds")
		}
		// Two are spent of six, although nine presses were answered.
		for range 4 {
			w.pass(once + time.Second)
			bob.press(door, form).wantWatch(t)
		}
		w.pass(once + time.Second)
		bob.press(door, form).want(t, http.StatusTooManyRequests)
		if n := w.recorded("watching"); w.upscope.Minted() != 6 || n != 6 {
			t.Errorf("%d links, %d records", w.upscope.Minted(), n)
		}
	})
}
