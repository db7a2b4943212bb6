package bridge_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
)

// wantShown checks that nothing was opened, and that the page offers these visitors and
// says so.
func (s *stand) wantShown(got *answer, how string, says []string, ids ...string) map[string]string {
	s.Helper()
	if got.StatusCode != http.StatusOK {
		s.Fatalf("%s: answered %d to %q: %s", how, got.StatusCode, got.Header.Get("Location"), got.body)
	}
	got.want(s, http.StatusOK, says...)
	all := choicesOn(got)
	for _, id := range ids {
		if all[id] == "" {
			s.Errorf("%s: %s is not on the page: %s", how, id, got.body)
		}
	}
	if len(all) != len(ids) {
		s.Errorf("%s: the page offers %v, want %v", how, all, ids)
	}
	return all
}

// wantOpened presses for what a page offers, which must lead to that visitor alone.
func (s *stand) wantOpened(at *world, door, choice, visitor string) {
	s.Helper()
	links := s.upscope.Minted()
	s.bob.post(at, door, url.Values{"visitor": {choice}}).wantWatch(s)
	if all := s.upscope.Watches(); len(all) != links+1 || all[links].VisitorID != visitor {
		s.Errorf("%d links, want one of %s: %+v", len(all)-links, visitor, all[links:])
	}
}

// What changes between the page and the press. The page is shown by one replica and
// pressed at the other.
func TestPromise7APressIsOfWhatThereIsNow(t *testing.T) {
	const secondKey = "second-page-key-0123456789"
	for name, test := range map[string]struct {
		// change returns whom the page then offers.
		change func(s *stand, ann string) []string
		says   []string
		opens  int // which of them is then pressed for
	}{
		"a twin comes online": {func(s *stand, ann string) []string {
			return []string{ann, s.visitor("Nan Silva", pageKey)}
		}, []string{"Nan Silva"}, 0},
		"a twin comes online and is meant": {func(s *stand, ann string) []string {
			return []string{ann, s.visitor("Nan Silva", pageKey)}
		}, []string{"Nan Silva"}, 1},
		"the visitor becomes somebody else": {func(s *stand, ann string) []string {
			s.upscope.SetUniqueID(ann, "cust-99")
			return []string{ann}
		}, []string{"changed"}, 0},
		"the visitor goes on under another id": {func(s *stand, ann string) []string {
			again := s.upscope.Reset(ann)
			s.upscope.SetIdentities(again, "rocketchat:"+pageKey)
			s.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			return []string{again}
		}, nil, 0},
		"the visitor goes on under another id as somebody else": {func(s *stand, ann string) []string {
			again := s.upscope.Reset(ann)
			s.upscope.SetIdentities(again, "rocketchat:"+pageKey)
			s.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			s.upscope.SetUniqueID(again, "cust-99")
			return []string{again}
		}, nil, 0},
		"the key goes over to another browser": {func(s *stand, ann string) []string {
			s.upscope.SetIdentities(ann, "rocketchat:"+secondKey)
			s.upscope.SetIntegrationIDs(ann, "rocketchat:"+secondKey)
			return []string{s.visitor("Yan", pageKey)}
		}, []string{"Yan"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onEachStand(t, func(s *stand) {
				here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
				ann := s.visitor("Ann Silva", pageKey)
				_, door := s.card(keyed())
				form := url.Values{"visitor": {onlyChoice(s, s.bob.look(here, door))}}
				s.bob.look(there, door) // which has then read her too
				now := test.change(s, ann)
				if s.office != nil { // in link mode no first press goes straight on
					s.wantShown(s.bob.follow(there, door), "the link", test.says, now...)
				}
				all := s.wantShown(s.bob.post(there, door, form), "the button", test.says, now...)
				if n := s.upscope.Minted(); n != 0 || s.watching() != 0 {
					s.Fatalf("%d links, %d records", n, s.watching())
				}
				s.wantOpened(there, door, all[now[test.opens]], now[test.opens])
			})
		})
	}
}

