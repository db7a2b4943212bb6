package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rooms are the packages of the engine.
var rooms = []string{
	"bridge", "bridge/book", "bridge/cache", "bridge/card", "bridge/chat", "bridge/desk", "bridge/door", "bridge/erase",
	"bridge/hook", "bridge/match", "bridge/web", "bridge/work",
}

// mostLines is how many lines a package of the engine or below it may have, without tests.
const mostLines = 3100

// To understand one file of a circle, a reader needs all of them. A method whose type is
// in another file does not count as a use of that file.
func TestNoFilesOfTheEngineUseEachOtherInACircle(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	for _, room := range rooms {
		p := packages[ours+room]
		files, info := checkTypes(t, packages, p)
		uses := fileUses(files, info)
		for _, circle := range circles(uses) {
			t.Errorf("%s: files use each other in a circle: %s", room, strings.Join(circle, ", "))
			for _, from := range circle {
				for _, to := range circle {
					if names := uses[from][to]; len(names) > 0 {
						t.Logf("  %s uses of %s: %s", from, to, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
					}
				}
			}
		}
	}
}

func TestNoPackageBelowTheEngineIsTooLarge(t *testing.T) {
	t.Parallel()
	for path, p := range listPackages(t) {
		if !strings.HasPrefix(path, ours+"bridge") {
			continue
		}
		lines := 0
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(text, []byte("\n"))
		}
		if lines > mostLines {
			t.Errorf("%s has %d lines, and may have %d", path, lines, mostLines)
		}
	}
}

// A listedPackage has the facts of `go list` about a package.
type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

func listPackages(t *testing.T) map[string]listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", ours+"bridge").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]listedPackage{}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := in.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// checkTypes parses a package and resolves its names.
func checkTypes(t *testing.T, packages map[string]listedPackage, p listedPackage) (map[string]*ast.File, *types.Info) {
	t.Helper()
	set := token.NewFileSet()
	files := map[string]*ast.File{}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	imports := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		if packages[path].Export == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(packages[path].Export)
	})
	if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, set, slices.Collect(maps.Values(files)), info); err != nil {
		t.Fatal(err)
	}
	return files, info
}

// fileUses says which names of which other files a file uses.
func fileUses(files map[string]*ast.File, info *types.Info) map[string]map[string]map[string]bool {
	home := map[types.Object]string{}
	for name, file := range files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				home[info.Defs[decl.Name]] = name
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						home[info.Defs[spec.Name]] = name
					case *ast.ValueSpec:
						for _, id := range spec.Names {
							home[info.Defs[id]] = name
						}
					}
				}
			}
		}
	}
	uses := map[string]map[string]map[string]bool{}
	for name, file := range files {
		uses[name] = map[string]map[string]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				for _, part := range []ast.Node{n.Type, n.Body} {
					if n.Recv != nil && !isNil(part) {
						ast.Inspect(part, func(n ast.Node) bool { use(uses[name], home, info, name, n); return true })
					}
				}
				return n.Recv == nil
			case *ast.Ident:
				use(uses[name], home, info, name, n)
			}
			return true
		})
	}
	return uses
}

func isNil(n ast.Node) bool {
	body, ok := n.(*ast.BlockStmt)
	return ok && body == nil
}

func use(uses map[string]map[string]bool, home map[types.Object]string, info *types.Info, from string, n ast.Node) {
	id, ok := n.(*ast.Ident)
	if !ok {
		return
	}
	object := info.Uses[id]
	if f, ok := object.(*types.Func); ok {
		object = f.Origin()
	}
	to, ok := home[object]
	if !ok || to == from {
		return
	}
	if uses[to] == nil {
		uses[to] = map[string]bool{}
	}
	uses[to][id.Name] = true
}

// circles are the groups of files that can all be reached from each other.
func circles(uses map[string]map[string]map[string]bool) (all [][]string) {
	reach := map[string]map[string]bool{}
	for from := range uses {
		reach[from] = map[string]bool{}
		for next := []string{from}; len(next) > 0; next = next[1:] {
			for to := range uses[next[0]] {
				if !reach[from][to] {
					reach[from][to] = true
					next = append(next, to)
				}
			}
		}
	}
	seen := map[string]bool{}
	for _, from := range slices.Sorted(maps.Keys(uses)) {
		if seen[from] || !reach[from][from] {
			continue
		}
		var circle []string
		for _, to := range slices.Sorted(maps.Keys(reach[from])) {
			if reach[to][from] {
				circle, seen[to] = append(circle, to), true
			}
		}
		all = append(all, circle)
	}
	return all
}
