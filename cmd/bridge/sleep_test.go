package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sleepers are functions that sleep and are only called inside synctest bubbles, which
// this test cannot see.
var sleepers = map[string]bool{
	"bridge/settings:wants":  true, // lets rounds of Follow pass
	"bridge:run":             true, // runs the rounds of a random population
	"bridge:startGeneration": true,
	"bridge:round":           true,
	"bridge/signin:TestABadSignInStartsNoSession": true, // functions in its table sleep
}

// A sleep in real time is too long on a fast machine and too short on a slow one. Tests
// wait for an event, or sleep in the virtual time of testing/synctest.
func TestNoCodeSleepsInRealTime(t *testing.T) {
	t.Parallel()
	packages, set := parseModule(t)
	found, used := 0, map[string]bool{}
	for folder, all := range packages {
		files := slices.Collect(maps.Values(all))
		bubbles := bubblesOf(files)
		for _, file := range files {
			for _, d := range file.Decls {
				sleeping, ok := d.(*ast.FuncDecl)
				if !ok || sleeping.Body == nil {
					continue
				}
				eachSleep(sleeping.Body, bubbles, false, func(at token.Pos, bubble bool) {
					found++
					name := folder + ":" + sleeping.Name.Name
					if !bubble && !sleepers[name] {
						t.Errorf("%s: %s sleeps outside of synctest.Test", set.Position(at), sleeping.Name.Name)
					}
					used[name] = used[name] || !bubble
				})
			}
		}
	}
	if found == 0 {
		t.Error("no sleep was found")
	}
	for name := range sleepers {
		if !used[name] {
			t.Errorf("%s is in sleepers but does not sleep", name)
		}
	}
}

// parseModule returns the files of each package, tests too, by folder and path.
func parseModule(t *testing.T) (map[string]map[string]*ast.File, *token.FileSet) {
	t.Helper()
	root := filepath.Join("..", "..")
	packages := map[string]map[string]*ast.File{}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root) {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		folder, _ := filepath.Rel(root, filepath.Dir(path))
		if packages[folder] == nil {
			packages[folder] = map[string]*ast.File{}
		}
		packages[folder][path] = file
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages, set
}

// bubblesOf returns the names of functions that run their argument in a bubble: they take
// a function, and call synctest.Test or another function of this kind.
func bubblesOf(files []*ast.File) map[string]bool {
	bubbles := map[string]bool{"synctest.Test": true}
	for before := -1; before < len(bubbles); {
		before = len(bubbles)
		callers := maps.Clone(bubbles)
		for _, file := range files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Body == nil || !takesFunction(f) {
					continue
				}
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok && callers[calledName(c)] {
						bubbles[f.Name.Name] = true
					}
					return true
				})
			}
		}
	}
	return bubbles
}

func takesFunction(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		if _, ok := p.Type.(*ast.FuncType); ok {
			return true
		}
	}
	return false
}

// calledName returns the name of the called function: "Sleep", or "time.Sleep".
func calledName(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// eachSleep calls visit for each time.Sleep below n, and says whether it is in a function
// that runs in a bubble.
func eachSleep(n ast.Node, bubbles map[string]bool, inside bool, visit func(at token.Pos, bubble bool)) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if !inside && bubbles[calledName(n)] {
				for _, a := range n.Args {
					eachSleep(a, bubbles, true, visit)
				}
				return false
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name == "Sleep" {
				visit(n.Pos(), inside)
			}
		}
		return true
	})
}
