//! The state store in one SQLite file: WAL, `synchronous = FULL`, one transaction a batch (I2). Intentions that a power failure may take
//! back are written without waiting for the disk.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::{Mutex, RwLock};

use super::intent::Open;
use super::{
    Begun, Commit, Conflict, Decision, End, Ends, Intention, Link, LoadProgress, Outcome, PairSummary, Progress,
    Review, ReviewFilter, ReviewKind, StateStore,
};
use crate::change::Position;
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Layout, Record, encode_values, layout};
use crate::telemetry::{CrashPoint, clock};

mod commit;
mod conflicts;
mod intents;
mod links;
mod loads;
mod names;
mod owner;
mod past;
mod resyncs;
mod reviews;
mod shapes;
mod waiting;

const SCHEMA: &str = include_str!("schema.sql");

/// Version of the schema that this program reads and writes.
const VERSION: &str = "6";

/// What leads from a version to the next.
const MIGRATIONS: [(&str, &str); 5] = [
    ("1", include_str!("from_version_1.sql")),
    ("2", include_str!("from_version_2.sql")),
    ("3", include_str!("from_version_3.sql")),
    ("4", include_str!("from_version_4.sql")),
    ("5", include_str!("from_version_5.sql")),
];

/// How long batches and settled conflicts are kept where nothing else is said.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Keys in one `IN` list: fixed sizes, so that statements are prepared once.
const KEYS_PER_QUERY: usize = 256;

/// The state of one service in one file.
pub struct SqliteState {
    pool: SqlitePool,
    /// Does not wait for the disk: a killed program loses nothing of what it wrote, a power failure may.
    hasty: SqlitePool,
    id: String,
    /// Name of this opening: numbers are given again where a file was restored, and must not be taken for those of before.
    run: String,
    layouts: RwLock<HashMap<i64, Layout>>,
    /// How long batches and settled conflicts are kept.
    retention: Duration,
    /// Commits take turns here: SQLite's own waiting is by sleeping.
    committing: Mutex<()>,
    _lock: Option<std::fs::File>,
}

