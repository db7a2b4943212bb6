package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A mark is a secret that the searches must not find.
type mark struct{ name, value string }

// forms returns the mark as it is, and as JSON, URLs, HTML, Go, hex and base64 encode
// it. Base64 has three forms, since the mark can begin at each byte of a group of three.
func (m mark) forms() []string {
	raw := []byte(m.value)
	quoted, _ := json.Marshal(m.value) // a string can always be marshalled
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(m.value)
	all := []string{
		m.value, url.QueryEscape(m.value), url.PathEscape(m.value), html.EscapeString(m.value),
		strings.Trim(string(quoted), `"`), strings.Trim(plain.String(), "\"\n"), strings.Trim(strconv.Quote(m.value), `"`),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// Characters that neighbouring bytes change are cut off at both ends.
			text := encoding.EncodeToString(append(make([]byte, before), raw...))
			text = text[(before*8+5)/6:]
			if (before+len(raw))%3 != 0 {
				text = text[:len(text)-1]
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// foundMarks returns the names of the marks that a text contains in any form.
func foundMarks(text string, marks []mark) (names []string) {
	for _, m := range marks {
		if slices.ContainsFunc(m.forms(), func(form string) bool { return strings.Contains(text, form) }) {
			names = append(names, m.name)
		}
	}
	return names
}

func TestTheSearchForSecretsFindsThemInEveryForm(t *testing.T) {
	t.Parallel()
	m := mark{"planted", `canary/<planted>+"mark"&\ 100%`}
	encode := map[string]func(string) string{
		"plain":      func(s string) string { return s },
		"a query":    func(s string) string { return url.Values{"token": {s}}.Encode() },
		"a path":     func(s string) string { return "/w/" + url.PathEscape(s) + "/renew" },
		"HTML":       html.EscapeString,
		"Go":         strconv.Quote,
		"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
		"upper hex":  func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"URL base64": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"JSON": func(s string) string {
			b, err := json.Marshal(map[string]string{"err": s})
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		},
	}
	for name, f := range encode {
		for before := range 4 {
			for after := range 4 {
				text := "noise " + f(strings.Repeat("a", before)+m.value+strings.Repeat("z", after)) + " noise"
				if len(foundMarks(text, []mark{m})) != 1 {
					t.Errorf("%s, between %d and %d bytes: not found in %s", name, before, after, text)
				}
			}
		}
	}
	if names := foundMarks(strings.Repeat("nothing of the kind ", 1000), []mark{m}); names != nil {
		t.Errorf("found %v in a text without marks", names)
	}
}
