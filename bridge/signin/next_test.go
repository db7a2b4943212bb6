package signin_test

import (
	"bufio"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode"

	"cobrowse-bridge/bridge/signin"
)

// redirects are ways to lead elsewhere, in Go's syntax for text.
func redirects(t testing.TB) (all []string) {
	t.Helper()
	file, err := os.Open("testdata/redirects.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		// As it stands, and with what its escapes mean.
		all = append(all, line)
		if unescaped := unescape(line); unescaped != line {
			all = append(all, unescaped)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var escapes = strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\r`, "\r", `\0`, "\x00", `\u00a0`, "\u00a0", `\u3002`, "\u3002", `\uff0f`, "\uff0f", `\u2028`, "\u2028", `\x7f`, "\x7f")

func unescape(line string) string { return escapes.Replace(line) }

func TestNextLeadsNowhereElse(t *testing.T) {
	all := redirects(t)
	if len(all) < 100 {
		t.Fatalf("only %d redirects", len(all))
	}
	for _, next := range all {
		if got := signin.LocalPath(next); got != "/" {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

func TestNextLeadsToOurPages(t *testing.T) {
	for _, next := range []string{"/", "/desk", "/desk/", "/desk?q=1&page=2", "/w/" + strings.Repeat("aZ0_-", 8), "/w/x?renew=1", "/desk?next=/x", "/desk?q=a%20b", "/a%20b"} {
		if got := signin.LocalPath(next); got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
	if got := signin.LocalPath("/" + strings.Repeat("x", 600)); got != "/" {
		t.Errorf("a path too long for a cookie leads to %q", got)
	}
}

// Through the whole sign-in, where a browser says where it ends up.
func TestSignInLeadsNowhereElse(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, next := range redirects(t) {
		led := b.step(b.step(b.step("/signin?next=" + url.QueryEscape(next))))
		if led != "/" {
			t.Errorf("%q led to %q: %v", next, led, w.came())
		}
	}
}

func FuzzNext(f *testing.F) {
	for _, next := range append(redirects(f), "/desk?q=1", "/w/abc") {
		f.Add(next)
	}
	base, err := url.Parse(origin)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := signin.LocalPath(next)
		if got != "/" && got != next {
			t.Fatalf("%q became %q", next, got)
		}
		// As browsers read it (https://url.spec.whatwg.org/#concept-basic-url-parser):
		// tabs and line ends are nothing, a backslash is a slash, the ends are trimmed.
		read := strings.Map(func(c rune) rune {
			switch c {
			case '\t', '\n', '\r':
				return -1
			case '\\':
				return '/'
			}
			return c
		}, strings.TrimFunc(got, func(c rune) bool { return c <= ' ' }))
		to, err := base.Parse(read)
		if err != nil || to.Scheme != "https" || to.Host != base.Host || to.User != nil || !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Fatalf("%q leads to %v (%v)", got, to, err)
		}
		if read != got || strings.ContainsFunc(got, func(c rune) bool { return unicode.IsControl(c) || c == ' ' || c > unicode.MaxASCII }) {
			t.Fatalf("%q is read as %q", got, read)
		}
		// And by whoever decodes it once more.
		decoded, err := url.PathUnescape(strings.SplitN(got, "?", 2)[0])
		if err != nil || strings.HasPrefix(decoded, "//") || strings.Contains(decoded, `\`) || strings.Contains(decoded+"/", "/../") {
			t.Fatalf("%q is %q when decoded (%v)", got, decoded, err)
		}
	})
}
