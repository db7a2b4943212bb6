-- +goose Up

-- Until now the chat's id also contained the number of the conversation and the kind of card:
-- cust#2, asked/ID, open/CARD/AGENT/0. A chat service may use such an id itself, so #2 is
-- moved out of the id only if there is also a card of the chat without it.
CREATE TABLE cards_new (
    id         TEXT PRIMARY KEY NOT NULL,
    connector  TEXT NOT NULL,
    -- What the card is about: chat, look-up (a visitor whom an agent looked up) or press (an
    -- agent's own card, after a press on a card that several people see).
    kind       TEXT NOT NULL,
    chat       TEXT NOT NULL,
    -- The number of the conversation with this id, from 1.
    episode    BIGINT NOT NULL,
    agent      TEXT NOT NULL,
    visitor    TEXT NOT NULL,
    state      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    -- The last generation whose door was claimed; -1 means none.
    claimed    BIGINT NOT NULL DEFAULT -1,
    handle     BLOB UNIQUE,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    door_until BIGINT NOT NULL,
    -- When the bridge checks the card again for news of its session. 0 means never.
    awaited    BIGINT NOT NULL DEFAULT 0,
    detail     BLOB,
    UNIQUE (connector, kind, chat, episode)
);

WITH stems AS (
    SELECT *, rtrim(chat, '0123456789') AS stem FROM cards
), parts AS (
    SELECT *, substr(chat, length(stem) + 1) AS digits, substr(stem, 1, length(stem) - 1) AS base FROM stems
), kinds AS (
    SELECT *, CASE
        WHEN chat GLOB 'asked/*' THEN 'look-up'
        WHEN stem GLOB 'open/*/*/' AND length(digits) BETWEEN 1 AND 9 THEN 'press'
        WHEN substr(stem, -1) = '#' AND length(digits) BETWEEN 1 AND 9 AND digits GLOB '[1-9]*' AND digits <> '1'
            AND EXISTS (SELECT 1 FROM cards AS first WHERE first.connector = parts.connector AND first.chat = parts.base) THEN 'later'
        ELSE 'chat' END AS what
    FROM parts
)
INSERT INTO cards_new (id, connector, kind, chat, episode, agent, visitor, state, version, generation, claimed, handle, created, updated, door_until, awaited, detail)
SELECT id, connector,
    CASE what WHEN 'later' THEN 'chat' ELSE what END,
    CASE what WHEN 'look-up' THEN substr(chat, 7) WHEN 'press' THEN substr(base, 6) WHEN 'later' THEN base ELSE chat END,
    CASE what WHEN 'press' THEN CAST(digits AS INTEGER) + 1 WHEN 'later' THEN CAST(digits AS INTEGER) ELSE 1 END,
    agent, visitor, state, version, generation, claimed, handle, created, updated, door_until, awaited, detail
FROM kinds;

DROP TABLE cards;
ALTER TABLE cards_new RENAME TO cards;
CREATE INDEX cards_awaited ON cards (awaited) WHERE awaited > 0;
CREATE INDEX cards_agent ON cards (agent, id);
CREATE INDEX cards_open ON cards (connector, id) WHERE state <> 'closed';

-- Whether a sweep found the delivery's news: 0 no, 1 yes, 2 yes and it may be old. Until now
-- the delivery's key said so.
ALTER TABLE deliveries ADD COLUMN found BIGINT NOT NULL DEFAULT 0;
UPDATE deliveries SET found = 1 WHERE finished IS NULL
    AND dedupe GLOB 'found/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]/[0-9]*';
UPDATE deliveries SET found = 2 WHERE finished IS NULL
    AND dedupe GLOB 'found/late/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]/[0-9]*';
