//! The source half over an updated-at column (layer 4), for tables that may not have triggers. Deletes are not seen.
//!
//! A *round* reads every record whose time is not older than the newest time at the last round's beginning, less the overlap: a
//! writer that took its time before that and committed after it is not missed. What a round reads twice is told apart by a digest of
//! its content (times of low resolution repeat) and left out; a position that is not the last one given starts without digests.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::errors::Sql;
use super::statement::Statement;
use super::target::capabilities;
use super::times::{instant, shifted};
use super::tracking::NOW;
use super::values::Raw;
use super::watch::Watch;
use super::{Opened, lookup, pick};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::all;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result};
use crate::record::{Key, encode_values};

/// A position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spot {
    /// The newest time when the last finished round began; `None` = there was no record.
    floor: Option<Raw>,
    /// The round that is under way.
    round: Option<Round>,
    /// Distinguishes positions that are otherwise equal.
    batch: u64,
}

/// How far a round has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Round {
    /// The newest time when it began: the next floor.
    floor: Option<Raw>,
    /// Time and key of the last record.
    last: Vec<Raw>,
}

/// The source half of an opened collection.
#[derive(Debug)]
pub(super) struct PollingSource {
    opened: Arc<Opened>,
    watch: Watch,
    column: String,
    /// The last position given out: the digests belong to it.
    given: Option<Position>,
    /// What the window that the next round reads again held when it was delivered.
    delivered: HashSet<u64>,
    /// The same, of the round under way.
    delivering: HashSet<u64>,
}

/// One record as a round reads it.
struct Seen {
    at: Raw,
    digest: u64,
    change: Change,
}

impl PollingSource {
    /// A source over the updated-at column.
    pub(super) fn new(opened: Arc<Opened>) -> Result<Self> {
        let Some(column) = opened.updated_at.clone() else {
            return Err(opened.place().error(
                ErrorKind::SchemaMismatch,
                "sqlite.updated_at",
                "polling needs \"updated_at\": the column that moves forward at each write",
            ));
        };
        pick(opened.place(), &opened.table, std::slice::from_ref(&column), &[])?;
        Ok(Self {
            watch: Watch::new(Arc::clone(&opened)),
            opened,
            column,
            given: None,
            delivered: HashSet::new(),
            delivering: HashSet::new(),
        })
    }

    fn parse(&self, position: &Position) -> Result<Spot> {
        serde_json::from_str(&position.0).map_err(|_| {
            let message = "the stored position is not one of polling; run `tidelock resync`";
            self.opened.place().error(ErrorKind::SchemaMismatch, "sqlite.position", message)
        })
    }

    fn give(&mut self, spot: &Spot) -> Position {
        let position = Position(serde_json::to_string(spot).unwrap_or_default());
        self.given = Some(position.clone());
        position
    }

    /// The newest time, no later than now: one in the future must not hide what is written until then.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other value is a time")]
    async fn newest(&self, connection: &mut SqliteConnection) -> Sql<Option<Raw>> {
        let column = self.opened.table.of(&self.column);
        let sql = format!("SELECT max({column}), {NOW} FROM {}", self.opened.table.quoted());
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
        let now: i64 = row.try_get(1)?;
        Ok(match Raw::read(&row, 0)? {
            Raw::Null => None,
            newest => match instant(&newest) {
                Some(at) if at > now => Some(shifted(&newest, now - at)),
                _ => Some(newest),
            },
        })
    }

    fn statement(&self, bound: Option<&Raw>, last: Option<&[Raw]>, max: usize) -> Sql<Statement> {
        let table = &self.opened.table;
        let column = table.of(&self.column);
        let key: Vec<String> = table.key.iter().map(|name| table.of(name)).collect();
        let order = format!("{column}, {}", key.join(", "));
        let not_null = all(key.iter().map(|column| format!("{column} IS NOT NULL")));
        let mut statement = Statement::new(format!(
            "SELECT {order}, {} FROM {} WHERE {column} IS NOT NULL AND {not_null}",
            self.opened.fields.select(table),
            table.quoted()
        ));
        if let Some(last) = last {
            statement.push(&format!(" AND ({order}) > ("));
            statement.push_binds(last.iter().cloned());
            statement.push(")");
        } else if let Some(bound) = bound {
            statement.push(&format!(" AND {column} >= "));
            statement.push_bind(bound.clone());
        }
        statement.push(&format!(" ORDER BY {order} LIMIT "));
        statement.push_bind(Raw::Int(i64::try_from(max).unwrap_or(i64::MAX)));
        Ok(statement)
    }

    fn read(&self, row: &SqliteRow) -> Sql<Seen> {
        let at = Raw::read(row, 0)?;
        let key = self.opened.key.key(row, 1)?;
        let image = self.opened.fields.record(row, 1 + self.opened.key.len())?;
        let mut hasher = DefaultHasher::new();
        (format!("{at:?}"), key.encode(), encode_values(image.values())).hash(&mut hasher);
        // Whether the filter lets it through is for `fetch` to say: a record that has left it is a change, too.
        let image = self.opened.filter.is_none().then_some(image);
        Ok(Seen { digest: hasher.finish(), change: Change { key, op: Op::Upsert, at: instant(&at), image }, at })
    }

