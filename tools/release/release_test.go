// Package release checks how the bridge is built and packed for a release.
package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const root = "../.."

// maxSize is the largest size that the program may have, in bytes.
const maxSize = 34_000_000

// What the program is told about its origin in these tests.
const (
	version = "1.2.3"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	date    = "2026-11-30T10:00:00Z"
)

// copied returns a new folder with the files of the repository, as they are now.
func copied(t *testing.T) string {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		from, to := filepath.Join(root, name), filepath.Join(folder, name)
		content, err := os.ReadFile(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// makeTarget runs a target of the Makefile in a folder that is no repository.
func makeTarget(t *testing.T, folder, target string) {
	t.Helper()
	cmd := exec.Command("make", target, "VERSION="+version, "COMMIT="+commit, "DATE="+date)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
}

// The go command reuses what it compiled for the first folder, but links again.
func TestProgramAndPackagesOfARelease(t *testing.T) {
	var programs [2][]byte
	for n, target := range []string{"package-files", "build"} {
		folder := copied(t)
		makeTarget(t, folder, target)
		program := filepath.Join(folder, "bin", "bridge")
		var err error
		if programs[n], err = os.ReadFile(program); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{folder, moduleCache(t)} {
			if bytes.Contains(programs[n], []byte(path)) {
				t.Errorf("the program contains the path %s of the machine that built it", path)
			}
		}
		if target == "package-files" {
			checkSize(t, len(programs[n]))
			checkVersion(t, program)
			checkPackedFiles(t, folder)
		}
	}
	if sha256.Sum256(programs[0]) != sha256.Sum256(programs[1]) {
		t.Error("the programs of two folders are not equal")
	}
}

func checkSize(t *testing.T, size int) {
	t.Helper()
	t.Logf("the program has %d bytes; at most %d are allowed", size, maxSize)
	if size > maxSize {
		t.Errorf("the program has %d bytes, more than %d", size, maxSize)
	}
}

// moduleCache returns the folder of the modules on this machine.
func moduleCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// checkVersion checks that the program knows its origin, although it was not built in a repository.
func checkVersion(t *testing.T, program string) {
	t.Helper()
	out, err := exec.Command(program, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version, Commit, Date string
		Modules               []struct{ Path, Version, Sum string }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != version || got.Commit != commit || got.Date != date {
		t.Errorf("version --json prints %s", out)
	}
	licenses, err := exec.Command(program, "licenses").Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Modules) < 40 {
		t.Errorf("version --json names only %d modules", len(got.Modules))
	}
	for _, m := range got.Modules {
		if m.Sum == "" {
			t.Errorf("version --json has no hash of %s", m.Path)
		}
		if !bytes.Contains(licenses, []byte("\n"+m.Path+" "+m.Version+"\t")) {
			t.Errorf("the program contains %s %s, but bridge licenses does not name it", m.Path, m.Version)
		}
	}
}

// A configuration is the part of .goreleaser.yaml that names files.
type configuration struct {
	Builds []struct {
		ID, Binary     string
		Flags, Ldflags []string
		Goos, Goarch   []string
		ModTimestamp   string `yaml:"mod_timestamp"`
	}
	Archives []struct{ Files []struct{ Src string } }
	Nfpms    []struct {
		Contents []struct{ Src, Dst, Type, Packager string }
		Scripts  map[string]string
	}
}

func readConfiguration(t *testing.T) configuration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c configuration
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Archives) != 1 || len(c.Nfpms) != 1 || len(c.Builds) != 2 {
		t.Fatalf(".goreleaser.yaml has %d archives, %d packages and %d builds", len(c.Archives), len(c.Nfpms), len(c.Builds))
	}
	return c
}

