package rocketchat

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

const agentsChannel = "#support-agents"

// publicCard is a card as the bridge makes it if agents sign in.
func publicCard() chat.Card {
	c := exampleCard()
	c.Public = true
	c.More = []chat.Link{{Label: "End session", Address: "https://bridge.example.org/w/4kqRs7?stop=1"}}
	return c
}

// withChannel returns a desk with the room r, named support-agents.
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
				"[Co-browse](https://bridge.example.org/w/4kqRs7)  |  [End session](https://bridge.example.org/w/4kqRs7?stop=1)  |  " +
				"[Open the chat](https://chat.example.org/chat/live/room1)"
			posts := d.PostsIn(room)
			if len(posts) != 1 || posts[0].Text != want || string(c.Ref) != room+"/"+posts[0].ID {
				t.Fatalf("%s, %s: ref %q, posts %+v", version, kind, c.Ref, posts)
			}
			if p := d.Previewed(); p != nil {
				t.Errorf("the server may open the links of %q", p)
			}
			for _, title := range []string{"Live", "Chat closed"} {
				// A card without links is not personal, so it need not be Public.
				over := chat.Card{ID: c.ID, Ref: c.Ref, Title: title}
				if ref := d.show(t, agentsChannel, over); ref != c.Ref {
					t.Errorf("edited as %q, was %q", ref, c.Ref)
				}
				if got := texts(d.PostsIn(room)); !slices.Equal(got, []string{"*" + title + "*"}) {
					t.Errorf("the channel reads %q", got)
				}
			}
			if len(d.Posts("bob"))+len(d.Posts("eve")) != 0 {
				t.Error("an agent got the card as a direct message too")
			}
		}
	}
}

func TestAPostInAChannelWhoseAnswerWasLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, version := range []string{"7.0", "9.0"} {
			for _, edits := range []bool{true, false} {
				d, room := withChannel(t, rocketchattest.Room{Type: privateGroup})
				d.Version = version
				d.RefuseEdits(!edits)
				d.Fail("chat.sendMessage", rocketchattest.Fault{Done: true, Hang: true}, 1)
				c := publicCard()
				if _, err := d.Show(withTimeout(t, 50*time.Millisecond), chat.Place{Address: agentsChannel}, c); err == nil || chat.IsPermanent(err) {
					t.Fatalf("%s: the lost answer gives %v", version, err)
				}
				ref := d.show(t, agentsChannel, c)
				if posts := d.PostsIn(room); len(posts) != 1 || string(ref) != room+"/"+posts[0].ID {
					t.Errorf("%s, edits %v: ref %q, posts %+v", version, edits, ref, posts)
				}
			}
		}
	})
}

