package chat

import (
	"strings"
	"testing"
	"unicode"
)

func TestWhatAgentsTypeNamesACustomer(t *testing.T) {
	t.Parallel()
	code, mail, id := "4821", "jane@acme.com", "crm:4711"
	for text, want := range map[string]string{
		"4821": code, "  4821\n": code, "4821.": code, "#4821": code, "(4821)": code, "`4821`": code, "*4821*": code, "_4821_": code,
		"“4821”": code, "'4821'": code, "<4821>": code, "tel:4821": code, "<tel:4821>": code, "Code: 4821": code, "code:4821": code,
		"code 4821": code, "code #4821!": code, "4821 please": code, "she says 4821, again 4821": code, "@bob 4821": code,
		"48 21": code, "48-21": code, "48–21": code, "4 8 2 1": code, "4-8-2-1.": code,
		"４８２１": code, "４８２１。": code, "＃４８２１": code, "٤٨٢١": code, "۴۸۲۱": code, "४८२१": code, "𝟒𝟖𝟐𝟏": code, "4️⃣8️⃣2️⃣1️⃣": code,
		"\u00a04821\u202f": code, "\u30004821": code, "\u200b48\u200b21\ufeff": code, "\u202a4821\u202c": code, "code\u00a04821": code,
		"0000": "0000",

		"jane@acme.com": mail, "mailto:jane@acme.com": mail, "MAILTO:jane@acme.com?subject=hi": mail, "<jane@acme.com>": mail,
		"Jane <jane@acme.com>": mail, "mail of jane@acme.com, please": mail, "ｊａｎｅ＠ａｃｍｅ．ｃｏｍ": mail, "jane\u00ad@acme.com": mail,
		"jane@acme.com JANE@acme.com": mail,
		"o'brien@example.org":         "o'brien@example.org", "o’brien@example.org": "o'brien@example.org", "'o'brien@example.org'": "o'brien@example.org",
		"a/b@example.org": "a/b@example.org", "jane+x=y@acme.co.uk": "jane+x=y@acme.co.uk", "_jane@acme.com": "_jane@acme.com",

		"crm:4711": id, "`crm:4711`": id, "Crm:4711": id, "see crm:4711!": id, "ＣＲＭ：４７１１": id,
		"crm:a.b": "crm:a.b", "crm:jane@acme.com": "crm:jane@acme.com", "crm:QUJD/+8=": "crm:QUJD/+8=", "crm:A~b": "crm:A~b",
		"crm:" + strings.Repeat("x", 200): "crm:" + strings.Repeat("x", 200),
	} {
		clues, why := Typed(text)
		if got := clues.LookupCode + strings.Join(clues.IntegrationIDs, " ") + clues.Email; got != want || why != "" {
			t.Errorf("%.60q: %q, %q; want %q", text, got, why, want)
		}
	}
}

func TestWhatNamesNoCustomerIsUnclear(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Unclear{
		"": "", " \u00a0\t\n": "", "\u200b": "",

		"482": UnclearText, "48211": UnclearText, "jane": UnclearText, "Jane Smith": UnclearText, "...": UnclearText, "#tag": UnclearText,
		"jane@acme": UnclearText, "@acme.com": UnclearText, "@jane": UnclearText, "a@b@c.de": UnclearText, "jane@acme.com,bob@acme.com": UnclearText,
		"crm:": UnclearText, "ab:1": UnclearText, "crm:é": UnclearText, "crm:" + strings.Repeat("x", 201): UnclearText, "ip:1.2.3.4 x": UnclearText,
		strings.Repeat("j", 300) + "@a.com": UnclearText, "https://shop.example.org/4821": UnclearText, "../../visitors?all=true": UnclearText,
		"\xff\xfe": "", "10:30": UnclearText, "-online": UnclearText, "<x|jane@acme.com>": UnclearText, "½": UnclearText,
		// The four digits may be a part of something else.
		"+1 555 123 4567": UnclearText, "order 55, code 4821": UnclearText, "4821 or 48211": UnclearText, "4821 jane@acme": UnclearText,

		"4821 4822": UnclearSeveral, "code 4821 of jane@acme.com": UnclearSeveral, "crm:1 crm:2": UnclearSeveral, "+44 20 7946 0958": UnclearSeveral,

		"jörg@example.org": UnclearLetters, "jo\u0308rg@example.org": UnclearLetters, "jörg@exämple.org": UnclearLetters, "anna@exämple.org": UnclearLetters,
		"mail jörg@exämple.org please": UnclearLetters, "иван@example.org": UnclearLetters,
	} {
		if clues, why := Typed(text); !clues.Empty() || why != want {
			t.Errorf("%.60q: %+v, %q; want %q", text, clues, why, want)
		}
	}
}

