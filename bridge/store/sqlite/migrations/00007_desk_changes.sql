-- +goose Up

-- What open desk pages may show differently since, so that each process reads only what is new. A row
-- names a card with its agent and connector, an account, a signed-in agent or a session; the other
-- columns are empty. Only the newest rows are kept.
CREATE TABLE desk_changes (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    card      TEXT NOT NULL,
    agent     TEXT NOT NULL,
    connector TEXT NOT NULL,
    session   TEXT NOT NULL
);
