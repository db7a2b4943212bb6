package upscope_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// This finds the visitor of a chat, and redirects the agent who pressed the button.
func Example() {
	// Upscope in memory, with one visitor who is looking at a page.
	service := upscopetest.New(upscopetest.Options{Key: "secret"})
	api := httptest.NewServer(service)
	defer api.Close()
	id := service.Come(upscope.Visitor{Name: "Joe Smith", LastURL: "https://shop.example/cart"})
	service.SetIntegrationIDs(id, "rocketchat:k7Hq2")

	client, err := upscope.New(upscope.Config{URL: api.URL, Key: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	term, err := upscope.IntegrationID("rocketchat:k7Hq2")
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := client.Search(ctx, term, upscope.MaxResults)
	if err != nil || len(found) != 1 {
		fmt.Println("not exactly one visitor:", len(found), err)
		return
	}
	fmt.Println(found[0].Name, "is on", found[0].LastURL)

	link, err := client.Watch(ctx, found[0].ShortID, upscope.WatchRequest{
		Agent:       upscope.Agent{ID: "rocketchat:a1", Name: "Dana"},
		Permissions: upscope.Permissions{AllowType: upscope.Off},
	})
	switch {
	case errors.Is(err, upscope.ErrOverPlan):
		fmt.Println("plan limit reached")
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	address, err := link.Location(hosts, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("redirect with 303 to", address[:len("https://cobrowsingapi.com/session/")]+"…")
	fmt.Println("a log shows", link)
	// Output:
	// Joe Smith is on https://shop.example/cart
	// redirect with 303 to https://cobrowsingapi.com/session/…
	// a log shows [watch link]
}
