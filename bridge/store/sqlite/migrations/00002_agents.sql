-- +goose Up

-- Sessions of agents who signed in, by the hash of their token.
CREATE TABLE sessions (
    token   TEXT PRIMARY KEY NOT NULL,
    data    BLOB NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires);

-- Accounts at chat services, and the agents who sign in and own them.
CREATE TABLE accounts (
    account TEXT PRIMARY KEY NOT NULL,
    agent   TEXT NOT NULL,
    how     TEXT NOT NULL,
    since   BIGINT NOT NULL,
    name    BLOB NOT NULL
);
CREATE INDEX accounts_agent ON accounts (agent, account);

-- When the limit of each subject will be unused again. Rows of one subject are next to each
-- other, and there is no second index, because each act writes several rows.
CREATE TABLE limits (
    subject BLOB PRIMARY KEY NOT NULL,
    free    BIGINT NOT NULL
) WITHOUT ROWID;
