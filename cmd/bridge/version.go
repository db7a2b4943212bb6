package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"cobrowse-bridge/bridge/settings"
)

// version is set by the linker; see `make build`.
var version = "dev"

type versionCommand struct{}

// Run prints what was built, from what, with what.
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
	r.Group("BRIDGE", &b) // only the address matters here, whatever else is wrong
	listen := b.Listen
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("BRIDGE_LISTEN is no address to listen on")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	direct := &http.Client{Transport: &http.Transport{}} // a proxy would answer for somebody else
	answer, err := direct.Do(request)
	if err != nil {
		fmt.Fprintln(s.err, "bridge: nothing answers on", listen)
		return exit(1)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		fmt.Fprintln(s.err, "bridge: not ready:", answer.Status)
		return exit(1)
	}
	fmt.Fprintln(s.out, "ready")
	return nil
}
