package bridge_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
)

// wantShown checks that the answer is a page that contains these texts and offers exactly
// these visitors. It returns their form values by short id.
func (s *setup) wantShown(got *answer, how string, says []string, ids ...string) map[string]string {
	s.Helper()
	if got.StatusCode != http.StatusOK {
		s.Fatalf("%s: answered %d to %q: %s", how, got.StatusCode, got.Header.Get("Location"), got.body)
	}
	got.want(s, http.StatusOK, says...)
	all := formValues(got)
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

// wantOpened presses with a form value and checks that this makes one link, of that visitor.
func (s *setup) wantOpened(at *world, door, choice, visitor string) {
	s.Helper()
	links := s.upscope.Minted()
	s.bob.post(at, door, url.Values{"visitor": {choice}}).wantWatch(s)
	if all := s.upscope.Watches(); len(all) != links+1 || all[links].VisitorID != visitor {
		s.Errorf("%d links, want one of visitor %s: %+v", len(all)-links, visitor, all[links:])
	}
}

// TestPromise7APressUsesThePresentMatches changes visitors between the page and the press. One
// replica shows the page, and the other gets the press.
func TestPromise7APressUsesThePresentMatches(t *testing.T) {
	const secondKey = "second-page-key-0123456789"
	for name, test := range map[string]struct {
		// change returns the visitors that the page must offer after it.
		change func(s *setup, ann string) []string
		says   []string
		opens  int // the index of the visitor that the agent then chooses
	}{
		"a second match comes online": {func(s *setup, ann string) []string {
			return []string{ann, s.addVisitor("Nan Silva", pageKey)}
		}, []string{"Nan Silva"}, 0},
		"a second match comes online and the agent chooses it": {func(s *setup, ann string) []string {
			return []string{ann, s.addVisitor("Nan Silva", pageKey)}
		}, []string{"Nan Silva"}, 1},
		"the visitor signs in as another customer": {func(s *setup, ann string) []string {
			s.upscope.SetUniqueID(ann, "cust-99")
			return []string{ann}
		}, []string{"not the same customer"}, 0},
		"the visitor gets another id": {func(s *setup, ann string) []string {
			again := s.upscope.Reset(ann)
			s.upscope.SetIdentities(again, "rocketchat:"+pageKey)
			s.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			return []string{again}
		}, nil, 0},
		"the visitor gets another id and signs in as another customer": {func(s *setup, ann string) []string {
			again := s.upscope.Reset(ann)
			s.upscope.SetIdentities(again, "rocketchat:"+pageKey)
			s.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			s.upscope.SetUniqueID(again, "cust-99")
			return []string{again}
		}, nil, 0},
		"another browser gets the key": {func(s *setup, ann string) []string {
			s.upscope.SetIdentities(ann, "rocketchat:"+secondKey)
			s.upscope.SetIntegrationIDs(ann, "rocketchat:"+secondKey)
			return []string{s.addVisitor("Yan", pageKey)}
		}, []string{"Yan"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onEachSetup(t, func(s *setup) {
				here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
				ann := s.addVisitor("Ann Silva", pageKey)
				_, door := s.card(withPageKey())
				form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(here, door))}}
				s.bob.look(there, door) // so that both replicas have ann in their caches
				now := test.change(s, ann)
				if s.oidc != nil { // in link mode the first press needs the page
					s.wantShown(s.bob.follow(there, door), "the link", test.says, now...)
				}
				all := s.wantShown(s.bob.post(there, door, form), "the button", test.says, now...)
				if n := s.upscope.Minted(); n != 0 || s.countWatching() != 0 {
					s.Fatalf("%d links and %d audit records, want none", n, s.countWatching())
				}
				s.wantOpened(there, door, all[now[test.opens]], now[test.opens])
			})
		})
	}
}

func TestPromise7APressForAVisitorWhoLostTheKeyOpensNothing(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		ann := s.addVisitor("Ann Silva", pageKey)
		s.rememberBrowser()
		_, door := s.card(withPageKey())
		form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(s.replicas[0], door))}}
		links := s.upscope.Minted()
		// Another customer uses the same browser now.
		s.upscope.SetIdentities(ann, "rocketchat:second-page-key-0123456789")
		s.upscope.SetIntegrationIDs(ann, "rocketchat:second-page-key-0123456789")
		s.upscope.SetUniqueID(ann, "cust-99")
		for _, got := range []*answer{s.bob.post(s.replicas[0], door, form), s.bob.follow(s.replicas[0], door)} {
			if n := s.upscope.Minted() - links; n != 0 || got.StatusCode == http.StatusSeeOther {
				s.Errorf("%d links, and the press is answered %d", n, got.StatusCode)
			}
		}
	})
}

