package engine

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// Facts are what can be seen of a database without changing it. The zero value of each field says that
// there is nothing to report, or that it is not known.
type Facts struct {
	// Missing says that there is no SQLite file yet.
	Missing bool
	// Foreign says that a SQLite file has tables, and none of the bridge's.
	Foreign bool
	// Schema is the number of the database's schema, and 0 without tables. Newest is that of this
	// release. Older says that the bridge will migrate the tables when it starts.
	Schema, Newest int64
	Older          bool
	// Unwritable says why this user cannot write to the database.
	Unwritable string
	// Unsafe says why data could be lost that was committed.
	Unsafe string
	// Network is the kind of the network file system on which the SQLite file is, such as "nfs".
	// Unknown is that of one that may be a network file system.
	Network, Unknown string
	// Free is the free space on the disk of the SQLite file in bytes, if FreeKnown is set.
	Free      uint64
	FreeKnown bool
	// ClockAhead is how far this machine's clock is ahead of the database server's.
	ClockAhead time.Duration
}

// NewestSchema returns the number of the last of the SQL files in migrations.
func NewestSchema(migrations fs.FS) (newest int64, err error) {
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	for _, name := range files {
		number, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("migrations: %w", err)
		}
		newest = max(newest, number)
	}
	return newest, nil
}
