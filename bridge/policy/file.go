package policy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A File is a policy that is read from a file, and reloaded when the file changes. While
// the file has faults, the previous policy stays in force.
type File struct {
	path     string
	services []string // as in Parse

	mu       sync.Mutex
	current  *Policy
	since    time.Time
	content  []byte   // the content from which current was made
	lastLoad snapshot // the file as it was last loaded, with or without faults
	fault    error
}

// A snapshot is the content of a file at one moment, or the error of reading it.
type snapshot struct {
	content []byte
	err     error
}

func (s snapshot) same(o snapshot) bool {
	return bytes.Equal(s.content, o.content) && fmt.Sprint(s.err) == fmt.Sprint(o.err)
}

// Open reads a policy file. It fails if the file is missing or has faults: the bridge must
// not start with other rules than the operator's. services are as in Parse.
func Open(path string, services ...string) (*File, error) {
	f := &File{path: path, services: services}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Fixed returns a File whose policy is always p. A bridge without a policy file uses it with
// Default.
func Fixed(p *Policy) *File { return &File{current: p, since: time.Now()} }

// Path returns the path of the file, or "" if there is none.
func (f *File) Path() string { return f.path }

// Current returns the policy in force. Call it for each decision.
func (f *File) Current() *Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// State returns the time at which the current policy was loaded, and the fault that keeps
// the file from being loaded, if there is one.
func (f *File) State() (since time.Time, fault error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since, f.fault
}

// Reload reads the file now, and reports whether that changed the policy. If the file has
// faults, it returns them, and the current policy stays in force.
func (f *File) Reload() (changed bool, err error) {
	if f.path == "" {
		return false, nil
	}
	return f.load(f.read())
}

func (f *File) load(now snapshot) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastLoad = now
	if now.err != nil {
		f.fault = fmt.Errorf("policy file: %w; check the path, and that the bridge can read the file", now.err)
		return false, f.fault
	}
	if f.current != nil && bytes.Equal(now.content, f.content) {
		f.fault = nil
		return false, nil
	}
	p, err := Parse(f.path, now.content, f.services...)
	f.fault = err
	if err != nil {
		return false, err
	}
	f.current, f.content, f.since = p, now.content, time.Now()
	return true, nil
}

// read reads the file, up to one byte more than MaxFileSize.
func (f *File) read() snapshot {
	in, err := os.Open(f.path)
	if err != nil {
		return snapshot{err: err}
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, MaxFileSize+1))
	return snapshot{content, err}
}

// pollInterval is how often Follow reads the file.
const pollInterval = 5 * time.Second

// Follow reloads the file when it changes, until ctx ends. It compares contents, because
// Kubernetes mounts files through links whose names and times do not show a change. It loads
// new content when it has read the same twice, so that it loads no half-written file. A
// change takes effect within 10 seconds.
func (f *File) Follow(ctx context.Context, log *slog.Logger) {
	if f.path == "" {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	before := f.read()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := f.read()
		stable := now.same(before) // read the same twice, so it is not half-written
		before = now
		if !stable || f.loaded(now) {
			continue
		}
		switch changed, err := f.load(now); {
		case err != nil:
			log.ErrorContext(ctx, "policy not reloaded", "err", err, "effect", "previous policy stays in use")
		case changed:
			log.InfoContext(ctx, "policy reloaded", "file", f.path)
		default:
			log.InfoContext(ctx, "policy unchanged", "file", f.path)
		}
	}
}

// loaded reports whether now is the content that was loaded last.
func (f *File) loaded(now snapshot) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.same(f.lastLoad)
}
