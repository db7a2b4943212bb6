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

// redirects returns values of next that try to lead to another site.
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
		// The line itself, and the line with its escapes replaced.
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

func TestNextNeverLeadsToAnotherSite(t *testing.T) {
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

func TestNextLeadsToPagesOfTheBridge(t *testing.T) {
	for _, next := range []string{"/", "/desk", "/desk/", "/desk?q=1&page=2", "/w/" + strings.Repeat("aZ0_-", 8), "/w/x?renew=1", "/desk?next=/x", "/desk?q=a%20b", "/a%20b"} {
		if got := signin.LocalPath(next); got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
	if got := signin.LocalPath("/" + strings.Repeat("x", 600)); got != "/" {
		t.Errorf("a path too long for a cookie leads to %q", got)
	}
}

// The same through a whole sign-in with a browser.
func TestSignInNeverRedirectsToAnotherSite(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, next := range redirects(t) {
		to := b.step(b.step(b.step("/signin?next=" + url.QueryEscape(next))))
		if to != "/" {
			t.Errorf("%q led to %q: %v", next, to, w.lastError())
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
		// Browsers (https://url.spec.whatwg.org/#concept-basic-url-parser) ignore tabs and line
		// breaks, read a backslash as a slash, and trim both ends.
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
		// A program that decodes it again must not read another site either.
		decoded, err := url.PathUnescape(strings.SplitN(got, "?", 2)[0])
		if err != nil || strings.HasPrefix(decoded, "//") || strings.Contains(decoded, `\`) || strings.Contains(decoded+"/", "/../") {
			t.Fatalf("%q is %q when decoded (%v)", got, decoded, err)
		}
	})
}
