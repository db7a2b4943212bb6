package upscope_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// On a busy machine Go may close a connection because it learns too late that the request
// was written (net/http, maxWriteWaitBeforeConnReuse), so there are three tries.
func TestManyCallsShareFewConnections(t *testing.T) {
	t.Parallel()
	var all []int32
	for range 3 {
		n := connectionsOfCalls(t)
		if n <= 80 {
			return
		}
		all = append(all, n)
	}
	t.Errorf("%d connections for 3072 calls, want at most 80", all)
}

func connectionsOfCalls(t *testing.T) int32 {
	srv := upscopetest.New(upscopetest.Options{})
	srv.Come(upscope.Visitor{ShortID: "AB12"})
	const parallel, each = 64, 12
	var opened, came atomic.Int32
	// All first calls run at once. Otherwise some would use connections that other calls made.
	all := make(chan struct{})
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if came.Add(1) == parallel {
			close(all)
		}
		<-all
		srv.ServeHTTP(w, r)
	}))
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	web.EnableHTTP2 = false
	web.StartTLS()
	t.Cleanup(web.Close)
	transport := upscope.NewTransport()
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(web.Certificate())
	client, _ := clients(t, upscope.Config{URL: web.URL, Key: key, Transport: transport})

	// Successes, failures with bodies, and calls that read no body must all return their connection.
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for range each {
				if _, err := client.Visitor(t.Context(), "AB12"); err != nil {
					t.Error(err)
				}
				if _, err := client.Watch(t.Context(), "AB12", watchRequest()); err != nil {
					t.Error(err)
				}
				if _, err := client.Visitor(t.Context(), "nobody"); !errors.Is(err, upscope.ErrNotFound) {
					t.Error(err)
				}
				if err := client.StopSession(t.Context(), "AB12"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if calls := len(srv.Calls()); calls != parallel*each*4 {
		t.Errorf("%d calls, want %d", calls, parallel*each*4)
	}
	return opened.Load()
}

func TestTheTransportSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", r.ProtoMajor)
		}
		_, _ = w.Write([]byte(`{"usage":{}}`))
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	transport := upscope.NewTransport()
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(web.Certificate())
	client, _ := clients(t, upscope.Config{URL: web.URL, Key: key, Transport: transport})
	if _, err := client.Usage(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnUntrustedCertificateIsRefused(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(upscopetest.New(upscopetest.Options{}))
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // it complains of the handshake
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			t.Error("a request was sent")
		}
	}
	web.StartTLS()
	t.Cleanup(web.Close)
	client, _ := clients(t, upscope.Config{URL: web.URL, Key: key})
	if _, err := client.Usage(t.Context()); !errors.Is(err, upscope.ErrUpstream) || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestARefusedConnectionIsAnUpstreamFault(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	client, _ := clients(t, upscope.Config{URL: "http://" + l.Addr().String(), Key: key})
	if _, err := client.Usage(t.Context()); !errors.Is(err, upscope.ErrUpstream) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestACallForAWatchLinkIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if _, err := f.client.Usage(t.Context()); err != nil { // so that the connection is a kept one
		t.Fatal(err)
	}
	f.Fail(upscopetest.Watch, upscopetest.Fault{Drop: true}, 1)
	if _, err := f.client.Watch(t.Context(), onlineID, watchRequest()); !errors.Is(err, upscope.ErrUpstream) {
		t.Error(err)
	}
	if n := f.Requests()[upscopetest.Watch]; n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAGetIsRepeatedIfAKeptConnectionWasClosed(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if _, err := f.client.Usage(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Fail(upscopetest.Visitor, upscopetest.Fault{Drop: true}, 1)
	if _, err := f.client.Visitor(t.Context(), onlineID); err != nil {
		t.Error(err)
	}
	if n := f.Requests()[upscopetest.Visitor]; n != 2 {
		t.Errorf("asked %d times", n)
	}
	f.Fail(upscopetest.Visitor, upscopetest.Fault{Drop: true}, -1)
	if _, err := f.client.Visitor(t.Context(), onlineID); !errors.Is(err, upscope.ErrUpstream) {
		t.Error(err)
	}
	if n := f.Requests()[upscopetest.Visitor]; n > 4 {
		t.Errorf("asked %d times", n)
	}
}

// memory is a network inside the process, as synctest needs it to advance its clock.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { close(m.closed); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestEachCallHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	want := map[upscopetest.Endpoint]time.Duration{
		upscopetest.List: 8 * time.Second, upscopetest.Sessions: 8 * time.Second,
		upscopetest.DeleteVisitors: 8 * time.Second,
	}
	for name, fault := range map[string]upscopetest.Fault{
		"no answer":             {Hang: true},
		"a byte every 100 ms":   {Drip: 100 * time.Millisecond, Size: 0, Status: 200, Body: `{"pad":"` + strings.Repeat("x", 1000) + `"}`},
		"an answer after 1 min": {Delay: time.Minute},
	} {
		for _, call := range everyCall {
			t.Run(name+"/"+call.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := &memory{make(chan net.Conn), make(chan struct{})}
					srv := upscopetest.New(upscopetest.Options{})
					web := &http.Server{Handler: srv}
					go func() { _ = web.Serve(m) }()
					transport := upscope.NewTransport()
					transport.DialContext = m.dial
					f := fixture{Server: srv}
					f.client, f.eraser = clients(t, upscope.Config{URL: "http://127.0.0.1", Key: key, Transport: transport})
					populate(f)
					srv.Fail(call.endpoint, fault, -1)

					began := time.Now()
					err := call.do(t.Context(), f)
					took := time.Since(began)
					if call.bodyless && fault.Drip > 0 {
						if err != nil {
							t.Errorf("status 200, but the call failed: %v", err)
						}
					} else {
						if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, upscope.ErrUpstream) {
							t.Errorf("%v", err)
						}
					}
					limit := 5 * time.Second
					if d, ok := want[call.endpoint]; ok {
						limit = d
					}
					if took != limit {
						t.Errorf("took %v, want %v", took, limit)
					}
					transport.CloseIdleConnections()
					_ = web.Close()
				})
			})
		}
	}
}

func TestTheCallersShorterDeadlineHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{make(chan net.Conn), make(chan struct{})}
		srv := upscopetest.New(upscopetest.Options{})
		web := &http.Server{Handler: srv}
		go func() { _ = web.Serve(m) }()
		transport := upscope.NewTransport()
		transport.DialContext = m.dial
		client, _ := clients(t, upscope.Config{URL: "http://127.0.0.1", Key: key, Transport: transport})
		srv.Fail(upscopetest.Any, upscopetest.Fault{Hang: true}, -1)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := client.Usage(ctx)
		if took := time.Since(began); took != 300*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		_ = web.Close()
	})
}

func TestAnAnswerIsReadUpToOneMiB(t *testing.T) {
	t.Parallel()
	pad := func(size int) string {
		return `{"usage":{},"pad":"` + strings.Repeat("x", size-len(`{"usage":{},"pad":""}`)) + `"}`
	}
	for size, ok := range map[int]bool{1<<20 - 1: true, 1 << 20: true, 1<<20 + 1: false} {
		client, _ := clients(t, upscope.Config{Key: key, Transport: &fixedAnswer{body: pad(size)}})
		if _, err := client.Usage(t.Context()); (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
