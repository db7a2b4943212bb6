package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellManager tells the service manager that started the bridge, if it wants to know
// (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).
func tellManager(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("service manager not notified", "state", state, "err", err)
	}
}

// reloading is the state before a reload; READY=1 ends it.
func reloading() string { return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() }

// feedWatchdog tells the service manager, until ctx ends, that the bridge works: that it can write
// to its database. The manager restarts a bridge that stays silent for WatchdogSec=.
func feedWatchdog(ctx context.Context, log *slog.Logger, ready func(context.Context) error) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.WarnContext(ctx, "watchdog of the service manager not used", "err", err)
	}
	if limit == 0 {
		return
	}
	tick := time.NewTicker(limit / 2)
	defer tick.Stop()
	for {
		if err := ready(ctx); err == nil {
			tellManager(log, daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			log.ErrorContext(ctx, "store not ready, the service manager restarts the bridge if that lasts", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