func TestPromise7APressOfWhomTheKeyHasLeftOpensNothing(t *testing.T) {
	onEachStand(t, func(s *stand) {
		ann := s.visitor("Ann Silva", pageKey)
		s.remembered()
		_, door := s.card(keyed())
		form := url.Values{"visitor": {onlyChoice(s, s.bob.look(s.replicas[0], door))}}
		links := s.upscope.Minted()
		// Another customer sits down at the same computer.
		s.upscope.SetIdentities(ann, "rocketchat:second-page-key-0123456789")
		s.upscope.SetIntegrationIDs(ann, "rocketchat:second-page-key-0123456789")
		s.upscope.SetUniqueID(ann, "cust-99")
		for _, got := range []*answer{s.bob.post(s.replicas[0], door, form), s.bob.follow(s.replicas[0], door)} {
			if n := s.upscope.Minted() - links; n != 0 || got.StatusCode == http.StatusSeeOther {
				s.Errorf("%d links, answered %d", n, got.StatusCode)
			}
		}
	})
}

// Whom the agent chose, or a code led to, is read by the short id: others change nothing,
// another identity does.
func TestPromise7APressOfWhomAnAgentChoseOrACodeNamedIsOfThatOne(t *testing.T) {
	onEachStand(t, func(s *stand) {
		here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
		form := func(choice string) url.Values { return url.Values{"visitor": {choice}} }

		// Chosen out of two.
		ann, twin := s.visitor("Ann", pageKey), s.visitor("Nan Silva", pageKey)
		_, door := s.card(keyed())
		all := s.wantShown(s.bob.look(here, door), "two", nil, ann, twin)
		links := s.upscope.Minted()
		s.upscope.SetUniqueID(twin, "cust-99")
		again := s.bob.post(there, door, form(all[twin]))
		if n := s.upscope.Minted() - links; n != 0 || again.StatusCode != http.StatusOK {
			s.Fatalf("another than was chosen: %d links, answered %d", n, again.StatusCode)
		}
		s.wantOpened(there, door, all[ann], ann)

		// Read out.
		coded := func(name, code string) string {
			id := s.upscope.Come(upscope.Visitor{Name: name})
			s.upscope.SetLookupCode(id, code)
			return id
		}
		zoe := coded("Zoe", "4821")
		_, door = s.card(map[string]string{"upscope_code": "4821"})
		shown := form(onlyChoice(s, s.bob.look(here, door)))
		links = s.upscope.Minted()
		s.upscope.SetUniqueID(zoe, "cust-7")
		page := s.wantShown(s.bob.post(there, door, shown), "another behind the code", []string{"changed"}, zoe)
		s.bob.follow(there, door).want(s, http.StatusOK)
		if n := s.upscope.Minted() - links; n != 0 {
			s.Errorf("another behind the code: %d links", n)
		}
		s.wantOpened(there, door, page[zoe], zoe)

		// The code is somebody else's now, and she is still there.
		zoe = coded("Zoe", "4822")
		_, door = s.card(map[string]string{"upscope_code": "4822"})
		choice := onlyChoice(s, s.bob.look(here, door))
		s.upscope.SetLookupCode(zoe, "1111")
		yan := coded("Yan", "4822")
		s.wantOpened(there, door, choice, zoe)

		// She is gone.
		zoe = coded("Zoe", "4823")
		_, door = s.card(map[string]string{"upscope_code": "4823"})
		shown = form(onlyChoice(s, s.bob.look(here, door)))
		links = s.upscope.Minted()
		s.upscope.Go(zoe)
		s.upscope.SetLookupCode(yan, "4823")
		s.bob.post(there, door, shown)
		if n := s.upscope.Minted() - links; n != 0 {
			s.Errorf("somebody who is gone: %d links", n)
		}
	})
}

// How long ago something was read counts for nothing: neither just now nor four seconds,
// for which a page may be believed.
func TestPromise7APressBelievesNothingReadBefore(t *testing.T) {
	for _, ago := range []time.Duration{0, 500 * time.Millisecond, 4 * time.Second} {
		for name, change := range map[string]func(w *world, ann string){
			"a twin":        func(w *world, _ string) { visitorOf(w.upscope, "Nan Silva", pageKey) },
			"somebody else": func(w *world, ann string) { w.upscope.SetUniqueID(ann, "cust-99") },
			"another id": func(w *world, ann string) {
				again := w.upscope.Reset(ann)
				w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
				w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			},
		} {
			t.Run(name+" "+ago.String()+" before", func(t *testing.T) {
				inOffice(t, "", func(o *office) {
					ann := visitorOf(o.upscope, "Ann Silva", pageKey)
					o.taken(o.opens(keyed()))
					bob := o.connected()
					o.pass(10 * time.Second)
					door := o.door("bob")
					form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}} // reads her
					change(o.world, ann)
					time.Sleep(ago)
					bob.follow(door).want(t, http.StatusOK)
					if n := o.upscope.Minted(); n != 0 {
						t.Fatalf("the link: %d links", n)
					}
					bob.press(door, form).want(t, http.StatusOK)
					if n := o.upscope.Minted(); n != 0 {
						t.Fatalf("the button: %d links", n)
					}
				})
			})
		}
	}
}

