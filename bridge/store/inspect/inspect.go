// Package inspect looks at a database before the bridge uses it, and changes nothing.
package inspect

import (
	"context"
	"errors"
	"strings"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/postgres"
	"cobrowse-bridge/bridge/store/sqlite"
)

// Database returns the facts about the database at url, "sqlite:path" or "postgres://…". It fails if
// the database cannot be reached or read. No error contains the password.
func Database(ctx context.Context, url string) (engine.Facts, error) {
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		return sqlite.Inspect(ctx, url)
	case "postgres", "postgresql":
		return postgres.Inspect(ctx, url)
	}
	return engine.Facts{}, errors.New("the address must begin with sqlite: or postgres://")
}
