package upscope_test

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// mint returns a watch link with this address, and this expiration as JSON.
func mint(t testing.TB, address, expiration string) upscope.WatchLink {
	t.Helper()
	body := `{"watch_url":` + jsonString(address) + `,"expiration":` + expiration + `}`
	client, err := upscope.New(upscope.Config{Key: key, Transport: &fixedAnswer{body: body}})
	if err != nil {
		t.Fatal(err)
	}
	link, err := client.Watch(t.Context(), "AB12", watchRequest())
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// jsonString quotes s byte for byte. encoding/json would replace invalid UTF-8.
func jsonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ':
			b.WriteString(`\u00` + string("01"[c>>4]) + strconv.FormatInt(int64(c&15), 16))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func hosts(t testing.TB, list string) upscope.Hosts {
	t.Helper()
	h, err := upscope.ParseHosts(list)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func untrusted(t testing.TB) []string {
	t.Helper()
	file, err := os.Open("testdata/untrusted.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == ';' {
			continue
		}
		if !strings.Contains(line, `\"`) {
			line = strings.ReplaceAll(line, `"`, `\"`)
		}
		address, err := strconv.Unquote(`"` + line + `"`)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, address)
	}
	return all
}

func TestWatchLinksThatLeadElsewhereAreNotFollowed(t *testing.T) {
	t.Parallel()
	h := hosts(t, upscope.DefaultWatchHosts)
	all := untrusted(t)
	if len(all) < 150 {
		t.Fatalf("only %d addresses", len(all))
	}
	for _, address := range append(all, "https://cobrowsingapi.com/"+strings.Repeat("a", 4096)) {
		got, err := mint(t, address, "null").Location(h, noon)
		if got != "" || !errors.Is(err, upscope.ErrUntrustedTarget) {
			t.Errorf("%q: %q, %v", address, got, err)
		}
		if err != nil && len(address) > 16 && strings.Contains(err.Error(), address) {
			t.Errorf("the error quotes %q", address)
		}
	}
	if _, err := (upscope.WatchLink{}).Location(h, noon); !errors.Is(err, upscope.ErrUntrustedTarget) {
		t.Errorf("the zero link: %v", err)
	}
	if _, err := mint(t, "https://cobrowsingapi.com/session/1", "null").Location(upscope.Hosts{}, noon); !errors.Is(err, upscope.ErrUntrustedTarget) {
		t.Errorf("no hosts: %v", err)
	}
}

func TestWatchLinksOfAllBrandsAreFollowed(t *testing.T) {
	t.Parallel()
	h := hosts(t, upscope.DefaultWatchHosts)
	for _, address := range []string{
		"https://cobrowsingapi.com/session/6fa459ea-ee8a-4ca4-894e-db77e160355e",
		"https://o.upscope.io?abc=def&x=%2F%20",
		"https://o.upscope.io/?https://evil.example/@b",
		"https://upscope.com/w/AB12",
		"https://a.b.c.userview.com/",
		"https://helloscreen.com",
		"https://cobrowsingapi.com:443/session/1",
		"HTTPS://CoBrowsingAPI.com/Session/1",
		"https://xn--bcher-kva.upscope.com/a;b,c!(d)*'e~$+=:@[]",
		"https://cobrowsingapi.com//evil.example/..//",
	} {
		if got, err := mint(t, address, "null").Location(h, noon); err != nil || got != address {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
}

func TestAllowHasTheSameRulesAsLocation(t *testing.T) {
	t.Parallel()
	h := hosts(t, upscope.DefaultWatchHosts)
	for _, address := range append(untrusted(t), "") {
		if h.Allow(address) {
			t.Errorf("%q is allowed", address)
		}
	}
	if !h.Allow("https://upscope.com/w/AB12") || (upscope.Hosts{}).Allow("https://upscope.com/w/AB12") {
		t.Error("a listed host must be allowed, and one that is not listed refused")
	}
}

func TestWatchLinkExpires(t *testing.T) {
	t.Parallel()
	h := hosts(t, upscope.DefaultWatchHosts)
	const address = "https://cobrowsingapi.com/session/1"
	for expiration, want := range map[string]error{
		`null`: nil, `""`: nil, `"2026-11-20T12:00:00.001Z"`: nil, `"2026-11-20T14:00:01+02:00"`: nil,
		`"2026-11-20T12:00:00.000Z"`: upscope.ErrExpired, `"2026-11-20T11:59:59Z"`: upscope.ErrExpired,
		`"1970-01-01T00:00:00Z"`: upscope.ErrExpired,
	} {
		got, err := mint(t, address, expiration).Location(h, noon)
		if !errors.Is(err, want) || (got == address) != (want == nil) {
			t.Errorf("%s: %q, %v", expiration, got, err)
		}
	}
	if l := mint(t, address, `"2026-11-20T12:00:00Z"`); !l.Expires().Equal(noon) {
		t.Errorf("expires %v", l.Expires())
	}
	if l := mint(t, address, `null`); !l.Expires().IsZero() {
		t.Errorf("expires %v", l.Expires())
	}
}

func TestTheErrorOfLocationNamesOnlyTheSite(t *testing.T) {
	t.Parallel()
	h := hosts(t, upscope.DefaultWatchHosts)
	_, err := mint(t, "https://CANARY.newbrand.com/session/CANARY", "null").Location(h, noon)
	if err == nil || !strings.Contains(err.Error(), "under newbrand.com") || strings.Contains(strings.ToUpper(err.Error()), "CANARY") {
		t.Error(err)
	}
}

func TestHostsMatchWithTheirPorts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list string
		yes  []string
		no   []string
	}{
		{"127.0.0.1:8080", []string{"http://127.0.0.1:8080/s", "https://127.0.0.1:8080/s"}, []string{
			"http://127.0.0.1/s", "http://127.0.0.1:8081/s", "http://a.127.0.0.1:8080/s", "http://1.127.0.0.1:8080/s", "http://localhost:8080/s",
			"http://127.1:8080/s", "http://2130706433:8080/s", "http://127.0.0.1.:8080/s", "http://u@127.0.0.1:8080/s",
		}},
		{"localhost", []string{"http://localhost/s", "http://localhost:80/s", "https://localhost/s"}, []string{
			"http://a.localhost/s", "http://localhost:8080/s", "http://localhost.evil.example/s", "http://localhost:443/s",
		}},
		{"watch.example:8443", []string{"https://watch.example:8443/s", "https://a.watch.example:8443/s"}, []string{
			"https://watch.example/s", "https://watch.example:443/s", "http://watch.example:8443/s",
		}},
		{" A.Example , b.example:443 ", []string{"https://a.example/", "https://b.example/", "https://b.example:443/"}, []string{
			"https://example/", "http://a.example/", "http://b.example:443/",
		}},
	} {
		h := hosts(t, tt.list)
		for _, address := range tt.yes {
			if _, err := mint(t, address, "null").Location(h, noon); err != nil {
				t.Errorf("%s: %s: %v", tt.list, address, err)
			}
		}
		for _, address := range tt.no {
			if _, err := mint(t, address, "null").Location(h, noon); err == nil {
				t.Errorf("%s: %s was followed", tt.list, address)
			}
		}
	}
}

