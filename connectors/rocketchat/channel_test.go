package rocketchat

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

const agentsChannel = "#support-agents"

// publicCard is a card as it is where agents sign in.
func publicCard() bridge.Card {
	c := exampleCard()
	c.Public = true
	c.More = []bridge.Link{{Label: "Stop", Address: "https://bridge.example.org/w/4kqRs7?stop=1"}}
	return c
}

// withChannel is a desk with a room called support-agents.
func withChannel(t *testing.T, r rocketchattest.Room) (d *desk, room string) {
	t.Helper()
	d = newDesk(t)
	if r.Members == nil {
		r.Members = []string{"bob", "eve", "cobrowse"}
	}
	r.Name = strings.TrimPrefix(agentsChannel, "#")
	return d, d.AddRoom(r)
}

func TestACardInAChannelIsOnePostForAllItsMembers(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "8.8", "9.0"} {
		for _, kind := range []string{privateGroup, publicChannel} {
			d, room := withChannel(t, rocketchattest.Room{Type: kind})
			d.Version = version
			c := publicCard()
			c.Title = "Co-browse with [Ann](https://evil.example) @all"
			c.Ref = d.show(t, agentsChannel, c)
			want := "*Co-browse with ［Ann］（https：//evil․example） ＠all*\nPage: Basket\n" +
				"[Watch](https://bridge.example.org/w/4kqRs7)  |  [Stop](https://bridge.example.org/w/4kqRs7?stop=1)  |  " +
				"[Open the chat](https://chat.example.org/chat/live/room1)"
			posts := d.PostsIn(room)
			if len(posts) != 1 || posts[0].Text != want || string(c.Ref) != room+"/"+posts[0].ID {
				t.Fatalf("%s, %s: ref %q, posts %+v", version, kind, c.Ref, posts)
			}
			if p := d.Previewed(); p != nil {
				t.Errorf("the server may open the links of %q", p)
			}
			for _, title := range []string{"Live", "Chat closed"} {
				// Without its addresses a card is nobody's.
				over := bridge.Card{ID: c.ID, Ref: c.Ref, Title: title}
				if ref := d.show(t, agentsChannel, over); ref != c.Ref {
					t.Errorf("edited as %q, was %q", ref, c.Ref)
				}
				if got := texts(d.PostsIn(room)); !slices.Equal(got, []string{"*" + title + "*"}) {
					t.Errorf("the channel reads %q", got)
				}
			}
			if len(d.Posts("bob"))+len(d.Posts("eve")) != 0 {
				t.Error("somebody got it in a direct message besides")
			}
		}
	}
}

func TestAPostInAChannelWhoseAnswerWasLostIsJoined(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		for _, edits := range []bool{true, false} {
			d, room := withChannel(t, rocketchattest.Room{Type: privateGroup})
			d.Version = version
			d.RefuseEdits(!edits)
			d.Fail("chat.sendMessage", rocketchattest.Fault{Done: true, Hang: true}, 1)
			c := publicCard()
			if _, err := d.Show(withTimeout(t, 50*time.Millisecond), bridge.Place{Address: agentsChannel}, c); err == nil || bridge.IsPermanent(err) {
				t.Fatalf("%s: the lost answer gives %v", version, err)
			}
			ref := d.show(t, agentsChannel, c)
			if posts := d.PostsIn(room); len(posts) != 1 || string(ref) != room+"/"+posts[0].ID {
				t.Errorf("%s, edits %v: ref %q, posts %+v", version, edits, ref, posts)
			}
		}
	}
}

