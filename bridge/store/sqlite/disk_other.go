//go:build !linux

package sqlite

import "cobrowse-bridge/bridge/store/engine"

// inspectDisk sets the facts about the disk of a folder. On this system there are none.
func inspectDisk(string, *engine.Facts) {}
