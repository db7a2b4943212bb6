package store

// All queries of the store. Each must find its rows through an index: plans_test.go checks
// SQLite's plan of every constant here.
const (
	queryInsertDeliveries = `INSERT INTO deliveries (id, connector, dedupe, body, received, found) VALUES `
	queryInsertedOnce     = ` ON CONFLICT (connector, dedupe) DO NOTHING RETURNING id`
	queryDelivery         = `SELECT connector, dedupe, body, received, found, EXISTS (SELECT delivery FROM chat_changes WHERE delivery = $1) FROM deliveries WHERE id = $1 AND finished IS NULL`
	queryFinish           = `UPDATE deliveries SET body = NULL, finished = $2 WHERE id = $1 AND finished IS NULL`
	queryPurge            = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE finished < $1 LIMIT 250)`
	queryPurgeDead        = `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE id < $1 AND finished IS NULL LIMIT 250)`
	queryPurgeBrowsers    = `DELETE FROM browsers WHERE agent IN (SELECT agent FROM browsers WHERE expires <= $1 LIMIT 250)`

	queryHandled = `SELECT hash FROM handled WHERE hash IN ($1, $2) LIMIT 1`
	// The newest delivery of a connector stays, for queryAnyDelivery.
	queryFinished = `SELECT id, connector, dedupe, finished FROM deliveries AS old WHERE finished < $1
		AND EXISTS (SELECT 1 FROM deliveries AS newer WHERE newer.connector = old.connector AND newer.id > old.id) ORDER BY finished LIMIT 250 FOR UPDATE OF old SKIP LOCKED`
	queryAddHandled     = `INSERT INTO handled (hash, finished) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	queryDropFinished   = `DELETE FROM deliveries WHERE id = $1 AND finished IS NOT NULL`
	queryExpiredHandled = `SELECT hash FROM handled WHERE hash > $1 AND finished < $2 ORDER BY hash LIMIT 250`
	queryPurgeHandled   = `DELETE FROM handled WHERE hash = $1`
	queryUnindexedCards = `SELECT ` + cardColumns + ` FROM cards WHERE id > $1 AND indexed <> version ORDER BY id LIMIT 100`
	queryAnyDelivery    = `SELECT 1 FROM deliveries WHERE connector = $1 LIMIT 1`
	queryUnfinished     = `SELECT id, connector, dedupe, received, COALESCE(attempts, 0), COALESCE(last_at, 0), COALESCE(next_at, 0), COALESCE(cause, '')
		FROM deliveries LEFT JOIN failures ON subject = id WHERE id > $1 AND finished IS NULL ORDER BY id LIMIT 500`
	queryNewestDelivery = `SELECT id, body FROM deliveries WHERE id > $1 AND finished IS NULL ORDER BY id DESC LIMIT 1`
	queryDeliveryRow    = `SELECT connector, dedupe, received, finished FROM deliveries WHERE id = $1`
	queryDeleteDelivery = `DELETE FROM deliveries WHERE id = $1`
	queryDeleteJob      = `DELETE FROM river_job WHERE id = $1`

	queryInsertChanges  = `INSERT INTO chat_changes (connector, chat, delivery, closed, agent) VALUES `
	queryPendingChanges = `SELECT closed, chat_changes.agent, received FROM chat_changes JOIN deliveries ON id = delivery
		WHERE chat_changes.connector = $1 AND chat = $2 AND finished IS NULL ORDER BY received DESC, id DESC LIMIT $3`
	queryDeleteChanges = `DELETE FROM chat_changes WHERE delivery = $1`
	queryDoneChanges   = `SELECT delivery FROM chat_changes LEFT JOIN deliveries ON id = delivery WHERE delivery > $1 AND (id IS NULL OR finished IS NOT NULL) ORDER BY delivery LIMIT 250`

	queryErasure     = `SELECT created, changed, state, removed, note, subject FROM erasures WHERE id = $1`
	querySaveErasure = `INSERT INTO erasures (id, created, changed, state, removed, note, subject) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, state = excluded.state, removed = excluded.removed, note = excluded.note, subject = excluded.subject`
	queryPurgeErasures = `DELETE FROM erasures WHERE id IN (SELECT id FROM erasures WHERE id < $1 LIMIT 250)`
	queryForgetErasure = `UPDATE erasures SET subject = NULL, state = $2, changed = $3 WHERE id = $1 AND subject IS NOT NULL`

	queryPurgeFailures = `DELETE FROM failures WHERE (subject, kind, queue) IN (SELECT subject, kind, queue FROM failures WHERE last_at < $1
		AND NOT EXISTS (SELECT 1 FROM erasures WHERE erasures.id = failures.subject AND erasures.subject IS NOT NULL) LIMIT 250)`

	cardColumns       = `id, connector, kind, chat, episode, agent, visitor, state, version, generation, claimed, handle, created, updated, door_until, awaited, detail`
	queryCard         = `SELECT ` + cardColumns + ` FROM cards WHERE id = $1`
	queryCardOfChat   = `SELECT ` + cardColumns + ` FROM cards WHERE connector = $1 AND kind = $2 AND chat = $3 ORDER BY episode DESC LIMIT 1`
	queryCardByHandle = `SELECT id, connector, kind, chat, episode, cards.agent, visitor, state, version, generation, claimed, handle, created, updated, door_until, awaited, detail, browser, accounts.agent
		FROM cards LEFT JOIN browsers ON browsers.agent = cards.agent AND expires > $2 LEFT JOIN accounts ON accounts.account = cards.agent WHERE handle = $1`
	queryInsertCard = `INSERT INTO cards (id, connector, kind, chat, episode, agent, visitor, state, version, generation, handle, created, updated, door_until, awaited, detail)
		VALUES ($1, $2, $15, $3, $16, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`
	queryLockCard   = `SELECT version FROM cards WHERE id = $1 FOR UPDATE`
	queryFollowCard = `UPDATE cards SET version = version + 1 WHERE id = $1`
	queryUpdateCard = `UPDATE cards SET agent = $4, visitor = $5, state = $6, version = $7, generation = $8, created = $10, updated = $11, door_until = $12, awaited = $13, detail = $14,
		claimed = CASE WHEN $16 THEN $8 ELSE claimed END
		WHERE id = $1 AND connector = $2 AND chat = $3 AND handle IS NOT DISTINCT FROM $9 AND version = $15`
	queryAnyToCheck   = `SELECT id FROM cards WHERE awaited > 0 LIMIT 1`
	queryCards        = `SELECT ` + cardColumns + ` FROM cards WHERE id > $1 ORDER BY id LIMIT 100`
	queryNewestCard   = `SELECT id, detail FROM cards WHERE id > $1 ORDER BY id DESC LIMIT 1`
	queryDeleteCard   = `DELETE FROM cards WHERE id = $1`
	queryDeletePosts  = `DELETE FROM posts WHERE card = $1`
	queryPurgeCards   = `DELETE FROM cards WHERE id IN (SELECT id FROM cards WHERE id < $1 AND updated < $2 AND door_until < $3 AND awaited < $3 LIMIT 100) RETURNING id`
	queryCardsToCheck = `SELECT ` + cardColumns + ` FROM cards WHERE awaited > 0 AND awaited <= $1 AND awaited >= $2 AND (awaited, id) > ($2, $3) ORDER BY awaited, id LIMIT 100`
	queryCardsOfAgent = `SELECT ` + cardColumns + ` FROM cards WHERE agent = $1 ORDER BY id DESC LIMIT $2`
	queryOpenChats    = `SELECT id, chat FROM cards WHERE connector = $1 AND id > $2 AND state <> 'closed' AND kind = 'chat' AND created < $3 ORDER BY id LIMIT 1000`

	queryCardsWithValidLink = `SELECT ` + cardColumns + ` FROM cards WHERE connector = $1 AND state <> 'closed' AND door_until > $2 ORDER BY id DESC LIMIT $3`

	queryWait       = `INSERT INTO waits (card, agent, until, due) VALUES ($1, $2, $3, $4) ON CONFLICT (card, agent) DO UPDATE SET until = excluded.until, due = excluded.due`
	queryWaitsDue   = `UPDATE waits SET due = $2 WHERE due <= $1 AND (card, agent) IN (SELECT card, agent FROM waits WHERE due <= $1 ORDER BY due LIMIT $3) RETURNING card, agent, until`
	queryAnyWaitDue = `SELECT card FROM waits WHERE due <= $1 LIMIT 1`
	queryWaitOf     = `SELECT card FROM waits WHERE card = $1 AND agent = $2 AND until > $3`
	queryEndWait    = `DELETE FROM waits WHERE card = $1 AND agent = $2`
	queryEndWaits   = `DELETE FROM waits WHERE card = $1`

	queryLockDoor   = `SELECT generation, claimed, version, browser, expires FROM cards LEFT JOIN browsers ON browsers.agent = $2 AND expires > $3 WHERE id = $1 FOR UPDATE OF cards`
	queryClaim      = `UPDATE cards SET claimed = $2 WHERE id = $1`
	queryRemember   = `INSERT INTO browsers (agent, browser, expires) VALUES ($1, $2, $3) ON CONFLICT (agent) DO UPDATE SET browser = excluded.browser, expires = excluded.expires`
	queryRemembered = `SELECT expires FROM browsers WHERE agent = $1 AND expires > $2`
	queryForget     = `DELETE FROM browsers WHERE agent = $1`

	queryPurgeSessions = `DELETE FROM sessions WHERE token IN (SELECT token FROM sessions WHERE expires <= $1 LIMIT 250)`
	queryAccount       = `SELECT account, agent, how, since, name FROM accounts WHERE account = $1`
	queryAccountsOf    = `SELECT account, agent, how, since, name FROM accounts WHERE agent = $1 ORDER BY account`
	queryAccountNames  = `SELECT account, name FROM accounts WHERE account > $1 ORDER BY account LIMIT 500`
	queryResealAccount = `UPDATE accounts SET name = $2 WHERE account = $1 AND name = $3`
	queryLockAccount   = `SELECT agent, how FROM accounts WHERE account = $1 FOR UPDATE`
	queryConnect       = `INSERT INTO accounts (account, agent, how, since, name) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account) DO UPDATE SET agent = excluded.agent, how = excluded.how, since = excluded.since, name = excluded.name`
	queryDisconnect    = `DELETE FROM accounts WHERE account = $1 AND agent = $2`

	queryPosts        = `SELECT connector, address, ref, shown, is_current FROM posts WHERE card = $1 ORDER BY id`
	queryUpsertPost   = `INSERT INTO posts (card, place, connector, address, ref, shown, is_current) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (card, place) DO UPDATE SET is_current = excluded.is_current`
	queryRekeyPost    = `UPDATE posts SET place = $2 WHERE card = $1 AND place = $3`
	queryLeasePost    = `UPDATE posts SET leased = $3 WHERE card = $1 AND place = $2 AND leased <= $4`
	queryPostShown    = `SELECT shown FROM posts WHERE card = $1 AND place = $2`
	queryPerhapsShown = `UPDATE posts SET shown = $3 WHERE card = $1 AND place = $2 AND shown = ''`
	queryPostExists   = `SELECT id FROM posts WHERE card = $1 AND place = $2`
	querySavePost     = `UPDATE posts SET ref = $3, shown = $4, leased = 0 WHERE card = $1 AND place = $2`
	queryReleasePost  = `UPDATE posts SET leased = 0 WHERE card = $1 AND place = $2`

	queryInsertDeskChanges = `INSERT INTO desk_changes (card, agent, connector, session) VALUES `
	queryDeskChanges       = `SELECT seq, card, agent, connector, session FROM desk_changes WHERE seq > $1 ORDER BY seq LIMIT +$2`
	queryLastDeskChange    = `SELECT COALESCE(max(seq), 0) FROM desk_changes`
	queryPurgeDeskChanges  = `DELETE FROM desk_changes WHERE seq IN (SELECT seq FROM desk_changes WHERE seq <= (SELECT max(seq) FROM desk_changes) - $1 LIMIT 1000)`
	deskChangeColumnNum    = 4

	queryProbe        = `INSERT INTO probe (id, filler) VALUES ($1, $2)`
	queryProbed       = `DELETE FROM probe WHERE id > 0`
	deliveryColumnNum = 6
	changeColumnNum   = 5
)
