package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const top = "../.."

func TestTheFileOfLicensesIsUpToDate(t *testing.T) {
	t.Parallel()
	parts, err := collect(top)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(top, textFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, compose(parts)) {
		t.Errorf("%s is not up to date: run make licenses", textFile)
	}
}

// gpl is the beginning of a license that is not allowed, as authors quote it.
const gpl = `This program is free software: you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation, either version 3 of the License, or
(at your option) any later version.
`

func TestOtherLicensesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, text, want string }{
		"not allowed": {"LICENSE", gpl, "has the license GPL-3.0-or-later, which is not allowed"},
		"not known":   {"LICENSE.md", "You may use this on Sundays.", "only 0 % of the text is a known license"},
		"none":        {"README.md", "A library.", "has no license"},
		"notice only": {"NOTICE", "This product contains a library.", "has no license"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := part{name: "example.com/library", version: "v1.0.0"}
		err := p.add(dir, map[string]bool{})
		if err == nil {
			err = p.fault()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestAddressesOfSourcesAreThoseOfTheProxy(t *testing.T) {
	t.Parallel()
	got := source(part{name: "github.com/Example/Library/v2", version: "v2.1.0"})
	if want := "https://proxy.golang.org/github.com/!example/!library/v2/@v/v2.1.0.zip"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
