-- +goose Up

-- Looks through all that is open at a chat service: the number of the last, when it
-- ended, when the last began that came to its end, and until when somebody is at it, or
-- nobody should be.
CREATE TABLE sweeps (
    connector TEXT PRIMARY KEY NOT NULL,
    round     BIGINT NOT NULL,
    began     BIGINT NOT NULL,
    ended     BIGINT NOT NULL,
    whole     BIGINT NOT NULL,
    held      BIGINT NOT NULL
);
CREATE INDEX sweeps_ended ON sweeps (ended);

-- What they found, by a keyed hash, and which of them found it last.
CREATE TABLE found (
    connector TEXT NOT NULL,
    what      BYTEA NOT NULL,
    round     BIGINT NOT NULL,
    PRIMARY KEY (connector, what)
);
