package erasing

// The queries of erasures. plans_test.go of package store checks that each uses an index.
const (
	queryDeliveries   = `SELECT id, connector, dedupe, body FROM deliveries WHERE id > $1 ORDER BY id LIMIT 100`
	queryCardIDs      = `SELECT id FROM cards WHERE id > $1 ORDER BY id LIMIT 100`
	queryUnindexedIDs = `SELECT id FROM cards WHERE id > $1 AND indexed <> version ORDER BY id LIMIT 100`
	// Many cards are locked in one transaction, so it must not wait for one that another transaction has.
	queryLockCard        = `SELECT version FROM cards WHERE id = $1 AND version = $2 FOR UPDATE SKIP LOCKED`
	queryCardIndexed     = `UPDATE cards SET indexed = version WHERE id = $1`
	queryCardUnindexed   = `UPDATE cards SET indexed = 0 WHERE id = $1`
	queryIndexed         = `SELECT ref FROM erasure_index WHERE hash = $1 AND ref > $2 AND ref < $3 ORDER BY ref LIMIT 500`
	queryAddToIndex      = `INSERT INTO erasure_index (hash, ref) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	queryRemoveFromIndex = `DELETE FROM erasure_index WHERE ref = $1`
	queryIndexState      = `SELECT secret, rewriting, after FROM erasure_index_state WHERE part = $1`
	querySaveIndexState  = `INSERT INTO erasure_index_state (part, secret, rewriting, after) VALUES ($1, $2, $3, $4)
		ON CONFLICT (part) DO UPDATE SET secret = excluded.secret, rewriting = excluded.rewriting, after = excluded.after`
)
