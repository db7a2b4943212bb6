package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Check returns what is wrong with an address, "sqlite:path", or nil. The text follows the name
// of the setting and does not quote the address. There are no secrets in an address.
func Check(address string) (secrets []string, err error) {
	_, err = pathOf(address)
	return nil, err
}

// pathOf returns the absolute path of an address. The file need not exist, but its folder does: a
// misspelt path would otherwise silently become a new database.
func pathOf(address string) (path string, err error) {
	path, _ = strings.CutPrefix(address, "sqlite:")
	path, _ = strings.CutPrefix(path, "//")
	switch {
	case path == "":
		return "", errors.New("has no file: write sqlite:bridge.db, for example")
	case path == ":memory:" || strings.HasPrefix(path, "file:") || strings.Contains(path, "?"):
		return "", errors.New("must be sqlite: and the path of a file, without options: write sqlite:bridge.db, for example")
	case strings.HasSuffix(path, "/"):
		return "", errIsFolder
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "", errIsFolder
	}
	switch info, err := os.Stat(filepath.Dir(path)); {
	case errors.Is(err, fs.ErrNotExist):
		return "", errors.New("names a file in a folder that does not exist: correct the path, or make the folder")
	case err == nil && !info.IsDir(), errors.Is(err, syscall.ENOTDIR):
		return "", errors.New("names a file in a folder that is a file: correct the path")
	}
	return path, nil // if the folder cannot be read, opening the file says why
}

var errIsFolder = errors.New("names a folder: add the name of a file, such as bridge.db")
