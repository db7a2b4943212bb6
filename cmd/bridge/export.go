package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cobrowse-bridge/bridge/erase"
	"cobrowse-bridge/bridge/export"
	"cobrowse-bridge/bridge/store"
)

type exportCommand struct {
	personFlags
	Out string `placeholder:"FILE" help:"Write to this new file, which only you can read, instead of the output."`
}

// Run prints what the store has about a person, as JSON.
func (c exportCommand) Run(ctx context.Context, s streams) error {
	person, err := c.person()
	if err != nil {
		return err
	}
	if c.Out != "" {
		if _, err := os.Lstat(c.Out); err == nil {
			return fmt.Errorf("%s exists already: choose another name", c.Out)
		}
	}
	return withStore(ctx, s, func(config *config, db *store.Store) error {
		finder, err := erase.NewEraser(db, config.secret, config.secretOld)
		if err != nil {
			return err
		}
		found, err := export.Make(ctx, db, finder, person, operator())
		if err != nil {
			return explainSealed(err)
		}
		var text bytes.Buffer
		out := json.NewEncoder(&text)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		if err := out.Encode(found); err != nil {
			return err
		}
		if c.Out != "" {
			return writeNew(c.Out, text.Bytes())
		}
		_, err = s.out.Write(text.Bytes())
		return err
	})
}

// writeNew writes a file that must not exist, with mode 0600. After an error there is no file.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
