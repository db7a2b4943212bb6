package demo

import (
	"crypto/rand"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Visitors is Upscope as the customer's browser reaches it, together with what
// the scenes change about it. Its methods must not call the HelpDesk.
type Visitors interface {
	// Arrive opens a page in a new browser and returns the visitor's id.
	Arrive(b Browser) (id string)
	// ChangePage leads the visitor to another page.
	ChangePage(id, url string)
	// Go closes the visitor's page, and Return opens it again.
	Go(id string)
	Return(id string)
	// Reset is what cleared cookies do: the same person goes on under a new id.
	Reset(id string, b Browser) (fresh string)
	// Identify is what a page tells of its visitor.
	Identify(id string, integrationIDs, identities []string)
	// Watched reports whether an agent sees the visitor's page.
	Watched(id string) bool
	// SetOverPlan makes Upscope refuse new sessions, and SetDown everything.
	SetOverPlan(over bool)
	SetDown(down bool)
}

// A Browser is what a page tells Upscope about its visitor.
type Browser struct {
	Name, Page                      string
	City, Country, Software, Device string
	// IntegrationID is the key that the page tells the chat as well.
	IntegrationID string
	// Code is what the page shows for customers to read out; empty is whatever
	// Upscope draws.
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

// pages of the shop.
var pages = []struct{ Path, Label string }{
	{"/", "Shop"}, {"/basket", "Basket"}, {"/checkout", "Checkout"},
}

// shopCode is what the customer reads out on the phone.
const shopCode = "4821"

// enter brings a new customer to the checkout. Whoever was there leaves.
func (s *shop) enter(v Visitors) {
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

// act does what a form on the page asks for. What does not fit how things stand
// does nothing: the page that was pressed may be an old one. The lock is held.
func (d *HelpDesk) act(form url.Values) {
	s, v := &d.shop, d.opts.Visitors
	c := d.chat(form.Get("chat"))
	switch form.Get("do") {
	case "start":
		if s.online && !s.chatting() {
			if s.scene != "plan" && s.scene != "down" {
				s.scene = ""
			}
			v.SetDown(false) // until there is a card; see fail
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
			// The chat and its key stay: they are kept by the chat's own page.
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

// play sets a scene. Those about the customer begin with a new one; those about
// Upscope go on with the customer and the chat there are, and bring both back
// where they are gone.
func (d *HelpDesk) play(scene string) {
	s, v := &d.shop, d.opts.Visitors
	v.SetOverPlan(scene == "plan")
	v.SetDown(false)
	switch scene {
	case "two", "offline":
		if s.chatting() {
			d.close(s.chat)
		}
		s.enter(v)
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

// fail lets Upscope be down, if that is the scene, as soon as there is a card to
// press: a chat that begins meanwhile would get none.
func (d *HelpDesk) fail() {
	if d.shop.scene == "down" && d.offered() {
		d.opts.Visitors.SetDown(true)
	}
}

// comeBack opens the customer's page again. The page tells the chat, and once
// more a little later, since the bridge may just have looked.
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

// presenceWait is longer than the bridge believes that nobody is online.
const presenceWait = 3 * time.Second

// offered reports whether the agent has a card on which to press Co-browse.
func (d *HelpDesk) offered() bool {
	c := d.shop.chat
	return d.shop.chatting() && slices.ContainsFunc(c.Agent.Inbox, func(p *posting) bool {
		return strings.HasSuffix(p.Chat.Address, "#"+c.ID) && p.Button.Label == "Co-browse"
	})
}

// hint says what to do, as things stand.
func (d *HelpDesk) hint() string {
	s := &d.shop
	ready := d.offered()
	i := slices.IndexFunc(scenes, func(o scene) bool { return o.Name == s.scene })
	switch {
	case i < 0:
		return "A day with customers has all of these. Each button sets one up."
	case !s.chatting():
		return "The chat is over. Start another, or press a button for the next scene."
	case s.scene == "offline" && s.online && ready:
		return "Ann is back, and the card offers Co-browse. Press it to see her page."
	case s.scene == "offline" && s.online:
		return "Ann is back. The card says so in a moment."
	case (s.scene == "plan" || s.scene == "down") && !s.online:
		return "Ann has closed the tab. Open her page again with the button below it."
	case (s.scene == "plan" || s.scene == "down") && !ready:
		return "Ann’s chat is on its way to the agent. The card comes in a moment."
	}
	return scenes[i].Hint
}

// A scene is a button for what goes wrong in life, and what to do then.
type scene struct{ Name, Label, Hint string }

var scenes = []scene{
	{"two", "Two browsers match", "Ann has the shop open on her phone as well, and both gave the same key. The bridge does not guess: the card asks the agent to choose."},
	{"offline", "Customer is offline", "Ann closed the tab before the agent looked, and the card says that she is offline. Open her page again with the button below it, and the card follows."},
	{"plan", "Plan is used up", "Upscope now refuses new sessions. Press Co-browse on the card, and see what the agent is told. After that the bridge leaves Upscope alone for a minute, whatever you press here."},
	{"down", "Upscope is down", "Upscope now fails every request. Press Co-browse on the card, and see what the agent is told. The chat goes on regardless."},
}

// typed is what somebody typed, on one line and no longer than most runes.
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

// nobody is a site without visitors.
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
