package demo

import (
	"crypto/rand"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Visitors is Upscope as the customer's browser and the scenes use it. Its methods must not
// call the HelpDesk.
type Visitors interface {
	// Arrive opens a page in a new browser and returns the visitor's id.
	Arrive(b Browser) (id string)
	// ChangePage opens another page for the visitor.
	ChangePage(id, url string)
	// Go closes the visitor's page, and Return opens it again.
	Go(id string)
	Return(id string)
	// Reset clears the visitor's cookies: the same person gets a new id.
	Reset(id string, b Browser) (fresh string)
	// Identify sets what the page says about its visitor.
	Identify(id string, integrationIDs, identities []string)
	// Watched reports whether an agent sees the visitor's page.
	Watched(id string) bool
	// SetOverPlan makes Upscope refuse new sessions, and SetDown makes it fail every request.
	SetOverPlan(over bool)
	SetDown(down bool)
}

// A Browser is what Upscope knows about a visitor's browser.
type Browser struct {
	Name, Page                      string
	City, Country, Software, Device string
	// IntegrationID is the key that the page gives the chat too.
	IntegrationID string
	// Code is the lookup code on the page; empty means that Upscope chooses one.
	Code string
}

// shop is the customer's side of the page.
type shop struct {
	visitor string // id at Upscope
	twin    string // id of a second browser with the same key; empty for none
	browser Browser
	key     string
	page    string // path in the shop
	online  bool
	chat    *conversation // nil before the first
	scene   string
}

const shopAddress = "https://lampandleaf.example"

// pages are the pages of the shop.
var pages = []struct{ Path, Label string }{
	{"/", "Shop"}, {"/basket", "Basket"}, {"/checkout", "Checkout"},
}

// shopCode is the lookup code that the customer reads out on the phone.
const shopCode = "4821"

// openCheckout opens the checkout as a new customer. The former customer's browsers are closed.
func (s *shop) openCheckout(v Visitors) {
	for _, gone := range []string{s.visitor, s.twin} {
		if gone != "" {
			v.Go(gone)
		}
	}
	key := rand.Text()
	*s = shop{key: key, page: "/checkout", online: true, browser: Browser{
		Name: "Ann Lee", Page: shopAddress + "/checkout", IntegrationID: "demo:" + key,
		City: "Lisbon", Country: "Portugal", Software: "Chrome", Device: "Windows", Code: shopCode,
	}}
	s.visitor = v.Arrive(s.browser)
}

func (s *shop) chatting() bool { return s.chat != nil && s.chat.Open }

// act carries out what a form on the page asks for. A form that does not fit the present state
// does nothing, because the page in the browser may be out of date. The caller holds the lock.
func (d *HelpDesk) act(form url.Values) {
	s, v := &d.shop, d.opts.Visitors
	c := d.chat(form.Get("chat"))
	switch form.Get("do") {
	case "start":
		if s.online && !s.chatting() {
			if s.scene != "plan" && s.scene != "down" {
				s.scene = ""
			}
			v.SetDown(false) // until the agent has a card; see fail
			s.chat = d.begin(typed(form.Get("name"), 80, "Ann"), s.key)
		}
	case "say":
		if text := typed(form.Get("text"), 300, ""); text != "" && s.online && s.chatting() {
			d.say(s.chat, text)
		}
	case "visit":
		for _, p := range pages {
			if p.Path == form.Get("page") && s.online {
				s.page, s.browser.Page = p.Path, shopAddress+p.Path
				v.ChangePage(s.visitor, s.browser.Page)
			}
		}
	case "leave":
		if s.online {
			s.online = false
			v.Go(s.visitor)
		}
	case "return":
		if !s.online {
			d.comeBack()
		}
	case "clear":
		if s.online {
			// The chat and its key stay, because the chat's widget stores them elsewhere.
			s.visitor = v.Reset(s.visitor, s.browser)
		}
	case "hand":
		if to := d.agent(form.Get("to")); c != nil && to != nil {
			d.handOver(c, to)
		}
	case "close":
		if c != nil {
			d.close(c)
		}
	case "scene":
		d.play(form.Get("scene"))
	default:
		return
	}
	d.touch()
}

// play sets up a scene. A scene about the customer begins with a new customer. A scene about
// Upscope keeps the customer and the chat, or restores them if they have gone.
func (d *HelpDesk) play(scene string) {
	s, v := &d.shop, d.opts.Visitors
	v.SetOverPlan(scene == "plan")
	v.SetDown(false)
	switch scene {
	case "two", "offline":
		if s.chatting() {
			d.close(s.chat)
		}
		s.openCheckout(v)
		if scene == "two" {
			twin := s.browser
			twin.Page, twin.Software, twin.Device, twin.Code = shopAddress+"/", "Safari", "iPhone", ""
			s.twin = v.Arrive(twin)
		} else {
			s.online = false
			v.Go(s.visitor)
		}
		s.chat = d.begin("Ann", s.key)
	case "plan", "down":
		if !s.online {
			d.comeBack()
		}
		if !s.chatting() {
			s.chat = d.begin("Ann", s.key)
		}
	default:
		scene = ""
	}
	s.scene = scene
	d.fail()
}

// fail makes Upscope fail, if the scene asks for it, but only when the agent has a card:
// otherwise the chat would get no card.
func (d *HelpDesk) fail() {
	if d.shop.scene == "down" && d.offered() {
		d.opts.Visitors.SetDown(true)
	}
}

// comeBack opens the customer's page again. It sends an event to the bridge, and another one
// after presenceWait, because the bridge may have cached that the customer is offline.
func (d *HelpDesk) comeBack() {
	s := &d.shop
	s.online = true
	d.opts.Visitors.Return(s.visitor)
	c := s.chat
	if !s.chatting() {
		return
	}
	d.tell("visitor.online", c)
	time.AfterFunc(presenceWait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if c.Open {
			d.tell("visitor.online", c)
		}
	})
}

