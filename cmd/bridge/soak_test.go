package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The times of the soak. A part without trouble follows each trouble.
const (
	troubleTime = 12 * time.Second
	calmTime    = 18 * time.Second
	soakPace    = 150 * time.Millisecond // between new chats

	// noticeTime is how long the bridge may call itself healthy while it does not work off a
	// delivery: a job may take 30 seconds before it counts as failed.
	noticeTime = 45 * time.Second

	// healTime is how long it may call itself unhealthy after all its work is done.
	healTime = 30 * time.Second
)

// A trouble happens to the bridge until end is called. end may be nil.
type trouble struct {
	name  string
	begin func(s *soak) (end func())
}

var troubles = []trouble{
	{"the chat service answers 500", func(s *soak) func() { return s.chatGate.set(fails) }},
	{"the chat service hangs", func(s *soak) func() { return s.chatGate.set(hangs) }},
	{"the chat service cuts answers", func(s *soak) func() { return s.chatGate.set(cuts) }},
	{"Upscope answers 500", func(s *soak) func() { return s.upscopeGate.set(fails) }},
	{"Upscope hangs", func(s *soak) func() { return s.upscopeGate.set(hangs) }},
	{"Upscope cuts answers", func(s *soak) func() { return s.upscopeGate.set(cuts) }},
	{"another session locks the database", (*soak).lock},
	{"the bridge is restarted", func(s *soak) func() { s.restart((*program).terminate); return nil }},
	{"the bridge is killed", func(s *soak) func() { s.restart((*program).kill); return nil }},
}

// A gateMode is what a gate does with requests.
type gateMode int32

const (
	passes gateMode = iota
	fails
	hangs
	cuts
)

// A gate stands before a service and makes it fail.
type gate struct {
	next http.Handler
	mode atomic.Int32
}