func TestAnAgentsOwnCardIsNeverShownInAChannel(t *testing.T) {
	t.Parallel()
	d, _ := withChannel(t, rocketchattest.Room{Type: privateGroup})
	public := publicCard()
	for name, c := range map[string]bridge.Card{
		"its button is a door":        {ID: "1", Title: "x", Button: public.Button},
		"another way on is":           {ID: "1", Title: "x", More: public.More},
		"its button has no address":   {ID: "1", Title: "x", Button: bridge.Link{Label: "Watch"}},
		"an edit has a door of one's": {ID: "1", Title: "x", Button: public.Button, Ref: "group00000000000001/m"},
	} {
		if _, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, c); !bridge.IsPermanent(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := d.routes(0); got != nil {
		t.Errorf("asked %v", got)
	}
}

func TestAddressesOfChannelsAreToldApartFromAgents(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for address, shared := range map[string]bool{
		agentsChannel: true, "#GENERAL": true, "#über.uns_2": true,
		"bob": false, "": false, "#": false, "##x": false, "#@bob": false, "#a b": false, "@bob": false, "#x\n": false, "#" + strings.Repeat("x", 200): false,
	} {
		if got := d.Shared(address); got != shared {
			t.Errorf("%q: shared %v", address, got)
		}
	}
}

func TestPromise3NoRoomThatVisitorsOrStrangersReadHoldsCards(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, d *desk, name string) {
		t.Helper()
		for range 2 {
			if _, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, publicCard()); !errors.Is(err, errTarget) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for _, r := range d.Requests() {
			if r.Method != http.MethodGet {
				t.Errorf("%s: %s %s %s", name, r.Method, r.Path, r.Body)
			}
		}
	}

	t.Run("whatever room has the name", func(t *testing.T) {
		for name, r := range map[string]rocketchattest.Room{
			"a room of Voip":             {Type: "v"},
			"a direct message of others": {Type: "d", Members: []string{"bob", "eve"}},
			"the poster's own":           {Type: "d", Members: []string{"bob", "cobrowse"}},
			"of a type to come":          {Type: "x"},
			"shared with other servers":  {Type: privateGroup, Federated: true},
			"a discussion":               {Type: privateGroup, Parent: "room00000000000001"},
			"a public discussion":        {Type: publicChannel, Parent: "GENERAL"},
		} {
			d, room := withChannel(t, r)
			if r.Type == "d" { // which has no name; this server says that it has
				d.answers(`{"_id":"` + room + `","t":"d","name":"support-agents"}`)
			}
			refused(t, d, name)
		}
	})

	t.Run("a chat, even by a poster who sees chats", func(t *testing.T) {
		d := newDesk(t)
		d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken, Roles: []string{"bot", "livechat-manager"}})
		d.ChangeRoom(d.chat, func(r *rocketchattest.Room) { r.Name = "support-agents" })
		refused(t, d, "a livechat room")
		if got := d.VisitorReads(d.chat); got != nil {
			t.Errorf("the visitor reads %q", got)
		}
	})

	t.Run("an answer that does not prove it", func(t *testing.T) {
		for name, room := range map[string]string{
			"another name":         `{"_id":"X","t":"p","name":"support"}`,
			"another case":         `{"_id":"X","t":"p","name":"Support-Agents"}`,
			"only a display name":  `{"_id":"X","t":"p","fname":"support-agents"}`,
			"a room with it as id": `{"_id":"support-agents","t":"p","name":"lobby"}`,
			"no name":              `{"_id":"X","t":"p"}`,
			"no id":                `{"t":"p","name":"support-agents"}`,
			"no type":              `{"_id":"X","name":"support-agents"}`,
			"two types":            `{"_id":"X","t":"lp","name":"support-agents"}`,
			"nothing":              `{}`,
		} {
			d := newDesk(t)
			d.answers(strings.ReplaceAll(room, `"X"`, `"`+d.chat+`"`))
			refused(t, d, name)
		}
	})

	t.Run("a room that was read as a chat", func(t *testing.T) {
		d := newDesk(t)
		if _, _, err := d.Serving(t.Context(), d.chat); err != nil {
			t.Fatal(err)
		}
		d.answers(`{"_id":"` + d.chat + `","t":"p","name":"support-agents"}`)
		refused(t, d, "a chat that is said to be a group")

		d = newDesk(t)
		for _, kind := range []string{"l", "p"} { // the first is what is remembered
			d.answers(`{"_id":"later","t":"` + kind + `","name":"support-agents"}`)
			refused(t, d, "a group that was said to be a chat")
		}
	})
}

