package jobs

// The queries of failures. plans_test.go of package store checks that each uses an index.
const (
	failureColumns   = `subject, kind, queue, job, step, first_at, last_at, next_at, attempts, cause`
	queryNoteFailure = `INSERT INTO failures (` + failureColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (subject, kind, queue) DO UPDATE SET job = excluded.job, step = excluded.step,
		last_at = excluded.last_at, next_at = excluded.next_at, attempts = failures.attempts + excluded.attempts, cause = excluded.cause`
	queryNoteEarlier = `INSERT INTO failures (` + failureColumns + `) SELECT id, $2, $3, $4, $5, $6, $6, 0, $7, $8 FROM deliveries WHERE id = $1 AND finished IS NULL ON CONFLICT DO NOTHING`
	queryHasFailed   = `SELECT 1 FROM failures WHERE subject = $1 AND kind = $2 AND queue = $3`
	queryResolve     = `DELETE FROM failures WHERE subject = $1 AND kind = $2 AND queue = $3`
	queryFailures    = `SELECT ` + failureColumns + ` FROM failures WHERE (subject, kind, queue) > ($1, $2, $3) ORDER BY subject, kind, queue LIMIT 500`
	queryFailuresOf  = `SELECT ` + failureColumns + ` FROM failures WHERE subject = $1 AND subject <> ''`
	// The failure of periodic work.
	queryFailurePeriodic = `SELECT ` + failureColumns + ` FROM failures WHERE subject = '' AND kind = $1 AND queue = $2`
	queryFailureCounts   = `SELECT queue, kind, CASE WHEN next_at = 0 THEN 1 ELSE 0 END AS final, count(*), min(first_at) FROM failures WHERE queue >= '' GROUP BY queue, kind, final`
	// PostgreSQL gets the time as a text.
	queryPurgeDone      = `DELETE FROM river_job WHERE id IN (SELECT id FROM river_job WHERE state = 'completed' AND finalized_at < $1 LIMIT 250)`
	queryPurgeCancelled = `DELETE FROM river_job WHERE id IN (SELECT id FROM river_job WHERE state = 'cancelled' AND finalized_at < $1 LIMIT 250)`
	queryPurgeDiscarded = `DELETE FROM river_job WHERE id IN (SELECT id FROM river_job WHERE state = 'discarded' AND finalized_at < $1 LIMIT 250)`
	queryJobSubjects    = `SELECT id, args ->> 'subject' FROM river_job WHERE id > $1 ORDER BY id LIMIT 1000`
	queryRetryFailure   = `UPDATE failures SET job = 0, next_at = $4 WHERE subject = $1 AND kind = $2 AND queue = $3`
)
