package refreshes

// The queries of refreshes. plans_test.go of package store checks that each uses an index.
const (
	queryRefresh       = `INSERT INTO refreshes (card, step, due) VALUES ($1, $2, $3) ON CONFLICT (card) DO UPDATE SET step = excluded.step, due = excluded.due`
	queryRefreshesDue  = `SELECT card, step, due FROM refreshes JOIN cards ON cards.id = card WHERE due <= $1 AND state IN ('ready', 'offline') ORDER BY due, card LIMIT $2`
	queryAnyRefreshDue = `SELECT due FROM refreshes WHERE due <= $1 LIMIT 1`
	// The pauses after a refresh, in microseconds: 5, 10, 20 and 30 minutes.
	pauseAfterStep     = `CASE step WHEN 0 THEN 300000000 WHEN 1 THEN 600000000 WHEN 2 THEN 1200000000 ELSE 1800000000 END`
	queryNextRefresh   = `UPDATE refreshes SET step = step + 1, due = CAST($3 AS BIGINT) + ` + pauseAfterStep + ` WHERE card = $1 AND due = $2`
	queryEndRefresh    = `DELETE FROM refreshes WHERE card = $1 AND due = $2`
	queryNextRefreshes = `UPDATE refreshes SET step = step + 1, due = CAST($3 AS BIGINT) + ` + pauseAfterStep + ` WHERE card IN (SELECT card FROM refreshes WHERE due <= $1 AND step < 4 ORDER BY due LIMIT $2)`
	queryEndRefreshes  = `DELETE FROM refreshes WHERE card IN (SELECT card FROM refreshes LEFT JOIN cards ON cards.id = card
		WHERE due <= $1 AND (due <= $2 AND step >= 4 OR COALESCE(state, '') NOT IN ('ready', 'offline')) ORDER BY due LIMIT $3)`
)
