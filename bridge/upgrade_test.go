package bridge_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// The databases of earlier versions, one folder for each version; see the README there.
const (
	upgradeFolder = "store/testdata/upgrade"
	sqliteFile    = "bridge.db.gz"
	postgresFile  = "bridge.sql.gz"
)

// countedTables are the tables whose rows an upgrade must keep.
var countedTables = []string{
	"accounts", "audit", "browsers", "cards", "chat_changes", "deliveries", "erasures", "found",
	"limits", "posts", "river_job", "sessions", "sweeps", "waits",
}

// aboutDatabase describes the content of a database when it was written.
type aboutDatabase struct {
	People     []savedPerson
	Rooms      []savedRoom
	Cards      []savedCard
	Deliveries []savedDelivery // the unfinished ones
	Waits      []savedWait
	Receipts   []savedReceipt
	Accounts   []store.Account
	Session    savedSession
	Audit      savedAuditHead
	Browser    string         // the cookie of bob's browser
	Rows       map[string]int // by table
}

type (
	savedPerson struct {
		ID, Name, Unique, Key string
		Online                bool
	}
	savedRoom struct{ ID, Key string }
	savedCard struct {
		Connector, Chat, State, Agent, Visitor string
		Kind                                   store.Kind `json:",omitzero"` // zero is KindChat
		Episode                                int        `json:",omitzero"` // zero is the first
		Door                                   string     // its path
		Answer                                 int        // the status of its page for bob
		Posts                                  int
		Detail                                 string
	}
	savedDelivery struct {
		ID, Connector, Key, State string
		Found, Late, Changes      bool
	}
	savedWait      struct{ Card, Agent string }
	savedReceipt   struct{ ID, State string }
	savedSession   struct{ Token, Data string }
	savedAuditHead struct {
		Seq  int64
		Hash string
	}
)

