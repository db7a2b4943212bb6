package check

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/upscope"
)

// Config is what a check looks at: the valid settings, and what is made of them.
type Config struct {
	Origin *url.URL      // public address of the bridge
	Route  network.Route // of calls to it
	// Ask sends a GET request to the bridge on this machine, at BRIDGE_LISTEN. Host is the request's Host.
	Ask func(ctx context.Context, path, host string) (*http.Response, error)
	// Listen is BRIDGE_LISTEN, and Metrics BRIDGE_METRICS_LISTEN, or empty. TryListen listens on such an
	// address and stops at once.
	Listen, Metrics string
	TryListen       func(ctx context.Context, address string) error

	Database          string
	Secret, OldSecret []byte // OldSecret may be nil

	SignIn  SignIn
	Policy  *policy.File
	Proxies []netip.Prefix // trusted

	// StopDelay and StopTimeout are how long the bridge goes on after SIGTERM. KillAfter is when its
	// supervisor kills it.
	StopDelay, StopTimeout, KillAfter time.Duration

	Upscope    *upscope.Client
	WatchHosts upscope.Hosts
	Connectors []chat.Connector
	Log        *slog.Logger
}

// SignIn says how agents sign in. With the zero value they do not.
type SignIn struct {
	OIDC    *signin.OIDCConfig // without Sessions and Log
	Headers []string           // names of the headers of a proxy that signs agents in
}

func (s SignIn) byLink() bool { return s.OIDC == nil && s.Headers == nil }
