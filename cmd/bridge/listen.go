package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// The names of sockets that a service manager may pass to the bridge (FileDescriptorName= in a
// unit of systemd).
const (
	publicSocket  = "public"
	metricsSocket = "metrics"
)

const otherAddress = "stop the other program, perhaps another bridge, or set another address"

// openListeners returns the sockets that the service manager has passed, or listens on the
// addresses of the settings. metrics is nil if metrics are off and no socket for them was passed.
func openListeners(ctx context.Context, c *config) (public, metrics net.Listener, err error) {
	passed, err := passedListeners(activation.Files(true))
	if err != nil {
		return nil, nil, err
	}
	public, metrics = passed[publicSocket], passed[metricsSocket]
	if public == nil {
		public, err = listenOn(ctx, c.listen)
		if err != nil {
			return nil, nil, errors.Join(cannotListen("BRIDGE_LISTEN", c.listen, err, otherAddress), closeAll(passed))
		}
	}
	if metrics == nil && c.metrics != "" {
		metrics, err = listenOn(ctx, c.metrics)
		if err != nil {
			return nil, nil, errors.Join(cannotListen("BRIDGE_METRICS_LISTEN", c.metrics, err, otherAddress+" or "+switchedOff), public.Close())
		}
	}
	return public, metrics, nil
}

func closeAll(listeners map[string]net.Listener) (err error) {
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// passedListeners makes listeners of the sockets that a service manager passes
// (https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html). A single socket
// with any other name than metrics is the public one.
func passedListeners(files []*os.File) (map[string]net.Listener, error) {
	all := map[string]net.Listener{}
	for _, f := range files {
		name := f.Name()
		if len(files) == 1 && name != metricsSocket {
			name = publicSocket
		}
		l, err := net.FileListener(f)
		_ = f.Close() // FileListener uses a copy
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %q of the service manager cannot be used, it must be a stream socket (ListenStream=): %w", f.Name(), withoutAddress(err)), closeAll(all))
		}
		if name != publicSocket && name != metricsSocket || all[name] != nil {
			return nil, errors.Join(fmt.Errorf("the service manager passes a socket %q: pass one that is named %s, and one named %s if metrics have one too (FileDescriptorName=)", name, publicSocket, metricsSocket), l.Close(), closeAll(all))
		}
		all[name] = ofThisMachine(l)
	}
	return all, nil
}

// unixAddress is the beginning of the address of a socket that is a file.
const unixAddress = "unix:"

// socketMode lets the group use a socket, such as the group of the proxy.
const socketMode = 0o660

// listenOn listens on HOST:PORT or unix:FILE.
func listenOn(ctx context.Context, address string) (net.Listener, error) {
	var l net.ListenConfig
	file, isFile := strings.CutPrefix(address, unixAddress)
	if !isFile {
		return l.Listen(ctx, "tcp", address)
	}
	if err := removeUnused(ctx, file); err != nil {
		return nil, err
	}
	listener, err := l.Listen(ctx, "unix", file)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(file, socketMode); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return ofThisMachine(listener), nil
}

// tryListen finds out whether the bridge could listen on HOST:PORT. It says nothing about unix:FILE, since
// that would make a file.
func tryListen(ctx context.Context, address string) error {
	if strings.HasPrefix(address, unixAddress) {
		return nil
	}
	l, err := listenOn(ctx, address)
	if err != nil {
		return err
	}
	return l.Close()
}

// removeUnused removes the socket of a program that was killed.
func removeUnused(ctx context.Context, file string) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("the file is there and is no socket")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", file)
	switch {
	case err == nil:
		_ = conn.Close()
		return syscall.EADDRINUSE
	case !errors.Is(err, syscall.ECONNREFUSED): // perhaps another user's bridge
		return err
	}
	return os.Remove(file)
}

// ofThisMachine makes the clients of a Unix socket have the address 127.0.0.1, since they have
// none of their own. So BRIDGE_TRUSTED_PROXIES=127.0.0.1 trusts a proxy that uses the socket.
func ofThisMachine(l net.Listener) net.Listener {
	if l.Addr().Network() != "unix" {
		return l
	}
	return localListener{l}
}

type localListener struct{ net.Listener }

func (l localListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return localConn{conn}, nil
}

type localConn struct{ net.Conn }

func (localConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// cannotListen says why the bridge cannot listen on the address of a setting.
func cannotListen(setting, address string, err error, remedy string) error {
	return fmt.Errorf("cannot listen on %s (%s): %w; %s", address, setting, withoutAddress(err), remedy)
}

// withoutAddress returns the cause of an error of package net or os. The message that contains it
// has the address already.
func withoutAddress(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}