func TestInvalidHostListsAreRefused(t *testing.T) {
	t.Parallel()
	for _, list := range []string{
		"", " ", ",", "a.example,", ",a.example", "com", "*", "*.example.com", ".example.com", "example.com.", "https://example.com",
		"example.com/", "example.com/x", "user@example.com", "example.com:", "example.com:0", "example.com:080", "example.com:65536",
		"example.com:x", "a b.example", "ex_ample.com", "exämple.com", "10.0.0.1", "10.0.0.1:80", "1.2", "2130706433", "0x7f.1", "[::1]",
		"[::1]:80", "::1", "a..example", "-a.example", "\x00.example", "example.com;other.example",
	} {
		if h, err := upscope.ParseHosts(list); err == nil {
			t.Errorf("%q was read as %v", list, h)
		}
	}
}

func TestHostsAsSourcesOfAContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	h := hosts(t, "cobrowsingapi.com, watch.example:8443, 127.0.0.1:8080, localhost")
	want := []string{
		"https://cobrowsingapi.com", "https://*.cobrowsingapi.com", "https://watch.example:8443", "https://*.watch.example:8443",
		"http://127.0.0.1:8080", "http://localhost",
	}
	if got := h.CSPSources(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := h.String(); got != "cobrowsingapi.com,watch.example:8443,127.0.0.1:8080,localhost" || hosts(t, got).String() != got {
		t.Error(got)
	}
	if got := hosts(t, upscope.DefaultWatchHosts); got.String() != upscope.DefaultWatchHosts || len(got.CSPSources()) != 10 {
		t.Errorf("%v: %q", got, got.CSPSources())
	}
}

// listed is written from the documented rule and shares no code with the check.
var listed = regexp.MustCompile(`^(?i:https)://(?i:[a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*` +
	`(?i:cobrowsingapi\.com|upscope\.com|upscope\.io|userview\.com|helloscreen\.com)(:443)?([/?][!$-;=?-\[\]_a-z~]*)?$`)

// For every text as address: if Location returns it, it is on the list; an error does not quote it.
func FuzzLocation(f *testing.F) {
	for _, address := range untrusted(f) {
		f.Add(address)
	}
	f.Add("https://cobrowsingapi.com/session/1")
	f.Add("https://o.upscope.io?a=b")
	h := hosts(f, upscope.DefaultWatchHosts)
	f.Fuzz(func(t *testing.T, address string) {
		if address == "" {
			return
		}
		link := mint(t, address, "null")
		got, err := link.Location(h, noon)
		if err != nil {
			if !errors.Is(err, upscope.ErrUntrustedTarget) || got != "" {
				t.Fatalf("%q: %q, %v", address, got, err)
			}
			if len(address) > 20 && strings.Contains(err.Error(), address) {
				t.Fatalf("the error quotes %q", address)
			}
			return
		}
		if got != address || !listed.MatchString(got) {
			t.Fatalf("%q was followed to %q", address, got)
		}
		if u, err := url.Parse(got); err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
			t.Fatalf("%q was followed", address)
		}
	})
}

// A wait is not negative, not longer than the limit, and for a plain number that many seconds.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "7", "1000000000", "-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999", "0x10", "٣"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := upscope.RetryAfter(s, noon)
		if got < 0 || got > upscope.MaxRetryAfter {
			t.Fatalf("%q: %v", s, got)
		}
		if n, err := strconv.ParseUint(s, 10, 31); err == nil {
			if want := min(time.Duration(n)*time.Second, upscope.MaxRetryAfter); got != want {
				t.Fatalf("%q: %v, want %v", s, got, want)
			}
		}
	})
}
