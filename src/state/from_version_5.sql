-- Version 5 → 6. What is behind one key becomes the only range: that key's bytes (tag 6, their number, they), and an absent end (255).
BEGIN IMMEDIATE;
ALTER TABLE pairs RENAME COLUMN load_after TO load_ranges;
UPDATE pairs SET load_ranges = unhex('06' || printf('%016X', length(load_ranges)) || hex(load_ranges) || 'FF') WHERE load_ranges IS NOT NULL;
UPDATE meta SET value = '6' WHERE name = 'version';
COMMIT;
