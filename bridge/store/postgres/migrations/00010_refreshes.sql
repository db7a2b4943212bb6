-- +goose Up

-- Cards that no agent has pressed yet, on which the bridge updates whether the customer is online.
CREATE TABLE refreshes (
    card TEXT PRIMARY KEY NOT NULL,
    -- How often it was due before, from 0.
    step BIGINT NOT NULL,
    due  BIGINT NOT NULL
);
CREATE INDEX refreshes_due ON refreshes (due);
