package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"

	"golang.org/x/sync/errgroup"
)

type serveCommand struct{}

// Run serves until ctx ends.
func (serveCommand) Run(ctx context.Context, s streams) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP) // which would end a program that does not listen
	defer signal.Stop(hangUps)
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
	b, err := newBridge(c, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	public, metrics, err := takePorts(ctx, c)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	ready := fmt.Sprintf("bridge is ready on %s for %s", public.Addr(), c.origin)
	if metrics != nil {
		ready += fmt.Sprintf(", with metrics on %s", metrics.Addr())
	}
	fmt.Fprintln(s.out, ready)
	err = serve(ctx, public, b, c.log, b.EndStreams, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			warn(ctx, c)
			return nil
		})
		group.Go(func() error {
			reloadOn(ctx, hangUps, c.policy, c.log)
			return nil
		})
		if metrics != nil {
			group.Go(func() error { return serveMetrics(ctx, metrics, b.Metrics()) })
		}
		group.Go(func() error { return b.Run(ctx) })
		return group.Wait()
	})
	return errors.Join(err, db.Close())
}

func newBridge(c *config, db *store.Store) (*bridge.Bridge, error) {
	oidc, err := c.newOIDC(db)
	if err != nil {
		return nil, err
	}
	return bridge.New(bridge.Config{
		Origin: c.origin, Secret: c.secret, OldSecret: c.secretOld, Store: db, Upscope: c.upscope, Eraser: c.eraser, WatchHosts: c.watchHosts,
		Connectors: c.connectors, OIDC: oidc, Header: c.signIn.header, Policy: c.policy, LinkEmail: c.signIn.linkEmail,
		LinkLife: c.linkLife, CardLife: c.cardLife, Retention: c.retention, MatchEmail: c.matchEmail, Sites: c.sites,
		TrustedProxies: c.proxies, Version: version, Log: c.log,
	})
}

// takePorts listens where the settings say. There is no listener for metrics that are switched off.
func takePorts(ctx context.Context, c *config) (public, metrics net.Listener, err error) {
	var l net.ListenConfig
	public, err = l.Listen(ctx, "tcp", c.listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on BRIDGE_LISTEN: %w", err)
	}
	if c.metrics == "" {
		return public, nil, nil
	}
	metrics, err = l.Listen(ctx, "tcp", c.metrics)
	if err != nil {
		public.Close()
		return nil, nil, fmt.Errorf("listen on BRIDGE_METRICS_LISTEN: %w; name another address there, or %s", err, switchedOff)
	}
	return public, metrics, nil
}

// serveMetrics answers those who ask for metrics, and nothing else, until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, metrics http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	server := newServer(mux)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	err := server.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reloadOn has the policy file read at once at each signal, until ctx ends.
func reloadOn(ctx context.Context, signals <-chan os.Signal, file *policy.File, log *slog.Logger) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		changed, err := file.Reload()
		switch {
		case file.Path() == "":
			log.WarnContext(ctx, "told to read the policy file, and there is none")
		case err != nil:
			log.ErrorContext(ctx, "policy file is wrong, the policy of before goes on", "err", err)
		case changed:
			log.InfoContext(ctx, "policy reloaded", "file", file.Path())
		default:
			log.InfoContext(ctx, "policy file is what the policy was made of", "file", file.Path())
		}
	}
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
// takes no more, calls stopping so that answers without an end come to one, and
// waits for what is running, though not for ever: whoever is still sending is cut
// off, and a job that hangs runs again at the next start.
func serve(ctx context.Context, listener net.Listener, h http.Handler, log *slog.Logger, stopping func(), work func(context.Context) error) error {
	server := newServer(h)
	server.RegisterOnShutdown(stopping)
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
			log.WarnContext(ctx, "requests that did not end were cut off")
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
		log.WarnContext(ctx, "jobs that did not end are left for the next start")
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
