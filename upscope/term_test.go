package upscope_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestTermsAreWrittenAsDocumented(t *testing.T) {
	t.Parallel()
	ip := func(s string) (upscope.Term, error) { return upscope.IP(netip.MustParseAddr(s)) }
	always := func(f func() upscope.Term) func(string) (upscope.Term, error) {
		return func(string) (upscope.Term, error) { return f(), nil }
	}
	for _, tt := range []struct {
		make  func(string) (upscope.Term, error)
		kind  upscope.Kind
		value string
		wire  string // the search parameter as sent
	}{
		{upscope.IntegrationID, upscope.KindIntegrationID, "acmechat:123", "integration_id%3Aacmechat%3A123"},
		{upscope.IntegrationID, upscope.KindIntegrationID, "rocketchat:aZ_-9", "integration_id%3Arocketchat%3AaZ_-9"},
		{upscope.IntegrationID, upscope.KindIntegrationID, "crm:a.b+c/d=~@e", "integration_id%3Acrm%3Aa.b%2Bc%2Fd%3D~%40e"},
		{upscope.LookupCode, upscope.KindLookupCode, "0042", "0042"},
		{upscope.UniqueID, upscope.KindUniqueID, "user-42", "id%3Auser-42"},
		{upscope.UniqueID, upscope.KindUniqueID, "a.b+c@example.com", "id%3Aa.b%2Bc%40example.com"},
		{upscope.Email, upscope.KindEmail, "Joe.Smith+x@example.co.uk", "Joe.Smith%2Bx%40example.co.uk"},
		{upscope.Email, upscope.KindEmail, "o'brien@example.org", "o%27brien%40example.org"},
		{upscope.Email, upscope.KindEmail, "a/b=c&d%e@example.org", "a%2Fb%3Dc%26d%25e%40example.org"},
		{upscope.Tag, upscope.KindTag, "#Customer-1", "%23Customer-1"},
		{ip, upscope.KindIP, "192.0.2.7", "ip%3A192.0.2.7"},
		{ip, upscope.KindIP, "::ffff:192.0.2.7", "ip%3A192.0.2.7"},
		{ip, upscope.KindIP, "2001:db8::1", "ip%3A2001%3Adb8%3A%3A1"},
		{always(upscope.Online), upscope.KindOnline, "", "online"},
		{always(upscope.Offline), upscope.KindOffline, "", "-online"},
	} {
		term, err := tt.make(tt.value)
		if err != nil || term.Kind() != tt.kind {
			t.Errorf("%q: %v, %v", tt.value, term.Kind(), err)
			continue
		}
		a := &fixedAnswer{body: `{}`}
		client, _ := clients(t, upscope.Config{Key: key, Transport: a})
		if _, err := client.Search(t.Context(), term, 2); err != nil {
			t.Error(err)
		}
		if want := "max_results=2&search=" + tt.wire; a.last.URL.RawQuery != want {
			t.Errorf("sent %s, want %s", a.last.URL.RawQuery, want)
		}
		if again, _ := tt.make(tt.value); again != term {
			t.Errorf("%q: equal terms are not ==", tt.value)
		}
	}
}

func TestTextsThatAreNotExactTokensAreRefused(t *testing.T) {
	t.Parallel()
	everywhere := []string{
		"", " ", "a b", "1234 online", "online 1234", "#tag online", "a\tb", "a\nb", "a\r\nb", "a\x00b", "\ufeffa", "ä",
		"a\u00a0b", "a\u200bb", `"a b"`, "'a'", "a;b", "a&search=b", "a%20b", "a|b", "a*b", "a,b", "(a)", "\xff",
	}
	for _, tt := range []struct {
		make func(string) (upscope.Term, error)
		bad  []string
	}{
		{upscope.IntegrationID, []string{
			"rocketchat", "rocketchat:", ":key", "rc:key", "Rocketchat:key", "twilio_flex:1", "rocket chat:1", "rocketchat:a:b",
			"rocketchat:a#b", "rocketchat:a,b", "rocketchat:a\"b", "integration_id:rocketchat:key", "1234", "#tag", "ip:192.0.2.7",
			"rocketchat:" + strings.Repeat("a", 201), strings.Repeat("a", 33) + ":1",
		}},
		{upscope.LookupCode, []string{"123", "12345", "12 34", "+123", "-123", "0x12", "１２３４", "٠١٢٣", "12e4", "1234\n", "id:1"}},
		{upscope.UniqueID, []string{"id:1", "a:b", "a/b", "#a", strings.Repeat("a", 129)}},
		{upscope.Email, []string{
			"a", "@", "a@", "@example.com", "a@b@example.com", "a@example", "a@.com", "a@example.", "a@example..com", "a@-a.com",
			"a@a-.com", "a#b@example.com", "'a@example.com", "a`b@example.com", "a|b@example.com", "-online@example.com", "#tag@example.com", ".a@example.com", "+a@example.com", `"a b"@example.com`,
			"<a@example.com>", "Joe <a@example.com>", "mailto:a@example.com", "a@[192.0.2.7]", "ä@example.com", "a@exämple.com",
			"id:a@example.com", strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("a.", 127) + "com",
		}},
		{upscope.Tag, []string{"tag", "#", "##tag", "#a#b", "#a:b", "-#tag", "#" + strings.Repeat("a", 65)}},
	} {
		for _, value := range append(tt.bad, everywhere...) {
			term, err := tt.make(value)
			if !errors.Is(err, upscope.ErrInvalid) || term != (upscope.Term{}) {
				t.Errorf("%q was taken as %v (%v)", value, term, err)
			}
			if err != nil && len(value) > 4 && strings.Contains(err.Error(), value) {
				t.Errorf("the error quotes %q", value)
			}
		}
	}
	for _, address := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")} {
		if _, err := upscope.IP(address); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%v: %v", address, err)
		}
	}
}

func TestTheZeroTermIsRefusedBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	if _, err := f.client.Search(t.Context(), upscope.Term{}, 10); !errors.Is(err, upscope.ErrInvalid) {
		t.Error(err)
	}
	for _, most := range []int{-1, 11, 1 << 30} {
		if _, err := f.client.Search(t.Context(), upscope.Online(), most); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%d: %v", most, err)
		}
		if _, err := f.client.Latest(t.Context(), most); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%d: %v", most, err)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if k := (upscope.Term{}).Kind(); k != "" {
		t.Errorf("kind %q", k)
	}
}

func TestSearchFindsExactlyWhatTheTermNames(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	f.Come(upscope.Visitor{ShortID: "A1", UniqueID: "u-1", Identities: []string{"joe@example.com"}, Tags: []string{"#vip"}, IPAddress: "192.0.2.7"})
	f.Come(upscope.Visitor{ShortID: "B2", UniqueID: "u-12", IPAddress: "192.0.2.77"})
	f.Come(upscope.Visitor{ShortID: "C3", UniqueID: "u-1"}) // a second browser of the same person
	f.Go("C3")
	f.SetIntegrationIDs("A1", "rocketchat:k1")
	f.SetIntegrationIDs("B2", "rocketchat:k11", "rocketchat:shared")
	f.SetIntegrationIDs("C3", "rocketchat:shared")
	f.SetLookupCode("A1", "0042")
	f.SetLookupCode("B2", "0042")
	for _, tt := range []struct {
		term upscope.Term
		want string
	}{
		{must(upscope.IntegrationID("rocketchat:k1")), "A1"},
		{must(upscope.IntegrationID("rocketchat:shared")), "B2 C3"},
		{must(upscope.IntegrationID("rocketchat:nobody")), ""},
		{must(upscope.LookupCode("0042")), "A1 B2"},
		{must(upscope.LookupCode("4200")), ""},
		{must(upscope.UniqueID("u-1")), "A1 C3"},
		{must(upscope.Email("joe@example.com")), "A1"},
		{must(upscope.Email("jo@example.com")), ""},
		{must(upscope.Tag("#vip")), "A1"},
		{must(upscope.IP(netip.MustParseAddr("192.0.2.7"))), "A1"},
		{upscope.Online(), "A1 B2"},
		{upscope.Offline(), "C3"},
	} {
		found, err := f.client.Search(t.Context(), tt.term, 0)
		var ids []string
		for _, v := range found {
			ids = append(ids, v.ShortID)
		}
		if got := strings.Join(ids, " "); err != nil || got != tt.want {
			t.Errorf("%v: %q, %v; want %q", tt.term, got, err, tt.want)
		}
	}
	latest, err := f.client.Latest(t.Context(), 2)
	if err != nil || len(latest) != 2 {
		t.Errorf("latest: %d, %v", len(latest), err)
	}
}

func must(term upscope.Term, err error) upscope.Term {
	if err != nil {
		panic(err)
	}
	return term
}

// For every text: the search is one unchanged token of a documented kind, or nothing is sent.
func FuzzTerms(f *testing.F) {
	for _, seed := range []string{
		"0042", "rocketchat:key", "user-42", "a@example.com", "#vip", "192.0.2.7", "2001:db8::1", "1234 online", "a@b@c.d", "online",
		"-online", "id:a", "crm:a/b=", "o'b&x=1@example.com", "#a b", "a%20b", "../../visitors?all=true", "\x00", "é@example.com", "integration_id:a:b",
	} {
		for kind := range byte(6) {
			f.Add(kind, seed)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, s string) {
		var term upscope.Term
		var err error
		before := ""
		switch kind % 6 {
		case 0:
			term, err = upscope.IntegrationID(s)
			before = "integration_id:"
		case 1:
			term, err = upscope.LookupCode(s)
		case 2:
			term, err = upscope.UniqueID(s)
			before = "id:"
		case 3:
			term, err = upscope.Email(s)
		case 4:
			term, err = upscope.Tag(s)
		case 5:
			address, bad := netip.ParseAddr(s)
			if bad != nil {
				return
			}
			term, err = upscope.IP(address)
			before, s = "ip:", address.Unmap().String()
		}
		a := &fixedAnswer{body: `{}`}
		client, bad := upscope.New(upscope.Config{Key: key, Transport: a})
		if bad != nil {
			t.Fatal(bad)
		}
		_, searchErr := client.Search(t.Context(), term, 10)
		if err != nil {
			if !errors.Is(err, upscope.ErrInvalid) || !errors.Is(searchErr, upscope.ErrInvalid) || a.last != nil {
				t.Fatalf("%q: %v, %v", s, err, searchErr)
			}
			return
		}
		sent := a.last.URL
		q, bad := url.ParseQuery(sent.RawQuery)
		if bad != nil || len(q) != 2 || len(q["search"]) != 1 || q.Get("search") != before+s || q.Get("max_results") != "10" {
			t.Fatalf("%q was sent as %s", s, sent.RawQuery)
		}
		if sent.Path != "/v1.3/list" || sent.Fragment != "" || sent.Host != "api.upscope.io" {
			t.Fatalf("%q was sent to %s", s, sent)
		}
		token := q.Get("search")
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q is not one token", token)
		}
		if before == "" && kind%6 != 4 && strings.ContainsAny(token, ":#") {
			t.Fatalf("%q could mean something else", token)
		}
		if strings.HasPrefix(token, "-") || token == "online" {
			t.Fatalf("%q is a filter", token)
		}
	})
}
