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
    -- The last generation whose door was claimed; -1 means none.
    claimed    BIGINT NOT NULL DEFAULT -1,
    handle     BYTEA UNIQUE,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    door_until BIGINT NOT NULL,
    -- When the bridge checks the card again for news of its session. 0 means never.
    awaited    BIGINT NOT NULL DEFAULT 0,
    detail     BYTEA,
    UNIQUE (connector, chat)
);

CREATE INDEX cards_awaited ON cards (awaited) WHERE awaited > 0;
CREATE INDEX cards_agent ON cards (agent, id);
CREATE INDEX cards_open ON cards (connector, id) WHERE state <> 'closed';

-- Requests of agents to be told when the visitor of their card is back.
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
    -- The commitment is the hash of salt, visitor, chat and detail. Those are removed
    -- when a record is erased; the commitment is kept.
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

-- Receipts of requests to erase a person. The subject (who it is, sealed) is removed
-- once the erasure is done.
CREATE TABLE erasures (
    id      TEXT PRIMARY KEY NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    state   TEXT NOT NULL,
    removed TEXT NOT NULL,
    note    TEXT NOT NULL,
    subject BYTEA
);

-- A row is written here and removed to find out whether the database can grow.
CREATE TABLE probe (
    id     BIGINT PRIMARY KEY NOT NULL,
    filler BYTEA NOT NULL
);
