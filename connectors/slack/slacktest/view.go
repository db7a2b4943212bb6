package slacktest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A spot is the user of the page and what they look at: a channel by its id, the app's
// messages, or its Home tab.
type spot struct{ me, in string }

const (
	inApp  = "app"
	inHome = "home"
)

// where reads a spot from the page's address. In place of an unknown user or channel it uses
// the first one.
func (p *Page) where(q url.Values) spot {
	at := spot{me: q.Get("as"), in: q.Get("in")}
	if !slices.Contains(p.c.People, at.me) {
		at.me = p.c.People[0]
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if at.in != inApp && at.in != inHome && !slices.ContainsFunc(p.w.channelsOf(at.me), func(c *Channel) bool { return c.ID == at.in }) {
		at.in = inApp
		if all := p.w.channelsOf(at.me); len(all) > 0 {
			at.in = all[0].ID
		}
	}
	return at
}

// query returns the address of another conversation for the same user.
func (s spot) query(in string) string { return "?" + url.Values{"as": {s.me}, "in": {in}}.Encode() }

// channel returns the id of the channel whose messages the spot shows.
func (s spot) channel() string {
	if s.in == inApp || s.in == inHome {
		return direct(s.me)
	}
	return s.in
}

// channelsOf returns the channels of a user, sorted by name.
func (w *Workspace) channelsOf(user string) (all []*Channel) {
	for _, c := range w.channels {
		if slices.Contains(c.Members, user) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Channel) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// called returns the shown name of a user.
func (w *Workspace) called(id string) string {
	if id == standIn {
		return "Stand-in"
	}
	u := w.users[id]
	if u == nil {
		return id
	}
	return cmp.Or(u.DisplayName, u.RealName, u.Name)
}

// A pageView is the content of the page.
type pageView struct {
	Workspace       string
	BackLabel, Back string
	Here            string // the page's own address
	Me              entry
	People          []entry
	Channels        []entry
	App             entry
	Home, Messages  entry // tabs of the app
	InApp, InHome   bool
	Name, About     string
	Writable        bool
	Talk            []shownMessage
	Blocks          []block // of the Home tab
	Published       bool
	Dialog          *dialog
	Command, Bot    string
}

// An entry is a link on the page.
type entry struct {
	ID, Name, Address string
	Open, News        bool
}

// A shownMessage is a message as the user sees it.
type shownMessage struct {
	TS, By, Text, Time, At string
	App, Private, Edited   bool
	Blocks                 []block
	Replies                []shownMessage
	Parent                 string // time stamp of the message whose thread gets a reply; empty: no replies
	Shortcut               bool   // whether the message has shortcuts
}

// Initial returns the first letter of the author, which is shown in place of a picture.
func (s shownMessage) Initial() string {
	for _, r := range s.By {
		return strings.ToUpper(string(r))
	}
	return "?"
}

// A block is a block of a message or a view. One with an empty Kind is not shown.
type block struct {
	Kind, Text                         string
	Buttons                            []pressable
	Block, Input, Label, Hint, Example string
	Max                                int
}

type pressable struct {
	Button
	N int // among all buttons of the message
}

// A dialog is an open dialog.
type dialog struct {
	ID, Title, Submit, Close string
	Blocks                   []block
	Block, Input             string // ids of the only field
	Fault                    string
}

func (p *Page) view(q url.Values) pageView {
	at := p.where(q)
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	v := pageView{
		Workspace: w.TeamName, BackLabel: p.c.BackLabel, Back: p.c.Back, Here: at.query(at.in),
		InApp: at.in == inApp || at.in == inHome, InHome: at.in == inHome,
		Home:     entry{Name: "Home", Address: at.query(inHome), Open: at.in == inHome},
		Messages: entry{Name: "Messages", Address: at.query(inApp), Open: at.in == inApp},
		Command:  slashCommand, Bot: "@" + w.called(w.BotUser),
	}
	for _, id := range p.c.People {
		other := spot{id, at.in}
		e := entry{ID: id, Name: w.called(id), Address: other.query(at.in), Open: id == at.me}
		v.People = append(v.People, e)
		if e.Open {
			v.Me = e
		}
	}
	news := func(in string) bool { return p.news(at, in) }
	for _, c := range w.channelsOf(at.me) {
		v.Channels = append(v.Channels, entry{ID: c.ID, Name: c.Name, Address: at.query(c.ID), Open: c.ID == at.in, News: news(c.ID)})
		if c.ID == at.in {
			v.Name, v.About, v.Writable = c.Name, about(c, w.BotUser), true
		}
	}
	v.App = entry{Name: cmp.Or(w.AppName, w.called(w.BotUser)), Address: at.query(inApp), Open: v.InApp, News: news(inApp)}
	if v.InApp {
		v.Name, v.About = v.App.Name, "an app; only you see its messages to you"
	}
	if v.InHome {
		if home := w.homes[at.me]; home != nil {
			v.Blocks, v.Published = parseView(home.Body), true
		}
	} else {
		v.Talk = w.talk(at)
	}
	for _, open := range slices.Backward(w.views) {
		if open.User == at.me && !open.Closed {
			d := shownDialog(*open)
			p.mu.Lock()
			d.Fault = p.errors[open.ID]
			p.mu.Unlock()
			v.Dialog = &d
			break
		}
	}
	return v
}

// news reports whether a conversation has messages that the user has not seen. All messages of
// the open conversation count as seen, and all that existed at the first visit.
func (p *Page) news(at spot, in string) bool {
	other := spot{at.me, in}
	size := 0
	for _, post := range p.w.posts {
		if post.Channel == other.channel() && post.By != at.me && (post.For == "" || post.For == at.me) {
			size += 1 + post.Edited
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := at.me + "/" + in
	if seen, ok := p.seen[key]; ok && in != at.in {
		return size > seen
	}
	p.seen[key] = size
	return false
}

func about(c *Channel, bot string) string {
	var all []string
	if c.Private {
		all = append(all, "private")
	}
	if c.ExtShared {
		all = append(all, "shared with another company")
	}
	if !slices.Contains(c.Members, bot) {
		all = append(all, "the app is not in it")
	}
	return strings.Join(all, "; ")
}

// talk returns the messages of a conversation, each with its thread.
func (w *Workspace) talk(at spot) (all []shownMessage) {
	threads := map[string]int{}
	for _, post := range w.posts {
		if post.Channel != at.channel() || post.For != "" && post.For != at.me {
			continue
		}
		s := w.seenAs(post)
		if i, ok := threads[post.Thread]; ok && post.Thread != "" {
			all[i].Replies = append(all[i].Replies, s)
			continue
		}
		if post.For == "" && at.in != inApp {
			s.Parent = post.TS
			threads[post.TS] = len(all)
		}
		all = append(all, s)
	}
	return all
}

func (w *Workspace) seenAs(p *Post) shownMessage {
	seconds, _, _ := strings.Cut(p.TS, ".")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	at := time.Unix(unix, 0)
	s := shownMessage{
		TS: p.TS, By: w.called(p.By), Text: p.Text, Time: at.Format("15:04"), At: at.UTC().Format(time.RFC3339),
		App: p.By == w.BotUser || p.By == standIn, Private: p.For != "", Edited: p.Edited > 0, Shortcut: p.For == "" && p.By != w.BotUser,
	}
	if p.By == w.BotUser {
		s.By = cmp.Or(w.AppName, s.By)
	}
	if p.Blocks != nil {
		s.Blocks, s.Text = parseBlocks(p.Blocks), ""
	}
	return s
}

func shownDialog(v View) dialog {
	var body struct {
		Title, Submit, Close struct {
			Text string `json:"text"`
		}
	}
	_ = json.Unmarshal(v.Body, &body) // the body was checked when it was received
	d := dialog{ID: v.ID, Title: body.Title.Text, Submit: body.Submit.Text, Close: cmp.Or(body.Close.Text, "Close"), Blocks: parseView(v.Body)}
	for _, b := range d.Blocks {
		if b.Kind == "input" {
			d.Block, d.Input = b.Block, b.Input
		}
	}
	return d
}

func parseView(body json.RawMessage) []block {
	var v struct {
		Blocks json.RawMessage `json:"blocks"`
	}
	_ = json.Unmarshal(body, &v)
	return parseBlocks(v.Blocks)
}

// parseBlocks reads blocks that passed Lint.
func parseBlocks(raw json.RawMessage) (all []block) {
	type words struct {
		Text string `json:"text"`
	}
	var list []struct {
		Type    string `json:"type"`
		ID      string `json:"block_id"`
		Text    words  `json:"text"`
		Label   words  `json:"label"`
		Hint    words  `json:"hint"`
		Element struct {
			Action      string `json:"action_id"`
			Placeholder words  `json:"placeholder"`
			Max         int    `json:"max_length"`
		} `json:"element"`
		Elements []json.RawMessage `json:"elements"`
	}
	_ = json.Unmarshal(raw, &list)
	buttons, n := Buttons(raw), 0
	for _, b := range list {
		shown := block{
			Kind: b.Type, Text: b.Text.Text, Block: b.ID, Input: b.Element.Action, Label: b.Label.Text, Hint: b.Hint.Text,
			Example: b.Element.Placeholder.Text, Max: b.Element.Max,
		}
		if shown.Max < 1 {
			shown.Max = 3000
		}
		for range min(len(b.Elements), len(buttons)-n) {
			shown.Buttons = append(shown.Buttons, pressable{buttons[n], n})
			n++
		}
		all = append(all, shown)
	}
	return all
}
