package bridge_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// writeUpgrade is the variable with the version for which TestWriteUpgradeDatabases writes databases.
const writeUpgrade = "BRIDGE_WRITE_UPGRADE"

// TestWriteUpgradeDatabases writes the databases of this version for
// TestADatabaseOfAnEarlierVersionWorksOn. It needs pg_dump.
func TestWriteUpgradeDatabases(t *testing.T) {
	version := os.Getenv(writeUpgrade)
	if version == "" {
		t.Skip(writeUpgrade + " is not set to a version")
	}
	folder := filepath.Join(upgradeFolder, version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			address := "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
			if engine == "postgres" {
				address = newPostgres(t)
			}
			about := fillDatabase(t, address)
			text, err := json.MarshalIndent(about, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, engine+".json"), append(text, '\n'))
			if engine == "sqlite" {
				write(t, filepath.Join(folder, sqliteFile), compress(t, sqliteBytes(t, address)))
			} else {
				write(t, filepath.Join(folder, postgresFile), compress(t, dump(t, address)))
			}
		})
	}
}

// fillDatabase has a bridge write rows of every kind, and returns the description that the
// upgrade test compares with.
func fillDatabase(t *testing.T, address string) aboutDatabase {
	f := &filler{upgradeWorld: newUpgradeWorld(t, address)}
	f.people()
	f.setDown(true)
	// The first sweep finds chats that may be old.
	f.addToSweep(helpdeskEvent{Key: "late", Chat: "found-late"}, helpdeskEvent{Key: "late-waits", Chat: "found-late-waits", NotNow: true})
	f.start()
	f.cards()
	f.helpdeskChats()
	f.erasures()
	f.lastCards()
	f.stop()
	f.upscope.Heal()
	f.leftovers()
	f.extendTimes()
	f.describe()
	f.end()
	for _, table := range countedTables {
		f.about.Rows[table] = countRows(t, address, table)
	}
	return f.about
}

// A filler fills one database.
type filler struct {
	*upgradeWorld
	bob *browser
}

// people adds the customers to Upscope.
func (f *filler) people() {
	for _, p := range []savedPerson{
		{ID: "offlineOtto1", Name: "Otto", Key: "offline-key-0123456789"},
		{ID: "choiceCora1", Name: "Cora", Key: "choose-key-0123456789", Online: true},
		{ID: "choiceCarl1", Name: "Carl", Key: "choose-key-0123456789", Online: true},
		{ID: "readyRita01", Name: "Rita", Key: "ready-key-0123456789", Online: true},
		{ID: "openOlga001", Name: "Olga", Key: "opened-key-0123456789", Online: true},
		{ID: "liveLars001", Name: "Lars", Key: "live-key-0123456789", Online: true},
		{ID: "endEdda0001", Name: "Edda", Key: "ended-key-0123456789", Online: true},
		{ID: "closeClio01", Name: "Clio", Key: "closed-key-0123456789", Online: true},
		{ID: "goneGus0001", Name: "Gus", Key: "erased-key-0123456789", Online: true},
		{ID: "annSilva077", Name: "Ann Silva", Unique: "cust-77", Key: "helpdesk-key-0123456789", Online: true},
	} {
		f.about.People = append(f.about.People, p)
		f.addPerson(p)
	}
}

// openChat opens a chat whose customer has the key, and has bob take it.
func (f *filler) openChat(key string) (room string) {
	f.Helper()
	fields := map[string]string{}
	if key != "" {
		fields["upscope_key"] = key
	}
	room = f.chat.StartChat(rocketchattest.Visitor{ID: "visitor-" + key, Username: "guest", Name: "Ann", Token: visitorToken, Fields: fields})
	f.about.Rooms = append(f.about.Rooms, savedRoom{ID: room, Key: key})
	f.chat.Take(room, "bob")
	f.deliverEvent("LivechatSessionTaken", room)
	return room
}

