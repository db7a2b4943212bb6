-- +goose Up

-- Until now the chat's id also contained the number of the conversation and the kind of card:
-- cust#2, asked/ID, open/CARD/AGENT/0. A chat service may use such an id itself, so #2 is
-- moved out of the id only if there is also a card of the chat without it.
ALTER TABLE cards
    -- What the card is about: chat, look-up (a visitor whom an agent looked up) or press (an
    -- agent's own card, after a press on a card that several people see).
    ADD COLUMN kind TEXT NOT NULL DEFAULT 'chat',
    -- The number of the conversation with this id, from 1.
    ADD COLUMN episode BIGINT NOT NULL DEFAULT 1,
    DROP CONSTRAINT cards_connector_chat_key;

UPDATE cards SET
    kind = CASE WHEN chat ~ '^asked/' THEN 'look-up' WHEN chat ~ '^open/.*/.*/[0-9]{1,9}$' THEN 'press' ELSE 'chat' END,
    chat = CASE
        WHEN chat ~ '^asked/' THEN substr(chat, 7)
        WHEN chat ~ '^open/.*/.*/[0-9]{1,9}$' THEN regexp_replace(substr(chat, 6), '/[0-9]+$', '')
        ELSE regexp_replace(chat, '#[0-9]+$', '') END,
    episode = CASE
        WHEN chat ~ '^asked/' THEN 1
        WHEN chat ~ '^open/.*/.*/[0-9]{1,9}$' THEN substring(chat from '/([0-9]+)$')::bigint + 1
        ELSE substring(chat from '#([0-9]+)$')::bigint END
WHERE chat ~ '^asked/' OR chat ~ '^open/.*/.*/[0-9]{1,9}$'
    OR chat ~ '#[1-9][0-9]{0,8}$' AND chat !~ '#1$'
        AND EXISTS (SELECT 1 FROM cards AS first WHERE first.connector = cards.connector AND first.chat = regexp_replace(cards.chat, '#[0-9]+$', ''));

ALTER TABLE cards ADD CONSTRAINT cards_connector_kind_chat_episode_key UNIQUE (connector, kind, chat, episode);

-- Whether a sweep found the delivery's news: 0 no, 1 yes, 2 yes and it may be old. Until now
-- the delivery's key said so.
ALTER TABLE deliveries ADD COLUMN found BIGINT NOT NULL DEFAULT 0;
UPDATE deliveries SET found = CASE WHEN dedupe ~ '^found/late/' THEN 2 ELSE 1 END
WHERE finished IS NULL AND dedupe ~ '^found/(late/)?[0-9a-f]{24}/[0-9]+$';
