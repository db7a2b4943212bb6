// Package goreleaser checks .goreleaser.yaml with the code that goreleaser reads it with. It is a module of
// its own because goreleaser asks for other versions of modules than the tools do.
package goreleaser

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const file = "../../.goreleaser.yaml"

func TestTheConfigurationHasOnlyKeysThatExist(t *testing.T) {
	t.Parallel()
	project, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Builds) == 0 {
		t.Fatal("nothing is built")
	}
	for _, build := range project.Builds {
		if build.Binary == "bridge" && (!slices.Equal(build.Goos, []string{"linux", "darwin"}) || !slices.Equal(build.Goarch, []string{"amd64", "arm64"})) {
			t.Errorf("%s is built for %v × %v", build.ID, build.Goos, build.Goarch)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	misspelt := bytes.Replace(text, []byte("contents:"), []byte("content:"), 1)
	if _, err := config.LoadReader(bytes.NewReader(misspelt)); err == nil || bytes.Equal(text, misspelt) {
		t.Errorf("a misspelt key is accepted (%v)", err)
	}
}