func TestAnAgentsOwnCardIsNeverShownInAChannel(t *testing.T) {
	t.Parallel()
	d, _ := withChannel(t, rocketchattest.Room{Type: privateGroup})
	public := publicCard()
	for name, c := range map[string]chat.Card{
		"its button is not public":   {ID: "1", Title: "x", Button: public.Button},
		"another link is not public": {ID: "1", Title: "x", More: public.More},
		"its button has no address":  {ID: "1", Title: "x", Button: chat.Link{Label: "Co-browse"}},
		"an edit that is not public": {ID: "1", Title: "x", Button: public.Button, Ref: "group00000000000001/m"},
	} {
		if _, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, c); !chat.IsPermanent(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := d.routes(0); got != nil {
		t.Errorf("asked %v", got)
	}
}

func TestOnlyTheAddressOfAChannelIsShared(t *testing.T) {
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
			if _, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, publicCard()); !errors.Is(err, errTarget) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for _, r := range d.Requests() {
			if r.Method != http.MethodGet {
				t.Errorf("%s: %s %s %s", name, r.Method, r.Path, r.Body)
			}
		}
	}

	t.Run("a room of the wrong type has the name", func(t *testing.T) {
		for name, r := range map[string]rocketchattest.Room{
			"a room of Voip":             {Type: "v"},
			"a direct message of others": {Type: "d", Members: []string{"bob", "eve"}},
			"the poster's own":           {Type: "d", Members: []string{"bob", "cobrowse"}},
			"of an unknown type":         {Type: "x"},
			"shared with other servers":  {Type: privateGroup, Federated: true},
			"a discussion":               {Type: privateGroup, Parent: "room00000000000001"},
			"a public discussion":        {Type: publicChannel, Parent: "GENERAL"},
		} {
			d, room := withChannel(t, r)
			if r.Type == "d" { // a direct message has no name, but this server says it has
				d.answers(`{"_id":"` + room + `","t":"d","name":"support-agents"}`)
			}
			refused(t, d, name)
		}
	})

	t.Run("a chat, with a poster who can see chats", func(t *testing.T) {
		d := newDesk(t)
		d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken, Roles: []string{"bot", "livechat-manager"}})
		d.ChangeRoom(d.chat, func(r *rocketchattest.Room) { r.Name = "support-agents" })
		refused(t, d, "a livechat room")
		if got := d.VisitorReads(d.chat); got != nil {
			t.Errorf("the visitor reads %q", got)
		}
	})

	t.Run("an answer that does not prove the channel", func(t *testing.T) {
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

	t.Run("a room that was read as a chat before", func(t *testing.T) {
		d := newDesk(t)
		if _, _, err := d.Serving(t.Context(), d.chat); err != nil {
			t.Fatal(err)
		}
		d.answers(`{"_id":"` + d.chat + `","t":"p","name":"support-agents"}`)
		refused(t, d, "a chat that the server now calls a group")

		d = newDesk(t)
		for _, kind := range []string{"l", "p"} { // the connector remembers the first
			d.answers(`{"_id":"later","t":"` + kind + `","name":"support-agents"}`)
			refused(t, d, "a group that the server called a chat before")
		}
	})
}

// answers makes the server answer with this room when it is asked for a room by its name.
func (d *desk) answers(room string) {
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"success":true,"room":` + room + `}`}, 2)
}

func TestANameThatMovesToAnotherRoomIsNotFollowed(t *testing.T) {
	t.Parallel()
	d, room := withChannel(t, rocketchattest.Room{Type: privateGroup})
	c := publicCard()
	c.Ref = d.show(t, agentsChannel, c)
	d.ChangeRoom(room, func(r *rocketchattest.Room) { r.Name = "support-old" })
	if _, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, c); err == nil || chat.IsPermanent(err) {
		t.Errorf("renamed: %v", err)
	}
	other := d.AddRoom(rocketchattest.Room{Type: publicChannel, Name: "support-agents", Members: []string{"eve", "cobrowse"}})
	if _, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, c); !errors.Is(err, errTarget) || chat.IsPermanent(err) || !strings.Contains(err.Error(), "restart the bridge") {
		t.Errorf("another room has the name: %v", err)
	}
	d.RemoveRoom(other)
	d.ChangeRoom(room, func(r *rocketchattest.Room) { r.Name = "support-agents" })
	if ref := d.show(t, agentsChannel, c); ref != c.Ref || len(d.PostsIn(room)) != 1 {
		t.Errorf("back again: ref %q, %d posts", ref, len(d.PostsIn(room)))
	}
}

func TestAChannelThatAnOperatorCanFixIsRetried(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		for name, c := range map[string]struct {
			room rocketchattest.Room
			says string
		}{
			"the poster is not a member": {rocketchattest.Room{Type: privateGroup, Members: []string{"bob"}}, "the poster lacks access to #support-agents: invite it there"},
			"it does not exist":          {rocketchattest.Room{}, "there is no channel #support-agents"},
		} {
			d := newDesk(t)
			d.Version = version
			if c.room.Type != "" {
				c.room.Name = "support-agents"
				d.AddRoom(c.room)
			}
			_, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, publicCard())
			if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v", version, name, err)
			}
		}
	}
	d, _ := withChannel(t, rocketchattest.Room{Type: privateGroup, Archived: true})
	if _, err := d.Show(t.Context(), chat.Place{Address: agentsChannel}, publicCard()); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "error-room-archived") {
		t.Errorf("archived: %v", err)
	}
}

func TestACheckOfAChannelSaysWhyCardsCannotBeShown(t *testing.T) {
	t.Parallel()
	everybody := []string{"bob", "cobrowse"}
	for name, c := range map[string]struct {
		room rocketchattest.Room
		want []string // of the problems; none means that cards can be shown
	}{
		"a private group":                {rocketchattest.Room{Type: privateGroup, Members: everybody}, nil},
		"read-only, owned by the poster": {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true, Owners: []string{"cobrowse"}}, nil},
		"read-only, poster unmuted":      {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true, Unmuted: []string{"cobrowse"}}, nil},
		"read-only":                      {rocketchattest.Room{Type: privateGroup, Members: everybody, ReadOnly: true}, []string{"is read-only for the user of ROCKETCHAT_POSTER_ID"}},
		"without the poster":             {rocketchattest.Room{Type: privateGroup, Members: []string{"bob"}}, []string{"poster is not in the channel #support-agents", "Invite the user of ROCKETCHAT_POSTER_ID"}},
		"archived":                       {rocketchattest.Room{Type: privateGroup, Members: everybody, Archived: true}, []string{"#support-agents is archived"}},
		"encrypted":                      {rocketchattest.Room{Type: privateGroup, Members: everybody, Encrypted: true}, []string{"end-to-end encryption"}},
		"shared with other servers":      {rocketchattest.Room{Type: privateGroup, Members: everybody, Federated: true}, []string{"Cards cannot be shown in #support-agents, because it is shared with other servers"}},
		"a discussion":                   {rocketchattest.Room{Type: privateGroup, Members: everybody, Parent: "GENERAL"}, []string{"because it is a discussion"}},
		"a room of Voip":                 {rocketchattest.Room{Type: "v", Members: everybody}, []string{"neither a private group nor a public channel"}},
		"a public channel":               {rocketchattest.Room{Type: publicChannel, Members: everybody}, []string{"everyone in the workspace can read which customers are helped"}},
		"public, without the poster":     {rocketchattest.Room{Type: publicChannel, Members: []string{"bob"}}, []string{"poster is not in the channel", "everyone in the workspace"}},
		"no channel of that name":        {rocketchattest.Room{}, []string{"There is no channel #support-agents"}},
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
			fine := slices.Contains(found, chat.Finding{Code: "rocketchat.place", OK: "Cards can be shown in the channel #support-agents."})
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
		d.Fail(route, rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, 1)
		if got := problems(d.CheckPlace(t.Context(), agentsChannel)); !strings.Contains(got, "Could not check") || !strings.Contains(got, "(a-new-code)") {
			t.Errorf("%s: %q", route, got)
		}
	}
}
