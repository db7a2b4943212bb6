package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/upscope"

	"go.uber.org/goleak"
)

// TestNoGoroutineIsLeftAfterAThousandDeliveriesAndPresses is not parallel: it looks at all goroutines.
func TestNoGoroutineIsLeftAfterAThousandDeliveriesAndPresses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	hanging, hangs := make(chan struct{}), make(chan struct{}) // hangs is closed when Upscope stops hanging
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		default:
			hanging <- struct{}{}
			<-hangs
		}
		quickUpscope(w, r)
	}))
	transport := upscope.NewTransport()
	c, err := newBenchBridge(t.TempDir(), fake.URL, transport, unlimited)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	server := httptest.NewServer(c)
	clients := &http.Transport{MaxIdleConnsPerHost: 32}
	doors, err := c.makeDoors(1009)
	if err != nil {
		t.Fatal(err)
	}
	send := func(r *http.Request, status int) error {
		answer, err := clients.RoundTrip(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode != status {
			err = fmt.Errorf("%s is answered %d", r.URL.Path, answer.StatusCode)
		}
		return err
	}

	// These clients disconnect: some while they send, others while the bridge waits for
	// Upscope.
	for i := range 91 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST /hooks/desk HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\n%s", benchHost, strings.Repeat("x", i))
		_ = conn.Close()
	}
	for _, d := range doors[:9] {
		clientCtx, disconnect := context.WithCancel(ctx)
		result := make(chan error, 1)
		go func() { result <- send(d.press(server.URL).WithContext(clientCtx), 0) }()
		<-hanging
		disconnect()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("a client that disconnected got %v", err)
		}
	}
	close(hangs)
	benchtest.Parallel(t, 32, 1000, func(i int) error { return send(delivery(server.URL, fmt.Sprint("event-", i)), http.StatusOK) })
	benchtest.Parallel(t, 32, 1000, func(i int) error { return send(doors[9+i].press(server.URL), http.StatusSeeOther) })

	clients.CloseIdleConnections()
	server.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	transport.CloseIdleConnections()
	fake.Close()
	goleak.VerifyNone(t, before)
}
