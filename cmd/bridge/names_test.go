package main

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// unusedWords are words that names must not have, with the word to use instead. Words with
// another meaning elsewhere, such as take, accept, follow and rest, are left out.
var unusedWords = map[string]string{
	"wish wishes wished":            "command",
	"seat seats seated":             "signedInAgent",
	"verdict verdicts":              "errorResponse or errorKind",
	"judge judges judged":           "respond",
	"settle settles settled":        "applyAsk or waitFor",
	"take+in":                       "receive or store",
	"accept+counted":                "store",
	"told":                          "withNotice or notified",
	"saw noticed":                   "updatePresence",
	"led":                           "markOpened",
	"lapse lapses lapsed":           "expire",
	"looks+like":                    "sameToPeople",
	"enter enters entered entering": "openChat",
	"backlog backlogs":              "unfinishedDeliveries",
	"trace traces remains":          "erasureQuery or erasureMatches",
	"unwatched":                     "withoutCancel, or the purpose of a flag",
	"fuzzed":                        "the purpose of a flag",
}

var otherMeanings = map[string]string{
	"bridge/browsertest:KeyEnter":           "the key of the keyboard",
	"bridge/browsertest:FocusAndPressEnter": "the key of the keyboard",
	"bridge:anEnter":                        "the key of the keyboard",
	"bridge:trace":                          "the file that strace writes",
}

// Names of test functions are not checked: they are sentences in ordinary English.
func TestNoNameHasAnUnusedWord(t *testing.T) {
	t.Parallel()
	better := map[string]string{}
	for words, name := range unusedWords {
		for word := range strings.FieldsSeq(words) {
			better[word] = name
		}
	}
	excused := map[string]bool{}
	check := func(place, name string) {
		for _, word := range unusedIn(name, better) {
			if key := place + ":" + name; otherMeanings[key] != "" {
				excused[key] = true
				continue
			}
			t.Errorf("%s: the name %s has the word %s; use %s", place, name, word, better[word])
		}
	}
	packages, _ := parseModule(t)
	for folder, files := range packages {
		check(folder, filepath.Base(folder))
		names := map[string]bool{}
		for path, file := range files {
			names[strings.TrimSuffix(filepath.Base(path), ".go")] = true
			addNames(names, file)
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			check(folder, name)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:export )?(\w+)\s*[?:+]?=`).FindAllStringSubmatch(string(text), -1) {
		check("Makefile", m[1])
	}
	for key := range otherMeanings {
		if !excused[key] {
			t.Errorf("%s is in otherMeanings but is not declared", key)
		}
	}
}

func TestUnusedWordsAreFoundInNames(t *testing.T) {
	t.Parallel()
	better := map[string]string{"settle": "x", "enter": "x", "take+in": "x", "judge": "x"}
	for name, want := range map[string]string{
		"settle": "settle", "settleAsk": "settle", "toSettle": "settle", "SETTLE_FLAGS": "settle", "unsettle": "", "settleable": "",
		"URLJudge": "judge", "JudgeURL": "judge", "enter_test": "enter", "center": "", "Enterprise": "", "takeIn": "take+in", "takeInto": "", "inTake": "",
	} {
		if got := strings.Join(unusedIn(name, better), " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// unusedIn returns the keys of better in a name; take+in is take before in.
func unusedIn(name string, better map[string]string) []string {
	words := wordsOf(name)
	var found []string
	for n, word := range words {
		if better[word] != "" {
			found = append(found, word)
		}
		if n > 0 && better[words[n-1]+"+"+word] != "" {
			found = append(found, words[n-1]+"+"+word)
		}
	}
	return found
}

var (
	lowerUpper   = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	acronymUpper = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
)

// wordsOf returns the words of a name, in lower case: http and client for HTTPClient.
func wordsOf(name string) []string {
	name = lowerUpper.ReplaceAllString(name, "$1 $2")
	name = acronymUpper.ReplaceAllString(name, "$1 $2")
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) })
}

var testFunction = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)[A-Z]`)

// addNames adds the names in n that its package declares, except those of test functions.
func addNames(names map[string]bool, n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if testFunction.MatchString(n.Name.Name) {
				addNames(names, n.Body)
				return false
			}
		case *ast.SelectorExpr:
			addNames(names, n.X)
			return false
		case *ast.KeyValueExpr:
			if _, ok := n.Key.(*ast.Ident); ok {
				addNames(names, n.Value)
				return false
			}
		case *ast.Ident:
			names[n.Name] = true
		}
		return true
	})
}
