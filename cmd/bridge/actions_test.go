package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/store/audit"
)

// TestTheListOfActionsIsThatOfTheCode compares audit.Actions with the actions of the audit entries
// that the code writes: in the field Action, or as the argument of a function for its parameter
// "action".
func TestTheListOfActionsIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	files := sources(t, "../../bridge", "../../cmd", "../../connectors")
	position := map[string]int{}     // of the parameter "action", by the function's name
	constants := map[string]string{} // ActionErased and others
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				noteAction(position, n.Name.Name, n.Type)
			case *ast.AssignStmt:
				if f, ok := n.Rhs[0].(*ast.FuncLit); ok {
					noteAction(position, nameOf(n.Lhs[0]), f.Type)
				}
			case *ast.ValueSpec:
				if len(n.Values) == 1 && strings.HasPrefix(n.Names[0].Name, "Action") {
					constants[n.Names[0].Name] = text(n.Values[0])
				}
			}
			return true
		})
	}
	var written []string
	note := func(action ast.Expr) {
		if found := text(action); found != "" {
			written = append(written, found)
		} else if found := constants[nameOf(action)]; found != "" {
			written = append(written, found)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if nameOf(n.Key) == "Action" {
					note(n.Value)
				}
			case *ast.CallExpr:
				if i, ok := position[nameOf(n.Fun)]; ok && i < len(n.Args) {
					note(n.Args[i])
				}
			}
			return true
		})
	}
	slices.Sort(written)
	written = slices.Compact(written)
	if want := slices.Sorted(slices.Values(audit.Actions)); !slices.Equal(written, want) {
		t.Errorf("the code writes the actions\n%q\nand audit.Actions has\n%q", written, want)
	}
}

// noteAction notes the position of a function's parameter "action".
func noteAction(position map[string]int, name string, f *ast.FuncType) {
	i := 0
	for _, field := range f.Params.List {
		for _, parameter := range field.Names {
			if parameter.Name == "action" && nameOf(field.Type) == "string" {
				position[name] = i
			}
			i++
		}
	}
}

// nameOf returns the last name of an expression such as door.auditEntry.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// text returns the value of a string literal, and "" for other expressions.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	value, _ := strconv.Unquote(literal.Value)
	return value
}

// sources parses the Go files of folders, without tests and what only tests use.
func sources(t *testing.T, folders ...string) (all []*ast.File) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			all = append(all, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
