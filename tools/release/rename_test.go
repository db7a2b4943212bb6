package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneCommandChangesTheModulePath(t *testing.T) {
	t.Parallel()
	folder := copied(t)
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}} {
		git := exec.Command("git", args...)
		git.Dir = folder
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	const path = "example.org/team/bridge"
	rename := exec.Command("make", "rename", "MODULE="+path)
	rename.Dir = folder
	if out, err := rename.CombinedOutput(); err != nil {
		t.Fatalf("make rename: %v\n%s", err, out)
	}
	for _, module := range []string{".", "tools", "tools/goreleaser", "upscope/testdata/outside"} {
		list := exec.Command("go", "list", "-deps", "-test", "./...")
		list.Dir = filepath.Join(folder, module)
		list.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
		out, err := list.CombinedOutput()
		if err != nil {
			t.Errorf("go list in %s: %v\n%s", module, err, out)
		}
		if !strings.Contains("\n"+string(out), "\n"+path) || strings.Contains("\n"+string(out), "\ncobrowse-bridge") {
			t.Errorf("go list in %s does not name the packages after %s", module, path)
		}
	}
	left := exec.Command("git", "grep", "-nE", `"cobrowse-bridge/|^(module|require|replace) cobrowse-bridge|=cobrowse-bridge/|pkg: cobrowse-bridge`, "--", ".", ":!tools/release")
	left.Dir = folder
	if out, _ := left.Output(); len(out) > 0 {
		t.Errorf("the path of before is still in\n%s", out)
	}
}
