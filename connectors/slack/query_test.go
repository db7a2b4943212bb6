package slack

import (
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	code, mail, id := query{Code: "4821"}, query{Email: "jane@acme.com"}, query{Integration: "crm:4711"}
	obrien := query{Email: "o'brien@example.org"}
	unclear, several, letters := query{Unclear: chat.UnclearText}, query{Unclear: chat.UnclearSeveral}, query{Unclear: chat.UnclearLetters}
	for text, want := range map[string]query{
		"4821":                                 code,
		"“4821”":                               code,
		"４８２１":                                 code,
		"4821.":                                code,
		"#4821":                                code,
		"code 4821":                            code,
		"4821 please":                          code,
		"4821 online":                          code,
		"help 4821":                            code,
		"<tel:4821|4821>":                      code,
		"&lt;4821&gt;":                         code,
		"\u200b48\u200b21\ufeff":               code, // invisible characters
		"<@U0BRIDGE> 4821":                     code,
		"<@U0BRIDGE>: 4821":                    code,
		"4821 <@U0BRIDGE>":                     code,
		"<@U0BRIDGE|cobrowse>\u00a04821":       code,
		"jane@acme.com":                        mail,
		"mailto:jane@acme.com":                 mail,
		"<mailto:jane@acme.com|jane@acme.com>": mail,
		"<mailto:jane@acme.com|Jane>":          mail,
		"<@U0BRIDGE> <mailto:jane@acme.com|jane@acme.com>": mail,
		"jane@<http://acme.com|acme.com>":                  mail,
		"o'brien@example.org":                              obrien,
		"o’brien@example.org":                              obrien,
		"<mailto:o'brien@example.org|o'brien@example.org>": obrien,
		"o'<mailto:brien@example.org|brien@example.org>":   obrien, // Slack marks up a part
		"o'brien@<http://example.org|example.org>":         obrien,
		"a&amp;b@example.org":                              {Email: "a&b@example.org"},
		"a/b@example.org":                                  {Email: "a/b@example.org"},
		"crm:4711":                                         id,
		"Crm:4711":                                         id,
		"`crm:4711`":                                       id,
		"rocketchat:7b0c0d5e-9a51-4f0e-8a3f-2d9f1c6b1a77":  {Integration: "rocketchat:7b0c0d5e-9a51-4f0e-8a3f-2d9f1c6b1a77"},
		"crm:a/b": {Integration: "crm:a/b"},
		"crm:a.b": {Integration: "crm:a.b"},
		"crm:<mailto:jane@acme.com|jane@acme.com>": {Integration: "crm:jane@acme.com"},
		"help": {Word: "help"}, "HELP": {Word: "help"}, "?": {Word: "help"}, "`help`": {Word: "help"}, "ｈｅｌｐ": {Word: "help"},
		"status": {Word: "status"}, "stop": {Word: "stop"}, "end": {Word: "stop"}, "usage": {Word: "usage"}, "Status.": {Word: "status"},
		"<@U0BRIDGE> Status": {Word: "status"}, "status\u200b": {Word: "status"},
		"": {Word: "help"}, "   ": {Word: "help"}, "<@U2>": {Word: "help"}, "\xff\xfe": {Word: "help"}, "\u200b": {Word: "help"},

		"482": unclear, "48211": unclear, "stop it": unclear, "stop 4821": unclear, "status of 4821": unclear, "Jane": unclear,
		"#tag": unclear, "ip:1.2.3.4 x": unclear, "../../visitors?all=true": unclear, "ab:1": unclear, "crm:": unclear,
		"<!channel>": unclear, "jane@acme": unclear, "@acme.com": unclear, "jane@acme.com,bob@acme.com": unclear,
		"<https://shop.example.org/4821|the page>": unclear,
		"crm:" + strings.Repeat("x", 201):          unclear,
		strings.Repeat("j", 300) + "@a.com":        unclear,
		"4821 4822":                                several,
		"4821 of jane@acme.com":                    several,
		"jörg@exämple.org":                         letters,
		"jörg@<http://exämple.org|exämple.org>":    letters,
	} {
		if got := parseQuery(text); got != want {
			t.Errorf("%.60q: %+v, want %+v", text, got, want)
		}
	}
}

func TestTheOnlyClueInAMessageIsFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]query{
		"She reads out 4821.":    {Code: "4821"},
		"code: 4821, again 4821": {Code: "4821"},
		"(4821)":                 {Code: "4821"},
		"<@U2> she has ４８２１":     {Code: "4821"},
		"mail of <mailto:jane@acme.com|jane@acme.com>, please": {Email: "jane@acme.com"},
		"see crm:4711!":              {Integration: "crm:4711"},
		"4821 or 4822":               {Unclear: chat.UnclearSeveral},
		"code 4821 of jane@acme.com": {Unclear: chat.UnclearSeveral},
		"call +1 555 123 4567":       {Unclear: chat.UnclearText},
		"nothing in here":            {Unclear: chat.UnclearText},
		"help":                       {Unclear: chat.UnclearText},
		"<https://shop.example.org/4821|the page>":               {Unclear: chat.UnclearText},
		strings.Repeat("word ", 2000) + "4821, beyond our reach": {Unclear: chat.UnclearText},
		strings.Repeat("x", maxQuery-6) + " crm:4711":            {Unclear: chat.UnclearText}, // cut within the id
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
			// The clue becomes part of a search, so it must not contain special characters.
			found := q.Code + q.Integration + q.Email
			if strings.ContainsAny(found, " \t\r\n\"`#\\<>|()") || len(found) > 254 {
				t.Errorf("%q is found in %q", found, text)
			}
			n := 0
			for _, s := range []string{q.Code, q.Integration, q.Email, q.Word, string(q.Unclear)} {
				if s != "" {
					n++
				}
			}
			if n > 1 {
				t.Errorf("%+v has several meanings", q)
			}
		}
	})
}
