// Package licenses has the licenses of the software that the program contains.
package licenses

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
)

// compressed is THIRD_PARTY_LICENSES. `make licenses` writes both.
//
//go:embed licenses.txt.gz
var compressed []byte

// Write writes the text of THIRD_PARTY_LICENSES.
func Write(w io.Writer) error {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}
