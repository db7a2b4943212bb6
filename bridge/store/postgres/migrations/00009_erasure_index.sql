-- +goose Up

-- The rows in which ids of a person may be, by keyed hashes of the ids, so that an erasure finds them
-- without reading everything. ref is the letter c and the id of a card, or a and the seq of an audit
-- record.
CREATE TABLE erasure_index (
    hash BIGINT NOT NULL,
    ref  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (hash, ref)
);
CREATE INDEX erasure_index_ref ON erasure_index (ref);

-- How far the index is. part is cards or audit. secret identifies the secret of the hashes.
-- After a change of the secret, rewriting identifies the new one, and after is the last row that has
-- hashes with it. For audit, after is the last record in the index.
CREATE TABLE erasure_index_state (
    part      TEXT PRIMARY KEY NOT NULL,
    secret    BYTEA NOT NULL,
    rewriting BYTEA NOT NULL,
    after     TEXT NOT NULL
);

-- The version of the card that is in the index. A release without the index changes only version, so
-- such a card is added to the index again.
ALTER TABLE cards ADD COLUMN indexed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX cards_unindexed ON cards (id) WHERE indexed <> version;

-- Keyed hashes of the connector and the key of handled deliveries, to recognise repeats. There is no
-- index on finished, as in limits.
CREATE TABLE handled (
    hash     BYTEA PRIMARY KEY NOT NULL,
    finished BIGINT NOT NULL
);
CREATE INDEX deliveries_unfinished ON deliveries (id) WHERE finished IS NULL;

-- +goose StatementBegin
CREATE FUNCTION remove_from_erasure_index() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM erasure_index WHERE ref = TG_ARGV[0] || (to_jsonb(OLD) ->> TG_ARGV[1]);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER cards_remove_index AFTER DELETE ON cards FOR EACH ROW EXECUTE FUNCTION remove_from_erasure_index('c', 'id');
CREATE TRIGGER audit_remove_index AFTER DELETE ON audit FOR EACH ROW EXECUTE FUNCTION remove_from_erasure_index('a', 'seq');
CREATE TRIGGER audit_erase_index AFTER UPDATE OF salt ON audit FOR EACH ROW WHEN (NEW.salt IS NULL) EXECUTE FUNCTION remove_from_erasure_index('a', 'seq');
