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
	"sync/atomic"
	"syscall"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/check"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/store"

	"github.com/coreos/go-systemd/v22/daemon"
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
	db, err := store.Open(ctx, c.database, store.Options{Secret: c.secret, OldSecret: c.secretOld, Calls: c.calls, Log: c.log})
	if err != nil && ctx.Err() != nil {
		return nil // it was stopped before it was ready
	}
	if err != nil {
		return err
	}
	if err := db.CheckSecret(ctx); errors.Is(err, store.ErrSecret) {
		printFaults(s.err, []settings.Fault{check.SecretFault})
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
	tellManager(c.log, daemon.SdNotifyReady)
	err = serve(ctx, public, b, c.log, stopping{c.stopDelay, c.stopTimeout, b.Stopping, b.EndStreams}, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			logProblems(ctx, c)
			return nil
		})
		group.Go(func() error {
			reloadOn(ctx, reload, c)
			return nil
		})
		group.Go(func() error {
			c.files.Follow(ctx, c.log)
			return nil
		})
		group.Go(func() error {
			feedWatchdog(ctx, c.log, db.Ready)
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
		TrustedProxies: c.proxies, SettingsFault: c.files.Fault, Calls: c.calls, Version: version, Log: c.log,
	})
}

// serveMetrics serves metrics and probes on l until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, metrics http.Handler) error {
	server := newServer(metrics)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	err := server.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reloadOn reads the policy file and the files of settings at each signal, until ctx ends.
func reloadOn(ctx context.Context, signals <-chan os.Signal, c *config) {
	file, log := c.policy, c.log
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		tellManager(log, reloading())
		changed, err := file.Reload()
		c.files.Reload(ctx, log)
		tellManager(log, daemon.SdNotifyReady)
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

// stopping says how a server stops. With its zero value it stops at once.
type stopping struct {
	// delay is how long everything goes on after the first signal, so that proxies that ask
	// /readyz send no more requests.
	delay time.Duration
	// timeout is how long requests may run afterwards. Everything ends half a second later.
	timeout time.Duration
	// announce is called before the delay, and endStreams after it, to end streamed answers.
	announce, endStreams func()
}

// wait lets the delay pass. A second signal, or the end of running, ends it. It sets closing, so that
// connections are closed after their next answer.
func (s stopping) wait(running context.Context, closing *atomic.Bool, log *slog.Logger) {
	if s.delay == 0 {
		return
	}
	log.InfoContext(running, "stopping", "delay", s.delay.String(), "effect", "/readyz answers 503, requests are still answered")
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	s.announce()
	closing.Store(true)
	select {
	case <-time.After(s.delay):
	case <-again:
	case <-running.Done():
	}
}

// stopTimeout is usual, because supervisors kill a program after ten seconds.
const stopTimeout = 8 * time.Second

// serve answers requests and runs work until ctx ends and stop.delay has passed, which a second
// signal cuts short. Then it accepts no more requests and waits for running requests and jobs. A
// job that does not end runs again after the next start.
func serve(ctx context.Context, listener net.Listener, h http.Handler, log *slog.Logger, stop stopping, work func(context.Context) error) error {
	var closing atomic.Bool // connections, after their next answer
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if closing.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	}))
	server.RegisterOnShutdown(stop.endStreams)
	untilStop, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, running := errgroup.WithContext(untilStop)
	group.Go(func() error {
		defer end()
		select {
		case <-ctx.Done():
			tellManager(log, daemon.SdNotifyStopping)
			stop.wait(running, &closing, log)
		case <-running.Done(): // something failed
		}
		return nil
	})
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		err := work(running)
		if running.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // it was stopped while it started
		}
		return err
	})
	group.Go(func() error {
		<-running.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stop.timeout)
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
	case <-running.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(stop.timeout + 500*time.Millisecond):
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
