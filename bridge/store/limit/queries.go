package limit

// The queries of limits. plans_test.go of package store checks that each uses an index.
const (
	queryFree          = `SELECT subject, free FROM limits WHERE subject IN `
	querySpend         = `INSERT INTO limits (subject, free) VALUES `
	querySpent         = ` ON CONFLICT (subject) DO UPDATE SET free = excluded.free`
	queryGiveBack      = `UPDATE limits SET free = free - $2 WHERE subject = $1`
	queryExpiredLimits = `SELECT subject FROM limits WHERE subject > $1 AND free <= $2 ORDER BY subject LIMIT 250`
	queryPurgeLimit    = `DELETE FROM limits WHERE subject = $1 AND free <= $2`
	limitColumnNum     = 2
)
