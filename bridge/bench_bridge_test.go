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

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A crowded is a bridge with as many cards and visitors as one asks for. Each card
// stands as it does when its agent, one of a few whose browsers are remembered,
// has not pressed it yet. It is limited by nothing that counts acts.
type crowded struct {
	*Bridge
	file  string
	cards atomic.Int64
	close func() error
}

const (
	crowdedHost = "bridge.example.org"
	deskSecret  = "desk-secret-0123456789"
)

// newCrowded keeps its store in dir and asks the Upscope at the given address,
// by way of transport.
func newCrowded(dir, upscopeURL string, transport http.RoundTripper) (*crowded, error) {
	secret := bytes.Repeat([]byte{7}, 32)
	c := &crowded{file: filepath.Join(dir, "bridge.db")}
	db, err := store.Open(context.Background(), "sqlite:"+c.file, store.Options{Secret: secret})
	if err != nil {
		return nil, err
	}
	c.close = db.Close
	log := Redact(io.Discard)
	log.Hide(deskSecret, testKey, "a third secret")
	client, err := upscope.New(upscope.Config{URL: upscopeURL, Key: testKey, Transport: Upstream("upscope", transport, slog.New(slog.DiscardHandler))})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.Bridge, err = New(Config{
		Origin: &url.URL{Scheme: "https", Host: crowdedHost}, Secret: secret, Store: db, Upscope: client, WatchHosts: hosts,
		Connectors: []Connector{{
			Name: "desk", Accept: acceptSigned,
			Read: func(context.Context, Delivery) (Ask, error) { return Ask{}, nil },
			Show: func(context.Context, Place, Card) (Ref, error) { return "post-1", nil },
		}},
		Log: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, limit := range []*store.Limit{&c.budgets.unknownDoors, &c.budgets.watches} {
		limit.Acts = 1 << 30
	}
	c.looks = newThrottle(1<<30, time.Minute)
	for i := range crowdedAgents {
		if err := c.remember(crowdedAgent(i)); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return c, nil
}

// acceptSigned takes deliveries that are signed as most services do it.
func acceptSigned(r *http.Request, body []byte) (Receipt, error) {
	if !hmac.Equal([]byte(sign(body)), []byte(r.Header.Get("X-Signature"))) {
		return Receipt{}, ErrForged
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return Receipt{}, err
	}
	return Receipt{Key: event.ID}, nil
}

func sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(deskSecret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// A doorway is where a card's door is, to whom it leads, and the name of the cookie
// that tells browsers apart.
type doorway struct{ Path, Visitor, Cookie string }

const crowdedAgents = 64

func crowdedAgent(i int) Agent { return Agent{ID: fmt.Sprint("agent-", i), Name: "Bob Baker"} }

// crowdedBrowser is the token of every agent's browser.
var crowdedBrowser = strings.Repeat("A", 52)

// remember has an agent's browser remembered, as an earlier press does.
func (c *crowded) remember(a Agent) error {
	ctx := context.Background()
	row := &store.Card{ID: "before-" + a.ID, Connector: "desk", Chat: "before-" + a.ID, Agent: agentID("desk", a), State: string(Closed)}
	if err := c.store.Commit(ctx, store.Change{Card: row}); err != nil {
		return err
	}
	return c.store.Commit(ctx, store.Change{Claim: &store.Claim{
		Card: row.ID, Version: row.Version, Agent: row.Agent, Browser: crowdedBrowser, Until: time.Now().Add(browserLife),
	}})
}

// doorways makes n cards.
func (c *crowded) doorways(n int) ([]doorway, error) {
	all := make([]doorway, n)
	errs := make([]error, n)
	gate := make(chan struct{}, 256)
	var made sync.WaitGroup
	for i := range all {
		gate <- struct{}{}
		made.Go(func() {
			all[i], errs[i] = c.doorway()
			<-gate
		})
	}
	made.Wait()
	return all, errors.Join(errs...)
}

func (c *crowded) doorway() (doorway, error) {
	i := c.cards.Add(1)
	agent := crowdedAgent(int(i % crowdedAgents))
	id := fmt.Sprintf("0199a5b0-0000-7000-8000-%012d", i)
	h := c.doors.first(id)
	k := card{
		Card: store.Card{
			ID: id, Connector: "desk", Chat: fmt.Sprint("chat-", i), Agent: agentID("desk", agent),
			State: string(Ready), Handle: h.hash(), DoorUntil: time.Now().Add(time.Hour),
		},
		about: detail{
			Visitor: "Ann", ChatURL: "https://desk.example.org/chats/" + id, Agent: agent,
			Place: Place{Connector: "desk", Address: fmt.Sprint("dm-", i)}, Clued: true, Reason: templates.ReasonIntegration,
		},
	}
	var seen struct{ Visitor upscope.Visitor }
	visitor := fmt.Sprintf("V%09d", i)
	if err := json.Unmarshal(visitorAnswer(visitor), &seen); err != nil {
		return doorway{}, err
	}
	k.take(seen.Visitor)
	post := store.Post{Card: id, Place: k.place(), Current: true}
	return doorway{"/w/" + h.String(), visitor, c.cookieName()}, c.commit(context.Background(), &k, store.Change{Posts: []store.Post{post}})
}

// press is an agent's browser pressing the button of a door.
func (d doorway) press(server string) *http.Request {
	form := "visitor=" + d.Visitor
	r := d.request(http.MethodPost, server, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://"+crowdedHost)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
	return r
}

// look is an agent's browser opening the page of a door.
func (d doorway) look(server string) *http.Request { return d.request(http.MethodGet, server, nil) }

func (d doorway) request(method, server string, body io.Reader) *http.Request {
	r := newRequest(method, server+d.Path, body)
	r.AddCookie(&http.Cookie{Name: d.Cookie, Value: crowdedBrowser})
	return r
}

func newRequest(method, address string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(context.Background(), method, address, body)
	if err != nil {
		panic(err) // the addresses are our own
	}
	r.Host = crowdedHost
	r.RemoteAddr = "192.0.2.1:1000"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36")
	return r
}

// delivery is a signed event of about 1 KiB.
func delivery(server, id string) *http.Request {
	body := []byte(`{"id":"` + id + `","event":"message","text":"` + strings.Repeat("hello ", 160) + `"}`)
	r := newRequest(http.MethodPost, server+"/hooks/desk", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Signature", sign(body))
	return r
}

// quickUpscope is an Upscope that knows every visitor and takes no time.
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
