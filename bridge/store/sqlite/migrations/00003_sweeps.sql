-- +goose Up

-- Sweeps of a chat service's open chats: the number of the last one (round), when it began
-- and ended, when the last complete one began (whole), and until when no other sweep may
-- begin (held).
CREATE TABLE sweeps (
    connector TEXT PRIMARY KEY NOT NULL,
    round     BIGINT NOT NULL,
    began     BIGINT NOT NULL,
    ended     BIGINT NOT NULL,
    whole     BIGINT NOT NULL,
    held      BIGINT NOT NULL
);
CREATE INDEX sweeps_ended ON sweeps (ended);

-- The keys that sweeps found, as keyed hashes, and the number of the sweep that found each
-- last.
CREATE TABLE found (
    connector TEXT NOT NULL,
    what      BLOB NOT NULL,
    round     BIGINT NOT NULL,
    PRIMARY KEY (connector, what)
) WITHOUT ROWID;
