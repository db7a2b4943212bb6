package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"cobrowse-bridge/bridge/settings"
)

// version is set by the linker; see `make build`.
var version = "dev"

type versionCommand struct{}

// Run prints the version, the commit and the Go version.
func (versionCommand) Run(s streams) error {
	commit := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = setting.Value
			}
		}
	}
	fmt.Fprintf(s.out, "bridge %s, commit %s, %s\n", version, commit, runtime.Version())
	return nil
}

type healthcheckCommand struct{}

// Run asks the bridge that listens on BRIDGE_LISTEN whether it is ready.
func (healthcheckCommand) Run(ctx context.Context, s streams) error {
	var r settings.Reader
	var b bridgeSettings
	r.Group("BRIDGE", &b) // faults in other settings do not matter here
	if r.Listen("BRIDGE_LISTEN", b.Listen, listenExamples) == "" {
		return errors.New("BRIDGE_LISTEN must be an address such as " + listenExamples)
	}
	answer, err := askReady(ctx, b.Listen)
	if err != nil {
		fmt.Fprintf(s.err, "bridge: no answer on %s (BRIDGE_LISTEN): %v. Is `bridge serve` running with the same BRIDGE_LISTEN? "+
			"If systemd opens the socket for it, set BRIDGE_LISTEN to the ListenStream= of that socket.\n", b.Listen, err)
		return exitStatus(1)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var why struct {
			Store    string `json:"store"`
			Stopping bool   `json:"stopping"`
		}
		err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&why)
		switch {
		case err != nil || why.Store == "":
			fmt.Fprintln(s.err, "bridge: not ready:", answer.Status)
		case why.Stopping:
			fmt.Fprintln(s.err, "bridge: not ready: it is stopping")
		default:
			fmt.Fprintf(s.err, "bridge: not ready: the database is %s, see the log of `bridge serve`\n", oneLine(why.Store))
		}
		return exitStatus(1)
	}
	fmt.Fprintln(s.out, "ready")
	return nil
}

// askReady asks the bridge that listens on an address of this machine whether it is ready.
func askReady(ctx context.Context, listen string) (*http.Response, error) {
	return askHere(listen)(ctx, "/readyz", "")
}

// askHere returns a function that sends a GET request to the bridge that listens on an address of this
// machine. An empty host is that of the address. The function follows no redirect.
func askHere(listen string) func(ctx context.Context, path, host string) (*http.Response, error) {
	return func(ctx context.Context, path, host string) (*http.Response, error) {
		// The client ignores HTTP_PROXY, since the bridge runs on this machine.
		transport := &http.Transport{DisableKeepAlives: true}
		direct := &http.Client{Transport: transport, Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		at := "bridge"
		if file, ok := strings.CutPrefix(listen, unixAddress); ok {
			transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", file)
			}
		} else {
			name, port, err := net.SplitHostPort(listen)
			if err != nil {
				return nil, err
			}
			if ip := net.ParseIP(name); name == "" || ip != nil && ip.IsUnspecified() {
				name = "localhost"
			}
			at = net.JoinHostPort(name, port)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
		if err != nil {
			return nil, err
		}
		request.Host = host
		answer, err := direct.Do(request)
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return answer, err
	}
}
