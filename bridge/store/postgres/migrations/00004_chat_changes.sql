-- +goose Up

-- Chats that a delivery takes from their agents. Rows of a delivery that is finished or
-- removed mean nothing any more, and are deleted within the hour.
CREATE TABLE chat_changes (
    connector TEXT NOT NULL,
    chat      TEXT NOT NULL,
    delivery  TEXT NOT NULL,
    closed    BOOLEAN NOT NULL,
    -- Who serves the chat now; empty if the delivery does not say, or nobody does.
    agent     TEXT NOT NULL,
    PRIMARY KEY (connector, chat, delivery)
);
CREATE INDEX chat_changes_delivery ON chat_changes (delivery);
