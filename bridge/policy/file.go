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

// A File is the policy of a file, read anew when the file changes. While the
// file is wrong, the policy of before goes on.
type File struct {
	path string

	mu      sync.Mutex
	current *Policy
	since   time.Time
	content []byte // that current was made of
	seen    look   // the latest that was taken
	fault   error
}

// A look is what a file was at one moment.
type look struct {
	content []byte
	err     error
}

func (l look) same(o look) bool {
	return bytes.Equal(l.content, o.content) && fmt.Sprint(l.err) == fmt.Sprint(o.err)
}

// Open reads a policy file. One that is missing or wrong is an error: a bridge
// must not start with rules that nobody wrote.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Fixed is a File that always is p: for a bridge without a policy file, whose
// policy is Default.
func Fixed(p *Policy) *File { return &File{current: p, since: time.Now()} }

// Path is where the file is, or empty where there is none.
func (f *File) Path() string { return f.path }

// Current returns the policy to decide by. Ask for it at each decision.
func (f *File) Current() *Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// State says since when the current policy is, and what is wrong with the file if
// that is why it still is.
func (f *File) State() (since time.Time, fault error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since, f.fault
}

// Reload reads the file now, and reports whether there is another policy since.
// If the file is wrong it says why, each time, and the current policy stays.
func (f *File) Reload() (changed bool, err error) {
	if f.path == "" {
		return false, nil
	}
	return f.take(f.look())
}

func (f *File) take(now look) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = now
	if now.err != nil {
		f.fault = fmt.Errorf("policy file: %w; make it readable for the bridge, or put it back", now.err)
		return false, f.fault
	}
	if f.current != nil && bytes.Equal(now.content, f.content) {
		f.fault = nil
		return false, nil
	}
	p, err := Parse(f.path, now.content)
	if f.fault = err; err != nil {
		return false, err
	}
	f.current, f.content, f.since = p, now.content, time.Now()
	return true, nil
}

// look reads no more than it takes to see that a file is too large.
func (f *File) look() look {
	in, err := os.Open(f.path)
	if err != nil {
		return look{err: err}
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	return look{content, err}
}

// every is how often Follow looks at the file.
const every = 5 * time.Second

// Follow reloads the file when it changes, until ctx ends. It compares contents,
// since names and times of files tell little where a mount is a chain of links,
// as in Kubernetes. A file that is just being written is left alone: what is new
// must be the same at two looks, so it counts within ten seconds.
func (f *File) Follow(ctx context.Context, log *slog.Logger) {
	if f.path == "" {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	before := f.look()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := f.look()
		settled := now.same(before)
		before = now
		if !settled || f.knows(now) {
			continue
		}
		switch changed, err := f.take(now); {
		case err != nil:
			log.ErrorContext(ctx, "policy file is wrong, the policy of before goes on", "err", err)
		case changed:
			log.InfoContext(ctx, "policy reloaded", "file", f.path)
		default:
			log.InfoContext(ctx, "policy file is again what the policy was made of", "file", f.path)
		}
	}
}

func (f *File) knows(now look) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.same(f.seen)
}
