package settings_test

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/settings"
)

const variable = "PROG_SETTING"

func TestURLs(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"https://chat.example.org":        "https://chat.example.org",
		"https://chat.example.org/a/path": "https://chat.example.org/a/path",
		"https://chat.example.org:8443":   "https://chat.example.org:8443",
		"http://localhost:3000":           "http://localhost:3000",
		"http://LocalHost:3000":           "http://LocalHost:3000",
		"http://127.8.9.1":                "http://127.8.9.1",
		"https://Brücke.example:8443/a":   "https://xn--brcke-lva.example:8443/a",
		"https://bru\u0308cke.example":    "https://xn--brcke-lva.example",
		"https://br%C3%BCcke.example":     "https://xn--brcke-lva.example",
		"https://straße。example":          "https://xn--strae-oqa.example",
		"https://xn--brcke-lva.example":   "https://xn--brcke-lva.example",
		"https://brücke_a.example":        "fault",
		"https://bridge℀.example":         "fault",
		"http://ⅼocalhost":                "fault",
		"http://[::1]:3000":               "http://[::1]:3000",
		"":                                "", // left to need:"yes"
		"http://chat.example.org":         "fault",
		"http://localhost.example.org":    "fault",
		"http://127.0.0.1.example.org":    "fault",
		"http://10.0.0.1":                 "fault",
		"ftp://chat.example.org":          "fault",
		"chat.example.org":                "fault",
		"//chat.example.org":              "fault",
		"https://":                        "fault",
		"https:chat.example.org":          "fault",
		"https://:8443":                   "fault",
		"https://user@chat.example.org":   "fault",
		"https://u:p@chat.example.org":    "fault",
		"https://@chat.example.org":       "fault",
		"https://chat.example.org?a=b":    "fault",
		"https://chat.example.org?":       "fault",
		"https://chat.example.org/#top":   "fault",
		"https://chat.example.org/#":      "fault",
		"https://chat example.org":        "fault",
		"https://chat.example.org:port":   "fault",
		"https://chat.example.org/\x7f":   "fault",
	} {
		var r settings.Reader
		u := r.URL(variable, value)
		got := ""
		switch {
		case len(r.Faults()) > 0:
			got = "fault"
		case u != nil:
			got = u.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestOriginReturnsTheAddressAsBrowsersWriteIt(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"https://bridge.example.org":      "https://bridge.example.org",
		"https://bridge.example.org/":     "https://bridge.example.org",
		"HTTPS://Bridge.Example.org:443/": "https://bridge.example.org",
		"https://bridge.example.org:8443": "https://bridge.example.org:8443",
		"https://bridge.example.org:80":   "https://bridge.example.org:80",
		"http://127.0.0.1:80":             "http://127.0.0.1",
		"http://[::1]:8080":               "http://[::1]:8080",
		"https://BRÜCKE.example:443":      "https://xn--brcke-lva.example",
		"https://bridge.example.org/path": "",
		"https://bridge.example.org/%2F":  "https://bridge.example.org",
		"https://bridge.example.org?x":    "",
		"http://bridge.example.org":       "",
	} {
		var r settings.Reader
		got := ""
		if u := r.Origin(variable, value); u != nil {
			got = u.String()
			if u.Path != "" {
				t.Errorf("%q: path %q", value, u.Path)
			}
		}
		if got != want || (got == "") != (len(r.Faults()) == 1) {
			t.Errorf("%q: %q, want %q; faults %v", value, got, want, r.Faults())
		}
	}
}

func TestASecretMustBeLongVisibleASCIIAndUsedOnce(t *testing.T) {
	t.Parallel()
	var r settings.Reader
	for _, c := range []struct{ variable, value, problem string }{
		{"A", "a secret that is long enough", ""},
		{"B", "", ""}, // left to need:"yes"
		{"C", "sixteen letters.", ""},
		{"D", "fifteen letters", "is too short"},
		{"E", "a secret that is long enough", "has the same value as A"},
		{"F", "a secret with a line\nend", "contains a line break"},
		{"G", "a secret with a zerö", "contains a line break or another character"},
		{"H", "a secret with a \x7f delete", "contains a line break or another character"},
	} {
		before := len(r.Faults())
		got := r.Secret(c.variable, c.value)
		faults := r.Faults()[before:]
		switch {
		case c.problem == "" && (got != c.value || len(faults) > 0):
			t.Errorf("%s: %q, %v", c.variable, got, faults)
		case c.problem != "" && (got != "" || len(faults) != 1 || faults[0].Variable != c.variable || !strings.HasPrefix(faults[0].Problem, c.problem)):
			t.Errorf("%s: %q, %v, want %q", c.variable, got, faults, c.problem)
		}
	}
	r.RedactInLogs("")
	r.RedactInLogs("part of a setting")
	if want := []string{"a secret that is long enough", "part of a setting", "sixteen letters."}; !slices.Equal(r.Secrets(), want) {
		t.Errorf("secrets %q, want %q", r.Secrets(), want)
	}
}

func TestKeysAreThirtyTwoBytesInBase64(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for value, want := range map[string][]byte{
		base64.StdEncoding.EncodeToString(key):       key,
		base64.RawStdEncoding.EncodeToString(key):    key,
		base64.URLEncoding.EncodeToString(key):       nil,
		base64.StdEncoding.EncodeToString(key[1:]):   nil,
		base64.StdEncoding.EncodeToString(key) + "A": nil,
		"no base64, whatever one may think of it":    nil,
		"": nil,
	} {
		var r settings.Reader
		if got := r.Key(variable, value); !bytes.Equal(got, want) || (got == nil) != (len(r.Faults()) == 1 || value == "") {
			t.Errorf("%q: %x, want %x; faults %v", value, got, want, r.Faults())
		}
	}
}

func TestTheFaultOfAKeyNamesItsCause(t *testing.T) {
	t.Parallel()
	const remedy = ": it must be 32 random bytes in base64: make one with `openssl rand -base64 32`"
	for value, want := range map[string]string{
		"not base64!":            "is not base64" + remedy,
		"AAAA":                   "has the wrong length" + remedy,
		strings.Repeat("0a", 32): "has the wrong length" + remedy, // in hex
	} {
		var r settings.Reader
		r.Key(variable, value)
		if faults := r.Faults(); !slices.Equal(faults, []settings.Fault{{Variable: variable, Problem: want}}) {
			t.Errorf("%q: %v, want %q", value, faults, want)
		}
	}
}

// accepts runs a check and reports whether it accepted the value.
func accepts(check func(r *settings.Reader)) bool {
	var r settings.Reader
	check(&r)
	return len(r.Faults()) == 0
}

func TestOtherValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  string
		check func(r *settings.Reader, value string)
		good  []string
		bad   []string
	}{
		{"an address to listen on", func(r *settings.Reader, v string) { r.Listen(variable, v, ":8080") },
			[]string{":8080", "127.0.0.1:0", "[::1]:443", "localhost:65535"}, []string{"", "8080", ":http", ":65536", ":-1", "a:b:c", "::1:80"}},
		{"a duration", func(r *settings.Reader, v string) { r.Duration(variable, v, time.Minute, time.Hour) },
			[]string{"1m", "60m", "90s", "1h0m0s"}, []string{"", "59s", "61m", "5", "soon", "-5m", "9999999h"}},
		{"a duration of days", func(r *settings.Reader, v string) { r.Duration(variable, v, 24*time.Hour, 30*24*time.Hour) },
			[]string{"1d", "24h", "30d", "720h"}, []string{"0d", "31d", "d", "-1d", "1.5d", "1d12h", "99999d", "1 d"}},
		{"a switch", func(r *settings.Reader, v string) { r.Bool(variable, v) },
			[]string{"true", "FALSE", "yes", "no", "on", "off", "1", "0"}, []string{"", "ja", "2", "truefalse"}},
		{"a choice", func(r *settings.Reader, v string) { r.OneOf(variable, v, "link", "oidc") },
			[]string{"link", "oidc", "OIDC"}, []string{"", "links", "link,oidc"}},
		{"networks", func(r *settings.Reader, v string) { r.Prefixes(variable, v) },
			[]string{"", " , ", "10.0.0.0/8", "10.1.2.3, ::1", "fd00::/8"}, []string{"10.0.0.0/33", "10.0.0", "example.org", "10.0.0.0/8 10.1.0.0/16"}},
		{"host names", func(r *settings.Reader, v string) { r.Hosts(variable, v) },
			[]string{"", "shop.example.org", "A.example, b-c.example", "brücke.example"}, []string{"brücke_a.example", "https://shop.example.org", "shop.example.org/", "*.example.org", "-a.example", "a..b", "a b"}},
	} {
		for _, v := range c.good {
			if !accepts(func(r *settings.Reader) { c.check(r, v) }) {
				t.Errorf("%q is not accepted as %s", v, c.kind)
			}
		}
		for _, v := range c.bad {
			if accepts(func(r *settings.Reader) { c.check(r, v) }) {
				t.Errorf("%q is accepted as %s", v, c.kind)
			}
		}
	}
	var r settings.Reader
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("::1/128")}
	if got := r.Prefixes(variable, "10.1.2.3/8, 192.0.2.7,::1"); !slices.Equal(got, want) {
		t.Errorf("networks %v, want %v", got, want)
	}
	if got := settings.List(" a,, b ,"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("a list of %q", got)
	}
}

