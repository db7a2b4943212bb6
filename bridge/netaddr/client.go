package netaddr

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// What is wrong with the address of a client. Clients logs each once.
var (
	// ErrNotForwarded means that a trusted proxy sent no X-Forwarded-For.
	ErrNotForwarded = errors.New("sent no X-Forwarded-For")
	// ErrUnreadable means that the entry of a trusted proxy in X-Forwarded-For is no address.
	ErrUnreadable = errors.New("sent an X-Forwarded-For that contains no readable address")
	// ErrNoAddress means that the connection itself has no IP address.
	ErrNoAddress = errors.New("the connection has no IP address")
	errUntrusted = errors.New("sent X-Forwarded-For, but is not a trusted proxy")
)

// Client returns the address that sent a request: the nearest hop that is not one of the
// proxies. It reads X-Forwarded-For from its end and only as far as proxies wrote it, so it
// ignores what the client wrote there. Its errors name the proxy and never what it sent.
func Client(r *http.Request, proxies []netip.Prefix) (netip.Addr, error) {
	client, ok := hop(r.RemoteAddr)
	if !ok {
		return netip.Addr{}, ErrNoAddress
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		if !Within(proxies, client) {
			break
		}
		next, ok := hop(text)
		switch {
		case !ok && len(hops) == 1 && strings.TrimSpace(text) == "":
			return netip.Addr{}, fmt.Errorf("the proxy %s %w", client, ErrNotForwarded)
		case !ok:
			return netip.Addr{}, fmt.Errorf("the proxy %s %w", client, ErrUnreadable)
		}
		client = next
	}
	return client, nil
}

// hop reads an address as proxies write it: bare, with a port, in brackets or in quotes. Azure's
// Application Gateway and IIS append the port (learn.microsoft.com/azure/application-gateway,
// "How an application gateway works").
func hop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t\"")
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr, true
	}
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return addr.Addr(), true
	}
	inner, bracket := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	return addr, bracket && closed && err == nil && addr.Is6()
}

// Clients finds the clients of requests. It logs each kind of fault once, so that a proxy with
// wrong settings does not fill the log.
type Clients struct {
	proxies []netip.Prefix
	setting string
	effect  string
	log     *slog.Logger
	logged  sync.Map // of errors that were logged
}

// NewClients returns Clients that trust the proxies. setting names the setting of the proxies, and
// effect says what follows from a missing address. Both are for the log.
func NewClients(proxies []netip.Prefix, setting, effect string, log *slog.Logger) *Clients {
	return &Clients{proxies: proxies, setting: setting, effect: effect, log: log}
}

// Of returns the client of a request as Client does. If it is not known, ok is false; the caller
// must then not use the proxy's address, which all its clients share.
func (c *Clients) Of(r *http.Request) (client netip.Addr, ok bool) {
	client, err := Client(r, c.proxies)
	if err != nil && c.isNew(err) {
		c.log.WarnContext(r.Context(), "address of a client not known", "err", err, "setting", c.setting, "effect", c.effect)
	} else if err == nil && c.seemsProxy(client, r) && c.isNew(errUntrusted) {
		c.log.WarnContext(r.Context(), "X-Forwarded-For of an unknown proxy ignored", "err", fmt.Errorf("%s %w", client, errUntrusted),
			"setting", c.setting, "effect", "the proxy's address counts as that of all its clients: if it is yours, add it to the setting")
	}
	return client, err == nil
}

// FromProxy reports whether one of the proxies sent a request to this program.
func (c *Clients) FromProxy(r *http.Request) bool {
	peer, ok := hop(r.RemoteAddr)
	return ok && Within(c.proxies, peer)
}

// seemsProxy reports whether the client is in this network and forwards requests of others,
// although it is no trusted proxy.
func (c *Clients) seemsProxy(client netip.Addr, r *http.Request) bool {
	near := client.Unmap().IsPrivate() || client.Unmap().IsLoopback()
	if !near || r.Header.Get("X-Forwarded-For") == "" {
		return false
	}
	return !c.FromProxy(r)
}

// isNew reports whether a kind of fault occurs for the first time.
func (c *Clients) isNew(err error) bool {
	kind := err
	if inner := errors.Unwrap(err); inner != nil {
		kind = inner
	}
	_, before := c.logged.LoadOrStore(kind, true)
	return !before
}
