package bridge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/browsertest"
	"cobrowse-bridge/upscope"
)

// childVariable tells this program that a test started it as a child process, and in which role.
const childVariable = "BRIDGE_TEST_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch role, dir, _ := strings.Cut(os.Getenv(childVariable), ":"); role {
	case "":
		os.Exit(browsertest.Main{M: m, Parallel: 2}.Run())
	case "server":
		err = serveBeside(dir)
	case "acknowledge":
		err = acknowledge(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// addresses are the URLs that a child prints when it is ready.
type addresses struct{ Bridge, Baseline string }

// serveBeside serves a bridge and the baselines that it is compared with until standard
// input ends. The environment variable UPSCOPE is the address of Upscope.
func serveBeside(dir string) error {
	address := os.Getenv("UPSCOPE")
	c, err := newBenchBridge(dir, address, upscope.NewTransport(), unlimited)
	if err != nil {
		return err
	}
	go c.work.DropSoon()
	subject := httptest.NewServer(c)
	baselines, err := baselines(c, address)
	if err != nil {
		return err
	}
	baseline := httptest.NewServer(baselines)
	if err := json.NewEncoder(os.Stdout).Encode(addresses{subject.URL, baseline.URL}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, c.close())
}

// baselines returns minimal handlers that do the same work as those of the bridge.
func baselines(c *benchBridge, address string) (http.Handler, error) {
	upstream, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	transport := upscope.NewTransport()
	call := func(r *http.Request, method, path, body string) ([]byte, error) {
		out, err := http.NewRequestWithContext(r.Context(), method, address+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		answer, err := transport.RoundTrip(out)
		if err != nil {
			return nil, err
		}
		defer func() { _ = answer.Body.Close() }()
		return io.ReadAll(answer.Body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/twice/{visitor}", func(w http.ResponseWriter, r *http.Request) {
		visitor := "/v1.3/visitors/" + r.PathValue("visitor")
		_, err := call(r, http.MethodGet, visitor, "")
		var link []byte
		if err == nil {
			link, err = call(r, http.MethodPost, visitor+"/watch_url", mintBody)
		}
		var answer struct {
			WatchURL string `json:"watch_url"`
		}
		if err = errors.Join(err, json.Unmarshal(link, &answer)); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Location", answer.WatchURL)
		w.WriteHeader(http.StatusSeeOther)
	})
	mux.Handle("/v1.3/", &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(upstream) },
		Transport: transport,
	})
	mux.HandleFunc("/mint/{visitor}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		location, err := c.mint(r.Context(), r.PathValue("visitor"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusSeeOther)
	})
	mux.HandleFunc("/forged", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusUnauthorized)
	})
	door, err := c.makeDoor()
	if err != nil {
		return nil, err
	}
	mux.Handle("/page", sameBytes(c, door.look("")))
	mux.Handle("/unknown", sameBytes(c, unknownDoor("")))
	mux.HandleFunc("/doors", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		doors, err := c.makeDoors(n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(doors)
	})
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, _ *http.Request) {
		var used syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
		_ = json.NewEncoder(w).Encode(time.Duration(used.Utime.Nano() + used.Stime.Nano()))
	})
	return mux, nil
}

const mintBody = `{"agent":{"id":"desk:agent-1","name":"Bob Baker"},"branding":{"naked":false,"retry_url":null,"on_end_url":null},"metadata":{"bridge_card":"0199a5b0-0000-7000-8000-000000000001"}}`

// sameBytes returns a handler that gives every request the answer that h gives r.
func sameBytes(h http.Handler, r *http.Request) http.Handler {
	recorded := httptest.NewRecorder()
	h.ServeHTTP(recorded, r)
	body := recorded.Body.Bytes()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", recorded.Header().Get("Content-Type"))
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(body)
	})
}

func unknownDoor(server string) *http.Request {
	return newRequest(http.MethodGet, server+"/w/"+strings.Repeat("A", 43), nil)
}

// A server is a child process that serves a bridge. This process runs its clients and
// its Upscope.
type server struct {
	addresses
	*testing.B
	clients *http.Transport
	dir     string
}

func startServer(b *testing.B) *server {
	b.Helper()
	upscope := httptest.NewServer(http.HandlerFunc(quickUpscope))
	b.Cleanup(upscope.Close)
	dir := b.TempDir()
	child := exec.Command(os.Args[0]) // not with the context, which ends before the cleanup stops the child
	child.Env = append(os.Environ(), childVariable+"=server:"+dir, "UPSCOPE="+upscope.URL)
	child.Stderr = os.Stderr
	input, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	s := &server{B: b, dir: dir, clients: &http.Transport{MaxIdleConnsPerHost: parallel, MaxConnsPerHost: parallel}}
	b.Cleanup(func() {
		s.clients.CloseIdleConnections()
		_ = input.Close()
		if err := child.Wait(); err != nil {
			b.Error(err)
		}
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.addresses)
	}
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// parallel is how many clients a server has at once.
const parallel = 64

// do sends a request and returns the body of the answer, which must have the given status.
func (s *server) do(r *http.Request, status int) ([]byte, error) {
	answer, err := s.clients.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != status {
		err = fmt.Errorf("%s %s is answered %d: %s", r.Method, r.URL.Path, answer.StatusCode, body)
	}
	return body, err
}

// cpuRate sends n requests from all clients and returns how many the server answers in
// each second of CPU time.
func (s *server) cpuRate(n, status int, request func(i int) *http.Request) float64 {
	s.Helper()
	before := s.cpu()
	s.wallRate(n, status, request)
	return benchtest.PerSecond(n, s.cpu()-before)
}

// wallRate is like cpuRate, but returns the rate by real time.
func (s *server) wallRate(n, status int, request func(i int) *http.Request) float64 {
	s.Helper()
	_, all := benchtest.Parallel(s, parallel, n, func(i int) error {
		_, err := s.do(request(i), status)
		return err
	})
	return benchtest.PerSecond(n, all)
}

func (s *server) cpu() (used time.Duration) {
	s.Helper()
	s.ask("/cpu", &used)
	return used
}

func (s *server) makeDoors(n int) (doors []benchDoor) {
	s.Helper()
	s.ask("/doors?n="+strconv.Itoa(n), &doors)
	return doors
}

func (s *server) ask(path string, into any) {
	s.Helper()
	body, err := s.do(newRequest(http.MethodGet, s.Baseline+path, nil), http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// post returns a POST request.
func post(address, body string) *http.Request {
	return newRequest(http.MethodPost, address, bytes.NewReader([]byte(body)))
}
