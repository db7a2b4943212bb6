package signin_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge/signin"

	"github.com/google/go-cmp/cmp"
)

const (
	proxy    = "10.1.2.3:4711"
	stranger = "192.0.2.7:4711"
)

func headerConfig() signin.HeaderConfig {
	return signin.HeaderConfig{
		User: "X-Forwarded-User", Email: "x-forwarded-email", Name: "X-Forwarded-Name", Groups: "X-Forwarded-Groups",
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("fd00::/64")},
	}
}

// identify calls Who with a request that was parsed by net/http, which has its own rules for
// header names.
func idOf(t *testing.T, from string, lines ...string) (signin.Identity, error) {
	t.Helper()
	h, err := signin.NewHeader(headerConfig())
	if err != nil {
		t.Fatal(err)
	}
	return h.Who(headerRequest(t, from, lines...))
}

func headerRequest(t *testing.T, from string, lines ...string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: bridge.example\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = from
	return r
}

func TestHeadersOfTheProxyIdentifyAPerson(t *testing.T) {
	for _, from := range []string{proxy, "[::ffff:10.1.2.3]:4711", "[fd00::1]:4711"} {
		who, err := idOf(t, from,
			"x-forwarded-user: ada", "X-FORWARDED-EMAIL: Ada@Corp.example", "X-Forwarded-Name: Ada  Lovelace\u202e", "X-Forwarded-Groups: agents, staff,,")
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		if diff := cmp.Diff(signin.Identity{ID: "header:ada", Name: "Ada Lovelace", Email: "ada@corp.example", Groups: []string{"agents", "staff"}}, who); diff != "" {
			t.Errorf("%s: %s", from, diff)
		}
	}
	who, err := idOf(t, proxy, "X-Forwarded-User: ada", "X-Forwarded-Email: ada@evil.example@corp.example", "X-Other-User: eve", "X-Forwarded-Users: eve")
	if diff := cmp.Diff(signin.Identity{ID: "header:ada"}, who); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAPersonIsKnownWhateverTheOptionalHeadersContain(t *testing.T) {
	numbered := func(count int, form string) (all []string) {
		for n := range count {
			all = append(all, fmt.Sprintf(form, n))
		}
		return all
	}
	departments, ids := numbered(29, "grp-department-%03d"), numbered(600, "5f2a0c1e-7d1b-4a6e-9c3f-%012d")
	for name, test := range map[string]struct {
		line string
		want signin.Identity
		log  string // "" if nothing is dropped
	}{
		"29 groups":                    {"Groups: " + strings.Join(departments, ","), signin.Identity{Groups: departments}, ""},
		"600 groups with long ids":     {"Groups: " + strings.Join(ids, ", "), signin.Identity{Groups: ids}, ""},
		"a tab between groups":         {"Groups: agents,\tstaff", signin.Identity{Groups: []string{"agents", "staff"}}, ""},
		"a group with a tab":           {"Groups: agents,st\taff,leads", signin.Identity{Groups: []string{"agents", "leads"}}, "has a group that contains control characters"},
		"a group that is not UTF-8":    {"Groups: agents,B\xfcro", signin.Identity{Groups: []string{"agents"}}, "has a group that is not UTF-8"},
		"a group that is too long":     {"Groups: " + strings.Repeat("a", 513) + ",agents", signin.Identity{Groups: []string{"agents"}}, "has a group that is too long"},
		"an e-mail address too long":   {"Email: " + strings.Repeat("a", 600) + "@corp.example", signin.Identity{}, "is too long"},
		"an e-mail address with a tab": {"Email: a\tb@corp.example", signin.Identity{}, "contains control characters"},
		"two e-mail addresses":         {"Email: a@corp.example b@corp.example", signin.Identity{}, "is not a plain e-mail address"},
		"a name in UTF-8":              {"Name: Jörg", signin.Identity{Name: "Jörg"}, ""},
		"a name in Latin-1":            {"Name: J\xf6rg", signin.Identity{Name: "Jörg"}, ""},
		"a name encoded as in mail":    {"Name: =?utf-8?q?J=C3=B6rg?= =?iso-8859-1?q?M=FCller?=", signin.Identity{Name: "JörgMüller"}, ""},
		"a name in an unknown charset": {"Name: =?x?q?a?=", signin.Identity{Name: "=?x?q?a?="}, ""},
		"a name with a tab":            {"Name: Ada\tLovelace", signin.Identity{Name: "Ada Lovelace"}, ""},
		"a long name":                  {"Name: " + strings.Repeat("é", 600), signin.Identity{Name: strings.Repeat("é", 100)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := headerConfig()
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			h, err := signin.NewHeader(c)
			if err != nil {
				t.Fatal(err)
			}
			test.want.ID = "header:ada"
			for range 3 {
				who, err := h.Who(headerRequest(t, proxy, "X-Forwarded-User: ada", "X-Forwarded-"+test.line))
				if diff := cmp.Diff(test.want, who); diff != "" || err != nil {
					t.Fatal(diff, err)
				}
			}
			header, _, _ := strings.Cut(test.line, ":")
			want := ""
			if test.log != "" {
				want = fmt.Sprintf("msg=%q header=X-Forwarded-%s fault=%q", "part of an identity header not used", header, test.log)
			}
			if got := strings.Count(log.String(), "\n"); !strings.Contains(log.String(), want) || want == "" && got != 0 || want != "" && got != 1 {
				t.Errorf("log %q, want %q once", log.String(), want)
			}
		})
	}
}

func TestBadHeadersIdentifyNobody(t *testing.T) {
	const user = "X-Forwarded-User: ada"
	for _, test := range []struct {
		name, from string
		lines      []string
		want       error
	}{
		{"nothing", proxy, nil, signin.ErrNobody},
		{"nothing from a stranger", stranger, nil, signin.ErrNobody},
		{"empty user", proxy, []string{"X-Forwarded-User:", "X-Forwarded-Groups: agents"}, signin.ErrNobody},
		{"blank user", proxy, []string{"X-Forwarded-User:   "}, signin.ErrNobody},
		{"groups without a user", proxy, []string{"X-Forwarded-Groups: agents"}, signin.ErrNobody},
		{"another header", proxy, []string{"X-Remote-User: ada"}, signin.ErrNobody},

		{"from a stranger", stranger, []string{user}, signin.ErrSpoofed},
		{"groups from a stranger", stranger, []string{"X-Forwarded-Groups: agents"}, signin.ErrSpoofed},
		{"empty from a stranger", stranger, []string{"X-Forwarded-User:"}, signin.ErrSpoofed},
		{"with underscores from a stranger", stranger, []string{"X_Forwarded_User: ada"}, signin.ErrSpoofed},
		{"from a stranger who forwards", stranger, []string{user, "X-Forwarded-For: 10.1.2.3"}, signin.ErrSpoofed},
		{"from a stranger with a chain", stranger, []string{user, "X-Forwarded-For: 10.1.2.3, 10.1.2.4", "X-Real-IP: 10.1.2.3", "Forwarded: for=10.1.2.3"}, signin.ErrSpoofed},
		{"from an address near the proxy", "10.1.3.3:1", []string{user}, signin.ErrSpoofed},
		{"from another IPv6", "[fd00:0:0:1::1]:1", []string{user}, signin.ErrSpoofed},
		{"from nowhere", "", []string{user}, signin.ErrSpoofed},
		{"from a socket", "@", []string{user}, signin.ErrSpoofed},
		{"from an address without a port", "10.1.2.3", []string{user}, signin.ErrSpoofed},

		{"twice", proxy, []string{user, "X-Forwarded-User: eve"}, signin.ErrHeaders},
		{"twice the same", proxy, []string{user, user}, signin.ErrHeaders},
		{"twice in other cases", proxy, []string{user, "x-FORWARDED-user: eve"}, signin.ErrHeaders},
		{"twice, first empty", proxy, []string{"X-Forwarded-User:", user}, signin.ErrHeaders},
		{"two joined by a comma", proxy, []string{"X-Forwarded-User: ada, eve"}, signin.ErrHeaders},
		{"groups twice", proxy, []string{user, "X-Forwarded-Groups: staff", "X-Forwarded-Groups: agents"}, signin.ErrHeaders},
		{"e-mail twice", proxy, []string{user, "X-Forwarded-Email: a@b.example", "x-forwarded-email: c@d.example"}, signin.ErrHeaders},
		{"with underscores", proxy, []string{"X_Forwarded_User: ada"}, signin.ErrHeaders},
		{"also with underscores", proxy, []string{user, "X_Forwarded_User: eve"}, signin.ErrHeaders},
		{"with underscores, lower case", proxy, []string{user, "x_forwarded_user: eve"}, signin.ErrHeaders},
		{"with one underscore", proxy, []string{user, "X-Forwarded_User: eve"}, signin.ErrHeaders},
		{"with dots", proxy, []string{user, "X.Forwarded.User: eve"}, signin.ErrHeaders},
		{"groups with underscores", proxy, []string{user, "X_Forwarded_Groups: agents"}, signin.ErrHeaders},
		{"control characters", proxy, []string{"X-Forwarded-User: ada\teve"}, signin.ErrHeaders},
		{"control characters of Unicode", proxy, []string{"X-Forwarded-User: ada\u0085"}, signin.ErrHeaders},
		{"no UTF-8", proxy, []string{"X-Forwarded-User: ada\xff"}, signin.ErrHeaders},
		{"too long", proxy, []string{"X-Forwarded-User: " + strings.Repeat("a", 513)}, signin.ErrHeaders},
	} {
		t.Run(test.name, func(t *testing.T) {
			who, err := idOf(t, test.from, test.lines...)
			if !errors.Is(err, test.want) || who.ID != "" {
				t.Errorf("%+v, %v; not %v", who, err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "ada") || strings.Contains(err.Error(), "eve")) {
				t.Errorf("the error contains a value: %v", err)
			}
		})
	}
}

// Trailers, which come after the body, are not headers. Compare GO-2025-4113.
func TestTrailersAreIgnored(t *testing.T) {
	h, err := signin.NewHeader(headerConfig())
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: bridge.example\r\n" +
		"Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n1\r\nx\r\n0\r\nX-Forwarded-User: ada\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = proxy
	if who, err := h.Who(r); !errors.Is(err, signin.ErrNobody) {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestHeaderConfigurationFaults(t *testing.T) {
	for _, test := range []struct {
		says   string
		change func(*signin.HeaderConfig)
	}{
		{"the user header needs a name", func(c *signin.HeaderConfig) { c.User = "" }},
		{"the user header needs a name", func(c *signin.HeaderConfig) { c.User = "X_Forwarded_User" }},
		{"the email header needs a name", func(c *signin.HeaderConfig) { c.Email = "X Email" }},
		{"the name header needs a name", func(c *signin.HeaderConfig) { c.Name = "X--Name" }},
		{"browsers fill in", func(c *signin.HeaderConfig) { c.User = "user-agent" }},
		{"browsers fill in", func(c *signin.HeaderConfig) { c.User = "host" }},
		{"two settings name", func(c *signin.HeaderConfig) { c.Groups = "x-forwarded-user" }},
		{"no proxy", func(c *signin.HeaderConfig) { c.Proxies = nil }},
		{"would trust everyone", func(c *signin.HeaderConfig) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }},
		{"would trust everyone", func(c *signin.HeaderConfig) { c.Proxies = []netip.Prefix{{}} }},
	} {
		c := headerConfig()
		test.change(&c)
		if _, err := signin.NewHeader(c); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v does not say %q", err, test.says)
		}
	}
}

// FuzzHeaders checks that a person is identified only by one header with the right name from a
// trusted proxy, and that the identity is safe to show.
func FuzzHeaders(f *testing.F) {
	f.Add("X-Forwarded-User", "ada", "X-Forwarded-Groups", "agents,staff", true)
	f.Add("X-Forwarded-User", "ada", "X_Forwarded_User", "eve", true)
	f.Add("X-Forwarded-User", "ada", "x-forwarded-user", "eve", true)
	f.Add("X-Forwarded-User", "a,b", "X-Forwarded-Email", "a@b@c", true)
	f.Add("X-Forwarded-User", "ada", "X-Forwarded-Name", "A\u202eB", false)
	h, err := signin.NewHeader(headerConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, oneName, oneValue, twoName, twoValue string, trusted bool) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{}
		r.Header.Add(oneName, oneValue)
		r.Header.Add(twoName, twoValue)
		if r.RemoteAddr = stranger; trusted {
			r.RemoteAddr = proxy
		}
		who, err := h.Who(r)
		if err != nil {
			if who.ID != "" || !errors.Is(err, signin.ErrNobody) && !errors.Is(err, signin.ErrSpoofed) && !errors.Is(err, signin.ErrHeaders) {
				t.Fatalf("%+v with %v", who, err)
			}
			return
		}
		user, named := strings.CutPrefix(who.ID, "header:")
		values := r.Header["X-Forwarded-User"]
		if !trusted || !named || len(values) != 1 || strings.TrimSpace(values[0]) != user || user == "" || strings.Contains(user, ",") {
			t.Fatalf("%+v from %v, trusted %t", who, r.Header, trusted)
		}
		for key := range r.Header {
			if key != "X-Forwarded-User" && textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(key, "_", "-")) == "X-Forwarded-User" {
				t.Fatalf("%q is ignored and not refused", key)
			}
		}
		for _, text := range append(who.Groups, who.ID, who.Name, who.Email) {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 600 {
				t.Fatalf("%q is not safe to show", text)
			}
		}
		if who.Email != "" && (strings.Count(who.Email, "@") != 1 || strings.ToLower(who.Email) != who.Email) {
			t.Fatalf("e-mail %q", who.Email)
		}
	})
}