func TestReleasesAreBuiltAsMakeBuildDoes(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	wants := regexp.MustCompile(`(?m)^LDFLAGS := (.*)$`).FindSubmatch(makefile)
	if wants == nil {
		t.Fatal("the Makefile sets no LDFLAGS")
	}
	want := strings.NewReplacer("$(VERSION)", "{{ .Version }}", "$(COMMIT)", "{{ .FullCommit }}", "$(DATE)", "{{ .CommitDate }}").Replace(string(wants[1]))
	for _, build := range readConfiguration(t).Builds {
		if got := strings.Join(build.Ldflags, " "); got != want {
			t.Errorf("%s: the flags of the linker are %q, want %q", build.ID, got, want)
		}
		if got := strings.Join(build.Flags, " "); got != "-trimpath -buildvcs=false" || !bytes.Contains(makefile, []byte("go build "+got+" ")) {
			t.Errorf("%s: the flags are %q, others than in the Makefile", build.ID, got)
		}
		if build.ModTimestamp != "{{ .CommitTimestamp }}" {
			t.Errorf("%s: the files have the time %q", build.ID, build.ModTimestamp)
		}
	}
	dockerfile, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	want = strings.NewReplacer("$(VERSION)", "${VERSION}", "$(COMMIT)", "${REVISION}", "$(DATE)", "${DATE}").Replace(string(wants[1]))
	if !bytes.Contains(dockerfile, []byte(`go build -trimpath -buildvcs=false -ldflags "`+want+`" `)) {
		t.Errorf("deploy/Dockerfile does not build with %q", want)
	}
}

// checkPackedFiles checks that each file that a release packs exists.
func checkPackedFiles(t *testing.T, folder string) {
	t.Helper()
	c := readConfiguration(t)
	var sources []string
	for _, file := range c.Archives[0].Files {
		sources = append(sources, file.Src)
	}
	for _, content := range c.Nfpms[0].Contents {
		if content.Type != "dir" {
			sources = append(sources, content.Src)
		}
	}
	for _, script := range c.Nfpms[0].Scripts {
		sources = append(sources, script)
		if out, err := exec.Command("sh", "-n", filepath.Join(folder, script)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	for _, source := range sources {
		// ** is any number of folders; one is enough to know that there are files.
		found, err := filepath.Glob(filepath.Join(folder, strings.ReplaceAll(source, "**/", "")))
		if err != nil || len(found) == 0 {
			t.Errorf(".goreleaser.yaml packs %s, which does not exist (%v)", source, err)
		}
		for _, path := range found {
			if info, err := os.Stat(path); err != nil || !info.IsDir() && info.Size() == 0 {
				t.Errorf("%s is empty (%v)", source, err)
			}
		}
	}
	if len(sources) < 30 {
		t.Errorf("only %d files are packed", len(sources))
	}
	checkUnit(t, folder, c)
}

// checkUnit checks that the unit runs a program that the package installs.
func checkUnit(t *testing.T, folder string, c configuration) {
	t.Helper()
	program := ""
	for _, build := range c.Builds {
		if build.ID == "packaged" {
			program = "/usr/bin/" + build.Binary
		}
	}
	for _, name := range []string{"bridge.service", "bridge-admin"} {
		text, err := os.ReadFile(filepath.Join(folder, "bin", "package", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(program+" ")) || bytes.Contains(text, []byte("/usr/local")) {
			t.Errorf("%s of the package does not run %s:\n%s", name, program, text)
		}
	}
}

// The scripts of the package make the user and the folder, and leave the data where it is.
func TestScriptsOfThePackageAreIdempotent(t *testing.T) {
	for name, runs := range map[string][][]string{
		"postinstall": {{"configure", ""}, {"configure", "1.0.0"}, {"1"}, {"2"}},
		"preremove":   {{"remove"}, {"upgrade", "1.0.0"}, {"0"}, {"1"}},
		"postremove":  {{"remove"}, {"purge"}, {"upgrade"}, {"0"}, {"1"}},
	} {
		for _, args := range runs {
			programs, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
			for _, program := range []string{"systemd-sysusers", "systemctl", "install"} {
				script := fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >> %s\n", program, log)
				if err := os.WriteFile(filepath.Join(programs, program), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/sh", append([]string{filepath.Join(root, "deploy", "package", name+".sh")}, args...)...)
			cmd.Env = []string{"PATH=" + programs + ":/usr/bin:/bin"}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %v: %v\n%s", name, args, err, out)
			}
			ran, err := os.ReadFile(log)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if name == "postinstall" && !strings.Contains(string(ran), "systemd-sysusers cobrowse-bridge.conf\ninstall -d -o bridge -g bridge -m 700 /var/lib/bridge\n") {
				t.Errorf("%s %v ran %s", name, args, ran)
			}
			for _, never := range []string{" start", "restart", "enable --", " enable", " rm "} {
				if strings.Contains(string(ran), never) {
					t.Errorf("%s %v ran %q:\n%s", name, args, never, ran)
				}
			}
		}
	}
}
