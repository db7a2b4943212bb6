package settings_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/settings"
)

type liveSpec struct {
	Token  string `split_words:"true"`
	Hook   string `split_words:"true"`
	Listen string `split_words:"true"`
}

// A followed is a program that has read settings from files, and follows them.
type followed struct {
	*testing.T
	folder   string
	token    *secret.Value
	files    *settings.Files
	log      logged
	redacted []string
}

// A logged keeps what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what was logged since the last call.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func (f *followed) path(name string) string { return filepath.Join(f.folder, name) }

func (f *followed) write(name, content string) {
	f.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o600); err != nil {
		f.Fatal(err)
	}
}

const firstToken, nextToken, lastToken = "tok-the-first-one-0", "tok-the-next-one-1", "tok-the-last-one-2"

func follow(t *testing.T) *followed {
	f := &followed{T: t, folder: t.TempDir()}
	for name, value := range map[string]string{"TOKEN": firstToken, "HOOK": "another-secret-of-it", "LISTEN": ":8080"} {
		f.write(name, value+"\n")
		t.Setenv("PROG_"+name+"_FILE", f.path(name))
		t.Setenv("PROG_"+name, "")
	}
	var r settings.Reader
	var s liveSpec
	r.Group("PROG", &s)
	r.Secret("PROG_HOOK", s.Hook)
	f.token = r.Live("PROG_TOKEN", r.Secret("PROG_TOKEN", s.Token), func(value string) string {
		if !strings.HasPrefix(value, "tok-") {
			return "does not begin with tok-"
		}
		return ""
	})
	f.files = r.Files()
	f.files.Overlap, f.files.Redact = 10*time.Minute, func(value string) { f.redacted = append(f.redacted, value) }
	if faults := r.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	return f
}

// wants checks the log since the last call, and the state. It lets two rounds of Follow pass.
func (f *followed) wants(step, token string, fault bool, lines ...string) {
	f.Helper()
	time.Sleep(25 * time.Second)
	synctest.Wait()
	text := f.log.take()
	if got := f.token.Current(); got != token {
		f.Errorf("%s: the token is %q, want %q", step, got, token)
	}
	if f.files.Fault() != fault {
		f.Errorf("%s: fault is %v", step, f.files.Fault())
	}
	if n := strings.Count(text, "\n"); n != len(lines) {
		f.Errorf("%s: %d lines, want %d:\n%s", step, n, len(lines), text)
	}
	for _, line := range lines {
		if !strings.Contains(text, line) {
			f.Errorf("%s: no %q in\n%s", step, line, text)
		}
	}
	if strings.Contains(text, "tok-") && !strings.Contains(text, "begin with tok-") {
		f.Errorf("%s: the log has a token:\n%s", step, text)
	}
}

func TestFilesOfSettingsAreFollowed(t *testing.T) {
	f := follow(t)
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(&f.log, nil))
		go f.files.Follow(t.Context(), log)
		defer synctest.Wait()
		f.wants("nothing changed", firstToken, false)
		f.write("TOKEN", nextToken+"\n")
		f.wants("a new token", nextToken, false, `msg="setting reloaded" setting=PROG_TOKEN`)
		if got := f.token.Accepted(); !slices.Equal(got, []string{nextToken, firstToken}) {
			t.Errorf("accepted: %q", got)
		}
		if !slices.Equal(f.redacted, []string{nextToken}) {
			t.Errorf("redacted: %q", f.redacted)
		}

		const kept = `effect="previous value stays in use"`
		for _, bad := range []struct{ step, content, problem string }{
			{"empty", "", "names a file that is empty"},
			{"blank", " \n", "names a file that is empty"},
			{"half of it", "tok-the", "is too short"},
			{"another kind", "xox-of-another-kind-1", "does not begin with tok-"},
			{"that of another setting", "another-secret-of-it", "has the same value as PROG_HOOK"},
			{"two lines", nextToken + "\n" + nextToken, "contains a line break"},
			{"too large", strings.Repeat("x", 70<<10), "too large"},
			{"a zero byte", "tok-the-next-one-\x00", "zero byte"},
		} {
			f.write("TOKEN", bad.content)
			if bad.step == "blank" {
				f.wants(bad.step, nextToken, true) // for people the same as empty, so it is not logged again
				continue
			}
			f.wants(bad.step, nextToken, true, bad.problem)
			f.wants(bad.step+", later", nextToken, true)
		}
		if err := os.Remove(f.path("TOKEN")); err != nil {
			t.Fatal(err)
		}
		f.wants("gone", nextToken, true, "no such file or directory")
		if err := syscall.Mkfifo(f.path("TOKEN"), 0o600); err != nil {
			t.Fatal(err)
		}
		f.wants("a pipe that nobody writes to", nextToken, true, "names something that is not a regular file")
		if err := os.Remove(f.path("TOKEN")); err != nil {
			t.Fatal(err)
		}
		f.write("TOKEN", nextToken)
		f.wants("the token in use", nextToken, false, "its file is valid again")
		f.write("TOKEN", "")
		f.wants("empty again", nextToken, true, kept)
		f.write("TOKEN", lastToken)
		f.wants("a good one", lastToken, false, "setting reloaded")

		f.write("LISTEN", ":9090")
		f.wants("a setting that is read once", lastToken, false, `msg="setting changed, needs a restart" setting=PROG_LISTEN`)
		f.write("LISTEN", ":8080")
		f.wants("as before", lastToken, false)

		time.Sleep(10 * time.Minute)
		if got := f.token.Accepted(); !slices.Equal(got, []string{lastToken}) {
			t.Errorf("after the overlap: %q", got)
		}
	})
}

