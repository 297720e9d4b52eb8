//! Loads that read by several key ranges: whatever stops them, they go on in the same ranges, and read no part twice that is done.

use serde_json::{Value, json};
use tidelock::record::KeyRange;
use tidelock::state::StateStore;
use tidelock::state::sqlite::SqliteState;

use super::crash::dies_at;
use super::{Kind, Setup};

const WRITERS: usize = 3;
/// Records of a batch of a copy.
const COPIED: u64 = 5_000;
/// Batches after which it is kept how far a load has come.
const KEPT_EVERY: u64 = 16;
/// Batches on their way at the same time.
const ON_THEIR_WAY: u64 = WRITERS as u64 + 2;

impl Setup {
    /// Customers with keys on both sides of zero, in a table that is large enough to be cut.
    async fn many(&self, kind: Kind, rows: u64) {
        self.tables().await;
        let first = -i64::try_from(rows).unwrap() * 25;
        if kind.is_postgres() {
            // A row that is too short for its table to be cut is made longer.
            let width = ((36 << 20) / rows).min(7_000);
            let sql = format!(
                "ALTER TABLE customers ADD pad text; ALTER TABLE customers ALTER COLUMN pad SET STORAGE PLAIN;
                 INSERT INTO customers (id, name, pad) SELECT {first} + g * 50, 'n' || g, repeat('x', {width})
                   FROM generate_series(1, {rows}) g"
            );
            return self.source.execute(&sql).await;
        }
        for from in (0..rows).step_by(10_000) {
            let values: Vec<String> = (from + 1..=rows.min(from + 10_000))
                .map(|g| format!("({}, 'n{g}')", first + i64::try_from(g).unwrap() * 50))
                .collect();
            self.source.execute(&format!("INSERT INTO customers (id, name) VALUES {}", values.join(", "))).await;
        }
    }

    fn by_ranges(&self, sync_type: &str, settings: Value) {
        let mut config = json!({"sync_type": sync_type, "performance_settings": {"parallelism": WRITERS}});
        for (key, value) in settings.as_object().unwrap() {
            config["performance_settings"][key] = value.clone();
        }
        self.configure(config);
    }

    /// What is left of the side that a load was stopped in, and the records that were read so far.
    async fn left(&self) -> (Vec<KeyRange>, u64) {
        let url = format!("sqlite://{}", self.tidelock.folder.path().join("tidelock.db").display());
        let state = SqliteState::open(&url, false).await.unwrap();
        let load = state.progress("customers").await.unwrap().load.unwrap();
        (load.ranges, state.summaries().await.unwrap()[0].counts.read)
    }

    /// A load that is killed at this commit goes on in its ranges; returns what was read until then.
    async fn stopped(&self, commit: u64, known: &mut Vec<KeyRange>) -> u64 {
        dies_at(&self.tidelock, &format!("batch.committed:{commit}"));
        let (left, read) = self.left().await;
        assert!(left.iter().any(|range| range.after.is_some()), "it is kept how far it has come: {left:?}");
        let ends = |ranges: &[KeyRange]| ranges.iter().map(|range| range.until.clone()).collect::<Vec<_>>();
        if known.is_empty() {
            assert_eq!(left.len(), WRITERS, "{left:?}");
        }
        assert!(known.is_empty() || ends(&left).iter().all(|end| ends(known).contains(end)), "{left:?} of {known:?}");
        *known = left;
        read
    }
}

/// A batch of a copy has thousands of records.
pub async fn a_copy_goes_on_in_its_ranges(kinds: (Kind, Kind)) {
    const ROWS: u64 = 150_000;
    let setup = Setup::new(kinds).await;
    setup.many(kinds.0, ROWS).await;
    setup.source.execute("UPDATE customers SET phone = '7' WHERE name = 'n1'").await;
    setup.target.execute("CREATE UNIQUE INDEX phones ON clients (phone)").await;
    setup.by_ranges("one_way", json!({}));
    let mut known = Vec::new();
    let read = setup.stopped(KEPT_EVERY + ON_THEIR_WAY, &mut known).await;
    assert!(read >= KEPT_EVERY * COPIED, "{read}");
    // What a range has behind it may change, too: a value that only one may have goes from the first record to one that is not read yet.
    setup.source.execute("UPDATE customers SET phone = '1' WHERE name = 'n1'; UPDATE customers SET phone = '7' WHERE name = 'n149998'; DELETE FROM customers WHERE name = 'n90000'; UPDATE customers SET id = 7 WHERE name = 'n149999'").await;
    let ran = setup.tidelock.once(0);
    let again = read + ran.number("read") - ROWS;
    assert!(again < 3 * ON_THEIR_WAY * COPIED, "{again} records were read twice");
    let (source, target) = setup.contents().await;
    assert!(source == target, "{} and {}", source.len(), target.len());
    assert_eq!(source.len() as u64, ROWS - 1);
    setup.quiet();
}

/// A pair that goes both ways, whose keys are shared: small batches, and both sides are read.
pub async fn both_sides_go_on_in_their_ranges(kinds: (Kind, Kind)) {
    const ROWS: u64 = 4_400;
    const BATCH: u64 = 20;
    let setup = Setup::new(kinds).await;
    setup.many(kinds.0, ROWS).await;
    setup.by_ranges("bidirectional", json!({"batch_size": BATCH}));
    let mut known = Vec::new();
    for commit in [2 * KEPT_EVERY, 3 * KEPT_EVERY, 4 * KEPT_EVERY] {
        setup.stopped(commit, &mut known).await;
    }
    let (_, read) = setup.left().await;
    let ran = setup.tidelock.once(0);
    let again = read + ran.number("read") - 2 * ROWS;
    assert!(again < 3 * (KEPT_EVERY + ON_THEIR_WAY) * BATCH, "{again} records were read twice");
    setup.settled().await;
}

/// What more writers began is read by as many ranges still, and written by those that there are.
pub async fn fewer_writers_finish_what_more_began(kinds: (Kind, Kind)) {
    const ROWS: u64 = 4_400;
    let setup = Setup::new(kinds).await;
    setup.many(kinds.0, ROWS).await;
    setup.by_ranges("bidirectional", json!({"batch_size": 20}));
    setup.stopped(2 * KEPT_EVERY, &mut Vec::new()).await;
    setup.by_ranges("bidirectional", json!({"batch_size": 20, "parallelism": 1}));
    setup.tidelock.once(0);
    setup.settled().await;
}