// A visitor whom the agent chose, or who was found by a code, is read by the short id. Other
// matches do not matter; a changed identity does.
func TestPromise7APressOpensTheVisitorWhoWasChosenOrHadTheCode(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
		form := func(choice string) url.Values { return url.Values{"visitor": {choice}} }

		// The agent chooses one of two visitors.
		ann, second := s.addVisitor("Ann", pageKey), s.addVisitor("Nan Silva", pageKey)
		_, door := s.card(withPageKey())
		all := s.wantShown(s.bob.look(here, door), "two", nil, ann, second)
		links := s.upscope.Minted()
		s.upscope.SetUniqueID(second, "cust-99")
		page := s.bob.post(there, door, form(all[second]))
		if n := s.upscope.Minted() - links; n != 0 || page.StatusCode != http.StatusOK {
			s.Fatalf("the chosen visitor changed: %d links, answered %d", n, page.StatusCode)
		}
		s.wantOpened(there, door, all[ann], ann)

		// The agent uses a code that the caller reads out.
		coded := func(name, code string) string {
			id := s.upscope.Come(upscope.Visitor{Name: name})
			s.upscope.SetLookupCode(id, code)
			return id
		}
		zoe := coded("Zoe", "4821")
		_, door = s.card(map[string]string{"upscope_code": "4821"})
		shown := form(onlyFormValue(s, s.bob.look(here, door)))
		links = s.upscope.Minted()
		s.upscope.SetUniqueID(zoe, "cust-7")
		offered := s.wantShown(s.bob.post(there, door, shown), "the visitor with the code changed", []string{"not the same customer"}, zoe)
		s.bob.follow(there, door).want(s, http.StatusOK)
		if n := s.upscope.Minted() - links; n != 0 {
			s.Errorf("the visitor with the code changed: %d links", n)
		}
		s.wantOpened(there, door, offered[zoe], zoe)

		// Another visitor has the code now, and Zoe is still online.
		zoe = coded("Zoe", "4822")
		_, door = s.card(map[string]string{"upscope_code": "4822"})
		choice := onlyFormValue(s, s.bob.look(here, door))
		s.upscope.SetLookupCode(zoe, "1111")
		yan := coded("Yan", "4822")
		s.wantOpened(there, door, choice, zoe)

		// Zoe is offline, and another visitor has her code.
		zoe = coded("Zoe", "4823")
		_, door = s.card(map[string]string{"upscope_code": "4823"})
		shown = form(onlyFormValue(s, s.bob.look(here, door)))
		links = s.upscope.Minted()
		s.upscope.Go(zoe)
		s.upscope.SetLookupCode(yan, "4823")
		s.bob.post(there, door, shown)
		if n := s.upscope.Minted() - links; n != 0 {
			s.Errorf("the visitor is offline: %d links", n)
		}
	})
}

// A press searches again, however recent the last search is. Pages may use a search for up
// to four seconds.
func TestPromise7APressUsesNoCachedSearch(t *testing.T) {
	for _, ago := range []time.Duration{0, 500 * time.Millisecond, 4 * time.Second} {
		for name, change := range map[string]func(w *world, ann string){
			"second match":     func(w *world, _ string) { addVisitor(w.upscope, "Nan Silva", pageKey) },
			"another customer": func(w *world, ann string) { w.upscope.SetUniqueID(ann, "cust-99") },
			"another id": func(w *world, ann string) {
				again := w.upscope.Reset(ann)
				w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
				w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
			},
		} {
			t.Run(name+" "+ago.String()+" before", func(t *testing.T) {
				inOIDCWorld(t, "", func(o *oidcWorld) {
					ann := addVisitor(o.upscope, "Ann Silva", pageKey)
					o.bobTakes(o.openChat(withPageKey()))
					bob := o.connectedBob()
					o.pass(10 * time.Second)
					door := o.door("bob")
					form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}} // fills the cache
					change(o.world, ann)
					time.Sleep(ago)
					bob.follow(door).want(t, http.StatusOK)
					if n := o.upscope.Minted(); n != 0 {
						t.Fatalf("the link in the chat made %d watch links", n)
					}
					bob.press(door, form).want(t, http.StatusOK)
					if n := o.upscope.Minted(); n != 0 {
						t.Fatalf("the button made %d watch links", n)
					}
				})
			})
		}
	}
}

