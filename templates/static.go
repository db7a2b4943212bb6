package templates

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// served has the file below static/ for each name it is served by.
var served = hashed()

// Static has the files to serve under /static/. Their names change with their
// content ("style.1f0c….css"), so an answer may be cached for ever, and during
// an upgrade a replica of the other version answers 404 rather than with the
// wrong file. There is nothing to list.
func Static() fs.FS { return served }

type assets map[string]string

// Open implements fs.FS.
func (a assets) Open(name string) (fs.File, error) {
	file, ok := a[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return static.Open(file)
}

func hashed() assets {
	a := make(assets)
	files, err := fs.Glob(static, "static/*")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		content, err := static.ReadFile(file)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(file)
		name := strings.TrimSuffix(path.Base(file), ext) + "." + hex.EncodeToString(sum[:8]) + ext
		a[name] = file
	}
	return a
}

// asset gives pages the address of a file below static/.
func asset(name string) (string, error) {
	for address, file := range served {
		if file == "static/"+name {
			return "/static/" + address, nil
		}
	}
	return "", fmt.Errorf("no file static/%s", name)
}
