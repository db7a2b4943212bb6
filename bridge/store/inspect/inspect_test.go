package inspect_test

import (
	"compress/gzip"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/inspect"
)

func facts(t *testing.T, address string) engine.Facts {
	t.Helper()
	f, err := inspect.Database(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	f.Free, f.FreeKnown = 0, false
	return f
}

// contents returns the files of a folder.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(content)
	}
	return files
}

func TestAnInspectionOfASQLiteFileChangesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "bridge.db")
	address := "sqlite:" + path
	unchanged := func(want engine.Facts) engine.Facts {
		t.Helper()
		before := contents(t, folder)
		f := facts(t, address)
		if after := contents(t, folder); !maps.Equal(before, after) {
			t.Errorf("the files %v changed: %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
		}
		want.Newest = f.Newest
		if f != want {
			t.Errorf("got %+v, want %+v", f, want)
		}
		return f
	}
	unchanged(engine.Facts{Missing: true})

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newest := unchanged(engine.Facts{Older: true}).Newest // an empty file has no tables

	old, err := os.Open(filepath.Join("..", "testdata", "upgrade", "v1", "bridge.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	unpacked, err := gzip.NewReader(old)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	unchanged(engine.Facts{Older: true, Schema: 4})

	open := func(o store.Options) *store.Store {
		t.Helper()
		o.Secret = make([]byte, 32)
		db, err := store.Open(context.Background(), address, o)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open(store.Options{})
	f := facts(t, address) // while a bridge runs
	if f.Schema != newest || f.Older || f.Newest != newest {
		t.Errorf("while a bridge runs: %+v", f)
	}
	if err := db.Ready(t.Context()); err != nil {
		t.Errorf("the running bridge: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	unchanged(engine.Facts{Schema: newest})
}