func TestADatabaseOfAnEarlierVersionWorksOn(t *testing.T) {
	t.Parallel()
	versions, err := os.ReadDir(upgradeFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range versions {
		if !version.IsDir() {
			continue
		}
		for _, engine := range []string{"sqlite", "postgres"} {
			t.Run(version.Name()+"/"+engine, func(t *testing.T) {
				t.Parallel()
				address, about := earlierDatabase(t, filepath.Join(upgradeFolder, version.Name()), engine)
				u := newUpgradeWorld(t, address)
				u.about = about

				u.checkContent()
				for _, p := range about.People {
					u.addPerson(p)
				}
				u.reopenRooms()
				u.start()
				u.checkEveryDoor()
				u.checkPress("rocketchat", u.about.Rooms[3].ID, 1)
				u.checkPress("helpdesk", "cust-77", 2)
				u.checkPress("helpdesk", "ticket#12", 1)
				u.waitForDeliveries()
				_, err := u.bridgeStore().AuditLog().Verify(u.Context(), audit.Head{})
				u.must(err)
			})
		}
	}
}

// Before the fifth migration, the chat's id also contained the kind of the card and the number
// of the conversation.
func TestTheMigrationSplitsChatIDsIntoColumns(t *testing.T) {
	t.Parallel()
	type place struct {
		connector string
		kind      store.Kind
		chat      string
		episode   int
	}
	after := map[string]place{
		"asked/1234.5":            {"helpdesk", store.KindLookUp, "1234.5", 1},
		"asked/x#2":               {"helpdesk", store.KindLookUp, "x#2", 1},
		"open/card-1/slack:T/U/0": {"helpdesk", store.KindPress, "card-1/slack:T/U", 1},
		"open/card-1/slack:T/U/7": {"helpdesk", store.KindPress, "card-1/slack:T/U", 8},
		"open/7":                  {"helpdesk", store.KindChat, "open/7", 1},
		"cust-77#3":               {"helpdesk", store.KindChat, "cust-77", 3},
		"cust-77#12":              {"helpdesk", store.KindChat, "cust-77", 12},
		"cust-77#1":               {"helpdesk", store.KindChat, "cust-77#1", 1},
		"cust-77#02":              {"helpdesk", store.KindChat, "cust-77#02", 1},
		"cust-77#1234567890":      {"helpdesk", store.KindChat, "cust-77#1234567890", 1},
		"CUST-77#2":               {"helpdesk", store.KindChat, "CUST-77#2", 1},
		"nobody#2":                {"helpdesk", store.KindChat, "nobody#2", 1},
		"#2":                      {"helpdesk", store.KindChat, "#2", 1},
		"42":                      {"helpdesk", store.KindChat, "42", 1},
		"Asked/1":                 {"helpdesk", store.KindChat, "Asked/1", 1},
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			address, _ := earlierDatabase(t, filepath.Join(upgradeFolder, "v1"), engine)
			for chat := range after {
				execSQL(t, address, fmt.Sprintf(`INSERT INTO cards (id, connector, chat, agent, visitor, state, version, generation, created, updated, door_until)
					VALUES ('id %[1]s', 'helpdesk', '%[1]s', '', '', 'ready', 1, 0, 0, 0, 0)`, chat))
			}
			s, err := store.Open(t.Context(), address, store.Options{Secret: []byte(bridgeSecret)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			for chat, want := range after {
				c, err := s.Card(t.Context(), "id "+chat)
				if got := (place{c.Connector, c.Kind, c.Chat, c.Episode}); err != nil || got != want {
					t.Errorf("chat %s became %+v, want %+v: %v", chat, got, want, err)
				}
			}
		})
	}
}

// handleHash returns the hash in the store for the path of a door.
func handleHash(t testing.TB, door string) [sha256.Size]byte {
	t.Helper()
	h, err := book.ParseHandle(strings.TrimPrefix(door, "/w/"))
	if err != nil {
		t.Fatal(err)
	}
	return h.Hash()
}

// earlierDatabase copies a database that an earlier version wrote, and returns its address.
func earlierDatabase(t *testing.T, folder, engine string) (address string, about aboutDatabase) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, engine+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &about); err != nil {
		t.Fatal(err)
	}
	if engine == "sqlite" {
		file := filepath.Join(t.TempDir(), "bridge.db")
		if err := os.WriteFile(file, gunzip(t, filepath.Join(folder, sqliteFile)), 0o600); err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + file, about
	}
	address = newPostgres(t)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), string(gunzip(t, filepath.Join(folder, postgresFile)))).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return address, about
}

