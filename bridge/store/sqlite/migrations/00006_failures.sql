-- +goose Up

-- Work that failed and has not succeeded since: jobs, and periodic work such as sweeps.
CREATE TABLE failures (
    -- The id of a delivery, card or receipt; empty for periodic work.
    subject  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    queue    TEXT NOT NULL,
    -- The job of River that failed last, and its step. 0 for periodic work, and between a retry
    -- and its first attempt.
    job      BIGINT NOT NULL,
    step     BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    -- When it is tried again. 0 means that it is not.
    next_at  BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    cause    TEXT NOT NULL,
    PRIMARY KEY (subject, kind, queue)
) WITHOUT ROWID;
CREATE INDEX failures_counts ON failures (queue, kind, next_at, first_at);
CREATE INDEX failures_last ON failures (last_at);