func (f *filler) deliverEvent(event, room string) {
	f.Helper()
	body, header := f.chat.Event(event, room)
	f.post("/hooks/rocketchat", body, header).want(f, http.StatusOK)
}

// waitForState waits for the state of a card, and returns the card.
func (f *filler) waitForState(connector, chat string, state card.State) (c store.Card) {
	f.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for ; ; <-time.After(20 * time.Millisecond) {
		var err error
		if c, err = f.bridgeStore().CardOfChat(f.Context(), connector, store.KindChat, chat); err == nil && c.State == string(state) {
			return c
		}
		if time.Now().After(deadline) {
			f.Fatalf("the card of %s is %q, want %s", chat, c.State, state)
		}
	}
}

func (f *filler) door(c store.Card) string { return "/w/" + handleOf(f, c) }

// pressButton has bob press the button of a chat. If watch is set, it opens the watch link.
func (f *filler) pressButton(c store.Card, watch bool) (session string) {
	f.Helper()
	page := f.bob.loads(f.door(c))
	link := f.bob.press(f.door(c), url.Values{"visitor": {onlyFormValue(f, page)}}).wantWatch(f)
	if !watch {
		return ""
	}
	for _, r := range f.upscope.Watches() {
		if r.URL == link {
			session, err := f.upscope.Open(r)
			f.must(err)
			return session
		}
	}
	f.Fatal("Upscope did not make the link")
	return ""
}

// cards brings chats of Rocket.Chat into the states that do not change by themselves.
func (f *filler) cards() {
	f.bob = f.browser()
	nobody := f.openChat("nobody-key-0123456789")
	rooms := map[card.State]string{}
	for _, state := range []card.State{card.Offline, card.Choose, card.Ready, card.Opened, card.Live, card.Ended, card.Closed} {
		rooms[state] = f.openChat(string(state) + "-key-0123456789")
	}
	offline := f.waitForState("rocketchat", rooms[card.Offline], card.Offline)
	f.bob.press(f.door(offline), url.Values{"tell": {"1"}}).want(f, http.StatusOK, "Waiting for the customer to come back")
	f.waitForState("rocketchat", rooms[card.Choose], card.Choose)
	f.waitForState("rocketchat", rooms[card.Ready], card.Ready)
	ready := func(state card.State) store.Card { return f.waitForState("rocketchat", rooms[state], card.Ready) }
	f.pressButton(ready(card.Live), true)
	over := f.pressButton(ready(card.Ended), true)
	closed := f.pressButton(ready(card.Closed), true)
	f.waitForState("rocketchat", rooms[card.Live], card.Live)
	f.waitForState("rocketchat", rooms[card.Ended], card.Live)
	f.upscope.End(over, 5, "Helped with the address.")
	f.upscope.End(closed, 4)
	f.waitForState("rocketchat", rooms[card.Ended], card.Ended)
	f.chat.CloseChat(rooms[card.Closed])
	f.deliverEvent("LivechatSession", rooms[card.Closed])
	f.waitForState("rocketchat", rooms[card.Closed], card.Closed)
	f.waitForState("rocketchat", nobody, card.NoVisitor)
	f.pressButton(ready(card.Opened), false)
	f.waitForState("rocketchat", rooms[card.Opened], card.Opened)
}