impl SqliteState {
    /// Opens `sqlite://PATH`, made where it is missing. An exclusive opener is alone: a second one is refused.
    ///
    /// # Errors
    /// Where the file cannot be used, another version made it, or another service has it.
    pub async fn open(url: &str, exclusive: bool) -> Result<Self> {
        let path = url.strip_prefix("sqlite://").unwrap_or(url);
        let lock = if exclusive && path != ":memory:" { Some(owner::lock(Path::new(path))?) } else { None };
        let options = SqliteConnectOptions::from_str("sqlite://")
            .map_err(failed)?
            .filename(path)
            .create_if_missing(exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let connections = if path == ":memory:" { 1 } else { 4 };
        let pool = |connections| {
            // A file does not break off: no connection is tried before it is used.
            let options = SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
            options.before_acquire(|connection, _| {
                // SQLite rolls a transaction back by itself where the disk is full; sqlx counts it as open for ever.
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
        };
        let hasty = pool(1).connect_lazy_with(options.clone().synchronous(SqliteSynchronous::Normal));
        let pool = pool(connections).connect_with(options).await;
        let pool = pool.map_err(|error| unusable(path, error))?;
        let id = initialise(&pool).await.map_err(|error| unusable(path, error))?;
        Ok(Self {
            // What is in memory only one connection sees.
            hasty: if path == ":memory:" { pool.clone() } else { hasty },
            pool,
            id,
            run: names::fresh(),
            layouts: RwLock::default(),
            retention: RETENTION,
            committing: Mutex::default(),
            _lock: lock,
        })
    }

    /// Whether a service has this state file at the moment.
    pub fn is_owned(url: &str) -> bool {
        owner::has(url.strip_prefix("sqlite://").unwrap_or(url))
    }

    /// Keeps batches and settled conflicts for another time than 30 days.
    #[must_use]
    pub fn keeping(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// What is older may be forgotten: microseconds since 1970-01-01 UTC.
    fn keep_from(&self) -> i64 {
        clock::now_micros().saturating_sub(i64::try_from(self.retention.as_micros()).unwrap_or(i64::MAX))
    }

    async fn layout(&self, id: i64) -> Result<Layout> {
        if let Some(known) = self.layouts.read().await.get(&id) {
            return Ok(Arc::clone(known));
        }
        let names: String = sqlx::query_scalar("SELECT fields FROM layouts WHERE id = ?")
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        let names: Vec<String> = serde_json::from_str(&names).map_err(damaged)?;
        let made = layout(names);
        self.layouts.write().await.insert(id, Arc::clone(&made));
        Ok(made)
    }
}

/// On one connection: one that was opened before would not know the columns that are added.
async fn initialise(pool: &SqlitePool) -> Result<String> {
    let mut connection = pool.acquire().await.map_err(failed)?;
    let connection = &mut *connection;
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if known {
        migrate(connection).await?;
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *connection).await.map_err(failed)?;
    let fresh = names::fresh();
    for (name, value) in [("id", fresh.as_str()), ("version", VERSION)] {
        sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    sqlx::query_scalar("SELECT value FROM meta WHERE name = 'id'").fetch_one(&mut *connection).await.map_err(failed)
}

async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    let select = "SELECT value FROM meta WHERE name = 'version'";
    let stored = |row: Option<String>| row.unwrap_or_else(|| VERSION.to_owned());
    let mut version = stored(sqlx::query_scalar(select).fetch_optional(&mut *connection).await.map_err(failed)?);
    for (from, script) in MIGRATIONS {
        if version == from {
            sqlx::raw_sql(script).execute(&mut *connection).await.map_err(failed)?;
            CrashPoint::StateMigrated.pass();
            version = stored(sqlx::query_scalar(select).fetch_optional(&mut *connection).await.map_err(failed)?);
        }
    }
    if version == VERSION {
        return Ok(());
    }
    let text = format!("the state file is of version {version}, this program reads version {VERSION}");
    Err(SyncError::new(ErrorKind::SchemaMismatch, "state.version", text))
}

fn failed(error: sqlx::Error) -> SyncError {
    SyncError::new(ErrorKind::Unavailable, "state.failed", "using the state file").caused_by(error)
}

fn unusable(path: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SyncError {
    SyncError::new(ErrorKind::PermissionDenied, "state.unusable", format!("the state file {path} cannot be opened"))
        .caused_by(error)
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SyncError {
    SyncError::new(ErrorKind::Internal, "state.damaged", "a stored value cannot be read").caused_by(error)
}

fn end_of(name: &str) -> End {
    if name == End::Source.name() { End::Source } else { End::Target }
}

/// `columns` of the rows of `table` whose `column` has one of these keys: one index search a key, padded to fixed sizes. The order of
/// the join is fixed, because for `IN` the planner would rather read every row of the pair.
fn select_keys<'a>(
    (columns, table): (&str, &str),
    pair: &'a str,
    column: &str,
    keys: &'a [Vec<u8>],
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("WITH wanted (key) AS (VALUES ");
    let size = if keys.len() <= 8 { 8 } else { KEYS_PER_QUERY };
    let mut list = query.separated(", ");
    for place in 0..size {
        list.push("(").push_bind_unseparated(keys.get(place).cloned()).push_unseparated(")");
    }
    query.push(format!(") SELECT {columns} FROM wanted CROSS JOIN {table} t ON t.{column} = wanted.key"));
    query.push(" AND t.pair = (SELECT id FROM pairs WHERE name = ").push_bind(pair.to_owned()).push(")");
    query
}

#[async_trait]
impl StateStore for SqliteState {
    fn id(&self) -> &str {
        &self.id
    }

    async fn progress(&self, pair: &str) -> Result<Progress> {
        let text = "SELECT *, EXISTS (SELECT 1 FROM decisions WHERE pair = pairs.id AND verdict IS NULL) AS decisions,
                           EXISTS (SELECT 1 FROM waiting WHERE pair = pairs.id) AS waiting,
                           EXISTS (SELECT 1 FROM waiting WHERE pair = pairs.id AND arrived = 1) AS arrived
                    FROM pairs WHERE name = ?";
        let row = sqlx::query(text).bind(pair).fetch_optional(&self.pool).await.map_err(failed)?;
        let Some(row) = row else { return Ok(Progress::default()) };
        Ok(Progress {
            loaded: row.get("loaded"),
            paused: row.get("paused"),
            resync: row.get("resync"),
            mapping: row.get("mapping"),
            load: loads::progress(&row)?,
            decisions: row.get("decisions"),
            waiting: row.get("waiting"),
            arrived: row.get("arrived"),
            incarnations: Ends { source: row.get("source_incarnation"), target: row.get("target_incarnation") },
            positions: Ends {
                source: row.get::<Option<String>, _>("source_position").map(Position),
                target: row.get::<Option<String>, _>("target_position").map(Position),
            },
        })
    }

    async fn begin_load(&self, pair: &str, progress: &Progress) -> Result<()> {
        let position = |end| progress.positions.get(end).as_ref().map(|position: &Position| position.0.clone());
        sqlx::query(
            "INSERT INTO pairs (name, loaded, source_incarnation, target_incarnation, source_position, target_position)
             VALUES (?1, 0, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET loaded = 0, resync = 0, source_incarnation = ?2, target_incarnation = ?3,
                                              source_position = ?4, target_position = ?5, load_mapping = NULL",
        )
        .bind(pair)
        .bind(progress.incarnations.source.clone())
        .bind(progress.incarnations.target.clone())
        .bind(position(End::Source))
        .bind(position(End::Target))
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(failed)
    }

    async fn keep_load(&self, pair: &str, progress: &LoadProgress) -> Result<()> {
        loads::keep(&self.pool, pair, progress).await
    }

    async fn shape(&self, pair: &str) -> Result<Option<String>> {
        shapes::shape(&self.pool, pair).await
    }

    async fn keep_shape(&self, pair: &str, shape: &str) -> Result<()> {
        shapes::keep(&self.pool, pair, shape).await
    }

    async fn set_paused(&self, pair: &str, paused: bool) -> Result<()> {
        if !paused {
            shapes::forget(&self.pool, pair).await?;
        }
        let text = "INSERT INTO pairs (name, paused) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET paused = ?2";
        sqlx::query(text).bind(pair).bind(paused).execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn request_resync(&self, pair: &str) -> Result<()> {
        let text = "INSERT INTO pairs (name, resync) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET resync = 1";
        sqlx::query(text).bind(pair).execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn links(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>> {
        links::of(self, pair, end, keys).await
    }

    async fn links_after(&self, pair: &str, end: End, after: Option<&Key>, max: usize) -> Result<Vec<Link>> {
        links::after(self, pair, end, after, max).await
    }

    async fn commit(&self, pair: &str, commit: &Commit) -> Result<()> {
        let _turn = self.committing.lock().await;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        commit::write(&mut transaction, pair, commit, self.keep_from()).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn intend(&self, pair: &str, intention: Intention<Conflict>) -> Result<Begun> {
        let _turn = self.committing.lock().await;
        let names = (pair, self.run.as_str());
        let pool = if intention.may_be_lost() { &self.hasty } else { &self.pool };
        if intention.may_be_lost()
            && let Some(begun) = intents::begin_alone(pool, names, &intention).await.map_err(failed)?
        {
            return Ok(begun);
        }
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let begun = intents::begin(&mut transaction, names, &intention).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(begun)
    }

    async fn intentions(&self, pair: &str) -> Result<Vec<Open>> {
        intents::open(&self.pool, pair).await
    }

    async fn reviews(&self, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
        reviews::list(&self.pool, filter, max).await
    }

    async fn review(&self, id: i64) -> Result<Option<Review>> {
        reviews::one(&self.pool, id).await
    }

    async fn review_counts(&self, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>> {
        reviews::counts(&self.pool, filter).await
    }

    async fn decide(&self, decisions: &[Decision]) -> Result<Vec<Option<i64>>> {
        let _turn = self.committing.lock().await;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let ids = reviews::decide(&mut transaction, decisions).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(ids)
    }

    async fn decisions(&self, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>> {
        reviews::decisions(&self.pool, pair, max).await
    }

    async fn verdicts(&self, decisions: &[i64]) -> Result<Vec<Option<Outcome>>> {
        reviews::verdicts(&self.pool, decisions).await
    }

    async fn decided(&self, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>> {
        reviews::about(&self.pool, review).await
    }

    async fn arrived(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        waiting::arrived(&self.pool, pair, max).await
    }

    async fn circles(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        waiting::circles(&self.pool, pair, max).await
    }

    async fn in_review(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<bool>> {
        let any = "SELECT EXISTS (SELECT 1 FROM reviews WHERE pair = (SELECT id FROM pairs WHERE name = ?))";
        if !sqlx::query_scalar::<_, bool>(any).bind(pair).fetch_one(&self.pool).await.map_err(failed)? {
            return Ok(vec![false; keys.len()]);
        }
        let encoded: Vec<Vec<u8>> = keys.iter().map(Key::encode).collect();
        let mut found = std::collections::HashSet::new();
        for part in encoded.chunks(KEYS_PER_QUERY) {
            for (column, side) in [("key", end), ("other_key", end.other())] {
                let mut query = select_keys(("wanted.key", "reviews"), pair, column, part);
                query.push(" AND t.side = ").push_bind(side.name());
                found.extend(query.build_query_scalar::<Vec<u8>>().fetch_all(&self.pool).await.map_err(failed)?);
            }
        }
        Ok(encoded.iter().map(|key| found.contains(key)).collect())
    }

    async fn summaries(&self) -> Result<Vec<PairSummary>> {
        let rows = sqlx::query(
            "SELECT pairs.*, (SELECT count(*) FROM links WHERE pair = pairs.id AND source_base IS NOT NULL) AS links,
                    (SELECT count(*) FROM waiting WHERE pair = pairs.id) AS waiting
             FROM pairs ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        let count = |row: &SqliteRow, column| u64::try_from(row.get::<i64, _>(column)).unwrap_or_default();
        let mut summaries = Vec::with_capacity(rows.len());
        for row in rows {
            let pair: String = row.get("name");
            let reviews_by_kind = self.review_counts(&ReviewFilter::pair(&pair)).await?;
            summaries.push(PairSummary {
                loaded: row.get("loaded"),
                paused: row.get("paused"),
                links: count(&row, "links"),
                reviews: reviews_by_kind
                    .iter()
                    .filter(|(kind, _)| **kind != ReviewKind::Waiting)
                    .map(|(_, count)| count)
                    .sum(),
                reviews_by_kind,
                waiting: count(&row, "waiting"),
                counts: commit::counts(&row),
                last_commit: row.get("last_commit"),
                pair,
            });
        }
        Ok(summaries)
    }
}

/// The id of a layout, made where it is new.
async fn layout_id(connection: &mut SqliteConnection, layout: &Layout) -> std::result::Result<i64, sqlx::Error> {
    let names = serde_json::Value::from(layout.iter().map(|name| name.to_string()).collect::<Vec<_>>()).to_string();
    sqlx::query("INSERT INTO layouts (fields) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(&names)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT id FROM layouts WHERE fields = ?").bind(&names).fetch_one(connection).await
}

/// A base in its stored form.
fn encode_base(record: &Record) -> Vec<u8> {
    encode_values(record.values())
}