// checkContent opens the store, which migrates it, and compares its content with what the
// earlier version wrote. No bridge runs yet.
func (u *upgradeWorld) checkContent() {
	u.Helper()
	ctx := u.Context()
	s, err := store.Open(ctx, u.address, store.Options{Secret: []byte(bridgeSecret)})
	u.must(err)
	defer func() { u.must(s.Close()) }()

	for table, want := range u.about.Rows {
		if got := countRows(u, u.address, table); got != want {
			u.Errorf("%s has %d rows, want %d", table, got, want)
		}
	}
	for _, want := range u.about.Cards {
		c, _, err := s.CardByHandle(ctx, handleHash(u, want.Door))
		if err != nil {
			u.Errorf("the card of %s: %v", want.Chat, err)
			continue
		}
		posts, err := s.Posts(ctx, c.ID)
		u.must(err)
		got := want
		got.Connector, got.Kind, got.Chat, got.Episode = c.Connector, c.Kind, c.Chat, c.Episode
		got.State, got.Agent, got.Visitor, got.Posts, got.Detail = c.State, c.Agent, c.Visitor, len(posts), string(c.Detail)
		want.Kind, want.Episode = cmp.Or(want.Kind, store.KindChat), max(want.Episode, 1)
		if got != want {
			u.Errorf("the card of %s is %+v, want %+v", want.Chat, got, want)
		}
	}
	unfinished := map[string]string{}
	for b, err := range s.UnfinishedDeliveries(ctx) {
		u.must(err)
		unfinished[b.ID] = b.State
	}
	want := map[string]string{}
	for _, d := range u.about.Deliveries {
		want[d.ID] = d.State
		got, err := s.Delivery(ctx, d.ID)
		u.must(err)
		found, late := got.Found, got.FoundLate
		if is := (savedDelivery{d.ID, got.Connector, got.Key, d.State, found, late, got.ChangesPending}); is != d {
			u.Errorf("a delivery is %+v, want %+v", is, d)
		}
	}
	if !maps.Equal(unfinished, want) {
		u.Errorf("the unfinished deliveries are %v, want %v", unfinished, want)
	}
	for _, w := range u.about.Waits {
		if waits, err := s.Waiting(ctx, w.Card, w.Agent); err != nil || !waits {
			u.Errorf("agent %s does not wait for the customer of card %s: %v", w.Agent, w.Card, err)
		}
	}
	for _, r := range u.about.Receipts {
		if got, err := s.Receipt(ctx, r.ID); err != nil || got.State != r.State {
			u.Errorf("receipt %s is %q, want %q: %v", r.ID, got.State, r.State, err)
		}
	}
	for _, a := range u.about.Accounts {
		got, err := s.Account(ctx, a.ID)
		u.must(err)
		if got.Agent != a.Agent || got.How != a.How || got.Name != a.Name || !got.Since.Equal(a.Since.Truncate(time.Microsecond)) {
			u.Errorf("the account is %+v, want %+v", got, a)
		}
	}
	data, found, err := s.AgentSessions().FindCtx(ctx, u.about.Session.Token)
	if err != nil || !found || string(data) != u.about.Session.Data {
		u.Errorf("the agent's session holds %q: %v", data, err)
	}
	head := audit.Head{Seq: u.about.Audit.Seq}
	hash, err := hex.DecodeString(u.about.Audit.Hash)
	u.must(err)
	copy(head.Hash[:], hash)
	span, err := s.AuditLog().Verify(ctx, head)
	if err != nil || span.Head != head || span.First != 1 {
		u.Errorf("the audit log is %+v, want its head at %d: %v", span, head.Seq, err)
	}
}

// reopenRooms opens the chats at Rocket.Chat again, with the same ids.
func (u *upgradeWorld) reopenRooms() {
	u.Helper()
	for _, room := range u.about.Rooms {
		v := rocketchattest.Visitor{ID: "visitor-" + room.Key, Username: "guest", Name: "Ann", Token: visitorToken, Fields: map[string]string{}}
		if room.Key != "" {
			v.Fields["upscope_key"] = room.Key
		}
		for id := ""; id != room.ID; { // the workspace numbers its rooms
			if id > room.ID {
				u.Fatalf("the workspace opened room %s but not %s", id, room.ID)
			}
			id = u.chat.StartChat(v)
		}
		u.chat.Take(room.ID, "bob")
		for _, c := range u.about.Cards {
			if c.Chat == room.ID && c.State == string(card.Closed) {
				u.chat.CloseChat(room.ID)
			}
		}
	}
}

// checkEveryDoor has bob open the page of every card.
func (u *upgradeWorld) checkEveryDoor() {
	u.Helper()
	for _, c := range u.about.Cards {
		if got := u.bob().loads(c.Door); got.StatusCode != c.Answer {
			u.Errorf("the page of the card of %s in state %s is answered %d, want %d: %s", c.Chat, c.State, got.StatusCode, c.Answer, got.body)
		}
	}
}