// helpdeskChats adds chats whose names contain a #, and deliveries from sweeps or with keys
// that look like those of sweeps. Some of them cannot be processed.
func (f *filler) helpdeskChats() {
	send := func(e helpdeskEvent) {
		f.Helper()
		body, err := json.Marshal(e)
		f.must(err)
		f.post("/hooks/"+e.At, body, http.Header{}).want(f, http.StatusOK)
	}
	// A second conversation of a chat that has a card already.
	send(helpdeskEvent{At: "helpdesk", Key: "1", Chat: "cust-77"})
	f.waitForState("helpdesk", "cust-77", card.Ready)
	send(helpdeskEvent{At: "helpdesk", Key: "2", Chat: "cust-77", Done: true})
	f.waitForState("helpdesk", "cust-77", card.Closed)
	<-time.After(10 * time.Millisecond)
	send(helpdeskEvent{At: "helpdesk", Key: "3", Chat: "cust-77", New: true})
	f.waitForState("helpdesk", "cust-77", card.Ready)
	// Names with a # that are not the second conversation of a chat: no chat has the first part
	// as its name, or only a chat of another service has, or the second part is not a number.
	send(helpdeskEvent{At: "helpdesk", Key: "4", Chat: "ticket#12"})
	f.waitForState("helpdesk", "ticket#12", card.Ready)
	send(helpdeskEvent{At: "helpdesk-two", Key: "1", Chat: "ticket"})
	f.waitForState("helpdesk-two", "ticket", card.Ready)
	send(helpdeskEvent{At: "helpdesk", Key: "5", Chat: "order"})
	f.waitForState("helpdesk", "order", card.Ready)
	send(helpdeskEvent{At: "helpdesk", Key: "6", Chat: "order#blue"})
	f.waitForState("helpdesk", "order#blue", card.Ready)

	f.waitForState("helpdesk", "found-late", card.Ready)
	eventually(f, "the first sweep has ended", func() bool { return f.sweepCount() > 0 })
	// A later sweep finds new chats.
	f.addToSweep(helpdeskEvent{Key: "new", Chat: "found-new"}, helpdeskEvent{Key: "new-waits", Chat: "found-new-waits", NotNow: true})
	f.waitForState("helpdesk", "found-new", card.Ready)
	eventually(f, "the second sweep has stored its deliveries", func() bool { return f.unfinished("found/") > 1 })
	// Webhooks with keys that look like those of sweeps.
	send(helpdeskEvent{At: "helpdesk", Key: "found/webhook", Chat: "by-webhook"})
	send(helpdeskEvent{At: "helpdesk", Key: "found/late/webhook-waits", Chat: "by-webhook-waits", NotNow: true})

	send(helpdeskEvent{At: "helpdesk", Key: "broken", Chat: "broken", Broken: true})
	eventually(f, "a delivery has failed", func() bool { return f.inState(store.DeliveryFailed) == 1 })
	send(helpdeskEvent{At: "helpdesk", Key: "handed-on", Chat: "order", NotNow: true, Forward: true})
	send(helpdeskEvent{At: "helpdesk", Key: "7", Chat: "order", NotNow: true, Takes: "closed"})
	send(helpdeskEvent{At: "helpdesk", Key: "8", Chat: "order#blue", NotNow: true, Takes: "other"})
	eventually(f, "the waiting deliveries were tried", func() bool {
		for b, err := range f.bridgeStore().UnfinishedDeliveries(f.Context()) {
			f.must(err)
			if b.State == store.DeliveryWaiting && len(b.Errors) == 0 && b.Attempts == 0 {
				return false
			}
		}
		return true
	})
}

// erasures erases a customer whose screen was watched.
func (f *filler) erasures() {
	room := f.openChat("erased-key-0123456789")
	f.pressButton(f.waitForState("rocketchat", room, card.Ready), false)
	f.waitForState("rocketchat", room, card.Opened)
	f.chat.CloseChat(room)
	f.deliverEvent("LivechatSession", room)
	f.waitForState("rocketchat", room, card.Closed)
	<-time.After(2 * time.Second) // until the post is edited
	eraser, err := erase.NewEraser(f.bridgeStore(), []byte(bridgeSecret), nil)
	f.must(err)
	r, err := eraser.Erase(f.Context(), card.Person{Kind: card.ByShortID, ID: "goneGus0001"}, "operator:ann", false)
	f.must(err)
	f.about.Receipts = append(f.about.Receipts, savedReceipt{r.ID, r.State})
}