// presenceWait is longer than the bridge caches that a visitor is offline.
const presenceWait = 3 * time.Second

// offered reports whether the agent has a card on which to press Co-browse.
func (d *HelpDesk) offered() bool {
	c := d.shop.chat
	return d.shop.chatting() && slices.ContainsFunc(c.Agent.Inbox, func(p *posting) bool {
		return strings.HasSuffix(p.Chat.Address, "#"+c.ID) && p.Button.Label == "Co-browse"
	})
}

// hint returns the sentence below the scenes: what has happened and what to do next.
func (d *HelpDesk) hint() string {
	s := &d.shop
	ready := d.offered()
	i := slices.IndexFunc(scenes, func(o scene) bool { return o.Name == s.scene })
	switch {
	case i < 0:
		return "Press a button to see how the bridge handles a problem."
	case !s.chatting():
		return "The chat has ended. Start another, or press a button for the next scene."
	case s.scene == "offline" && s.online && ready:
		return "Ann is back, and the card offers Co-browse. Press it to see her page."
	case s.scene == "offline" && s.online:
		return "Ann is back. The card changes in a moment."
	case (s.scene == "plan" || s.scene == "down") && !s.online:
		return "Ann has closed the tab. Open her page again with the button below it."
	case (s.scene == "plan" || s.scene == "down") && !ready:
		return "Ann’s chat is on its way to the agent. The card comes in a moment."
	}
	return scenes[i].Hint
}

// A scene is a button that sets up a problem, and a hint that explains it.
type scene struct{ Name, Label, Hint string }

var scenes = []scene{
	{"two", "Two browsers match", "Ann also has the shop open on her phone, and both browsers have the same key. The bridge does not guess: the card asks the agent to choose."},
	{"offline", "Customer is offline", "Ann closed the tab before the agent looked, and the card says that she is offline. Open her page again with the button below it, and the card changes."},
	{"plan", "Plan is used up", "Upscope now refuses new sessions. Press Co-browse on the card to see what the agent reads. After that the bridge sends Upscope no requests for a minute, even if you press another button here."},
	{"down", "Upscope is down", "Upscope now fails every request. Press Co-browse on the card to see what the agent reads. The chat still works."},
}

// typed returns a typed text as one line of at most most runes, or otherwise if it is empty.
func typed(text string, most int, otherwise string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most])
	}
	if text == "" {
		return otherwise
	}
	return text
}

// nobody implements Visitors for a site without visitors.
type nobody struct{}

func (nobody) Arrive(Browser) string               { return "" }
func (nobody) ChangePage(string, string)           {}
func (nobody) Go(string)                           {}
func (nobody) Return(string)                       {}
func (nobody) Reset(id string, _ Browser) string   { return id }
func (nobody) Identify(string, []string, []string) {}
func (nobody) Watched(string) bool                 { return false }
func (nobody) SetOverPlan(bool)                    {}
func (nobody) SetDown(bool)                        {}