// checkPress has bob press the button of a card and checks the watch link.
func (u *upgradeWorld) checkPress(connector, chat string, episode int) {
	u.Helper()
	i := slices.IndexFunc(u.about.Cards, func(c savedCard) bool {
		return c.Connector == connector && c.Chat == chat && max(c.Episode, 1) == episode
	})
	if i < 0 {
		u.Fatalf("the database has no card of %s", chat)
	}
	b := u.bob()
	page := b.loads(u.about.Cards[i].Door)
	link := b.press(u.about.Cards[i].Door, url.Values{"visitor": {onlyFormValue(u, page)}}).wantWatch(u)
	for _, r := range u.upscope.Watches() {
		if r.URL == link {
			return
		}
	}
	u.Errorf("the press on the card of %s led to %s, which Upscope did not make", chat, link)
}

// waitForDeliveries waits until only the permanently failed deliveries are
// unfinished.
func (u *upgradeWorld) waitForDeliveries() {
	u.Helper()
	failed := map[string]bool{}
	for _, d := range u.about.Deliveries {
		if d.State == store.DeliveryFailed {
			failed[d.ID] = true
		}
	}
	for deadline := time.Now().Add(3 * time.Minute); ; <-time.After(100 * time.Millisecond) {
		unfinished := map[string]bool{}
		for b, err := range u.bridgeStore().UnfinishedDeliveries(u.Context()) {
			u.must(err)
			unfinished[b.ID] = true
		}
		if maps.Equal(unfinished, failed) {
			break
		}
		if time.Now().After(deadline) {
			u.Fatalf("the unfinished deliveries are %v, want only the failed %v", unfinished, failed)
		}
	}
	for _, chat := range []string{"order", "order#blue"} {
		if changes, err := u.bridgeStore().PendingChanges(u.Context(), "helpdesk", chat); err != nil || len(changes) > 0 {
			u.Errorf("changes of %s are still pending: %v, %v", chat, changes, err)
		}
	}
}

// An upgradeWorld is a bridge on its own database, with a Rocket.Chat workspace, two help desks
// and Upscope, in real time.
type upgradeWorld struct {
	*world
	address string
	shared  *store.Store // nil for SQLite
	about   aboutDatabase

	mu           sync.Mutex
	helpdeskDown bool            // whether the help desk is down
	list         []helpdeskEvent // what a sweep finds
	swept        int             // sweeps since list changed
}

func newUpgradeWorld(t *testing.T, address string) *upgradeWorld {
	t.Helper()
	u := &upgradeWorld{address: address, about: aboutDatabase{Rows: map[string]int{}}}
	file, isFile := strings.CutPrefix(address, "sqlite:")
	if !isFile {
		file = filepath.Join(t.TempDir(), "not-used.db")
	}
	u.world = &world{T: t, file: file, log: &logBuffer{}, upscope: upscopetest.New(upscopetest.Options{Key: upscopeKey}), chat: newWorkspace(t)}
	u.logOnFailure()
	return u
}

func (u *upgradeWorld) start() {
	u.Helper()
	u.world.start(options{config: func(c *bridge.Config) {
		if strings.HasPrefix(u.address, "postgres") {
			var err error
			u.shared, err = store.Open(u.Context(), u.address, store.Options{Secret: []byte(bridgeSecret), Log: c.Log})
			u.must(err)
			u.must(c.Store.Close()) // the file is not used
			c.Store = u.shared
		}
		c.Connectors = append(c.Connectors, u.helpdesk("helpdesk"), u.helpdesk("helpdesk-two"))
	}})
	if u.shared != nil {
		u.store = u.shared
	}
}

// bridgeStore returns the store of the bridge.
func (u *upgradeWorld) bridgeStore() *store.Store { return u.store }

// bob returns a browser with the cookie of bob's when the database was written.
func (u *upgradeWorld) bob() *browser {
	b := u.browser()
	b.cookies["__Host-browser"] = &http.Cookie{Name: "__Host-browser", Value: u.about.Browser}
	return b
}