func TestPromise7APressMakesTwoCallsToUpscope(t *testing.T) {
	for way, press := range map[string]func(b *browser, door string, form url.Values) *answer{
		"button": func(b *browser, door string, form url.Values) *answer { return b.press(door, form) },
		"link":   func(b *browser, door string, _ url.Values) *answer { return b.follow(door) },
	} {
		t.Run(way, func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				addVisitor(o.upscope, "Ann Silva", pageKey)
				o.bobTakes(o.openChat(withPageKey()))
				bob := o.connectedBob()
				o.pass(10 * time.Second)
				door := o.door("bob")
				form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}}
				before := totalCalls(o.upscope)
				press(bob, door, form).wantWatch(t)
				if n := totalCalls(o.upscope) - before; n != 2 {
					t.Errorf("%d calls to Upscope for a press right after the page, want 2: the search and the link", n)
				}
			})
		})
	}
}

// The button of a page with one visitor does not choose between two, however often it is
// pressed and whatever pages answer.
func TestPromise7TheButtonForOneVisitorDoesNotChooseBetweenTwo(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		addVisitor(o.upscope, "Ann Silva", pageKey)
		o.bobTakes(o.openChat(withPageKey()))
		bob := o.connectedBob()
		door := o.door("bob")
		form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}}
		second := addVisitor(o.upscope, "Nan Silva", pageKey)
		for _, wait := range []time.Duration{0, 0, time.Second, 10 * time.Second} { // a double click, and the same page in another tab
			time.Sleep(wait)
			if page := bob.press(door, form); len(formValues(page)) != 2 {
				t.Errorf("%v later: answered %d to %q", wait, page.StatusCode, page.Header.Get("Location"))
			}
		}
		if n := o.upscope.Minted(); n != 0 {
			t.Fatalf("%d links, want none", n)
		}
		all := formValues(bob.send(lookRequest(door)))
		bob.press(door, url.Values{"visitor": {all[second]}}).wantWatch(t)
		if all := o.upscope.Watches(); all[len(all)-1].VisitorID != second {
			t.Error("the link is not of the chosen visitor")
		}
	})
}

// One of two matches goes offline and a third comes: the page shows the matches that are online.
func TestPromise7AChoiceIsAmongAllPresentMatches(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann := addVisitor(o.upscope, "Ann Silva", pageKey)
		nan := addVisitor(o.upscope, "Nan Silva", pageKey)
		o.bobTakes(o.openChat(withPageKey()))
		bob := o.signedIn("bob")
		door := o.door("bob")
		bob.follow(door)
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Ann Silva", "Nan Silva")
		o.upscope.Go(nan)
		o.pass(10 * time.Second)
		form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}}
		eve := addVisitor(o.upscope, "Eva Silva", pageKey)
		bob.press(door, form).want(t, http.StatusOK)
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links although a second visitor matches", n)
		}
		o.pass(10 * time.Second)
		if all := formValues(bob.send(lookRequest(door))); len(all) != 2 || all[ann] == "" || all[eve] == "" {
			t.Errorf("the page offers %v", all)
		}
	})
}

// The first click of a double click finds another visitor with the key and is answered with
// the page. The browser shows only the second answer, so that must be the page as well.
func TestPromise7ADoubleClickOnTheLinkOpensNoUnseenVisitor(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann := addVisitor(o.upscope, "Ann Silva", pageKey)
		o.bobTakes(o.openChat(withPageKey()))
		bob := o.connectedBob()
		door := o.door("bob")
		o.upscope.Expire(ann)
		yan := addVisitor(o.upscope, "Yan", pageKey)
		o.upscope.SetUniqueID(yan, "cust-99")
		o.pass(10 * time.Second)
		for range 2 {
			bob.follow(door).want(t, http.StatusOK, "Yan")
		}
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links, want none", n)
		}
	})
}
