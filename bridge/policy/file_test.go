package policy_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/policy"
)

const (
	watchers = "rules: [{may: [watch]}]\n"
	erasers  = "rules: [{may: [erase]}]\n"
	wrong    = "rules: [{may: [destroy]}]\n"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, text string) (*policy.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, text)
	f, err := policy.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

// holds checks which of the policies above is current, and since when.
func holds(t *testing.T, f *policy.File, text string, since time.Time, fault string) {
	t.Helper()
	for _, act := range []policy.Act{policy.Watch, policy.Erase} {
		got := f.Current().Decide(policy.Question{Act: act, Agent: "a"}).Allowed
		if want := strings.Contains(text, string(act)); got != want {
			t.Errorf("%s: %t, want %t", act, got, want)
		}
	}
	at, err := f.State()
	if !at.Equal(since) {
		t.Errorf("current since %v, want %v", at, since)
	}
	if (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
		t.Errorf("fault %v, want %q", err, fault)
	}
}

func TestReloadKeepsTheRunningPolicyWhileTheFileIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path := open(t, watchers)
		began := time.Now()
		holds(t, f, watchers, began, "")
		reload := func(changed bool, fault string) {
			t.Helper()
			<-time.After(time.Hour)
			got, err := f.Reload()
			if got != changed || (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
				t.Errorf("changed %t, %v; want %t, %q", got, err, changed, fault)
			}
		}
		reload(false, "")
		holds(t, f, watchers, began, "")

		write(t, path, wrong)
		for range 2 { // it returns the fault each time
			reload(false, path+":1: entry 1 of may is not an act; the acts are ")
			holds(t, f, watchers, began, "not an act")
		}
		write(t, path, "")
		reload(false, "empty")
		holds(t, f, watchers, began, "empty")
		write(t, path, erasers+strings.Repeat("#", policy.MaxFileSize))
		reload(false, "larger")
		holds(t, f, watchers, began, "larger")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		reload(false, "no such file")
		holds(t, f, watchers, began, "no such file")
		if _, err := f.State(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v does not wrap its cause", err)
		}

		write(t, path, watchers) // the same content as at first, so the policy does not change
		reload(false, "")
		holds(t, f, watchers, began, "")
		write(t, path, erasers)
		reload(true, "")
		holds(t, f, erasers, time.Now(), "")
	})
}

func TestOpenFailsForAMissingOrWrongFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	for name, prepare := range map[string]func(){
		"missing":  func() {},
		"wrong":    func() { write(t, path, wrong) },
		"empty":    func() { write(t, path, "") },
		"a folder": func() { path = dir },
	} {
		path = filepath.Join(dir, name)
		prepare()
		if f, err := policy.Open(path); err == nil || f != nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// logged is a log that is safe for concurrent use.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines since the last call.
func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Collect(strings.Lines(l.text.String()))
	l.text.Reset()
	return all
}

// following runs Follow until the test ends, and returns what it logs.
func following(t *testing.T, f *policy.File) *logged {
	ctx, cancel := context.WithCancel(t.Context())
	log := new(logged)
	done := make(chan bool)
	go func() {
		defer close(done)
		f.Follow(ctx, slog.New(slog.NewTextHandler(log, nil)))
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
	return log
}

// waitForLoad waits until Follow has noticed a change.
func waitForLoad() {
	<-time.After(10*time.Second + time.Millisecond)
	synctest.Wait()
}

func TestFollowLoadsChangesAndLogsEachFaultOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path := open(t, watchers)
		began := time.Now()
		log := following(t, f)
		says := func(want ...string) {
			t.Helper()
			lines := log.lines()
			if len(lines) != len(want) {
				t.Errorf("the log says %q, want %q", lines, want)
				return
			}
			for i, line := range lines {
				if !strings.Contains(line, want[i]) {
					t.Errorf("the log says %q, want %q", line, want[i])
				}
			}
		}
		waitForLoad()
		says()
		write(t, path, wrong)
		waitForLoad()
		holds(t, f, watchers, began, "not an act")
		says("ERROR")
		waitForLoad()
		says() // the fault is logged once
		write(t, path, watchers)
		waitForLoad()
		holds(t, f, watchers, began, "")
		says("policy unchanged")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		waitForLoad()
		holds(t, f, watchers, began, "no such file")
		says("no such file")
		write(t, path, erasers)
		waitForLoad()
		if since, _ := f.State(); since.Equal(began) {
			t.Error("the new policy is as old as the first")
		}
		since, _ := f.State()
		holds(t, f, erasers, since, "")
		says("policy reloaded")

		// Follow does not log what Reload has loaded.
		write(t, path, watchers)
		if changed, err := f.Reload(); !changed || err != nil {
			t.Error(changed, err)
		}
		now := time.Now()
		waitForLoad()
		holds(t, f, watchers, now, "")
		says()
	})
}

// The beginning of a file can be a valid policy that allows more than the whole file.
func TestFollowDoesNotLoadAHalfWrittenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path := open(t, watchers)
		began := time.Now()
		following(t, f)
		whole := "rules:\n- may: [erase]\n  who: {groups: [officers]}\n# and so on\n"
		for n := range len(whole) {
			write(t, path, whole[:n])
			<-time.After(5 * time.Second)
			synctest.Wait()
			holds(t, f, watchers, began, "")
		}
		write(t, path, whole)
		waitForLoad()
		if d := f.Current().Decide(policy.Question{Act: policy.Erase, Agent: "a", Groups: []string{"officers"}}); !d.Allowed {
			t.Error("the whole file was not loaded: ", d.Why)
		}
		if f.Current().Decide(policy.Question{Act: policy.Erase, Agent: "a"}).Allowed {
			t.Error("part of the file was loaded")
		}
	})
}

// Kubernetes changes a mounted file by changing a link to its folder.
func TestFollowSeesAMountChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for folder, text := range map[string]string{"..one": watchers, "..two": erasers} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, folder, "policy.yaml"), text)
		}
		link := func(to, name string) {
			t.Helper()
			temporary := filepath.Join(dir, "..temporary")
			if err := os.Symlink(to, temporary); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("..one", "..data")
		link("..data/policy.yaml", "policy.yaml")
		f, err := policy.Open(filepath.Join(dir, "policy.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		holds(t, f, watchers, time.Now(), "")
		following(t, f)
		link("..two", "..data")
		waitForLoad()
		if !f.Current().Decide(policy.Question{Act: policy.Erase, Agent: "a"}).Allowed {
			t.Error("the new file was not loaded")
		}
	})
}

func TestAFixedPolicyStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := policy.Fixed(policy.Default)
		began := time.Now()
		log := following(t, f)
		waitForLoad()
		if changed, err := f.Reload(); changed || err != nil {
			t.Error(changed, err)
		}
		if lines := log.lines(); f.Current() != policy.Default || len(lines) > 0 {
			t.Errorf("changed: %q", lines)
		}
		if since, fault := f.State(); !since.Equal(began) || fault != nil {
			t.Error(since, fault)
		}
	})
}
