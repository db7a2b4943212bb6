package upscope_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

const (
	key    = "test-key"
	prefix = "/tenants/acme" // the API is below a path, so that tests notice a call that forgets the path
)

// fixture is a service below a path prefix, with its client and eraser.
type fixture struct {
	*upscopetest.Server
	client *upscope.Client
	eraser *upscope.Eraser
	url    string
}

func setup(t *testing.T, o upscopetest.Options) fixture {
	t.Helper()
	srv := upscopetest.New(o)
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, srv))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s went to the server without the path prefix", r.Method)
		http.NotFound(w, r)
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	srv.SetWatchBase(web.URL + prefix)
	f := fixture{Server: srv, url: web.URL + prefix}
	f.client, f.eraser = clients(t, upscope.Config{URL: f.url + "/", Key: key})
	return f
}

func clients(t *testing.T, c upscope.Config) (*upscope.Client, *upscope.Eraser) {
	t.Helper()
	if c.Transport == nil {
		c.Transport = upscope.NewTransport()
	}
	client, err := upscope.New(c)
	if err != nil {
		t.Fatal(err)
	}
	eraser, err := upscope.NewEraser(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client, eraser
}

// fixedAnswer is a transport that answers every request with 200 and body, and keeps the last request.
type fixedAnswer struct {
	body string
	last *http.Request
}

func (a *fixedAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.last = r
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		ContentLength: -1, Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

// anyCall calls one method of the client or eraser. With the data of populate it succeeds.
type anyCall struct {
	name     string
	endpoint upscopetest.Endpoint
	bodyless bool // the method does not read the body of a success
	// aboutOnline says that the request contains onlineID.
	aboutOnline bool
	do          func(context.Context, fixture) error
}

const (
	onlineID  = "canaryid" // only letters, so that it looks like a code of the vendor
	offlineID = "Gone1234"
	ownKey    = "CANARYsearch"
	agentID   = "slack:T1/CANARYagent"
)

func populate(f fixture) {
	f.Come(upscope.Visitor{ShortID: onlineID, UniqueID: "u-1", LastURL: "https://shop.example/cart"})
	f.SetIntegrationIDs(onlineID, "rocketchat:"+ownKey)
	f.Come(upscope.Visitor{ShortID: offlineID})
	f.Go(offlineID)
	f.AddAgent(upscope.Agent{Email: "dana@example.com", ExternalID: agentID, Name: "Dana"})
}

func watchRequest() upscope.WatchRequest {
	return upscope.WatchRequest{Agent: upscope.Agent{ID: agentID, Name: "Dana"}}
}

var everyCall = []anyCall{
	{"usage", upscopetest.Usage, false, false, func(ctx context.Context, f fixture) error {
		_, err := f.client.Usage(ctx)
		return err
	}},
	{"search", upscopetest.List, false, false, func(ctx context.Context, f fixture) error {
		term, err := upscope.IntegrationID("rocketchat:" + ownKey)
		if err != nil {
			return err
		}
		_, err = f.client.Search(ctx, term, 10)
		return err
	}},
	{"latest", upscopetest.List, false, false, func(ctx context.Context, f fixture) error {
		_, err := f.client.Latest(ctx, 10)
		return err
	}},
	{"visitor", upscopetest.Visitor, false, true, func(ctx context.Context, f fixture) error {
		_, err := f.client.Visitor(ctx, onlineID)
		return err
	}},
	{"watch", upscopetest.Watch, false, true, func(ctx context.Context, f fixture) error {
		_, err := f.client.Watch(ctx, onlineID, watchRequest())
		return err
	}},
	{"stop session", upscopetest.StopSession, true, true, func(ctx context.Context, f fixture) error {
		return f.client.StopSession(ctx, onlineID)
	}},
	{"agent by e-mail", upscopetest.Agent, false, false, func(ctx context.Context, f fixture) error {
		_, err := f.client.AgentByEmail(ctx, "dana@example.com")
		return err
	}},
	{"agent by external id", upscopetest.Agent, false, false, func(ctx context.Context, f fixture) error {
		_, err := f.client.AgentByExternalID(ctx, agentID)
		return err
	}},
	{"sessions", upscopetest.Sessions, false, false, func(ctx context.Context, f fixture) error {
		for _, err := range f.client.Sessions(ctx, upscope.SessionQuery{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"authorize on-premise", upscopetest.OnPremise, false, true, func(ctx context.Context, f fixture) error {
		_, err := f.client.AuthorizeOnPremise(ctx, onlineID, upscope.Agent{ID: agentID, Name: "Dana"})
		return err
	}},
	{"delete visitor", upscopetest.DeleteVisitor, true, false, func(ctx context.Context, f fixture) error {
		return f.eraser.DeleteVisitor(ctx, offlineID)
	}},
	{"delete all offline visitors", upscopetest.DeleteVisitors, true, false, func(ctx context.Context, f fixture) error {
		return f.eraser.DeleteAllOfflineVisitors(ctx, upscope.AllOfflineVisitors)
	}},
}
