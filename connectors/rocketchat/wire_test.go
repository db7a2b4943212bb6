package rocketchat

import (
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// This test uses real connections, which can break in the middle of an answer.
func TestAPostWhoseConnectionBrokeIsNotRepeated(t *testing.T) {
	t.Parallel()
	w, room := workspace(t.Errorf)
	server := httptest.NewServer(w)
	transport := rest.NewTransport()
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	conf := config(t, server.URL+"/chat")
	conf.Transport = transport
	c, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{"me", "im.create", "chat.sendMessage"} {
		w.Fail(route, rocketchattest.Fault{Done: true, Cut: true}, 1)
		_, err := c.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard())
		if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "connection closed early") {
			t.Errorf("%s: %v", route, err)
			continue
		}
		clean(t, route, err.Error())
	}
	if _, err := c.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard()); err != nil || len(w.Posts("bob")) != 1 {
		t.Errorf("%v, %d posts", err, len(w.Posts("bob")))
	}
	if got := w.VisitorReads(room); got != nil {
		t.Errorf("the visitor reads %q", got)
	}
}
