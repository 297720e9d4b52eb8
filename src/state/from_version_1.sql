-- Version 1 → 2; the new tables are made by schema.sql.
BEGIN IMMEDIATE;
ALTER TABLE pairs ADD COLUMN warnings INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN mapping TEXT;
ALTER TABLE links ADD COLUMN plugin_set INTEGER;
ALTER TABLE reviews ADD COLUMN plugin_set INTEGER;
ALTER TABLE conflicts ADD COLUMN resolver TEXT;
ALTER TABLE conflicts ADD COLUMN digest TEXT;
ALTER TABLE conflicts ADD COLUMN reason TEXT;
ALTER TABLE conflicts ADD COLUMN plugin_set INTEGER;
UPDATE meta SET value = '2' WHERE name = 'version';
COMMIT;
