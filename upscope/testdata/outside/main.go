// Command program uses the package upscope as other projects do.
package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	service := upscopetest.New(upscopetest.Options{Key: "secret"}) // Upscope in memory
	api := httptest.NewServer(service)
	defer api.Close()
	id := service.Come(upscope.Visitor{Name: "Joe Smith"})
	service.SetIntegrationIDs(id, "rocketchat:k7Hq2")

	client, err := upscope.New(upscope.Config{URL: api.URL, Key: "secret"})
	if err != nil {
		return err
	}
	term, err := upscope.IntegrationID("rocketchat:k7Hq2")
	if err != nil {
		return err
	}
	found, err := client.Search(ctx, term, upscope.MaxResults)
	if err != nil {
		return err
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	if err != nil {
		return err
	}
	for _, visitor := range found {
		link, err := client.Watch(ctx, visitor.ShortID, upscope.WatchRequest{
			Agent:       upscope.Agent{ID: "rocketchat:a1", Name: "Dana"},
			Permissions: upscope.Permissions{AllowType: upscope.Off},
		})
		if err != nil {
			return err
		}
		if _, err := link.Location(hosts, time.Now()); err != nil {
			return err
		}
		fmt.Println(visitor.Name, "can be watched")
	}
	return nil
}