    /// Reads on until there is something new, or the round ends.
    async fn read_on(
        &mut self,
        spot: &Spot,
        max: usize,
        connection: &mut SqliteConnection,
    ) -> Sql<(Vec<Change>, Option<Round>, Option<Raw>)> {
        let overlap = i64::try_from(self.opened.overlap.as_micros()).unwrap_or(i64::MAX);
        let back = |floor: &Raw| shifted(floor, -overlap);
        let bound = spot.floor.as_ref().map(back);
        let floor = match &spot.round {
            Some(round) => round.floor.clone(),
            None => self.newest(connection).await?,
        };
        let next_bound = floor.as_ref().map(back);
        let mut last = spot.round.as_ref().map(|round| round.last.clone());
        let mut changes = Vec::new();
        loop {
            let rows = self.statement(bound.as_ref(), last.as_deref(), max)?.rows(connection).await?;
            for row in &rows {
                let seen = self.read(row)?;
                let new = !self.delivered.contains(&seen.digest);
                if next_bound.as_ref().is_none_or(|bound| !seen.at.sorts_before(bound)) {
                    self.delivering.insert(seen.digest);
                }
                if new {
                    changes.push(seen.change);
                }
            }
            if rows.len() < max {
                return Ok((changes, None, floor));
            }
            if let Some(row) = rows.last() {
                last = Some((0..=self.opened.key.len()).map(|index| Raw::read(row, index)).collect::<Sql<_>>()?);
            }
            if !changes.is_empty() {
                return Ok((changes, Some(Round { floor: floor.clone(), last: last.unwrap_or_default() }), floor));
            }
        }
    }

    /// One step from `after`; `max` records at most.
    async fn step(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let spot = self.parse(after)?;
        if self.given.as_ref() != Some(after) {
            self.delivered.clear();
            self.delivering.clear();
        }
        let opened = Arc::clone(&self.opened);
        let mut lease = opened.database.read().await?;
        let read = self.read_on(&spot, max, lease.connection()).await;
        let (changes, round, floor) = read.map_err(opened.place().failed("polling"))?;
        lease.give_back();
        let more = round.is_some();
        if !more {
            self.delivered = std::mem::take(&mut self.delivering);
            if changes.is_empty() && spot.round.is_none() {
                // Nothing new: the position stays, so that an idle pair stores nothing.
                self.given = Some(after.clone());
                return Ok(ChangeBatch { changes, through: after.clone(), more });
            }
        }
        let floor = if more { spot.floor } else { floor };
        let through = self.give(&Spot { floor, round, batch: spot.batch.wrapping_add(1) });
        Ok(ChangeBatch { changes, through, more })
    }
}

#[async_trait]
impl Source for PollingSource {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.opened.capture)
    }

    async fn prepare(&mut self) -> Result<String> {
        Ok(format!("polling:{}", self.column))
    }

    async fn remove(&mut self) -> Result<()> {
        super::tracking::remove(&self.opened).await
    }

    async fn head(&mut self) -> Result<Position> {
        let opened = Arc::clone(&self.opened);
        let mut lease = opened.database.read().await?;
        let floor = self.newest(lease.connection()).await.map_err(opened.place().failed("polling"))?;
        lease.give_back();
        let mut position = self.give(&Spot { floor, round: None, batch: 0 });
        // What the window holds now is known already.
        loop {
            let batch = self.step(&position, super::target::BATCH).await?;
            position = batch.through;
            if !batch.more {
                return Ok(position);
            }
        }
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        self.watch.mark().await?;
        self.step(after, max.max(1)).await
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.watch.wait(timeout).await
    }

    async fn acknowledge(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }
}

/// The times that stand in the records. Where a record differs from what this consumer wrote last, someone else wrote it since.
pub(super) async fn times(opened: &Opened, keys: &[Key]) -> Result<Vec<Option<i64>>> {
    let failed = || opened.place().failed("reading times");
    let mut times = vec![None; keys.len()];
    let Some(column) = &opened.updated_at else { return Ok(times) };
    let rest = format!(
        "SELECT tidelock_i, {} FROM tidelock_q CROSS JOIN {} WHERE {}",
        opened.table.of(column),
        opened.table.quoted(),
        lookup::joined(&opened.key, &opened.table.quoted())
    );
    let mut lease = opened.database.read().await?;
    for (statement, owners) in lookup::Asked::new(&opened.key, keys).statements(opened.key.len(), &rest) {
        for row in statement.rows(lease.connection()).await.map_err(failed())? {
            let ordinal: i64 = row.try_get(0).map_err(failed())?;
            let owner = usize::try_from(ordinal).ok().and_then(|ordinal| owners.get(ordinal)).copied();
            if let Some(slot) = owner.and_then(|owner| times.get_mut(owner)) {
                *slot = instant(&Raw::read(&row, 1).map_err(failed())?);
            }
        }
    }
    lease.give_back();
    Ok(times)
}
