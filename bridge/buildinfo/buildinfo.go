// Package buildinfo says from what the running program was built.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Info says from what a program was built. It has no time of the build, so that equal sources give
// equal programs.
type Info struct {
	Version string   `json:"version"`
	Commit  string   `json:"commit"` // "unknown" if neither the linker nor the go command says it
	Date    string   `json:"date"`   // of the commit, in UTC as in RFC 3339; or "unknown"
	Go      string   `json:"go"`
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	Modules []Module `json:"modules"` // without the program's own
}

// A Module is a Go module that the program contains.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"` // its hash, as in go.sum
}

// unknown is the commit or the date if nothing says it.
const unknown = "unknown"

// Of returns what the linker was told, and what the go command has written into the program.
func Of(version, commit, date string) Info {
	build, _ := debug.ReadBuildInfo()
	return of(version, commit, date, build)
}

// of prefers the linker's commit and date, because the go command's are missing if it was called
// with -buildvcs=false or outside of a repository. build may be nil.
func of(version, commit, date string, build *debug.BuildInfo) Info {
	made := Info{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Modules: []Module{}}
	if build != nil {
		for _, setting := range build.Settings {
			switch {
			case setting.Key == "vcs.revision" && commit == "":
				made.Commit = setting.Value
			case setting.Key == "vcs.time" && date == "":
				made.Date = setting.Value
			}
		}
		for _, module := range build.Deps {
			if module.Replace != nil {
				module = module.Replace
			}
			made.Modules = append(made.Modules, Module{module.Path, module.Version, module.Sum})
		}
	}
	if made.Commit == "" {
		made.Commit = unknown
	}
	if made.Date == "" {
		made.Date = unknown
	}
	return made
}

// String returns one line with the version, the commit and the Go version.
func (i Info) String() string {
	return fmt.Sprintf("bridge %s, commit %s, %s", i.Version, i.Commit, i.Go)
}