func TestPromise7AFreshPressAsksUpscopeTwice(t *testing.T) {
	for way, press := range map[string]func(b *browser, door string, form url.Values) *answer{
		"button": func(b *browser, door string, form url.Values) *answer { return b.press(door, form) },
		"link":   func(b *browser, door string, _ url.Values) *answer { return b.follow(door) },
	} {
		t.Run(way, func(t *testing.T) {
			inOffice(t, "", func(o *office) {
				visitorOf(o.upscope, "Ann Silva", pageKey)
				o.taken(o.opens(keyed()))
				bob := o.connected()
				o.pass(10 * time.Second)
				door := o.door("bob")
				form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}}
				before := total(o.upscope)
				press(bob, door, form).wantWatch(t)
				if n := total(o.upscope) - before; n != 2 {
					t.Errorf("%d calls of Upscope for a press right after the page, want the search and the link", n)
				}
			})
		})
	}
}

// A page that showed one visitor is no choice between two, however often its button is
// pressed and whatever the pages say that answer.
func TestPromise7AButtonOfAPageForOneIsNoChoiceBetweenTwo(t *testing.T) {
	inOffice(t, "", func(o *office) {
		visitorOf(o.upscope, "Ann Silva", pageKey)
		o.taken(o.opens(keyed()))
		bob := o.connected()
		door := o.door("bob")
		form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}}
		twin := visitorOf(o.upscope, "Nan Silva", pageKey)
		for _, wait := range []time.Duration{0, 0, time.Second, 10 * time.Second} { // a double click, and the page in another tab
			time.Sleep(wait)
			if page := bob.press(door, form); len(choicesOn(page)) != 2 {
				t.Errorf("%v later: answered %d to %q", wait, page.StatusCode, page.Header.Get("Location"))
			}
		}
		if n := o.upscope.Minted(); n != 0 {
			t.Fatalf("%d links", n)
		}
		all := choicesOn(bob.send(lookRequest(door)))
		bob.press(door, url.Values{"visitor": {all[twin]}}).wantWatch(t)
		if all := o.upscope.Watches(); all[len(all)-1].VisitorID != twin {
			t.Error("another than was chosen")
		}
	})
}

// Of two who fit one leaves and another comes: the page shows who there is now.
func TestPromise7AChoiceIsAmongAllWhoFitNow(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann := visitorOf(o.upscope, "Ann Silva", pageKey)
		nan := visitorOf(o.upscope, "Nan Silva", pageKey)
		o.taken(o.opens(keyed()))
		bob := o.at("bob")
		door := o.door("bob")
		bob.follow(door)
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Ann Silva", "Nan Silva")
		o.upscope.Go(nan)
		o.pass(10 * time.Second)
		form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}}
		eve := visitorOf(o.upscope, "Eva Silva", pageKey)
		bob.press(door, form).want(t, http.StatusOK)
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links although another fits as well", n)
		}
		o.pass(10 * time.Second)
		if all := choicesOn(bob.send(lookRequest(door))); len(all) != 2 || all[ann] == "" || all[eve] == "" {
			t.Errorf("the page offers %v", all)
		}
	})
}

// The first click of two finds somebody else under the key and shows the page, which the
// browser drops for the answer to the second: that must be the page as well.
func TestPromise7ADoubleClickOnTheLinkOpensNobodyUnseen(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann := visitorOf(o.upscope, "Ann Silva", pageKey)
		o.taken(o.opens(keyed()))
		bob := o.connected()
		door := o.door("bob")
		o.upscope.Expire(ann)
		yan := visitorOf(o.upscope, "Yan", pageKey)
		o.upscope.SetUniqueID(yan, "cust-99")
		o.pass(10 * time.Second)
		for range 2 {
			bob.follow(door).want(t, http.StatusOK, "Yan")
		}
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links", n)
		}
	})
}
