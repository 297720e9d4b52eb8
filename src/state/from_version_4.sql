-- Version 4 → 5.
BEGIN IMMEDIATE;
ALTER TABLE pairs ADD COLUMN load_mapping TEXT;
ALTER TABLE pairs ADD COLUMN load_had_links INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN load_side TEXT;
ALTER TABLE pairs ADD COLUMN load_after BLOB;
UPDATE meta SET value = '5' WHERE name = 'version';
COMMIT;
