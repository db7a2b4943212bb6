package main

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain runs the tests or, called by the name of the program, the program:
// tests start it as a process of its own without building it first.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "bridge" {
		main()
	}
	// These tests wait for processes most of the time, so more of them fit beside each
	// other than there are processors. What the command line says goes before.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A program is a bridge that runs as a process of its own.
type program struct {
	t       testing.TB
	env     map[string]string
	process *os.Process
	out     *output
	err     *output
	ended   chan struct{}
	killed  bool
	status  int // once ended is closed; -1 after a signal
}

// patience is how long anything may take that takes milliseconds on a machine
// with nothing else to do.
const patience = 30 * time.Second

// start runs the program with these variables and no others. It is killed when
// the test ends.
func start(t testing.TB, env map[string]string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, env: env, out: newOutput(), err: newOutput(), ended: make(chan struct{})}
	cmd := &exec.Cmd{Path: self, Args: append([]string{"bridge"}, args...), Stdout: p.out, Stderr: p.err, Env: []string{}}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	go func() {
		_ = cmd.Wait() // the status says it all
		p.status = cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.process.Kill() // fails if it ended, which is as well
		<-p.ended
		if t.Failed() && !p.killed {
			t.Logf("bridge %s ended with %d and wrote\n%s%s", strings.Join(args, " "), p.status, p.out, p.err)
		}
	})
	return p
}

// serve starts `bridge serve` and waits for its ready line.
func startServe(t testing.TB, env map[string]string) (p *program, address string) {
	t.Helper()
	p = start(t, env, "serve")
	return p, p.ready()
}

// ready waits for the line that says where the program listens, and returns that
// address.
func (p *program) ready() string {
	p.t.Helper()
	select {
	case <-p.out.line:
	case <-p.ended:
		p.t.Fatalf("the bridge ended with %d instead of being ready", p.status)
	case <-time.After(patience):
		p.t.Fatal("the bridge does not get ready")
	}
	_, rest, _ := strings.Cut(p.out.String(), "bridge is ready on ")
	address, _, _ := strings.Cut(rest, " ")
	return address
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait gives the exit status of a program that ends by itself.
func (p *program) wait(within time.Duration) (status int) {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.status
	case <-time.After(within):
		p.t.Fatalf("the bridge is still running after %v", within)
	}
	return 0
}

// terminate has the program end as a supervisor does.
func (p *program) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(10 * time.Second); status != 0 {
		p.t.Errorf("SIGTERM ended the bridge with %d", status)
	}
}

// kill ends the program as a power cut does.
func (p *program) kill() {
	p.killed = true
	_ = p.process.Kill() // fails if it ended, which is as well
	<-p.ended
}

// output keeps what a program writes. line is closed at the first whole line.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	line chan struct{}
	once sync.Once
}

func newOutput() *output { return &output{line: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if bytes.IndexByte(b, '\n') >= 0 {
		o.once.Do(func() { close(o.line) })
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// eventually looks again and again until something is so.
func eventually(t testing.TB, what any, within time.Duration, so func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v still not: %v", within, what)
		}
	}
}

// with is env with some variables changed; an empty value removes one.
func with(env map[string]string, changes ...string) map[string]string {
	env = maps.Clone(env)
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		if env[name] = value; value == "" {
			delete(env, name)
		}
	}
	return env
}

// saying is a text that is put together when it is wanted.
type saying func() string

func (s saying) String() string { return s() }
