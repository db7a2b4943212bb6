package connectortest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
)

// simulated runs a test in simulated time, because connectors pause between the pages of a list.
func simulated(t *testing.T, h Harness, name string, test func(*testing.T, Service)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, h.New(t, (&wire{}).wrap)) })
	})
}

// sweep tests Sweep.
func (h Harness) sweep(t *testing.T) {
	simulated(t, h, "all open chats are found, on every page of the list", func(t *testing.T, s Service) {
		before := len(s.found(t))
		for range 2 * s.PageSize {
			s.Open()
		}
		if found := len(s.found(t)); before == 0 || found != before+2*s.PageSize {
			t.Errorf("%d chats are found, and %d after %d more have begun", before, found, 2*s.PageSize)
		}
	})

	simulated(t, h, "a key is the same until the chat has news", func(t *testing.T, s Service) {
		s.Open()
		before := s.found(t)
		time.Sleep(time.Minute)
		if again := s.found(t); !maps.Equal(again, before) {
			t.Errorf("the chats have the keys %q, and without news %q", before, again)
		}
		receipt, ask := s.mustDeliver(t, s.News())
		after := s.found(t)
		if after[ask.Chat] == before[ask.Chat] {
			t.Errorf("chat %q still has the key %q", ask.Chat, after[ask.Chat])
		}
		if receipt.SweepKey != after[ask.Chat] {
			t.Errorf("the receipt has the SweepKey %q, but the sweep gives the chat the key %q", receipt.SweepKey, after[ask.Chat])
		}
		delete(before, ask.Chat)
		delete(after, ask.Chat)
		if !maps.Equal(after, before) {
			t.Errorf("chats without news have the keys %q, before %q", after, before)
		}
	})

	simulated(t, h, "a closed chat is not found", func(t *testing.T, s Service) {
		if s.Closing == nil {
			t.Skip("no event of this service closes a chat")
		}
		_, ask := s.mustDeliver(t, s.Closing())
		if key, found := s.found(t)[ask.Chat]; found {
			t.Errorf("chat %q is found, with the key %q", ask.Chat, key)
		}
	})

	simulated(t, h, "a sweep ends with the error of the bridge", func(t *testing.T, s Service) {
		full := errors.New("the store is full")
		err := s.Connector.Sweep(t.Context(), func(context.Context, []chat.Delivery) error { return full })
		if !errors.Is(err, full) {
			t.Errorf("Sweep returns %v", err)
		}
	})
}

// found sweeps once and returns the keys of the open chats, by chat. No two may have one key.
func (s Service) found(t *testing.T) map[string]string {
	t.Helper()
	keys, chats := map[string]string{}, map[string]string{}
	err := s.Connector.Sweep(t.Context(), func(ctx context.Context, page []chat.Delivery) error {
		for _, d := range page {
			ask, err := s.Connector.Read(ctx, d)
			if err != nil || ask.Verb != chat.Start || d.Key == "" {
				t.Errorf("delivery with key %q: Read says verb %d, error %v; want Start", d.Key, ask.Verb, err)
			}
			if d.Chat != ask.Chat {
				t.Errorf("the delivery of chat %q names chat %q", ask.Chat, d.Chat)
			}
			if other, dup := chats[d.Key]; dup && other != ask.Chat {
				t.Errorf("chats %q and %q have the same key %q", other, ask.Chat, d.Key)
			}
			keys[ask.Chat], chats[d.Key] = d.Key, ask.Chat
		}
		return nil
	})
	if err != nil {
		t.Errorf("Sweep: %v", err)
	}
	return keys
}