// answers has the server say this of the room that is asked for by its name.
func (d *desk) answers(room string) {
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"success":true,"room":` + room + `}`}, 2)
}

func TestANameThatMovesToAnotherRoomIsNotFollowed(t *testing.T) {
	t.Parallel()
	d, room := withChannel(t, rocketchattest.Room{Type: privateGroup})
	c := publicCard()
	c.Ref = d.show(t, agentsChannel, c)
	d.ChangeRoom(room, func(r *rocketchattest.Room) { r.Name = "support-old" })
	if _, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, c); err == nil || bridge.IsPermanent(err) {
		t.Errorf("renamed: %v", err)
	}
	other := d.AddRoom(rocketchattest.Room{Type: publicChannel, Name: "support-agents", Members: []string{"eve", "cobrowse"}})
	if _, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, c); !errors.Is(err, errTarget) || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "restart the bridge") {
		t.Errorf("taken by another room: %v", err)
	}
	d.RemoveRoom(other)
	d.ChangeRoom(room, func(r *rocketchattest.Room) { r.Name = "support-agents" })
	if ref := d.show(t, agentsChannel, c); ref != c.Ref || len(d.PostsIn(room)) != 1 {
		t.Errorf("back again: ref %q, %d posts", ref, len(d.PostsIn(room)))
	}
}

func TestAChannelThatAnOperatorCanOpenIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		for name, c := range map[string]struct {
			room rocketchattest.Room
			says string
		}{
			"the poster is no member": {rocketchattest.Room{Type: privateGroup, Members: []string{"bob"}}, "the poster lacks access to #support-agents: invite it there"},
			"it is somewhere else":    {rocketchattest.Room{}, "there is no channel #support-agents"},
		} {
			d := newDesk(t)
			d.Version = version
			if c.room.Type != "" {
				c.room.Name = "support-agents"
				d.AddRoom(c.room)
			}
			_, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, publicCard())
			if err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v", version, name, err)
			}
		}
	}
	d, _ := withChannel(t, rocketchattest.Room{Type: privateGroup, Archived: true})
	if _, err := d.Show(t.Context(), bridge.Place{Address: agentsChannel}, publicCard()); !bridge.IsPermanent(err) || !strings.Contains(err.Error(), "error-room-archived") {
		t.Errorf("archived: %v", err)
	}
}

func TestACheckOfAChannelSaysWhatKeepsCardsOut(t *testing.T) {
	t.Parallel()
	everybody := []string{"bob", "cobrowse"}
	for name, c := range map[string]struct {
		room rocketchattest.Room
		want []string // of the problems; none means that cards can be shown
	}{
		"a private group":                  {rocketchattest.Room{Type: privateGroup, Members: everybody}, nil},
		"one that only its owner writes":   {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true, Owners: []string{"cobrowse"}}, nil},
		"one in which the poster may":      {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true, Unmuted: []string{"cobrowse"}}, nil},
		"one that is read-only":            {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true}, []string{"is read-only for the user of ROCKETCHAT_POSTER_ID"}},
		"one without the poster":           {rocketchattest.Room{Type: privateGroup, Members: []string{"bob"}}, []string{"poster is not in the channel #support-agents", "Invite the user of ROCKETCHAT_POSTER_ID"}},
		"one that is archived":             {rocketchattest.Room{Type: privateGroup, Members: everybody, Archived: true}, []string{"#support-agents is archived"}},
		"one that is encrypted":            {rocketchattest.Room{Type: privateGroup, Members: everybody, Encrypted: true}, []string{"end-to-end encryption"}},
		"one with people of other servers": {rocketchattest.Room{Type: privateGroup, Members: everybody, Federated: true}, []string{"Nothing is shown in #support-agents, since it is shared with other servers"}},
		"a discussion":                     {rocketchattest.Room{Type: privateGroup, Members: everybody, Parent: "GENERAL"}, []string{"since it is a discussion"}},
		"a room of Voip":                   {rocketchattest.Room{Type: "v", Members: everybody}, []string{"neither a private group nor a public channel"}},
		"a public channel":                 {rocketchattest.Room{Type: publicChannel, Members: everybody}, []string{"everybody in the workspace can read who is helped"}},
		"a public one without the poster":  {rocketchattest.Room{Type: publicChannel, Members: []string{"bob"}}, []string{"poster is not in the channel", "everybody in the workspace"}},
		"none of that name":                {rocketchattest.Room{}, []string{"There is no channel #support-agents"}},
	} {
		for _, version := range []string{"7.0", "9.0"} {
			d := newDesk(t)
			d.Version = version
			if c.room.Type != "" {
				c.room.Name = "support-agents"
				d.AddRoom(c.room)
			}
			found := d.CheckPlace(t.Context(), agentsChannel)
			got := problems(found)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s, %s: %q is not in %q", version, name, want, got)
				}
			}
			fine := slices.Contains(found, bridge.Finding{OK: "Cards can be shown in the channel #support-agents."})
			if c.want == nil && got != "" || fine != (c.want == nil || name == "a public channel") {
				t.Errorf("%s, %s: %+v", version, name, found)
			}
			for _, r := range d.routes(0) {
				if !strings.HasPrefix(r, "GET ") {
					t.Errorf("%s: asked %s", name, r)
				}
			}
			clean(t, name, got)
		}
	}
	d := newDesk(t)
	if got := problems(d.CheckPlace(t.Context(), "bob")); !strings.Contains(got, `Cards cannot be shown at "bob"`) || len(d.Requests()) != 0 {
		t.Errorf("an agent: %q", got)
	}
	for _, route := range []string{"rooms.info", "subscriptions.getOne", "me"} {
		d, _ := withChannel(t, rocketchattest.Room{Type: privateGroup})
		d.Fail(route, rocketchattest.Fault{Status: 502, Body: "<html>"}, 1)
		if got := problems(d.CheckPlace(t.Context(), agentsChannel)); !strings.Contains(got, "is not known") {
			t.Errorf("%s: %q", route, got)
		}
	}
}
