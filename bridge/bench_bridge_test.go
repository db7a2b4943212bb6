package bridge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A benchBridge is a bridge with any number of cards and visitors, for benchmarks and counts.
// Each card belongs to one of benchAgents agents, who has not pressed its button yet and
// whose browser the bridge remembers.
type benchBridge struct {
	*Bridge
	book    *book.Book
	upscope *upscope.Client
	hosts   upscope.Hosts
	file    string
	cards   atomic.Int64
	close   func() error
}

const (
	benchHost  = "bridge.example.org"
	deskSecret = "desk-secret-0123456789"
	testKey    = "upscope-key-0123456789"
)

// newBenchBridge returns a bridge whose store is in dir and that calls Upscope at upscopeURL
// through transport. Budgets changes the limits; nil keeps the default ones.
func newBenchBridge(dir, upscopeURL string, transport http.RoundTripper, budgets func(*web.Budgets)) (*benchBridge, error) {
	secret := bytes.Repeat([]byte{7}, 32)
	c := &benchBridge{file: filepath.Join(dir, "bridge.db")}
	db, err := store.Open(context.Background(), "sqlite:"+c.file, store.Options{Secret: secret})
	if err != nil {
		return nil, err
	}
	c.close = db.Close
	log := NewRedactor(io.Discard)
	log.AddSecrets(deskSecret, testKey, "a third secret")
	client, err := upscope.New(upscope.Config{URL: upscopeURL, Key: testKey, Transport: rest.Upstream("upscope", transport, nil, slog.New(slog.DiscardHandler))})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.upscope, c.hosts = client, hosts
	origin := &url.URL{Scheme: "https", Host: benchHost}
	doors, err := book.NewDoorKeys(secret)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	subjects, err := book.NewSubjectKeys(secret)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.book = book.New(book.Config{Origin: origin, Store: db, Doors: doors, Subjects: subjects, Metrics: metrics.New(metrics.Config{})})
	c.Bridge, err = New(Config{
		Origin: origin, Secret: secret, Store: db, Upscope: client, WatchHosts: hosts,
		Connectors: []chat.Connector{{
			Name: "desk", Accept: acceptSigned,
			Read: func(context.Context, chat.Delivery) (chat.Ask, error) { return chat.Ask{}, nil },
			Show: func(context.Context, chat.Place, chat.Card) (chat.Ref, error) { return "post-1", nil },
		}},
		Log:     slog.New(slog.NewJSONHandler(log, nil)),
		budgets: budgets, lookUps: 1 << 30,
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for i := range benchAgents {
		if err := c.rememberBrowser(benchAgent(i)); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return c, nil
}

// unlimited sets budgets that no benchmark can use up.
func unlimited(b *web.Budgets) {
	b.UnknownDoors.Acts, b.Watches.Acts = 1<<30, 1<<30
}

// mint asks Upscope for a watch link, as a press does, and returns its address.
func (c *benchBridge) mint(ctx context.Context, visitor string) (location string, err error) {
	link, err := c.upscope.Watch(ctx, visitor, upscope.WatchRequest{
		Agent:    upscope.Agent{ID: "desk:agent-1", Name: "Bob Baker"},
		Metadata: map[string]any{card.MetadataCard: c.book.Doors.Mark("0199a5b0-0000-7000-8000-000000000001"), card.MetadataAgent: "desk:agent-1"},
	})
	if err != nil {
		return "", err
	}
	return link.Location(c.hosts, time.Now())
}

// acceptSigned accepts deliveries with an HMAC of the body, as most services sign them.
func acceptSigned(r *http.Request, body []byte) (chat.Receipt, error) {
	if !hmac.Equal([]byte(sign(body)), []byte(r.Header.Get("X-Signature"))) {
		return chat.Receipt{}, chat.ErrForged
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return chat.Receipt{}, err
	}
	return chat.Receipt{Key: event.ID}, nil
}

func sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(deskSecret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// A benchDoor is the path of a card's door, the visitor whom it leads to, and the name of
// the cookie that identifies a browser.
type benchDoor struct{ Path, Visitor, Cookie string }

const benchAgents = 64

func benchAgent(i int) chat.Agent {
	return chat.Agent{ID: fmt.Sprint("agent-", i), Name: "Bob Baker"}
}

// benchBrowser is the token of every agent's browser.
var benchBrowser = strings.Repeat("A", 52)

// rememberBrowser stores benchBrowser as the browser of an agent, as an earlier press does.
func (c *benchBridge) rememberBrowser(a chat.Agent) error {
	ctx := context.Background()
	row := &store.Card{ID: "before-" + a.ID, Connector: "desk", Chat: "before-" + a.ID, Agent: card.AgentID("desk", a), State: string(card.Closed)}
	if err := c.store.Commit(ctx, store.Change{Card: row}); err != nil {
		return err
	}
	return c.store.Commit(ctx, store.Change{Claim: &store.Claim{
		Card: row.ID, Version: row.Version, Agent: row.Agent, Browser: benchBrowser, Until: time.Now().Add(web.BrowserLife),
	}})
}

// makeDoors makes n cards.
func (c *benchBridge) makeDoors(n int) ([]benchDoor, error) {
	all := make([]benchDoor, n)
	errs := make([]error, n)
	gate := make(chan struct{}, 256)
	var made sync.WaitGroup
	for i := range all {
		gate <- struct{}{}
		made.Go(func() {
			all[i], errs[i] = c.makeDoor()
			<-gate
		})
	}
	made.Wait()
	return all, errors.Join(errs...)
}

func (c *benchBridge) makeDoor() (benchDoor, error) {
	i := c.cards.Add(1)
	agent := benchAgent(int(i % benchAgents))
	id := fmt.Sprintf("0199a5b0-0000-7000-8000-%012d", i)
	h := c.book.Doors.NewHandle(id)
	k := card.Card{
		Card: store.Card{
			ID: id, Connector: "desk", Chat: fmt.Sprint("chat-", i), Agent: card.AgentID("desk", agent),
			State: string(card.Ready), HandleHash: h.Hash(), DoorUntil: time.Now().Add(time.Hour),
		},
		About: card.Detail{
			Visitor: "Ann", ChatURL: "https://desk.example.org/chats/" + id, Agent: agent,
			Place: chat.Place{Connector: "desk", Address: fmt.Sprint("dm-", i)}, HasClue: true, Reason: templates.ReasonIntegration,
		},
	}
	var found struct{ Visitor upscope.Visitor }
	visitor := fmt.Sprintf("V%09d", i)
	if err := json.Unmarshal(visitorAnswer(visitor), &found); err != nil {
		return benchDoor{}, err
	}
	k.SetVisitor(found.Visitor)
	post := store.Post{Card: id, Place: k.Place(), Current: true}
	return benchDoor{"/w/" + h.String(), visitor, "__Host-browser"}, c.book.Commit(context.Background(), &k, store.Change{Posts: []store.Post{post}})
}

// press returns the request of an agent's browser when the agent presses the button of a door.
func (d benchDoor) press(server string) *http.Request {
	form := "visitor=" + d.Visitor
	r := d.request(http.MethodPost, server, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://"+benchHost)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
	return r
}

// look returns the request of an agent's browser for the page of a door.
func (d benchDoor) look(server string) *http.Request { return d.request(http.MethodGet, server, nil) }

func (d benchDoor) request(method, server string, body io.Reader) *http.Request {
	r := newRequest(method, server+d.Path, body)
	r.AddCookie(&http.Cookie{Name: d.Cookie, Value: benchBrowser})
	return r
}

func newRequest(method, address string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(context.Background(), method, address, body)
	if err != nil {
		panic(err) // the addresses are our own
	}
	r.Host = benchHost
	r.RemoteAddr = "192.0.2.1:1000"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36")
	return r
}

// delivery returns a signed event of about 1 KiB.
func delivery(server, id string) *http.Request {
	body := []byte(`{"id":"` + id + `","event":"message","text":"` + strings.Repeat("hello ", 160) + `"}`)
	r := newRequest(http.MethodPost, server+"/hooks/desk", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Signature", sign(body))
	return r
}

// quickUpscope is an Upscope that knows every visitor and answers at once.
func quickUpscope(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(upscopeAnswer(r.URL.Path))
}

// inMemory is quickUpscope without a network, for counting allocations.
type inMemory struct{}

func (inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	body := upscopeAnswer(r.URL.Path)
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: int64(len(body)), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}

func upscopeAnswer(path string) []byte {
	_, visitor, _ := strings.Cut(path, "/visitors/")
	if visitor, ok := strings.CutSuffix(visitor, "/watch_url"); ok {
		return []byte(`{"watch_url":"https://cobrowsingapi.com/session/` + visitor + `?token=0123456789abcdef0123456789abcdef","expiration":"2099-01-01T00:00:00.000Z"}`)
	}
	return visitorAnswer(visitor)
}

func visitorAnswer(shortID string) []byte {
	return []byte(`{"visitor":{"short_id":"` + shortID + `","unique_id":"cust-` + shortID + `","identities":["desk:7b0c5e62a4f14c1f9d3e"],` +
		`"name":"Ann Silva","tags":["#basket"],"lookup_code":"4821","is_online":true,"is_in_session":false,"is_supported":true,` +
		`"last_url":"https://shop.example.org/basket?step=2","last_seen_at":"2026-11-20T10:00:00.000Z","added_at":"2026-11-01T10:00:00.000Z",` +
		`"browser_name":"Chrome","device_name":"Windows","device_type":"desktop","location_city":"Lisbon","location_country":"PT",` +
		`"location_country_name":"Portugal","sdk":"web","api_key":"public-key","watch_link":"https://upscope.com/w/` + shortID + `","sessions":[]}}`)
}
