package settings

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/secret"
)

const (
	// readEvery is how often Follow reads the files.
	readEvery = 10 * time.Second
	// unchangedTime is how long a new content must stay unchanged, so that a file that is being written is not used.
	unchangedTime = time.Second
)

// Files are the files from which settings were read. They are read again while the program runs. If a
// file cannot be read, is empty or has a value that is not valid, the value of before stays in use. What
// is not a regular file is read only once, at the start: a pipe is empty after that.
type Files struct {
	// Overlap is how long the former value of a secret is accepted.
	Overlap time.Duration
	// Redact gets each new value before it is used, so that it is hidden from the log.
	Redact func(value string)

	reading sync.Mutex
	all     []*file
	fault   atomic.Bool
}

type file struct {
	variable, path string
	used           [32]byte // the digest of the value in use
	lastRead       [32]byte // the digest of what was last read and logged
	problem        string   // why the value that was last read is not used
	// apply uses a new value, or returns why it is not valid. It is nil if a restart is needed.
	apply func(value string) (problem string)
}

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// Files returns the files from which settings were read.
func (r *Reader) Files() *Files { return &r.files }

func (f *Files) add(variable, path, value string) {
	if notRegular(path) {
		return
	}
	f.all = append(f.all, &file{variable: variable, path: path, used: digest(value), lastRead: digest(value)})
}

// OnChange sets what happens if the file of a variable has a new value while the program runs. apply
// uses the value, or returns why it is not valid, as a problem of Fault. Without it the program needs a restart.
func (r *Reader) OnChange(variable string, apply func(value string) (problem string)) {
	for _, f := range r.files.all {
		if f.variable == variable {
			f.apply = apply
		}
	}
}

// Live returns a secret that has passed Secret, and follows the file of its variable. form returns why
// a new value has not the form of this secret, or ""; it may be nil. Live returns nil for an empty value.
func (r *Reader) Live(variable, value string, form func(string) (problem string)) *secret.Value {
	if value == "" {
		return nil
	}
	v := secret.New(value)
	r.OnChange(variable, func(value string) string {
		problem := r.secretProblem(variable, value)
		if problem == "" && form != nil {
			problem = form(value)
		}
		if problem != "" || value == v.Current() {
			return problem
		}
		delete(r.secrets, v.Current()) // NAME_OLD may have it now
		r.secrets[value] = variable
		r.files.Redact(value)
		v.Replace(value, r.files.Overlap)
		return ""
	})
	return v
}

// Fault reports whether a file has a fault now, so that the value of before is in use.
func (f *Files) Fault() bool { return f.fault.Load() }

// Follow reads the files every 10 seconds until ctx ends.
func (f *Files) Follow(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.Reload(ctx, log)
		case <-ctx.Done():
			return
		}
	}
}

// Reload reads the files, and uses the new values after they have stayed the same for a second.
func (f *Files) Reload(ctx context.Context, log *slog.Logger) {
	f.reading.Lock()
	defer f.reading.Unlock()
	read := map[*file]reading{}
	for _, file := range f.all {
		if now := file.read(); now.digest() != file.lastRead {
			read[file] = now
		}
	}
	if len(read) == 0 {
		return
	}
	for _, file := range f.all {
		if file.problem != "" { // perhaps it had the value that another file had
			read[file] = file.read()
		}
	}
	select {
	case <-time.After(unchangedTime):
	case <-ctx.Done():
		return
	}
	fault := false
	for _, file := range f.all {
		before, changed := read[file]
		if changed && file.read() == before {
			file.use(ctx, before, log)
		}
		fault = fault || file.problem != ""
	}
	f.fault.Store(fault)
}

// A reading is what a file contains: a value, or a problem.
type reading struct{ value, problem string }

func (r reading) digest() [32]byte { return digest(cmp.Or(r.problem, r.value)) }

// notRegular reports whether there is something else than a regular file at a path, such as a pipe.
func notRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

func (f *file) read() reading {
	if notRegular(f.path) { // to open a pipe could take forever
		return reading{problem: "names something that is not a regular file"}
	}
	value, problem := readSetting(f.path)
	switch {
	case problem == "" && strings.TrimSpace(value) == "":
		problem = "names a file that is empty"
	case problem == "" && strings.ContainsRune(value, 0):
		problem = "names a file that is not text: it contains a zero byte"
	case problem == "":
		value = strings.TrimSpace(value)
	}
	return reading{value, problem}
}

// use uses a new reading, or logs why not.
func (f *file) use(ctx context.Context, r reading, log *slog.Logger) {
	same, before := f.lastRead == r.digest(), f.problem
	f.lastRead = r.digest()
	about := []any{"setting", f.variable, "file", f.path}
	problem := r.problem
	f.problem = ""
	switch {
	case problem == "" && f.lastRead == f.used:
		if before != "" {
			log.InfoContext(ctx, "setting unchanged, its file is valid again", about...)
		}
		return
	case problem == "" && f.apply == nil:
		log.WarnContext(ctx, "setting changed, needs a restart", about...)
		return
	case problem == "":
		problem = f.apply(r.value)
	}
	if problem != "" {
		f.problem = problem
		if same && problem == before {
			return // it was logged
		}
		log.ErrorContext(ctx, "setting not reloaded", append(about, "problem", problem, "effect", "previous value stays in use")...)
		return
	}
	f.used = f.lastRead
	log.InfoContext(ctx, "setting reloaded", about...)
}