// lastCards adds cards in states that change by themselves.
func (f *filler) lastCards() {
	f.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusInternalServerError}, -1)
	room := f.openChat("failed-key-0123456789")
	f.waitForState("rocketchat", room, card.Failed)
	room = f.openChat("")
	f.waitForState("rocketchat", room, card.Searching)
}

// leftovers adds the unfinished work of a stopped bridge, an erasure that waits for Upscope,
// and rows that belong to no chat.
func (f *filler) leftovers() {
	s, ctx := f.bridgeStore(), f.Context()
	eraser, err := erase.NewEraser(s, []byte(bridgeSecret), nil)
	f.must(err)
	r, err := eraser.Erase(ctx, card.Person{Kind: card.ByUniqueID, ID: "cust-99"}, "operator:ann", true)
	f.must(err)
	f.about.Receipts = append(f.about.Receipts, savedReceipt{r.ID, r.State})

	ready := f.waitForState("rocketchat", f.about.Rooms[3].ID, card.Ready)
	offline := f.waitForState("rocketchat", f.about.Rooms[1].ID, card.Offline)
	f.about.Waits = append(f.about.Waits, savedWait{offline.ID, offline.Agent})
	f.must(s.Commit(ctx, store.Change{Jobs: []jobs.Job{
		{Queue: "rocketchat", Kind: "show", Subject: ready.ID},
		{Queue: "rocketchat", Kind: "refresh", Subject: offline.ID, At: time.Now().Add(time.Hour)},
		{Queue: "rocketchat", Kind: "tell", Subject: offline.ID},
	}}))
	// A job that runs, as a process that was killed leaves it.
	f.exec(`UPDATE river_job SET state = 'running', attempted_at = created_at WHERE args ->> 'kind' = 'show' AND state = 'available'`)

	account := store.Account{ID: "slack:T1/U2", Agent: "oidc:bob", How: "agent", Since: time.Now(), Name: "Bob Baker"}
	f.must(s.Commit(ctx, store.Change{Connect: &account, Audit: []audit.Entry{{Action: "connected", Agent: account.Agent, Detail: account.ID}}}))
	f.about.Accounts = append(f.about.Accounts, account)
	f.about.Session = savedSession{Token: "hash-of-a-token", Data: "session data"}
	f.must(s.AgentSessions().CommitCtx(ctx, f.about.Session.Token, []byte(f.about.Session.Data), time.Now().Add(time.Hour)))
	f.must(s.Spend(ctx, limit.Spending{Limit: limit.Limit{Name: "watch", Acts: 6, While: time.Minute}, Subject: "oidc:bob"}))
}

// extendTimes moves the ends of doors, waits, sessions, browsers and limits into the far future, so
// that a test can use the database at any time.
func (f *filler) extendTimes() {
	const far = "4102444800000000" // the year 2100, in microseconds
	for _, change := range []string{
		`UPDATE cards SET door_until = ` + far + ` WHERE door_until > 0`,
		`UPDATE waits SET until = ` + far + `, due = ` + far,
		`UPDATE sessions SET expires = ` + far,
		`UPDATE browsers SET expires = ` + far,
		`UPDATE limits SET free = ` + far + ` WHERE subject IN (SELECT subject FROM limits ORDER BY subject DESC LIMIT 1)`,
	} {
		f.exec(change)
	}
}

