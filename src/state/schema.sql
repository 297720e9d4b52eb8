-- The state store (layer 4). Keys, bases and values are in the binary form of src/record/codec.rs.
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    loaded INTEGER NOT NULL DEFAULT 0,
    paused INTEGER NOT NULL DEFAULT 0,
    resync INTEGER NOT NULL DEFAULT 0,
    mapping TEXT,
    source_incarnation TEXT,
    target_incarnation TEXT,
    source_position TEXT,
    target_position TEXT,
    read INTEGER NOT NULL DEFAULT 0,
    written_source INTEGER NOT NULL DEFAULT 0,
    written_target INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    warnings INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    last_commit INTEGER,
    -- How far a load has come: by which mapping (null: nothing is kept of one), at which side (null: both are through), and what is
    -- left of it: for each key range the bytes of the key before it and of the last one in it, either of them absent (src/state/sqlite/loads.rs).
    load_mapping TEXT,
    load_had_links INTEGER NOT NULL DEFAULT 0,
    load_side TEXT,
    load_ranges BLOB
);
-- The field names of bases: a few per pair, so that a link stores values only.
CREATE TABLE IF NOT EXISTS layouts (id INTEGER PRIMARY KEY, fields TEXT NOT NULL UNIQUE);
-- A link without bases is a tombstone (I7). `gone`: the side whose record was deleted, while the other's was only marked.
CREATE TABLE IF NOT EXISTS links (
    pair INTEGER NOT NULL REFERENCES pairs (id),
    source_key BLOB NOT NULL,
    target_key BLOB NOT NULL,
    source_layout INTEGER,
    source_base BLOB,
    target_layout INTEGER,
    target_base BLOB,
    plugin_set INTEGER,
    gone TEXT,
    PRIMARY KEY (pair, source_key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS links_by_target ON links (pair, target_key);
-- What waits for a person. Images and bases are records with their names (src/state/review.rs). Numbers are never used again.
CREATE TABLE IF NOT EXISTS reviews (
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
CREATE INDEX IF NOT EXISTS reviews_by_other ON reviews (pair, other_key);
-- What a record in review waits for: a record of another pair. `arrived` once that is linked.
CREATE TABLE IF NOT EXISTS waiting (
    review INTEGER PRIMARY KEY REFERENCES reviews (id) ON DELETE CASCADE,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    parent TEXT NOT NULL,
    side TEXT NOT NULL,
    key BLOB NOT NULL,
    arrived INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS waiting_by_parent ON waiting (parent, side, key);
CREATE INDEX IF NOT EXISTS waiting_by_pair ON waiting (pair, arrived);
-- What people decided about reviews; without a verdict it is still to be carried out.
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    review INTEGER NOT NULL,
    version TEXT NOT NULL,
    ruling TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    verdict TEXT,
    message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS decisions_by_review ON decisions (review);
CREATE INDEX IF NOT EXISTS decisions_open ON decisions (pair) WHERE verdict IS NULL;
-- On record before their losers are overwritten; `settled` once that is done (I6).
CREATE TABLE IF NOT EXISTS conflicts (
    id INTEGER PRIMARY KEY,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    source_key BLOB NOT NULL,
    target_key BLOB NOT NULL,
    kind TEXT NOT NULL,
    field TEXT,
    base BLOB,
    source_value BLOB,
    target_value BLOB,
    winner TEXT NOT NULL,
    rule TEXT NOT NULL,
    at INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    resolver TEXT,
    digest TEXT,
    reason TEXT,
    plugin_set INTEGER
);
CREATE INDEX IF NOT EXISTS conflicts_by_source ON conflicts (pair, source_key);
CREATE INDEX IF NOT EXISTS conflicts_open ON conflicts (pair) WHERE settled = 0;
-- Writes that are about to be done, or that a crash left open (src/state/intent.rs). `run`: the opening of this file that gave the number.
-- Numbers are never used again.
CREATE TABLE IF NOT EXISTS intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    run TEXT NOT NULL,
    side TEXT NOT NULL,
    plugin_set INTEGER,
    writes BLOB NOT NULL
);
-- Which plugins a batch saw (I9): a JSON object, plugin → digest, in the order of the names; each set stands here once.
CREATE TABLE IF NOT EXISTS plugin_sets (id INTEGER PRIMARY KEY, plugins TEXT NOT NULL UNIQUE);
-- What was committed, so that writes without a link are covered too; the oldest rows are dropped.
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
    plugin_set INTEGER,
    -- What was written, in the form of src/state/history.rs; the layouts say what the bits of updates stand for.
    writes BLOB,
    source_layout INTEGER,
    target_layout INTEGER
);
CREATE INDEX IF NOT EXISTS batches_by_pair ON batches (pair);
-- Comparisons of some records that people have asked for: what is asked, and what came of it (JSON of src/runtime/resync.rs).
CREATE TABLE IF NOT EXISTS resyncs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pair INTEGER NOT NULL REFERENCES pairs (id),
    request TEXT NOT NULL,
    outcome TEXT,
    at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS resyncs_open ON resyncs (pair, id) WHERE outcome IS NULL;