func TestOnlyACodeInWhatACustomerWritesCounts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"4821": "4821", " 0042 ": "0042", "code 4821": "4821", "Code: 4821.": "4821", "code #4821!": "4821", "code4821": "4821", "\n4821\n": "4821",
		"４８２１": "4821", "٤٨٢١": "4821", "“4821”": "4821", "- 4821": "4821",
		"my code is 7788": "7788", "the code is 4821": "4821", "Hi! The code: 4821. What now?": "4821", "My CODE is ４８２１": "4821", "it says 4821, is that the code?": "4821",
		"code 4821, I mean 4821": "4821", "code (4821)": "4821", "I have 2 questions, my code is 4821": "4821", "code for order 48211 is 4821": "4821",
		"mi código es 4821": "4821", "mi co\u0301digo es 4821": "4821", "il codice è 4821": "4821", "min kode er 4821": "4821", "koden är 4821": "4821",
		"kód je 4821": "4821", "Mein Code lautet 4821": "4821", "мой код 4821": "4821", "promo code 2024": "2024",

		"": "", "482": "", "48211": "", "my order 4821 is late": "", "2024 or 2025": "", "4821 4822": "", "I was born in 1984": "",
		"my postcode is 4821": "", "encoded 4821": "", "codes": "", "code 482": "", "code 48211": "", "code 4821 or 4822": "",
		"code for 4821 €": "", "code for €4821": "", "code for $ 4821": "", "code gives 4821,50": "", "code gives 1.4821": "", "code of 2024-05-01": "",
		"code of 01/05/2024": "", "code, call 020 7946 0958": "", "code, call +4821": "", "code A4821": "", "code 4821B": "", "code 4821%": "",
	} {
		if got := CodeIn(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// digitOf relies on this.
func TestDigitsComeInRunsOfTen(t *testing.T) {
	t.Parallel()
	for _, run := range unicode.Nd.R16 {
		if run.Stride != 1 || (run.Hi-run.Lo)%10 != 9 {
			t.Errorf("%+v", run)
		}
	}
	for _, run := range unicode.Nd.R32 {
		if run.Stride != 1 || (run.Hi-run.Lo)%10 != 9 {
			t.Errorf("%+v", run)
		}
	}
}

func FuzzTyped(f *testing.F) {
	for _, s := range []string{"4821", "０４２１", "<mailto:a@b.co>", "crm:4711", "“x”", "\u200b", "o'b@c.de", "code is 4821", "48-21", "\xff4821", "jörg@b.co"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clues, why := Typed(text)
		found := append([]string{clues.LookupCode, clues.Email}, clues.IntegrationIDs...)
		n := 0
		for _, clue := range found {
			if clue != "" {
				n++
			}
			// A clue becomes part of a search.
			if strings.ContainsAny(clue, " \t\r\n\"`#\\<>|()") || len(clue) > 254 {
				t.Errorf("%q is found in %q", clue, text)
			}
		}
		if n > 1 || n == 1 && why != "" || clues.ShortID != "" || clues.UniqueID != "" {
			t.Errorf("%q: %+v, %q", text, clues, why)
		}
		if code := clues.LookupCode; code != "" && !IsLookupCode(code) {
			t.Errorf("%q: code %q", text, code)
		}
		if code := CodeIn(text); code != "" && !IsLookupCode(code) {
			t.Errorf("%q: a customer's code %q", text, code)
		}
	})
}
