//! Scans of a simulated table, and the keys that cut it.

use async_trait::async_trait;

use super::side::{Side, id_of, key};
use super::world::World;
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Key, Record};

/// A scan of the rows of a range as they are when it comes to them.
pub(super) struct Rows {
    side: Side,
    after: i64,
    until: i64,
}

#[async_trait]
impl Scan for Rows {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        tokio::task::yield_now().await;
        let mut world = self.side.shared.world();
        world.trouble(self.side.table)?;
        let count = 1 + world.rng.below(max.min(4));
        let table = &world.tables[self.side.table];
        let rows: Vec<(i64, Record)> = table
            .rows
            .range(self.after.saturating_add(1)..)
            .take_while(|(id, _)| **id <= self.until)
            .take(count)
            .map(|(id, row)| (*id, self.side.record(table, row)))
            .collect();
        if let Some((last, _)) = rows.last() {
            self.after = *last;
        }
        Ok(rows.into_iter().map(|(_, record)| record).collect())
    }

    fn resumable(&self) -> bool {
        true
    }
}

impl Rows {
    pub(super) fn new(side: Side, order: ScanOrder) -> Result<Self> {
        let ScanOrder::Key(range) = order else { return Err(SyncError::internal("it scans by key only")) };
        let [after, until] = [range.after, range.until].map(|end| end.as_ref().map(id_of));
        Ok(Self { side, after: after.unwrap_or(0), until: until.unwrap_or(i64::MAX) })
    }
}

/// Keys wherever chance has it, also between no records.
pub(super) fn cuts(world: &mut World, table: usize, parts: usize) -> Vec<Key> {
    let last = world.tables[table].rows.keys().next_back().copied().unwrap_or(0);
    let mut cuts: Vec<usize> = (1..parts).map(|_| world.rng.below(usize::try_from(last).unwrap_or(0) + 2)).collect();
    cuts.sort_unstable();
    cuts.into_iter().map(|id| key(i64::try_from(id).unwrap_or(0))).collect()
}
