package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"
)

// TestMain runs the tests. If the test binary is started with the name bridge, it runs
// the program instead, so tests can start it as a process without building it first.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "bridge" {
		main()
	}
	os.Exit(browsertest.Main{M: m, Parallel: 3}.Run())
}

// A program is a bridge that runs as a process.
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

// maxWait is the time limit for steps that take milliseconds on an idle machine.
const maxWait = 3 * time.Minute

// start runs the program with these variables and no others. It is killed when
// the test ends.
func start(t testing.TB, env map[string]string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, &exec.Cmd{Path: self, Args: append([]string{"bridge"}, args...)}, env)
}

// startCommand starts a command that runs the program, as start does.
func startCommand(t testing.TB, cmd *exec.Cmd, env map[string]string) *program {
	t.Helper()
	p := &program{t: t, env: env, out: newOutput(), err: newOutput(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr, cmd.Env = p.out, p.err, []string{}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	go func() {
		_ = cmd.Wait() // the exit status has the result
		p.status = cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.process.Kill() // fails if the process has ended, which is fine
		<-p.ended
		if t.Failed() && !p.killed {
			t.Logf("%s ended with %d and wrote\n%s%s", strings.Join(cmd.Args, " "), p.status, p.out, p.err)
		}
	})
	return p
}

// startServe starts `bridge serve` and waits for its ready line.
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
		p.t.Fatalf("the bridge ended with %d before it was ready", p.status)
	case <-time.After(maxWait):
		p.t.Fatal("the bridge did not become ready")
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

// wait waits for the program to end by itself and returns its exit status.
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

// terminate ends the program with SIGTERM. It waits longer than a supervisor, because the
// machine may be busy; TestSIGTERMEndsTheProgramWithinItsTimeLimit checks the limits.
func (p *program) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(30 * time.Second); status != 0 {
		p.t.Errorf("SIGTERM ended the bridge with %d", status)
	}
}

// kill ends the program with SIGKILL.
func (p *program) kill() {
	p.killed = true
	_ = p.process.Kill() // fails if the process has ended, which is fine
	<-p.ended
}

// output keeps the output of a program. line is closed after the first whole line.
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

// eventually calls done every 5 ms until it returns true, and fails after the time within.
func eventually(t testing.TB, what any, within time.Duration, done func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting after %v for: %v", within, what)
		}
	}
}

// with returns a copy of env with some variables changed. An empty value removes one.
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

// lazyText is a text that is made when it is printed.
type lazyText func() string

func (s lazyText) String() string { return s() }
