package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

// checkedPackages have the findings of `bridge check`.
var checkedPackages = []string{"bridge/check", "connectors", "connectors/chatvisor", "connectors/rocketchat", "connectors/slack"}

var (
	codeHeading = regexp.MustCompile(`(?m)^### (.+)$`)
	// partsOfSection are what each section about a code begins its paragraphs with.
	partsOfSection = []string{"\nMeans: ", "\nDo: ", "\nVerify: "}
)

// The runbook has one section for each code of a warning or a problem, and no other.
func TestRunbookHasASectionForEachFinding(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(content), "\n## Findings of bridge check\n")
	if !found {
		t.Fatal("there is no part about findings")
	}
	part, _, _ = strings.Cut(part, "\n## ")
	sections := map[string]string{}
	headings := codeHeading.FindAllStringSubmatchIndex(part, -1)
	for i, h := range headings {
		code, end := part[h[2]:h[3]], len(part)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		if _, twice := sections[code]; twice {
			t.Errorf("two sections about %s", code)
		}
		sections[code] = part[h[1]:end]
	}
	codes := map[string]bool{}
	for _, folder := range checkedPackages {
		for code, at := range findingCodes(t, folder) {
			codes[code] = true
			section, ok := sections[code]
			if !ok {
				t.Errorf("%s: the runbook has no section ### %s", at, code)
				continue
			}
			for _, p := range partsOfSection {
				if strings.Count(section, p) != 1 {
					t.Errorf("the section %s needs one line that begins with %q", code, strings.TrimSpace(p))
				}
			}
		}
	}
	for code := range sections {
		if !codes[code] {
			t.Errorf("the runbook has a section ### %s, and no finding has this code", code)
		}
	}
}

// findingCodes returns the codes of the warnings and problems of a package, with a place of each. The
// code must be a literal: the first argument of a function warning or problem, or the field Code.
func findingCodes(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", folder, err)
	}
	codes := map[string]string{}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			expression, level := codeOf(n)
			if level == "" {
				return true
			}
			at := set.Position(n.Pos()).String()
			literal, ok := expression.(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the code is not a literal", at)
				return true
			}
			code, err := strconv.Unquote(literal.Value)
			if err != nil || !chat.IsCode(code) {
				t.Errorf("%s: %s is not a code", at, literal.Value)
			}
			if level != "ok" {
				codes[code] = at
			}
			return true
		})
	}
	return codes
}

// codeOf returns the code and the level of a finding, if a node makes one.
func codeOf(n ast.Node) (code ast.Expr, level string) {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if (name == "warning" || name == "problem") && len(n.Args) > 2 {
			return n.Args[0], name
		}
	case *ast.CompositeLit:
		for _, element := range n.Elts {
			field, ok := element.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, _ := field.Key.(*ast.Ident)
			literal, isLiteral := field.Value.(*ast.BasicLit)
			switch {
			case key == nil:
			case key.Name == "Code" && isLiteral: // the functions warning and problem have a variable here
				code = literal
			case key.Name == "Warning" || key.Name == "Problem":
				level = key.Name
			}
		}
		if code != nil && level != "" {
			return code, level
		}
	}
	return nil, ""
}
