package yamlfile

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type form struct {
	Team  string       `yaml:"team"`
	Lines []string     `yaml:"lines"`
	Short shortWord    `yaml:"short"`
	Deep  map[string]T `yaml:"deep"`
}

type T struct {
	Number int `yaml:"number"`
}

type shortWord string

func (w *shortWord) UnmarshalYAML(n *yaml.Node) error {
	if len(n.Value) > 3 {
		return Errorf(n, "short is longer than 3 letters; shorten it")
	}
	*w = shortWord(n.Value)
	return nil
}

func TestDocumentAndDecodeRefuseBrokenFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"team: caf\xe9\n":                  "f.yaml:1: the file is not UTF-8 text here; save it as UTF-8",
		"team: x\nlines: \"\x01\"":         "f.yaml:2: the file is not UTF-8 text here; save it as UTF-8",
		"team: x\n---\nteam: y\n":          "f.yaml:2: the file has more than one document; put everything into one, without ---",
		"team: x\nlines: [a, b\n":          "f.yaml:2: the file is not YAML here: did not find expected ',' or ']'; " + syntaxHint,
		"# c\nteam: a: b\n":                "f.yaml:2: the file is not YAML here: mapping values are not allowed in this context; " + syntaxHint,
		"team: x\nlines: *secret\n":        "f.yaml:2: " + noAnchors,
		"team: &a x\nlines: [*a]\n":        "f.yaml:1: " + noAnchors + "\nf.yaml:2: " + noAnchors,
		"deep:\n  a:\n    <<: {n: 1}\n":    "f.yaml:3: merge keys (<<) are not supported; write the keys out",
		strings.Repeat("#", MaxSize+1):     "f.yaml:1: the file is larger than 64 KiB; shorten it",
		"\ufeffteam: x\nlines: [\"a\", b}": "f.yaml:2: the file is not YAML here: did not find expected ',' or ']'; " + syntaxHint,
	} {
		var document, decode Faults
		if top := document.Document([]byte(text)); top != nil {
			t.Errorf("%.40q was read", text)
		}
		if top := decode.Decode([]byte(text), new(form)); top != nil {
			t.Errorf("%.40q was decoded", text)
		}
		for _, err := range []error{document.Err("f.yaml"), decode.Err("f.yaml")} {
			if err == nil || err.Error() != want {
				t.Errorf("%.40q:\n%v, want\n%s", text, err, want)
			}
		}
	}
}

func TestDecodeReportsEveryWrongKeyAndValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                             "",
		"# nothing\n":                                  "",
		"\ufeffteam: caf\ufffd\n":                      "",
		"team: x\n" + `te%dm: y` + "\n":                "f.yaml:2: there is no key \"te%dm\" here; check the spelling and the indentation",
		"team: x\nteem: y\nlines: z\n":                 "f.yaml:2: there is no key \"teem\" here; check the spelling and the indentation\nf.yaml:3: text is not allowed here; see the example in the guide",
		"team: x\nlines: [a]\nteam: y\n":               "f.yaml:3: \"team\" is in line 1 already; keep one of them",
		"lines:\n  - a\n  - # b\n":                     "f.yaml:3: a list item is empty; fill it in, or remove it",
		"short: word\n":                                "f.yaml:1: short is longer than 3 letters; shorten it",
		"deep:\n  a: {number: hunter2}\n":              "f.yaml:2: text is not allowed here; see the example in the guide",
		"lines: [a]\nteam: !!binary \"#\"\nshort: a\n": "f.yaml:2: the file is not YAML here; " + syntaxHint,
	} {
		var f Faults
		f.Decode([]byte(text), new(form))
		got := ""
		if err := f.Err("f.yaml"); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q:\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestFindReturnsTheLineOfTheKey(t *testing.T) {
	t.Parallel()
	var f Faults
	top := f.Document([]byte("a:\n  b:\n    - 1\n"))
	if n, line := Find(top, "a", "b"); n == nil || n.Kind != yaml.SequenceNode || line != 2 {
		t.Errorf("%+v in line %d", n, line)
	}
	if n, _ := Find(top, "a", "c"); n != nil {
		t.Errorf("%+v", n)
	}
}
