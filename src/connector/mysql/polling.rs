//! Reads a table's pages in the order of (time, key) for `connector/polling` (layer 4). A row's version is a digest of its content.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::{Asked, Collection, read};
use super::errors::Sql;
use super::table::MyColumn;
use super::values::{Bind, decode, encode};
use super::{binlog, target, tracking};
use crate::connector::Capabilities;
use crate::connector::change_log::list;
use crate::connector::polling::{Pages, Polled, PolledOf, PositionOf, polled_column};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, encode_values};
use crate::value::{Kind, Value};

/// Where a time without a zone may be ahead of UTC.
const ZONES: i64 = 14 * 3_600_000_000;

/// The pages of a table. Times are microseconds since 1970, keys their canonical bytes in base64.
pub(super) struct TablePages {
    collection: Arc<Collection>,
    updated_at: MyColumn,
}

impl TablePages {
    /// Goes by the column named in the options.
    pub(super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let (name, table) = (collection.options.updated_at.as_deref(), &collection.table);
        let found = polled_column(name, |name| table.column(name), |one| (one.kind(), &one.column.native_type));
        let column = found.map_err(|why| collection.place.error(ErrorKind::SchemaMismatch, "mysql.updated_at", why))?;
        Ok(Self { updated_at: column.clone(), collection })
    }

    /// The newest time that is believed; `None` where the table is empty.
    async fn newest_now(&self) -> Sql<Option<i64>> {
        let (row, time) = (self.collection.row(), self.updated_at.of(&self.collection.row()));
        // The order makes it the last entry of an index, where there is one.
        let sql = format!(
            "SELECT {}, {NOW} FROM {} WHERE {time} > '0001-01-01' ORDER BY {time} DESC LIMIT 1",
            self.updated_at.read(&row),
            self.collection.table.quoted()
        );
        let found = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&self.collection.pool).await?;
        found
            .map(|row| {
                let time = micros(&decode(&row, 0, &self.updated_at)?).unwrap_or_default();
                Ok(time.min(self.ceiling(row.try_get_unchecked(1)?)))
            })
            .transpose()
    }

    /// A time without a zone may be that of any zone.
    fn ceiling(&self, now: i64) -> i64 {
        if self.updated_at.kind() == Kind::Instant { now } else { now.saturating_add(ZONES) }
    }

    async fn read_page(&self, position: &PositionOf<Self>, max: usize) -> Sql<Vec<PolledOf<Self>>> {
        let collection = &self.collection;
        let row = collection.row();
        let time = self.updated_at.of(&row);
        let keys = list(collection.key.iter().map(|column| column.of(&row)));
        let key = |stored: &String| Key::decode(&BASE64_STANDARD.decode(stored).ok()?).ok();
        let last = position.page.as_ref().and_then(|page| Some((page.time, key(&page.key)?)));
        let (mut condition, mut binds) = (format!("{time} > '0001-01-01'"), Vec::new());
        if let Some(newest) = position.newest {
            condition.push_str(&format!(" AND {time} >= ?"));
            let overlap = i64::try_from(collection.options.overlap.as_micros()).unwrap_or(i64::MAX);
            binds.push(time_text(newest.saturating_sub(overlap)));
        }
        if let Some((at, key)) = &last {
            let parameters = list(collection.key.iter().map(MyColumn::parameter));
            condition.push_str(&format!(" AND ({time} > ? OR ({time} = ? AND ({keys}) > ({parameters})))"));
            binds.extend([time_text(*at), time_text(*at)]);
            let part = |(column, value)| encode(column, value).unwrap_or(Bind::Null);
            binds.extend(collection.key.iter().zip(&key.0).map(part));
        }
        let sql = format!(
            "SELECT {}, {NOW}, {} IS TRUE, {}, {} FROM {} WHERE {condition} ORDER BY {time}, {keys} LIMIT {max}",
            self.updated_at.read(&row),
            collection.filter_condition().unwrap_or_else(|| "TRUE".to_owned()),
            list(collection.key.iter().map(|column| column.read(&row))),
            collection.reads(),
            collection.table.quoted(),
        );
        let query = binds.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, bind| bind.to(query));
        query.fetch_all(&collection.pool).await?.iter().map(|row| self.polled(row)).collect()
    }

    fn polled(&self, row: &MySqlRow) -> Sql<PolledOf<Self>> {
        let width = self.collection.key.len();
        let passes = row.try_get_unchecked::<i64, _>(2)? != 0;
        let record = self.collection.record(row, 3 + width)?;
        let mut hasher = DefaultHasher::new();
        (passes, encode_values(record.values())).hash(&mut hasher);
        Ok(Polled {
            time: micros(&decode(row, 0, &self.updated_at)?).unwrap_or_default(),
            ceiling: self.ceiling(row.try_get_unchecked(1)?),
            version: hasher.finish(),
            passes,
            key: Key(read(row, 3, &self.collection.key)?),
            record,
        })
    }
}

/// The server's clock, as microseconds since 1970.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";

fn micros(value: &Value) -> Option<i64> {
    match value.clone().convert(Kind::Local) {
        Ok(Value::Local(micros)) => Some(micros),
        _ => None,
    }
}

fn time_text(micros: i64) -> Bind {
    // Before the calendar begins everything is later.
    let text = Value::Local(micros.max(-62_135_596_800_000_000)).to_text().unwrap_or_default();
    Bind::Text(text.replacen('T', " ", 1))
}

/// The times that stand in the records.
pub(super) async fn times(
    connection: &mut MySqlConnection,
    collection: &Collection,
    name: &str,
    keys: &[Key],
) -> Sql<Vec<Option<i64>>> {
    let mut times = vec![None; keys.len()];
    let (Some(column), row_name) = (collection.table.column(name), collection.row()) else { return Ok(times) };
    for asked in Asked::new(&collection.key, keys).parts() {
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {}",
            column.read(&row_name),
            list(collection.key.iter().map(|column| column.read(&row_name))),
            collection.table.quoted(),
            asked.condition(&row_name),
        );
        for row in &asked.rows(connection, sql).await? {
            let time = micros(&decode(row, 0, column)?);
            for owner in asked.owners(&Key(read(row, 1, &collection.key)?)) {
                if let Some(slot) = times.get_mut(*owner) {
                    *slot = time;
                }
            }
        }
    }
    Ok(times)
}

#[async_trait]
impl Pages for TablePages {
    type Time = i64;
    type Cursor = String;
    type Version = u64;

    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    fn column(&self) -> &str {
        self.updated_at.name()
    }

    fn overlap(&self) -> Duration {
        self.collection.options.overlap
    }

    fn micros(&self, time: &i64) -> Option<i64> {
        Some(*time)
    }

    fn cursor(&self, key: &Key) -> String {
        BASE64_STANDARD.encode(key.encode())
    }

    fn lost(&self, message: &str) -> SyncError {
        self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
    }

    async fn newest(&self) -> Result<Option<i64>> {
        self.newest_now().await.map_err(|error| self.collection.place.failed("asking for the newest time", error))
    }

    async fn page(&self, position: &PositionOf<Self>, max: usize) -> Result<Vec<PolledOf<Self>>> {
        self.read_page(position, max).await.map_err(|error| self.collection.place.failed("polling", error))
    }

    async fn remove(&self) -> Result<()> {
        let failed = |error| self.collection.place.failed("removing change tracking", error);
        let mut connection = self.collection.pool.acquire().await.map_err(failed)?;
        binlog::leave(&mut connection, &self.collection).await?;
        tracking::remove(&mut connection, &self.collection).await
    }
}
