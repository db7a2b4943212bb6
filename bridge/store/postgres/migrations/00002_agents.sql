-- +goose Up

-- Sessions of agents who signed in, by the hash of their token.
CREATE TABLE sessions (
    token   TEXT PRIMARY KEY NOT NULL,
    data    BYTEA NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires);

-- Accounts in chat services, and the agents who sign in and own them.
CREATE TABLE accounts (
    account TEXT PRIMARY KEY NOT NULL,
    agent   TEXT NOT NULL,
    how     TEXT NOT NULL,
    since   BIGINT NOT NULL,
    name    BYTEA NOT NULL
);
CREATE INDEX accounts_agent ON accounts (agent, account);

-- When each subject of a limit will have all of it left. Rows of one subject are
-- neighbours, and there is no other index, since each act writes several.
CREATE TABLE limits (
    subject BYTEA PRIMARY KEY NOT NULL,
    free    BIGINT NOT NULL
);

-- By name in the order of its bytes, whatever the order of the database.
CREATE INDEX cards_episode ON cards (connector, chat COLLATE "C");
