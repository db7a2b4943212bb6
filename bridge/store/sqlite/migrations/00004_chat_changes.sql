-- +goose Up

-- Chats that a delivery takes from their agents. Rows of a finished or removed delivery have
-- no meaning and are deleted within an hour.
CREATE TABLE chat_changes (
    connector TEXT NOT NULL,
    chat      TEXT NOT NULL,
    delivery  TEXT NOT NULL,
    closed    BOOLEAN NOT NULL,
    -- The agent who serves the chat now; empty if none does or the delivery does not say.
    agent     TEXT NOT NULL,
    PRIMARY KEY (connector, chat, delivery)
) WITHOUT ROWID;
CREATE INDEX chat_changes_delivery ON chat_changes (delivery);