// The former value of a secret goes to the setting for old ones, in the same change or before.
func TestAValueMovesFromOneSecretToAnother(t *testing.T) {
	for _, oldFirst := range []bool{false, true} {
		f := &followed{T: t, folder: t.TempDir()}
		f.write("TOKEN", firstToken)
		f.write("HOOK", "tok-of-long-ago-0")
		for _, name := range []string{"TOKEN", "HOOK"} {
			t.Setenv("PROG_"+name+"_FILE", f.path(name))
			t.Setenv("PROG_"+name, "")
		}
		t.Setenv("PROG_LISTEN_FILE", "")
		var r settings.Reader
		var s liveSpec
		r.Group("PROG", &s)
		f.token = r.Live("PROG_TOKEN", r.Secret("PROG_TOKEN", s.Token), nil)
		old := r.Live("PROG_HOOK", r.Secret("PROG_HOOK", s.Hook), nil)
		f.files = r.Files()
		f.files.Redact = func(string) {}
		synctest.Test(t, func(t *testing.T) {
			go f.files.Follow(t.Context(), slog.New(slog.NewTextHandler(&f.log, nil)))
			defer synctest.Wait()
			f.write("HOOK", firstToken)
			if oldFirst {
				f.wants("the old one first", firstToken, true, "has the same value as PROG_TOKEN")
			}
			f.write("TOKEN", nextToken)
			f.wants("both", nextToken, false, "setting=PROG_TOKEN", "setting=PROG_HOOK")
			if old.Current() != firstToken {
				t.Errorf("the old secret is %q", old.Current())
			}
		})
	}
}

func TestAFileThatIsBeingWrittenIsNotUsed(t *testing.T) {
	f := follow(t)
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(&f.log, nil))
		f.write("TOKEN", nextToken[:17])
		go f.files.Reload(t.Context(), log)
		time.Sleep(500 * time.Millisecond)
		f.write("TOKEN", nextToken)
		synctest.Wait()
		time.Sleep(time.Second)
		if got, text := f.token.Current(), f.log.take(); got != firstToken || text != "" {
			t.Errorf("used %q; %s", got, text)
		}
		f.files.Reload(t.Context(), log)
		if got := f.token.Current(); got != nextToken {
			t.Errorf("not used: %q", got)
		}
	})
}

// A shell passes such a file for NAME_FILE=<(command).
func TestAPipeIsReadOnlyOnce(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := in.WriteString(firstToken); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROG_TOKEN_FILE", fmt.Sprintf("/dev/fd/%d", out.Fd()))
	t.Setenv("PROG_TOKEN", "")
	var r settings.Reader
	var s liveSpec
	r.Group("PROG", &s)
	token := r.Live("PROG_TOKEN", r.Secret("PROG_TOKEN", s.Token), nil)
	if faults := r.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	var log bytes.Buffer
	r.Files().Reload(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
	if token.Current() != firstToken || r.Files().Fault() || log.Len() > 0 {
		t.Errorf("the token is %q, fault %v; %s", token.Current(), r.Files().Fault(), &log)
	}
}

func TestACredentialOfSystemdIsASetting(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	for name, content := range map[string]string{"prog_token": "of-the-credential\n", "prog_hook": "of-the-credential"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	listen := filepath.Join(folder, "other")
	if err := os.WriteFile(listen, []byte("of-the-file"), 0o400); err != nil {
		t.Fatal(err)
	}
	environment(t, "PROG_TOKEN=", "PROG_HOOK=of-the-variable", "PROG_LISTEN=", "PROG_LISTEN_FILE="+listen)
	if !settings.IsSet("PROG_TOKEN") || settings.IsSet("PROG_OTHER") {
		t.Error("IsSet does not know the credential, or another")
	}
	var r settings.Reader
	var s liveSpec
	r.Group("PROG", &s)
	if s != (liveSpec{"of-the-credential", "of-the-variable", "of-the-file"}) || len(r.Faults()) > 0 {
		t.Errorf("%+v %v", s, r.Faults())
	}

	if err := os.Mkdir(filepath.Join(folder, "prog_address"), 0o700); err != nil {
		t.Fatal(err)
	}
	environment(t, "PROG_ADDRESS=")
	r = settings.Reader{}
	r.Group("PROG", &struct{ Address string }{})
	if faults := r.Faults(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "PROG_ADDRESS is a credential that cannot be read: is a directory") {
		t.Errorf("a folder: %v", faults)
	}
}
