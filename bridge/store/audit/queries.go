package audit

// The queries of the audit log. plans_test.go of package store checks that each uses an index.
const (
	auditColumns     = `seq, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, prev, hash`
	queryAudit       = `SELECT ` + auditColumns + ` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`
	queryAuditBack   = `SELECT ` + auditColumns + ` FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2`
	queryInsertAudit = `INSERT INTO audit (` + auditColumns + `) VALUES `
	queryAuditFirst  = `SELECT seq FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1`
	queryTrimAudit   = `DELETE FROM audit WHERE seq <= $1`
	queryEraseRecord = `UPDATE audit SET visitor = '', chat = '', detail = '', salt = NULL WHERE seq = $1 AND salt IS NOT NULL`
	queryAuditHead   = `SELECT seq, hash FROM audit_head WHERE id = 1`
	queryLockAudit   = `SELECT seq, hash FROM audit_head WHERE id = 1 FOR UPDATE`
	queryMoveAudit   = `UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1`
	auditColumnNum   = 13
)
