// Command licenses writes THIRD_PARTY_LICENSES: the licenses of everything that the bridge contains, on
// every platform for which it is released. It fails if a license is not in the list of allowed ones.
//
//	cd tools && go run ./licenses
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Files that the command writes, in the top folder of the repository. The second one is the first one,
// compressed.
const (
	textFile       = "THIRD_PARTY_LICENSES"
	compressedFile = "bridge/licenses/licenses.txt.gz"
)

// platforms are those of .goreleaser.yaml.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// allowed are the SPDX names of licenses that Apache-2.0 software may contain and that ask for no
// more than this file gives.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "blessing", "ISC", "MIT", "MPL-2.0", "Unlicense"}

// other are files that licensecheck does not know, or of which half is something else, with the SPDX
// names of their licenses. A person has to read them.
var other = map[string][]string{
	"modernc.org/libc LICENSE-3RD-PARTY.md": {"BSD-2-Clause", "BSD-3-Clause", "MIT"}, // with the authors of musl, and what is in the public domain
	"modernc.org/memory LICENSE-LOGO":       nil,                                     // about a picture that is not in the program
	"modernc.org/sqlite LICENSE-SQLITE":     {"blessing"},                            // the public domain
}

// licenseFile matches the names of files that have to be passed on.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([.-].*)?$`)

// A part is a module of the program, or the standard library.
type part struct {
	name, version string
	licenses      []string // SPDX names
	files         []string // contents
}

func main() {
	if err := run(".."); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

// run writes both files. root is the top folder of the repository.
func run(root string) error {
	parts, err := collect(root)
	if err != nil {
		return err
	}
	text := compose(parts)
	if err := os.WriteFile(filepath.Join(root, textFile), text, 0o644); err != nil {
		return err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(compressedFile)), b.Bytes(), 0o644)
}

// A listed package is one that `go list` prints.
type listed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path string }
	}
}

// collect returns the parts of the program, sorted by name.
func collect(root string) ([]part, error) {
	parts, seen := map[string]*part{}, map[string]bool{}
	goroot, err := exec.CommandContext(context.Background(), "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	std := &part{name: "Go standard library"}
	if err := std.add(strings.TrimSpace(string(goroot)), seen); err != nil {
		return nil, err
	}
	parts[std.name] = std
	for _, platform := range platforms {
		packages, err := list(root, platform)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			if p.Module.Replace != nil {
				return nil, fmt.Errorf("%s is replaced by %s: write down where its source is", p.Module.Path, p.Module.Replace.Path)
			}
			if parts[p.Module.Path] == nil {
				parts[p.Module.Path] = &part{name: p.Module.Path, version: p.Module.Version}
			}
			// A package that was copied from elsewhere has a license of its own, in its folder or above.
			for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir); dir = filepath.Dir(dir) {
				if err := parts[p.Module.Path].add(dir, seen); err != nil {
					return nil, err
				}
			}
		}
	}
	var faults []error
	sorted := []part{}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		p := parts[name]
		slices.Sort(p.licenses)
		p.licenses = slices.Compact(p.licenses)
		faults = append(faults, p.fault())
		sorted = append(sorted, *p)
	}
	return sorted, errors.Join(faults...)
}

// fault returns an error if the part has no license, or one that is not allowed.
func (p *part) fault() error {
	if len(p.licenses) == 0 {
		return fmt.Errorf("%s %s has no license", p.name, p.version)
	}
	for _, license := range p.licenses {
		if !slices.Contains(allowed, license) {
			return fmt.Errorf("%s %s has the license %s, which is not allowed", p.name, p.version, license)
		}
	}
	return nil
}

// list returns the packages that the program contains on a platform.
func list(root, platform string) ([]listed, error) {
	goos, goarch := path.Split(platform)
	cmd := exec.CommandContext(context.Background(), "go", "list", "-deps", "-json=Dir,Standard,Module", "./cmd/bridge")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS="+strings.TrimSuffix(goos, "/"), "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", platform, err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

// add adds the files with licenses in a folder that was not seen yet.
func (p *part) add(dir string, seen map[string]bool) error {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p.files = append(p.files, clean(string(text)))
		names, err := p.identify(file, text)
		if err != nil {
			return err
		}
		p.licenses = append(p.licenses, names...)
	}
	return nil
}

// identify returns the SPDX names of the licenses in a file. Notices and grants of patents have none.
func (p *part) identify(file string, text []byte) ([]string, error) {
	if names, known := other[p.name+" "+filepath.Base(file)]; known {
		return names, nil
	}
	if base := strings.ToLower(filepath.Base(file)); strings.HasPrefix(base, "notice") || strings.HasPrefix(base, "patents") {
		return nil, nil
	}
	coverage := licensecheck.Scan(text)
	var names []string
	for _, match := range coverage.Match {
		names = append(names, match.ID)
	}
	if coverage.Percent < 70 {
		return nil, fmt.Errorf("%s: only %.0f %% of the text is a known license (%s): read it, and add it to the list in tools/licenses",
			file, coverage.Percent, strings.Join(names, ", "))
	}
	return names, nil
}

// clean returns a text without spaces at the ends of lines, so that equal licenses are equal.
func clean(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n\f"))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}
