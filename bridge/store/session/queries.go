package session

// The queries of sessions. plans_test.go of package store checks that each uses an index.
const (
	querySession      = `SELECT data FROM sessions WHERE token = $1 AND expires > $2`
	querySaveSession  = `INSERT INTO sessions (token, data, expires) VALUES ($1, $2, $3) ON CONFLICT (token) DO UPDATE SET data = excluded.data, expires = excluded.expires`
	queryClaimSession = `INSERT INTO sessions (token, data, expires) VALUES ($1, $2, $3) ON CONFLICT (token) DO UPDATE SET data = excluded.data, expires = excluded.expires WHERE sessions.expires <= $4`
	queryEndSession   = `DELETE FROM sessions WHERE token = $1`
	querySessions     = `SELECT token, data FROM sessions WHERE expires > $1`
)
