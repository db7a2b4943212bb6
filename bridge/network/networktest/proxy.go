// Package networktest is a proxy for outgoing calls, for tests.
package networktest

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// A Proxy passes the connections of CONNECT on. If Status is not zero, it refuses them with it.
type Proxy struct {
	Status int

	mu    sync.Mutex
	hosts []string
	user  string
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hosts, p.user = append(p.hosts, r.Host), r.Header.Get("Proxy-Authorization")
	p.mu.Unlock()
	if p.Status != 0 {
		w.WriteHeader(p.Status)
		return
	}
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	to, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		to.Close()
		return
	}
	// The client sends nothing before this answer, so the server has read nothing of it.
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, from); to.Close() }()
	go func() { _, _ = io.Copy(from, to); from.Close() }()
}

// Hosts returns the hosts of all requests, with their ports.
func (p *Proxy) Hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.hosts...)
}

// User returns the header Proxy-Authorization of the last request.
func (p *Proxy) User() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.user
}