// problems has all texts of faults. None of them depends on the value.
var problems = func() map[string]bool {
	var r settings.Reader
	all := map[string]bool{}
	for _, v := range []string{"", "x", "ö", "https://a.example/p", "https://u@a.example", "http://a.example", "bad value of no use", "AAAA", "https://a.example.or\xd7", "unix:x", "unix:/" + strings.Repeat("x", 200)} {
		check(&r, v)
	}
	r.Secret("A", "a secret that is long enough")
	r.Secret(variable, "a secret that is long enough")
	for _, f := range r.Faults() {
		all[f.Problem] = true
	}
	return all
}()

func check(r *settings.Reader, value string) {
	r.Secret(variable, value)
	r.Key(variable, value)
	r.URL(variable, value)
	r.Origin(variable, value)
	r.Listen(variable, value, ":8080")
	r.Duration(variable, value, time.Minute, time.Hour)
	r.Bool(variable, value)
	r.OneOf(variable, value, "link", "oidc")
	r.Prefixes(variable, value)
	r.Hosts(variable, value)
}

func FuzzNoFaultQuotesAValue(f *testing.F) {
	for _, seed := range []string{
		"", "value", "a secret that is long enough", "https://chat.example.org", "https://u:p@chat.example.org?x#y", "http://10.0.0.1",
		"https://bridge.example.org/path", ":8080", "30m", "true", "link", "10.0.0.0/8", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "%zz", "\x00",
		"https://a.example.or\xd7", "unix:/run/bridge/http.sock", "unix:" + strings.Repeat("/x", 100),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var r settings.Reader
		check(&r, value)
		for _, fault := range r.Faults() {
			// check calls both Secret and Key with the value, so it is a repeated secret.
			fixed := problems[fault.Problem] || fault.Problem == "has the same value as "+variable+": use a different value for each secret"
			if fault.Variable != variable || !fixed {
				t.Errorf("%q leads to the fault %v", value, fault)
			}
		}
	})
}

func FuzzAnAcceptedURLIsParsedTheSameAgain(f *testing.F) {
	for _, seed := range []string{"https://chat.example.org/a", "http://127.0.0.1:1", "https://a:443", "https://[::1]/", "https://a/%2f/../b", "https://a\\@b", "https://a;b", "https://ä.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var r settings.Reader
		for _, u := range []*url.URL{r.URL(variable, value), r.Origin(variable, value)} {
			if u == nil {
				continue
			}
			again, err := url.Parse(u.String())
			if err != nil || again.Host != u.Host || again.Scheme != u.Scheme || again.EscapedPath() != u.EscapedPath() {
				t.Fatalf("%q is parsed as %v and then as %v, %v", value, u, again, err)
			}
			if u.Hostname() == "" || u.User != nil || strings.ContainsAny(u.String(), "?#") || u.Scheme != "https" && u.Scheme != "http" {
				t.Errorf("%q was accepted as %v", value, u)
			}
			if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && !strings.EqualFold(u.Hostname(), "localhost") && (err != nil || !addr.IsLoopback()) {
				t.Errorf("%q was accepted without TLS", value)
			}
		}
	})
}
