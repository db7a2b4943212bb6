package store

import (
	"iter"
	"strconv"
)

// Every query of the store. Each must find its rows through an index; a test
// asks SQLite for the plan of every constant here.
const (
	queryInsertDeliveries = `INSERT INTO deliveries (id, connector, dedupe, body, received) VALUES `
	queryInsertedOnce     = ` ON CONFLICT (connector, dedupe) DO NOTHING RETURNING id`
	queryDelivery         = `SELECT connector, dedupe, body, received FROM deliveries WHERE id = $1 AND finished IS NULL`
	queryFinish           = `UPDATE deliveries SET body = NULL, finished = $2 WHERE id = $1 AND finished IS NULL`
	queryPurge            = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE finished < $1 LIMIT 1000)`
	queryPurgeDead        = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE id < $1 AND finished IS NULL LIMIT 1000)`
	queryPurgeBrowsers    = `DELETE FROM browsers WHERE expires <= $1`

	cardColumns       = `id, connector, chat, agent, visitor, state, version, generation, claimed, handle, created, updated, door_until, detail`
	queryCard         = `SELECT ` + cardColumns + ` FROM cards WHERE id = $1`
	queryCardOfChat   = `SELECT ` + cardColumns + ` FROM cards WHERE connector = $1 AND chat = $2`
	queryCardByHandle = `SELECT ` + cardColumns + ` FROM cards WHERE handle = $1`
	queryInsertCard   = `INSERT INTO cards (id, connector, chat, agent, visitor, state, version, generation, handle, created, updated, door_until, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`
	queryUpdateCard = `UPDATE cards SET agent = $4, visitor = $5, state = $6, version = $7, generation = $8, created = $10, updated = $11, door_until = $12, detail = $13
		WHERE id = $1 AND connector = $2 AND chat = $3 AND handle IS NOT DISTINCT FROM $9 AND version = $14`

	queryLockDoor     = `SELECT generation, claimed, version FROM cards WHERE id = $1 FOR UPDATE`
	queryClaim        = `UPDATE cards SET claimed = $2 WHERE id = $1`
	queryBrowser      = `SELECT browser, expires FROM browsers WHERE agent = $1 AND expires > $2`
	queryRemember     = `INSERT INTO browsers (agent, browser, expires) VALUES ($1, $2, $3) ON CONFLICT (agent) DO UPDATE SET browser = excluded.browser, expires = excluded.expires`
	queryForget       = `DELETE FROM browsers WHERE agent = $1`
	queryPosts        = `SELECT connector, address, ref, shown, is_current FROM posts WHERE card = $1 ORDER BY id`
	queryUpsertPost   = `INSERT INTO posts (card, place, connector, address, ref, shown, is_current) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (card, place) DO UPDATE SET is_current = excluded.is_current`
	queryRekeyPost    = `UPDATE posts SET place = $2 WHERE card = $1 AND place = $3`
	queryLeasePost    = `UPDATE posts SET leased = $3 WHERE card = $1 AND place = $2 AND leased <= $4`
	queryPostShown    = `SELECT shown FROM posts WHERE card = $1 AND place = $2`
	queryPerhapsShown = `UPDATE posts SET shown = $3 WHERE card = $1 AND place = $2 AND shown = ''`
	queryPostExists   = `SELECT id FROM posts WHERE card = $1 AND place = $2`
	querySavePost     = `UPDATE posts SET ref = $3, shown = $4, leased = 0 WHERE card = $1 AND place = $2`
	queryReleasePost  = `UPDATE posts SET leased = 0 WHERE card = $1 AND place = $2`
	auditColumns      = `seq, at, action, agent, visitor, card, connector, chat, detail, prev, hash`
	queryAudit        = `SELECT ` + auditColumns + ` FROM audit WHERE seq > $1 ORDER BY seq LIMIT 500`
	queryInsertAudit  = `INSERT INTO audit (` + auditColumns + `) VALUES `
	queryAuditHead    = `SELECT seq, hash FROM audit_head WHERE id = 1`
	queryLockAudit    = `SELECT seq, hash FROM audit_head WHERE id = 1 FOR UPDATE`
	queryMoveAudit    = `UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1`
	queryProbe        = `INSERT INTO probe (id, filler) VALUES ($1, $2)`
	queryProbed       = `DELETE FROM probe WHERE id > 0`
	deliveryColumnNum = 5
	auditColumnNum    = 11
)

// portions cuts rows into parts to insert together, each as long as a power of
// two. So there are a few such queries and not one for each number of rows, and
// none has more arguments than databases allow.
func portions[T any](rows []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for size := maxPortion; len(rows) > 0; {
			if size > len(rows) {
				size /= 2
				continue
			}
			if !yield(rows[:size]) {
				return
			}
			rows = rows[size:]
		}
	}
}

const maxPortion = 32

// tuples returns n groups of so many placeholders: ($1,$2),($3,$4).
func tuples(n, columns int) string {
	b := make([]byte, 0, n*columns*5)
	for i := range n * columns {
		if i%columns == 0 {
			if i > 0 {
				b = append(b, ')', ',')
			}
			b = append(b, '(')
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '$'), int64(i+1), 10)
	}
	return string(append(b, ')'))
}
