package slack

import (
	"strings"
	"testing"
)

func TestWhatAgentsType(t *testing.T) {
	t.Parallel()
	code, mail, id := query{Code: "4821"}, query{Email: "jane@acme.com"}, query{Integration: "crm:4711"}
	for text, want := range map[string]query{
		"4821":                                 code,
		"  4821 ":                              code,
		"`4821`":                               code,
		"“4821”":                               code,
		"'4821'":                               code,
		"\u00a04821\u202f":                     code, // no-break spaces
		"\u200b48\u200b21\ufeff":               code, // signs that print nothing
		"<@U0BRIDGE> 4821":                     code,
		"<@U0BRIDGE|cobrowse>\u00a04821":       code,
		"jane@acme.com":                        mail,
		"<mailto:jane@acme.com|jane@acme.com>": mail,
		"<@U0BRIDGE> <mailto:jane@acme.com|jane@acme.com>": mail,
		"“jane@acme.com”":                                  mail,
		"jane+x@acme.co.uk":                                {Email: "jane+x@acme.co.uk"},
		"crm:4711":                                         id,
		"`crm:4711`":                                       id,
		"rocketchat:7b0c0d5e-9a51-4f0e-8a3f-2d9f1c6b1a77": {Integration: "rocketchat:7b0c0d5e-9a51-4f0e-8a3f-2d9f1c6b1a77"},
		"help": {Word: "help"}, "HELP": {Word: "help"}, "?": {Word: "help"},
		"status": {Word: "status"}, "stop": {Word: "stop"}, "end": {Word: "stop"}, "usage": {Word: "usage"},
		"<@U0BRIDGE> Status": {Word: "status"},

		// Nothing of this is looked up.
		"": {}, "   ": {}, "482": {}, "48211": {}, "４８２１": {}, "٤٨٢١": {}, "4821 online": {}, "stop it": {}, "Jane": {},
		"#tag": {}, "ip:1.2.3.4 x": {}, "../../visitors?all=true": {}, "ab:1": {}, "CRM:1": {}, "crm:": {}, "crm:a/b": {}, "crm:a.b": {}, "crm:jane@acme.com": {}, "crm:a b": {},
		"<@U2>": {}, "<!channel>": {}, "jane@acme": {}, "@acme.com": {}, "jane@acme.com,bob@acme.com": {}, "\xff\xfe": {},
		strings.Repeat("4821 ", 2000):       {},
		"crm:" + strings.Repeat("x", 200):   {},
		strings.Repeat("j", 300) + "@a.com": {},
	} {
		if got := parseQuery(text); got != want {
			t.Errorf("%.60q: %+v, want %+v", text, got, want)
		}
	}
}

func TestTheOneClueOfAMessageIsFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]query{
		"She reads out 4821.":    {Code: "4821"},
		"code: 4821, again 4821": {Code: "4821"},
		"(4821)":                 {Code: "4821"},
		"mail of <mailto:jane@acme.com|jane@acme.com>, please": {Email: "jane@acme.com"},
		"see crm:4711!":              {Integration: "crm:4711"},
		"&lt;4821&gt;":               {},
		"4821 or 4822":               {},
		"code 4821 of jane@acme.com": {},
		"nothing in here":            {},
		"help":                       {},
		"<https://shop.example.org/4821|the page>":               {},
		strings.Repeat("word ", 2000) + "4821, beyond our reach": {},
	} {
		if got := findQuery(text); got != want {
			t.Errorf("%.60q: %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"4821", "<@U1> 4821", "<mailto:a@b.co|a@b.co>", "crm:4711", "“x”", "\u200b", "help"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, q := range []query{parseQuery(text), findQuery(text)} {
			// Whatever is found goes into a search, so it holds nothing that means
			// something there.
			found := q.Code + q.Integration + q.Email
			if strings.ContainsAny(found, " \t\r\n\"'`#/\\?&=%<>|()*") || len(found) > 254 {
				t.Errorf("%q is found in %q", found, text)
			}
			n := 0
			for _, s := range []string{q.Code, q.Integration, q.Email, q.Word} {
				if s != "" {
					n++
				}
			}
			if n > 1 {
				t.Errorf("%+v is several things", q)
			}
		}
	})
}
