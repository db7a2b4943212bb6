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

// served maps the name in an address to the file below static/.
var served = hashed()

// Static returns the files to serve under /static/. Their names change with their
// content ("style.1f0c….css"), so browsers may cache them for ever, and during an
// upgrade a replica of the other version answers 404 instead of with the wrong
// file. The files cannot be listed.
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

// asset is the function of the layouts that returns the address of a file.
func asset(name string) (string, error) {
	for address, file := range served {
		if file == "static/"+name {
			return "/static/" + address, nil
		}
	}
	return "", fmt.Errorf("no file static/%s", name)
}
