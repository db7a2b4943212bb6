package audit

// The queries of the audit log. plans_test.go of package store checks that each uses an index.
const (
	auditColumns   = `seq, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, prev, hash`
	queryAudit     = `SELECT ` + auditColumns + ` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`
	queryAuditBack = `SELECT ` + auditColumns + ` FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2`
	// Searches through one index each, the latest record first. The values that follow are empty, or a
	// record must have them.
	auditFilter        = ` AND seq < $1 AND ($3 = '' OR agent = $3) AND ($4 = '' OR visitor = $4) AND ($5 = '' OR card = $5) AND ($6 = '' OR action = $6) ORDER BY seq DESC LIMIT $2`
	queryAuditOfAgent  = `SELECT ` + auditColumns + ` FROM audit WHERE agent = $7` + auditFilter
	queryAuditOfAction = `SELECT ` + auditColumns + ` FROM audit WHERE action = $7` + auditFilter
	queryAuditVisitor  = `SELECT ` + auditColumns + ` FROM audit WHERE visitor = $7 AND visitor <> ''` + auditFilter
	queryAuditOfCard   = `SELECT ` + auditColumns + ` FROM audit WHERE card = $7 AND card <> ''` + auditFilter
	queryAuditOfChat   = `SELECT ` + auditColumns + ` FROM audit WHERE chat = $3 AND chat <> '' AND seq < $1 ORDER BY seq DESC LIMIT $2`
	queryAuditFrom     = `SELECT seq, at FROM audit WHERE seq >= $1 ORDER BY seq LIMIT 1`

	queryInsertAudit = `INSERT INTO audit (` + auditColumns + `) VALUES `
	queryAuditFirst  = `SELECT seq FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1`
	queryTrimAudit   = `DELETE FROM audit WHERE seq <= $1`
	queryEraseRecord = `UPDATE audit SET visitor = '', chat = '', detail = '', salt = NULL WHERE seq = $1 AND salt IS NOT NULL`
	queryAuditHead   = `SELECT seq, hash FROM audit_head WHERE id = 1`
	queryLockAudit   = `SELECT seq, hash FROM audit_head WHERE id = 1 FOR UPDATE`
	queryMoveAudit   = `UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1`
	auditColumnNum   = 13
)