// A helpdeskEvent is an event of a help desk, whose chats can have any name.
type helpdeskEvent struct {
	At, Key, Chat string
	New, Done     bool
	// NotNow means that the event cannot be read while the help desk is down, Broken that it
	// never can be.
	NotNow, Broken bool
	// Takes means that the delivery takes the chat from its agent: it is "closed", or the id
	// of the next agent.
	Takes string
	// Forward means that another receiver gets the event too.
	Forward bool
}

// helpdesk returns the connector of a help desk whose chats are all with Ann.
func (u *upgradeWorld) helpdesk(name string) chat.Connector {
	c := chat.Connector{
		Name: name,
		Accept: func(_ *http.Request, body []byte) (chat.Receipt, error) {
			var e helpdeskEvent
			err := json.Unmarshal(body, &e)
			r := chat.Receipt{Key: e.Key}
			if e.Takes != "" {
				r.Changes = []chat.ChatChange{{Chat: e.Chat, Closed: e.Takes == "closed", Agent: strings.TrimPrefix(e.Takes, "closed")}}
			}
			if e.Forward {
				r.Forward = body
			}
			return r, err
		},
		Read: func(_ context.Context, d chat.Delivery) (chat.Ask, error) {
			var e helpdeskEvent
			switch err := json.Unmarshal(d.Body, &e); {
			case err != nil || e.Broken:
				return chat.Ask{}, chat.Permanent(errors.New("the event cannot be read"))
			case e.NotNow && u.isDown():
				return chat.Ask{}, errors.New("the help desk is down")
			case e.Done:
				return chat.Ask{Verb: chat.Close, Chat: e.Chat}, nil
			case e.Takes != "":
				return chat.Ask{}, nil // ignored
			}
			return chat.Ask{
				Verb: chat.Start, Chat: e.Chat, New: e.New, Agent: chat.Agent{ID: "team", Name: "Team"},
				Clues: chat.Clues{UniqueID: "cust-77"},
			}, nil
		},
		Forward: func(context.Context, chat.Delivery) error {
			if u.isDown() {
				return errors.New("the receiver is down")
			}
			return nil
		},
	}
	if name == "helpdesk" {
		c.SweepEvery = time.Second
		c.Sweep = func(ctx context.Context, found func(context.Context, []chat.Delivery) error) error {
			u.mu.Lock()
			page := make([]chat.Delivery, 0, len(u.list))
			for _, e := range u.list {
				body, err := json.Marshal(e)
				u.must(err)
				page = append(page, chat.Delivery{Key: e.Key, Body: body})
			}
			u.mu.Unlock()
			err := found(ctx, page)
			u.mu.Lock()
			defer u.mu.Unlock()
			u.swept++
			return err
		}
	}
	return c
}

func (u *upgradeWorld) isDown() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.helpdeskDown
}

func (u *upgradeWorld) setDown(down bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.helpdeskDown = down
}

// addToSweep adds chats to those that a sweep finds, and restarts the count of sweeps.
func (u *upgradeWorld) addToSweep(all ...helpdeskEvent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list, u.swept = append(u.list, all...), 0
}

// sweepCount returns the number of finished sweeps since the list changed.
func (u *upgradeWorld) sweepCount() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.swept
}

func gunzip(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func countRows(t testing.TB, address, table string) (n int) {
	t.Helper()
	withSQL(t, address, func(db *sql.DB) error {
		return db.QueryRow("SELECT count(*) FROM " + table).Scan(&n)
	})
	return n
}

// exec changes the database directly, without the store.
func (u *upgradeWorld) exec(query string) {
	u.Helper()
	execSQL(u, u.address, query)
}

func execSQL(t testing.TB, address, query string) {
	t.Helper()
	withSQL(t, address, func(db *sql.DB) error {
		_, err := db.Exec(query)
		return err
	})
}

func withSQL(t testing.TB, address string, do func(db *sql.DB) error) {
	t.Helper()
	driver := "pgx"
	if file, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, address = "sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(10000)", file)
	}
	db, err := sql.Open(driver, address)
	if err == nil {
		err = errors.Join(do(db), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
