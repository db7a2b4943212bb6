-- +goose Up
CREATE TABLE deliveries (
    id        TEXT PRIMARY KEY NOT NULL,
    connector TEXT NOT NULL,
    dedupe    TEXT NOT NULL,
    body      BYTEA,
    received  BIGINT NOT NULL,
    finished  BIGINT,
    UNIQUE (connector, dedupe)
);
CREATE INDEX deliveries_finished ON deliveries (finished) WHERE finished IS NOT NULL;

CREATE TABLE cards (
    id         TEXT PRIMARY KEY NOT NULL,
    connector  TEXT NOT NULL,
    chat       TEXT NOT NULL,
    agent      TEXT NOT NULL,
    visitor    TEXT NOT NULL,
    state      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    -- The generation whose door was pressed last; none yet is -1.
    claimed    BIGINT NOT NULL DEFAULT -1,
    handle     BYTEA UNIQUE,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    door_until BIGINT NOT NULL,
    -- Until when news of a session may come; none is expected after it. 0 is never.
    awaited    BIGINT NOT NULL DEFAULT 0,
    detail     BYTEA,
    UNIQUE (connector, chat)
);

CREATE INDEX cards_awaited ON cards (awaited) WHERE awaited > 0;
CREATE INDEX cards_agent ON cards (agent, id);
CREATE INDEX cards_open ON cards (connector, id) WHERE state <> 'closed';

-- Agents who want to be told when the visitor of their card is back.
CREATE TABLE waits (
    card  TEXT NOT NULL,
    agent TEXT NOT NULL,
    until BIGINT NOT NULL,
    due   BIGINT NOT NULL,
    PRIMARY KEY (card, agent)
);
CREATE INDEX waits_due ON waits (due);

CREATE TABLE posts (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card       TEXT NOT NULL,
    -- A keyed hash of the card and the place.
    place      BYTEA NOT NULL,
    connector  TEXT NOT NULL,
    address    BYTEA NOT NULL,
    ref        BYTEA,
    shown      TEXT NOT NULL DEFAULT '',
    is_current BOOLEAN NOT NULL,
    leased     BIGINT NOT NULL DEFAULT 0,
    UNIQUE (card, place)
);

CREATE INDEX posts_leased ON posts (leased) WHERE leased > 0;

CREATE TABLE browsers (
    agent   TEXT PRIMARY KEY NOT NULL,
    browser BYTEA NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX browsers_expires ON browsers (expires);

CREATE TABLE audit (
    seq       BIGINT PRIMARY KEY NOT NULL,
    at        BIGINT NOT NULL,
    action    TEXT NOT NULL,
    agent     TEXT NOT NULL,
    visitor   TEXT NOT NULL,
    card      TEXT NOT NULL,
    connector TEXT NOT NULL,
    chat      TEXT NOT NULL,
    detail    TEXT NOT NULL,
    -- With the salt, the commitment proves visitor, chat and detail. Both those
    -- and the salt are gone from an erased record, and the commitment stays.
    salt      BYTEA,
    commitment BYTEA NOT NULL,
    prev      BYTEA NOT NULL,
    hash      BYTEA NOT NULL
);
CREATE TABLE audit_head (
    id   BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    seq  BIGINT NOT NULL,
    hash BYTEA NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- What became of requests to erase somebody. Who it is, sealed, is kept only
-- while something is left to do.
CREATE TABLE erasures (
    id      TEXT PRIMARY KEY NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    state   TEXT NOT NULL,
    removed TEXT NOT NULL,
    note    TEXT NOT NULL,
    subject BYTEA
);

-- Written and removed again to find out whether the database can grow.
CREATE TABLE probe (
    id     BIGINT PRIMARY KEY NOT NULL,
    filler BYTEA NOT NULL
);
