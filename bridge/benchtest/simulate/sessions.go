package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const (
	upscopeKey  = "value-of-the-upscope-key"
	sessionTime = 5 * time.Second // length of a co-browse session
)

// delayed answers each request after a pause.
func delayed(h http.Handler, pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pause > 0 {
			<-time.After(pause)
		}
		h.ServeHTTP(w, r)
	})
}

// comeOnline adds the visitor of a chat to Upscope, with the key that their page gave to the chat
// service too.
func comeOnline(u *upscopetest.Server, r *room) {
	id := u.Come(upscope.Visitor{
		ShortID: fmt.Sprintf("v%07d", r.number), Name: r.name, Identities: []string{"rocketchat:" + r.key},
		LastURL: "https://shop.example.org/basket", LocationCity: "Lisbon", LocationCountryName: "Portugal",
	})
	u.SetIntegrationIDs(id, "rocketchat:"+r.key)
}

// toBridge sends requests for the public address to a replica.
type toBridge struct {
	transport http.RoundTripper
	address   func() string
}

func (t toBridge) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = strings.TrimPrefix(origin, "https://")
	r.URL.Scheme, r.URL.Host = "http", t.address()
	return t.transport.RoundTrip(r)
}

// session opens a watch link as the agent's browser does, ends the session after sessionTime, and
// sends Upscope's call about its end.
func session(ctx context.Context, u *upscopetest.Server, client *http.Client, link string) error {
	id, err := u.Open(upscopetest.WatchRecord{URL: link})
	if err != nil {
		return err
	}
	select {
	case <-time.After(sessionTime):
	case <-ctx.Done():
	}
	u.End(id, 0)
	_, err = u.SendWebhook(context.WithoutCancel(ctx), client, id, upscopetest.Bare)
	return err
}
