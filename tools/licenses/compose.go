package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

const head = `Licenses of the software that the co-browse bridge contains

The bridge itself is licensed under the Apache License 2.0: see LICENSE. It contains the software below,
unchanged. "make licenses" writes this file; "bridge licenses" prints it.
`

const mpl = `
Source code under the Mozilla Public License 2.0

The source code of these modules is available under that license, free of charge, at these addresses:
`

// compose returns the text of the file: the list of parts, where to find the source code of those that
// must say so, and each license once, with the parts that have it.
func compose(parts []part) []byte {
	var b bytes.Buffer
	b.WriteString(head + "\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "%s\t%s\n", strings.TrimSpace(p.name+" "+p.version), strings.Join(p.licenses, ", "))
	}
	b.WriteString(mpl + "\n")
	for _, p := range parts {
		if slices.Contains(p.licenses, "MPL-2.0") {
			fmt.Fprintf(&b, "%s\n", source(p))
		}
	}
	var texts []string
	owners := map[string][]string{}
	for _, p := range parts {
		for _, text := range p.files {
			if owners[text] == nil {
				texts = append(texts, text)
			}
			if name := strings.TrimSpace(p.name + " " + p.version); !slices.Contains(owners[text], name) {
				owners[text] = append(owners[text], name)
			}
		}
	}
	for _, text := range texts {
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(owners[text], "\n"), strings.Repeat("-", 80), text)
	}
	return b.Bytes()
}

// source returns the address of the source code of a module at the public module proxy, which writes
// an upper-case letter as an exclamation mark and the lower-case one.
func source(p part) string {
	var escaped strings.Builder
	for _, r := range p.name {
		if unicode.IsUpper(r) {
			escaped.WriteByte('!')
		}
		escaped.WriteRune(unicode.ToLower(r))
	}
	return "https://proxy.golang.org/" + escaped.String() + "/@v/" + p.version + ".zip"
}
