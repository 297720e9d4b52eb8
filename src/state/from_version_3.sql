-- Version 3 → 4; the new tables and indexes are made by schema.sql.
BEGIN IMMEDIATE;
ALTER TABLE pairs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET value = '4' WHERE name = 'version';
COMMIT;