func (g *gate) set(m gateMode) (end func()) {
	g.mode.Store(int32(m))
	return func() { g.mode.Store(int32(passes)) }
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mode := gateMode(g.mode.Load())
	if mode == passes {
		g.next.ServeHTTP(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the caller gives up
	switch mode {
	case fails:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case hangs:
		<-r.Context().Done()
	case cuts:
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"success":`))
		panic(http.ErrAbortHandler)
	}
}

// A soak is a bridge under load and trouble, and what the test knows of it.
type soak struct {
	*sender
	engine, database      string
	env                   map[string]string
	chatGate, upscopeGate *gate
	program               atomic.Pointer[program]
	bob                   *browser
	visitor               string
	presses               map[int]int // how many were answered with each status

	mu      sync.Mutex
	trouble string    // "" for none
	since   time.Time // when trouble changed
}

// TestSoak runs the bridge for the time in BRIDGE_TEST_SOAK, such as 20m, with load, failures of
// each service, locks, restarts and kills. Once a second it compares what the bridge says of
// itself with what the test knows. In the end nothing is lost or doubled.
func TestSoak(t *testing.T) {
	given := os.Getenv("BRIDGE_TEST_SOAK")
	if given == "" {
		t.Skip("BRIDGE_TEST_SOAK does not say how long")
	}
	total, err := time.ParseDuration(given)
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			newSoak(t, engine).run(total)
		})
	}
}

func newSoak(t *testing.T, engine string) *soak {
	s := &soak{engine: engine, database: newDatabase(t, engine), presses: map[int]int{}, sender: &sender{
		services: newServices(t), t: t, client: newClient(), allowed: make(chan struct{}, writers), over: map[string]bool{},
	}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.chatGate, s.upscopeGate = &gate{next: s.chat}, &gate{next: s.upscope}
	s.env = with(s.services.env(t), "BRIDGE_DATABASE="+s.database, "BRIDGE_LOG_LEVEL=warn", "BRIDGE_METRICS_LISTEN=127.0.0.1:0",
		"ROCKETCHAT_URL="+listen(t, s.chatGate), "UPSCOPE_URL="+listen(t, s.upscopeGate))
	s.visitor = s.ann()
	return s
}

func (s *soak) run(total time.Duration) {
	t := s.t
	s.start()
	var all sync.WaitGroup
	for range writers {
		all.Go(s.write)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for every, do := range map[time.Duration]func(){
		soakPace:    s.allow,
		time.Second: s.newComparison(),
		time.Minute: s.press, // an agent may get about one link in a minute
	} {
		all.Go(func() {
			for tick := time.NewTicker(every); ; {
				select {
				case <-tick.C:
					do()
				case <-ctx.Done():
					tick.Stop()
					return
				}
			}
		})
	}
	s.wait(calmTime) // it has started, and has connections
	first := s.resources()
	for began, n := time.Now(), 0; time.Since(began) < total; n++ {
		what := troubles[n%len(troubles)]
		s.note(what.name)
		end := what.begin(s)
		if end != nil {
			s.note(what.name) // it lasts from here: the lock has waited for the bridge's transactions
			s.wait(troubleTime)
			end()
		}
		s.note("")
		s.wait(calmTime)
	}
	close(s.allowed)
	eventually(t, lazyText(s.unhandled), 3*time.Minute, func() bool { return s.unhandled() == "" })
	cancel()
	all.Wait()
	db := openDatabase(t, s.database)
	expire(t, db)
	eventually(t, "all jobs are done", 3*time.Minute, func() bool { return pending(t, db) == 0 })
	s.client.CloseIdleConnections()
	s.bob.client.CloseIdleConnections()
	var last map[string]float64
	eventually(t, lazyText(func() string { return fmt.Sprintf("no more resources than at the start %v: %v", first, last) }), 2*time.Minute, func() bool {
		last = s.resources()
		return last["go_goroutines"] < first["go_goroutines"]+30 && last["process_open_fds"] < first["process_open_fds"]+20
	})
	s.program.Load().terminate()
	s.reconcile(db)
	s.verify(s.database)
	if n := number(t, db, "SELECT count(*) FROM audit WHERE action = 'watching'"); n < s.upscope.Minted() {
		t.Errorf("%d audit records for %d watch links", n, s.upscope.Minted())
	}
	pressed := 0
	for _, n := range s.presses {
		pressed += n
	}
	if opened := s.presses[http.StatusSeeOther]; opened == 0 || opened < pressed/2 {
		t.Errorf("%d presses opened the screen: %v", opened, s.presses)
	}
	t.Logf("%d chats, %d deliveries answered 200, %d sent, presses by answer %v; at the start %v, at the end %v", len(s.rooms), s.answered.Load(), s.sent.Load(), s.presses, first, last)
}

// allow lets one more chat begin, unless all writers are still sending.
func (s *soak) allow() {
	defer func() { _ = recover() }() // no more chats are allowed
	select {
	case s.allowed <- struct{}{}:
	default:
	}
}

func (s *soak) start() {
	p := start(s.t, s.env, "serve")
	address := p.ready()
	s.program.Store(p)
	s.address.Store(&address)
	if s.bob == nil {
		s.bob = newBrowser(s.t, address)
		s.bob.client.Timeout = 30 * time.Second
	}
}

func (s *soak) restart(end func(*program)) {
	s.address.Store(nil)
	end(s.program.Load())
	s.start()
}

func (s *soak) lock() (end func()) {
	ctx, t := context.Background(), s.t
	conn, err := openDatabase(t, s.database).Conn(ctx)
	if err != nil {
		t.Error(err)
		return nil
	}
	// The bridge takes its locks in another order, so PostgreSQL may end this transaction.
	for locked := false; !locked && t.Context().Err() == nil; {
		locked = true
		for _, query := range strings.Split(locks[s.engine], ";") {
			if _, err := conn.ExecContext(ctx, query); err != nil {
				t.Log(err)
				_, _ = conn.ExecContext(ctx, "ROLLBACK")
				locked = false
				break
			}
		}
	}
	return func() {
		if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	}
}

func (s *soak) note(trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.since = trouble, time.Now()
}

func (s *soak) state() (trouble string, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble, time.Since(s.since)
}

func (s *soak) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}

// press presses the button of bob's latest card. While nothing troubles the bridge, it leads to
// the screen, and the session is ended soon.
func (s *soak) press() {
	address := s.address.Load()
	posts := s.chat.Posts("bob")
	var door string
	for _, p := range slices.Backward(posts) {
		if m := doorAddress.FindStringSubmatch(p.Text); m != nil {
			door = m[1]
			break
		}
	}
	if address == nil || door == "" {
		return
	}
	s.bob.address = *address
	if _, err := s.bob.send(http.MethodGet, door, navigation("cross-site"), nil); err != nil {
		return // restarted
	}
	a, err := s.bob.send(http.MethodPost, door, formHeader(), strings.NewReader(url.Values{"visitor": {s.visitor}}.Encode()))
	if err != nil {
		if strings.Contains(err.Error(), "Timeout") {
			s.t.Errorf("a press was not answered: %v", err)
		}
		return
	}
	s.presses[a.StatusCode]++
	if a.StatusCode == http.StatusSeeOther {
		all := s.upscope.Watches()
		if id, err := s.upscope.Open(all[len(all)-1]); err == nil {
			time.AfterFunc(3*time.Second, func() { s.upscope.End(id, 0) })
		}
	} else if trouble, lasts := s.state(); trouble == "" && lasts > calmTime/2 && a.StatusCode >= 500 {
		s.t.Errorf("nothing troubles the bridge for %v, and a press is answered %d: %s", lasts, a.StatusCode, a.body)
	}
}

// newComparison returns a function that compares what /readyz says with what the test knows.
func (s *soak) newComparison() func() {
	client := &http.Client{Timeout: 10 * time.Second}
	var waits string         // a chat that is not worked off
	var waitsSince time.Time // since when it is the same
	doneSince := time.Now()
	return func() {
		address := s.address.Load()
		trouble, lasts := s.state()
		if address == nil {
			waitsSince, doneSince = time.Now(), time.Now()
			return
		}
		res, err := client.Get("http://" + *address + "/readyz")
		if err != nil {
			return // restarted
		}
		defer res.Body.Close()
		var says struct {
			Ready      bool
			Connectors map[string]struct{ State string }
			Failures   struct{ Failed, Retrying int }
		}
		if err := json.NewDecoder(res.Body).Decode(&says); err != nil {
			return // restarted
		}
		if now, _ := s.state(); now != trouble {
			return // the answer can be about either
		}
		connector := says.Connectors["rocketchat"].State
		well := says.Ready && connector != "failing" && says.Failures.Failed+says.Failures.Retrying == 0
		if trouble == troubles[6].name && lasts > 5*time.Second && says.Ready {
			s.t.Errorf("%s for %v, and the bridge is ready", trouble, lasts)
		}
		room, _, _ := strings.Cut(s.unhandled(), ",")
		if room != waits {
			waits, waitsSince = room, time.Now()
		}
		if room != "" {
			doneSince = time.Now()
			if since := time.Since(waitsSince); well && since > noticeTime {
				s.t.Errorf("%s waits for %v, and the bridge says that all is well (%q for %v)", room, since, trouble, lasts)
				waitsSince = time.Now()
			}
		}
		if since := time.Since(doneSince); trouble == "" && lasts > healTime && since > healTime && !well {
			s.t.Errorf("all is done for %v, and the bridge says %+v", since, says)
			doneSince = time.Now()
		}
	}
}

// resources returns how many goroutines and open files the bridge has.
func (s *soak) resources() map[string]float64 {
	n := map[string]float64{"go_goroutines": 0, "process_open_fds": 0}
	for line := range strings.Lines(s.metrics(s.t, s.program.Load())) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, wanted := n[name]; wanted {
			n[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	for name, v := range n {
		if v == 0 {
			s.t.Errorf("the metrics have no %s", name)
		}
	}
	return n
}
