-- Version 2 → 3; the new tables and indexes are made by schema.sql.
BEGIN IMMEDIATE;
ALTER TABLE links ADD COLUMN gone TEXT;
ALTER TABLE pairs ADD COLUMN resync INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conflicts ADD COLUMN kind TEXT NOT NULL DEFAULT 'update_update';
ALTER TABLE conflicts ADD COLUMN settled INTEGER NOT NULL DEFAULT 1;
UPDATE conflicts SET kind = 'update_delete' WHERE field IS NULL;
-- A file that was of version 1 has none yet.
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    at INTEGER NOT NULL,
    side TEXT NOT NULL,
    position TEXT,
    read INTEGER NOT NULL,
    written_source INTEGER NOT NULL,
    written_target INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    conflicts INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    plugin_set INTEGER
);
ALTER TABLE batches ADD COLUMN writes BLOB;
ALTER TABLE batches ADD COLUMN source_layout INTEGER;
ALTER TABLE batches ADD COLUMN target_layout INTEGER;
-- Numbers of reviews are never used again, which no ALTER can say.
ALTER TABLE reviews RENAME TO reviews_2;
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    side TEXT NOT NULL,
    key BLOB NOT NULL,
    other_key BLOB,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    field TEXT,
    digest TEXT,
    contested TEXT NOT NULL DEFAULT '[]',
    source_now BLOB,
    target_now BLOB,
    source_base BLOB,
    target_base BLOB,
    version TEXT NOT NULL DEFAULT '',
    at INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    later INTEGER NOT NULL DEFAULT 0,
    plugin_set INTEGER,
    UNIQUE (pair, side, key)
);
INSERT INTO reviews (id, pair, side, key, kind, code, message, field, digest, at, seen, plugin_set)
SELECT id, pair, side, key,
       CASE WHEN code = 'conflict.review' THEN 'conflict' WHEN code LIKE 'match.%' THEN 'ambiguous'
            WHEN code = 'record.unique_conflict' THEN 'unique_violation' ELSE 'rejected' END,
       code, message, field, digest, at, at, plugin_set
FROM reviews_2;
DROP TABLE reviews_2;
UPDATE meta SET value = '3' WHERE name = 'version';
COMMIT;
