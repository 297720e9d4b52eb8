//! Reads a table's pages in the order of (time, key) for `connector/polling` (layer 4). A row's version is its `xmin` and `ctid`, a view's its content.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::collection::{Collection, read};
use super::errors::Sql;
use super::table::PgColumn;
use super::{logical, target, tracking, values};
use crate::connector::Capabilities;
use crate::connector::change_log::{list, quote};
use crate::connector::polling::{Pages, Polled, PolledOf, PositionOf, polled_column};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;
use crate::value::{Kind, Value};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The pages of a table. Times and keys are kept as the server prints them.
pub(super) struct TablePages {
    collection: Arc<Collection>,
    updated_at: PgColumn,
}

impl TablePages {
    /// Goes by the column named in the options.
    pub(super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let (name, table) = (collection.options.updated_at.as_deref(), &collection.table);
        let found = polled_column(name, |name| table.column(name), |one| (one.kind(), &one.column.native_type));
        let column =
            found.map_err(|why| collection.place.error(ErrorKind::SchemaMismatch, "postgres.updated_at", why))?;
        Ok(Self { updated_at: column.clone(), collection })
    }

    /// The table by its own name, for the filter may qualify columns with it.
    fn row(&self) -> String {
        quote(&self.collection.table.name)
    }

    /// What is another text for another content of row `row`. A view's rows have no place of their own.
    fn version(&self, row: &str) -> String {
        if self.collection.table.view {
            format!("md5({row}::text)")
        } else {
            format!("{row}.xmin::text || {row}.ctid::text")
        }
    }

    /// A time without a zone may be that of any zone.
    fn ceiling(&self) -> &'static str {
        if self.updated_at.kind() == Kind::Instant {
            "clock_timestamp()"
        } else {
            "(clock_timestamp() AT TIME ZONE 'UTC' + interval '14 hours')"
        }
    }

    /// The newest time that is believed; `None` where the table is empty.
    async fn newest_now(&self) -> Sql<Option<String>> {
        let time = self.updated_at.of(&self.row());
        // The order makes it the last entry of an index, where there is one.
        let sql = format!(
            "SELECT least({time}, {}::{})::text FROM {} WHERE isfinite({time}) ORDER BY {time} DESC LIMIT 1",
            self.ceiling(),
            self.updated_at.cast,
            self.collection.table.quoted()
        );
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&self.collection.pool).await
    }

    async fn read_page(&self, position: &PositionOf<Self>, max: usize) -> Sql<Vec<PolledOf<Self>>> {
        let collection = &self.collection;
        let (row, time) = (self.row(), self.updated_at.of(&self.row()));
        let keys = list(collection.key.iter().map(|column| column.of(&row)));
        let after_key = list(
            collection.key.iter().enumerate().map(|(index, column)| column.cast(&format!("${}::text", index + 5))),
        );
        let cast = &self.updated_at.cast;
        let after = if position.page.is_some() {
            format!("AND ({time}, {keys}) > ($4::text::{cast}, {after_key})")
        } else {
            String::new()
        };
        let filter =
            collection.filter.as_ref().map_or_else(|| "true".to_owned(), |filter| format!("({filter}\n) IS TRUE"));
        let sql = format!(
            "SELECT {time}::text, {ceiling}::{cast}::text, {version}, {filter}, {key_texts}, {texts} \
             FROM {table} WHERE isfinite({time}) AND ($1::text IS NULL OR {time} >= $1::text::{cast} - make_interval(secs => $2)) \
             {after} ORDER BY {time}, {keys} LIMIT $3",
            ceiling = self.ceiling(),
            version = self.version(&row),
            key_texts = list(collection.key.iter().map(|column| column.text(&row))),
            texts = collection.texts(&row),
            table = collection.table.quoted(),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(position.newest.as_deref())
            .bind(collection.options.overlap.as_secs_f64())
            .bind(i64::try_from(max).unwrap_or(i64::MAX));
        if let Some(page) = &position.page {
            query = page.key.iter().fold(query.bind(&page.time), |query, value| query.bind(value.as_deref()));
        }
        query.fetch_all(&collection.pool).await?.iter().map(|row| self.polled(row)).collect()
    }

    fn polled(&self, row: &PgRow) -> Sql<PolledOf<Self>> {
        let width = self.collection.key.len();
        Ok(Polled {
            time: row.try_get(0)?,
            ceiling: row.try_get(1)?,
            version: row.try_get(2)?,
            passes: row.try_get(3)?,
            key: Key(read(row, 4, &self.collection.key)?),
            record: self.collection.record(row, 4 + width)?,
        })
    }
}

#[async_trait]
impl Pages for TablePages {
    type Time = String;
    type Cursor = Vec<Option<String>>;
    type Version = String;

    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    fn column(&self) -> &str {
        self.updated_at.name()
    }

    fn overlap(&self) -> Duration {
        self.collection.options.overlap
    }

    fn micros(&self, time: &String) -> Option<i64> {
        let value = values::parse(self.updated_at.kind(), time);
        if let Value::Instant(micros) | Value::Local(micros) = value {
            return Some(micros);
        }
        // A date is the beginning of its day.
        if let Value::Date(days) = value { Some(i64::from(days) * MICROS_PER_DAY) } else { None }
    }

    fn cursor(&self, key: &Key) -> Self::Cursor {
        key.0.iter().map(|value| values::input(value).map(Cow::into_owned)).collect()
    }

    fn lost(&self, message: &str) -> SyncError {
        self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
    }

    async fn newest(&self) -> Result<Option<String>> {
        self.newest_now().await.map_err(|error| self.collection.place.failed("asking for the newest time", error))
    }

    async fn page(&self, position: &PositionOf<Self>, max: usize) -> Result<Vec<PolledOf<Self>>> {
        self.read_page(position, max).await.map_err(|error| self.collection.place.failed("polling", error))
    }

    async fn leave(&self) -> Result<()> {
        let leaving = async { logical::leave(&mut *self.collection.pool.acquire().await?, &self.collection).await };
        leaving.await.map_err(|error| self.collection.place.failed("preparing to poll", error))
    }

    async fn remove(&self) -> Result<()> {
        let removing = async {
            logical::leave(&mut *self.collection.pool.acquire().await?, &self.collection).await?;
            let mut transaction = self.collection.pool.begin().await?;
            tracking::remove(&mut transaction, &self.collection).await?;
            transaction.commit().await
        };
        removing.await.map_err(|error| self.collection.place.failed("removing change tracking", error))
    }
}
