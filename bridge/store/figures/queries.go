package figures

// The queries of figures. plans_test.go of package store checks that each uses an index, on both
// databases.
const (
	// River's index is (state, queue, priority, scheduled_at, id).
	queryWaiting = `SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = 'available' AND queue = $1 LIMIT 10000) AS waiting`
	queryOldest  = `SELECT scheduled_at FROM river_job WHERE state = 'available' AND queue = $1 AND priority = $2 ORDER BY scheduled_at LIMIT 1`
	// The index cards_open has no closed cards. The newest ids are the largest.
	queryOpenCards = `SELECT state, count(*) FROM (SELECT state FROM cards WHERE connector = $1 AND state <> 'closed' ORDER BY id DESC LIMIT 10000) AS newest GROUP BY state`
	querySignedIn  = `SELECT count(*) FROM (SELECT 1 FROM sessions WHERE expires > $1 LIMIT 10000) AS open`
	queryLastEntry = `SELECT at FROM audit WHERE seq > $1 ORDER BY seq DESC LIMIT 1`
	queryLastSweep = `SELECT whole FROM sweeps WHERE connector = $1`
)