// describe records what the upgrade test must find again.
func (f *filler) describe() {
	s, ctx := f.bridgeStore(), f.Context()
	for after := ""; ; {
		page, err := s.Cards(ctx, after)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			after = c.ID
			posts, err := s.Posts(ctx, c.ID)
			f.must(err)
			door := f.door(c)
			f.about.Cards = append(f.about.Cards, savedCard{
				Connector: c.Connector, Kind: c.Kind, Chat: c.Chat, Episode: c.Episode, State: c.State, Agent: c.Agent, Visitor: c.Visitor,
				Door: door, Answer: f.bob.loads(door).StatusCode, Posts: len(posts), Detail: string(c.Detail),
			})
		}
	}
	for b, err := range s.UnfinishedDeliveries(ctx) {
		f.must(err)
		d, err := s.Delivery(ctx, b.ID)
		f.must(err)
		found, late := d.Found, d.FoundLate
		f.about.Deliveries = append(f.about.Deliveries, savedDelivery{b.ID, b.Connector, b.Key, b.State, found, late, d.ChangesPending})
	}
	var states []string
	for _, c := range f.about.Cards {
		states = append(states, c.State)
	}
	for _, state := range []card.State{card.Searching, card.NoVisitor, card.Choose, card.Offline, card.Ready, card.Opened, card.Live, card.Ended, card.Closed, card.Failed} {
		if !slices.Contains(states, string(state)) {
			f.Errorf("no card is %s", state)
		}
	}
	f.about.Browser = f.bob.cookies["__Host-browser"].Value
	head, err := s.AuditLog().Head(ctx)
	f.must(err)
	f.about.Audit = savedAuditHead{head.Seq, hex.EncodeToString(head.Hash[:])}
}

// handleOf returns the handle in the path of a card's door; see keys.go in bridge/book.
func handleOf(t testing.TB, c store.Card) string {
	t.Helper()
	key, err := hkdf.Key(sha256.New, []byte(bridgeSecret), nil, "bridge door handle", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	half := func(use string, generation int) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(binary.BigEndian.AppendUint32([]byte(use), uint32(generation)))
		mac.Write([]byte(c.ID))
		return mac.Sum(nil)[:16]
	}
	finds := half("finds", 0)
	if sha256.Sum256(finds) != c.HandleHash {
		t.Fatalf("card %s has another handle", c.ID)
	}
	return base64.RawURLEncoding.EncodeToString(append(finds, half("opens", c.Generation)...))
}

func (f *filler) inState(state string) (n int) {
	for b, err := range f.bridgeStore().UnfinishedDeliveries(f.Context()) {
		f.must(err)
		if b.State == state {
			n++
		}
	}
	return n
}

func (f *filler) unfinished(prefix string) (n int) {
	for b, err := range f.bridgeStore().UnfinishedDeliveries(f.Context()) {
		f.must(err)
		if bytes.HasPrefix([]byte(b.Key), []byte(prefix)) {
			n++
		}
	}
	return n
}

func sqliteBytes(t *testing.T, address string) []byte {
	for _, query := range []string{"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		execSQL(t, address, query)
	}
	data, err := os.ReadFile(address[len("sqlite:"):])
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// dump returns a database as statements that any client of PostgreSQL 14 or later can run.
func dump(t *testing.T, address string) []byte {
	cmd := exec.CommandContext(t.Context(), "pg_dump", "--no-owner", "--no-privileges", "--inserts", "--dbname", address)
	out, err := cmd.Output()
	if err != nil {
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			t.Log(string(failed.Stderr))
		}
		t.Fatal(err)
	}
	return onlyPsql.ReplaceAll(out, nil)
}

// onlyPsql matches comments, commands of psql and settings that older servers do not have.
var onlyPsql = regexp.MustCompile(`(?m)^(\\.*|SET transaction_timeout.*|--.*|)\n`)

func compress(t *testing.T, data []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// addPerson adds a person to Upscope.
func (u *upgradeWorld) addPerson(p savedPerson) {
	identity := "rocketchat:" + p.Key
	u.upscope.Come(upscope.Visitor{ShortID: p.ID, Name: p.Name, UniqueID: p.Unique, Identities: []string{identity}, LastURL: "https://shop.example.org/basket"})
	u.upscope.SetIntegrationIDs(p.ID, identity)
	if !p.Online {
		u.upscope.Go(p.ID)
	}
}
