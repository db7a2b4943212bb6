package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"

	"golang.org/x/sync/errgroup"
)

type serveCommand struct{}

// Run serves until ctx ends.
func (serveCommand) Run(ctx context.Context, s streams) error {
	c, faults := readConfig(s.err)
	if c == nil {
		complain(s.err, faults)
		return exit(2)
	}
	slog.SetDefault(c.log) // for net/http, which would write past the redaction
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Log: c.log})
	if err != nil && ctx.Err() != nil {
		return nil // told to stop before it was ready
	}
	if err != nil {
		return err
	}
	b, err := bridge.New(bridge.Config{
		Origin: c.origin, Secret: c.secret, OldSecret: c.secretOld, Store: db, Upscope: c.upscope, Eraser: c.eraser, WatchHosts: c.watchHosts,
		Connectors: c.connectors, LinkLife: c.linkLife, Retention: c.retention, MatchEmail: c.matchEmail, Sites: c.sites, TrustedProxies: c.proxies, Log: c.log,
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", c.listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on BRIDGE_LISTEN: %w", err), db.Close())
	}
	fmt.Fprintf(s.out, "bridge is ready on %s for %s\n", listener.Addr(), c.origin)
	err = serve(ctx, listener, b, func(ctx context.Context) error {
		var checked sync.WaitGroup
		checked.Go(func() { warn(ctx, c) })
		defer checked.Wait()
		return b.Run(ctx)
	})
	return errors.Join(err, db.Close())
}

// warn logs what bridge check finds, since not everybody runs it: some of it, such
// as a user who may write where customers read, nothing else would tell.
func warn(ctx context.Context, c *config) {
	for _, f := range ask(ctx, c) {
		if f.Problem != "" && ctx.Err() == nil {
			c.log.WarnContext(ctx, "check found a problem", "about", f.About, "problem", f.Problem, "remedy", f.Remedy)
		}
	}
}

// drain is how long requests may take to end once the program is told to stop,
// and stop how long anything may: supervisors kill after ten seconds.
const (
	drain = 8 * time.Second
	stop  = 8500 * time.Millisecond
)

// serve answers requests and does the work they bring until ctx ends. Then it
// takes no more, and waits for what is running, though not for ever: whoever is
// still sending is cut off, and a job that hangs runs again at the next start.
func serve(ctx context.Context, listener net.Listener, h http.Handler, work func(context.Context) error) error {
	server := newServer(h)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		err := work(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // it was told to stop before it had quite begun
		}
		return err
	})
	group.Go(func() error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			slog.WarnContext(ctx, "requests that did not end were cut off")
			return server.Close()
		}
		return err
	})
	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(stop):
		slog.WarnContext(ctx, "jobs that did not end are left for the next start")
		return nil
	}
}

// newServer has limits for everything a stranger can draw out or blow up.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}
