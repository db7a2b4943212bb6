-- +goose Up

-- Each search in the audit log goes through one of these, and through seq from the newest record on.
CREATE INDEX audit_agent ON audit (agent, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_visitor ON audit (visitor, seq) WHERE visitor <> '';
CREATE INDEX audit_card ON audit (card, seq) WHERE card <> '';
CREATE INDEX audit_chat ON audit (chat, seq) WHERE chat <> '';
