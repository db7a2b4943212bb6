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
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/store"

	"golang.org/x/sync/errgroup"
)

type serveCommand struct{}

// Run serves until ctx ends.
func (serveCommand) Run(ctx context.Context, s streams) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from here on SIGHUP does not end the program
	defer signal.Stop(reload)
	c, faults := readConfig(s.err)
	if c == nil {
		printFaults(s.err, faults)
		return exitStatus(2)
	}
	slog.SetDefault(c.log) // net/http logs here; c.log redacts secrets
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Log: c.log})
	if err != nil && ctx.Err() != nil {
		return nil // it was stopped before it was ready
	}
	if err != nil {
		return err
	}
	if err := db.CheckSecret(ctx); errors.Is(err, store.ErrSecret) {
		printFaults(s.err, []settings.Fault{secretFault})
		return errors.Join(db.Close(), exitStatus(2))
	} else if err != nil {
		return errors.Join(err, db.Close())
	}
	b, err := newBridge(c, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	public, metrics, err := openListeners(ctx, c)
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
			logProblems(ctx, c)
			return nil
		})
		group.Go(func() error {
			reloadPolicyOn(ctx, reload, c.policy, c.log)
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
	header, err := c.newHeader()
	if err != nil {
		return nil, err
	}
	return bridge.New(bridge.Config{
		Origin: c.origin, Secret: c.secret, OldSecret: c.secretOld, Store: db, Upscope: c.upscope, Eraser: c.eraser, WatchHosts: c.watchHosts,
		Connectors: c.connectors, OIDC: oidc, Header: header, Policy: c.policy, LinkEmail: c.signIn.linkEmail,
		LinkLife: c.linkLife, CardLife: c.cardLife, Retention: c.retention, MatchEmail: c.matchEmail, Sites: c.sites,
		TrustedProxies: c.proxies, Version: version, Log: c.log,
	})
}

// openListeners listens on the addresses of the settings. metrics is nil if metrics are off.
func openListeners(ctx context.Context, c *config) (public, metrics net.Listener, err error) {
	var l net.ListenConfig
	public, err = l.Listen(ctx, "tcp", c.listen)
	if err != nil {
		return nil, nil, cannotListen("BRIDGE_LISTEN", c.listen, err, "stop the other program, perhaps another bridge, or set another address")
	}
	if c.metrics == "" {
		return public, nil, nil
	}
	metrics, err = l.Listen(ctx, "tcp", c.metrics)
	if err != nil {
		public.Close()
		return nil, nil, cannotListen("BRIDGE_METRICS_LISTEN", c.metrics, err, "stop the other program, perhaps another bridge, or set another address or "+switchedOff)
	}
	return public, metrics, nil
}

// cannotListen says why the bridge cannot listen on the address of a setting.
func cannotListen(setting, address string, err error, remedy string) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno // without the address, which the sentence has already
	}
	return fmt.Errorf("cannot listen on %s (%s): %w; %s", address, setting, err, remedy)
}

// serveMetrics serves GET /metrics on l until ctx ends.
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

// reloadPolicyOn reads the policy file at each signal, until ctx ends.
func reloadPolicyOn(ctx context.Context, signals <-chan os.Signal, file *policy.File, log *slog.Logger) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		changed, err := file.Reload()
		switch {
		case file.Path() == "":
			log.InfoContext(ctx, "no policy file to reload", "setting", "BRIDGE_POLICY_FILE")
		case err != nil:
			log.ErrorContext(ctx, "policy not reloaded", "err", err, "effect", "previous policy stays in use")
		case changed:
			log.InfoContext(ctx, "policy reloaded", "file", file.Path())
		default:
			log.InfoContext(ctx, "policy unchanged", "file", file.Path())
		}
	}
}

// logProblems logs the problems that bridge check would find, for operators who do
// not run it. Some have no other sign, such as a user who may write where customers read.
func logProblems(ctx context.Context, c *config) {
	for _, f := range checkServices(ctx, c) {
		if f.Problem != "" && ctx.Err() == nil {
			c.log.WarnContext(ctx, "problem found at start", "about", f.About, "problem", f.Problem, "remedy", f.Remedy)
		}
	}
}

// Times after the program is told to stop: requests may run for drainTime, and
// everything ends after stopTime. Supervisors kill a program after ten seconds.
const (
	drainTime = 8 * time.Second
	stopTime  = 8500 * time.Millisecond
)

// serve answers requests and runs work until ctx ends. Then it accepts no more requests, calls
// stopping to end streamed answers, and waits for running requests and jobs up to the times above.
// A job that does not end runs again after the next start.
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
			return nil // it was stopped while it started
		}
		return err
	})
	group.Go(func() error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			log.WarnContext(ctx, "requests not finished, connections closed")
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
	case <-time.After(stopTime):
		log.WarnContext(ctx, "jobs not finished, they run again after the next start")
		return nil
	}
}

// newServer limits the time and the header size of each request. Browsers also send the cookies of
// other sites of the same domain, and proxies add long lists of groups.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}
