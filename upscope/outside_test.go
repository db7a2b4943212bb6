package upscope_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Another module can use the package, and needs no further module for it.
func TestOtherModulesCanUseThePackage(t *testing.T) {
	t.Parallel()
	run := exec.Command("go", "run", ".")
	run.Dir = filepath.Join("testdata", "outside")
	run.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := run.CombinedOutput()
	if want := "Joe Smith can be watched\n"; err != nil || string(out) != want {
		t.Errorf("go run: %v, output\n%s\nwant\n%s", err, out, want)
	}
}
