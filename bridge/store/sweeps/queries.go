package sweeps

// The queries of sweeps. plans_test.go of package store checks that each uses an index.
const (
	querySweepNow   = `UPDATE sweeps SET held = CASE WHEN began > ended THEN held ELSE 0 END, ended = 0 WHERE connector = $1`
	querySweepDue   = `SELECT ended, held FROM sweeps WHERE connector = $1`
	queryStartSweep = `INSERT INTO sweeps (connector, round, began, ended, whole, held) VALUES ($1, 1, $3, 0, 0, $2)
		ON CONFLICT (connector) DO UPDATE SET round = sweeps.round + 1, began = excluded.began, held = excluded.held
		WHERE sweeps.held <= $3 AND sweeps.ended <= $4 RETURNING round, whole`
	queryExtendSweep = `UPDATE sweeps SET held = $3 WHERE connector = $1 AND round = $2`
	queryEndSweep    = `UPDATE sweeps SET held = $3, ended = $4, whole = CASE WHEN $5 THEN began ELSE whole END WHERE connector = $1 AND round = $2`
	// A key that is known already is not updated, so that deliveries never wait for a sweep.
	queryFound       = `INSERT INTO found (connector, what, round) SELECT connector, $2, round FROM sweeps WHERE connector = $1 ON CONFLICT DO NOTHING`
	queryFoundAgain  = `UPDATE found SET round = $3, what = $4 WHERE connector = $1 AND what = $2`
	queryOldFound    = `SELECT what FROM found WHERE connector = $1 AND what > $2 AND round < $3 ORDER BY what LIMIT 250`
	queryForgetFound = `DELETE FROM found WHERE connector = $1 AND what = $2 AND round < $3`
	// QueryPurgeFound removes at most 250 keys of connectors whose sweeps ended before $1.
	QueryPurgeFound = `DELETE FROM found WHERE (connector, what) IN (SELECT found.connector, what FROM sweeps CROSS JOIN found WHERE found.connector = sweeps.connector AND ended < $1 AND began < $1 LIMIT 250)`
)
