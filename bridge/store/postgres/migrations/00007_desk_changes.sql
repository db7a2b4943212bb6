-- +goose Up

-- What open desk pages may show differently since, so that each process reads only what is new. A row
-- names a card with its agent and connector, an account, a signed-in agent or a session; the other
-- columns are empty. Only the newest rows are kept. Numbers become visible out of order, because a
-- transaction with a lower number may commit later.
CREATE TABLE desk_changes (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card      TEXT NOT NULL,
    agent     TEXT NOT NULL,
    connector TEXT NOT NULL,
    session   TEXT NOT NULL
);
