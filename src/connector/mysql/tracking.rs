//! The tracking objects of a table (layer 4): change table, triggers, and who reads it. All in the table's own database, all named
//! `tidelock_*`. MySQL commits each statement that makes one: the row that says that a stream is whole is written last.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::{Asked, Collection, read};
use super::errors::{Sql, is_no_table};
use super::position::{self, LogPosition, Range, within};
use super::table::{MyColumn, Table, literal, quote};
use super::{binlog, gates, marks};
use crate::change::Position;
use crate::connector::change_log::{all, list, tracking_name};
use crate::error::{ErrorKind, Result};
use crate::record::Key;

/// Rows that are deleted at a time, so that nobody waits for long.
const TRIM_ROWS: u64 = 5_000;
/// Seconds to wait for another tidelock that makes or removes tracking objects.
const LOCK_SECONDS: u32 = 10;

/// What a trigger survives, so that an application's write never fails for a key column that was renamed or changed: no such column,
/// and a value that the change table cannot hold. Not a deadlock, which ends the transaction.
const SURVIVED: &str = "1054, 1264, 1265, 1292, 1366, 1406, 1690";
/// The columns that say how a change is to be read, after its key.
pub(super) const AT: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', c.at)";

/// Names of a table's tracking objects, quoted where not said otherwise.
pub(super) struct Names {
    /// Change table without its database, not quoted: what the other tables know it by.
    pub(super) stream: String,
    /// Change table.
    pub(super) changes: String,
    /// Who reads the change table.
    pub(super) consumers: String,
    /// The streams and how far they were trimmed.
    streams: String,
}

impl Names {
    /// The names for a table.
    pub(super) fn of(table: &Table) -> Self {
        let stream = tracking_name("changes", &table.name);
        Self {
            changes: table.beside(&stream),
            consumers: table.beside("tidelock_consumers"),
            streams: table.beside("tidelock_streams"),
            stream,
        }
    }
}

impl Names {
    /// What [`prepare`] makes: the change table, its triggers, and what all tables of the database share.
    pub(super) fn all(&self, table: &Table) -> Vec<String> {
        let gates = gates::table(table);
        let tables = [&self.changes, &self.consumers, &self.streams, &gates].map(|name| format!("table {name}"));
        let triggers = ROLES.map(|role| format!("trigger {}", table.beside(&trigger_name(role, table))));
        tables.into_iter().chain(triggers).collect()
    }
}

/// The key's columns in the change table.
pub(super) fn key_columns(collection: &Collection) -> Vec<MyColumn> {
    collection.key.iter().enumerate().map(|(index, column)| column.tracked(index)).collect()
}

async fn run(connection: &mut MySqlConnection, sql: String) -> Sql<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

/// Takes the one lock of those who make or remove tracking objects. It goes with the connection.
async fn lock(connection: &mut MySqlConnection, collection: &Collection) -> Result<()> {
    let taken: Sql<Option<i64>> =
        sqlx::query_scalar("SELECT GET_LOCK('tidelock', ?)").bind(LOCK_SECONDS).fetch_one(connection).await;
    match taken.map_err(|error| collection.place.failed("preparing change tracking", error))? {
        Some(1) => Ok(()),
        _ => Err(collection.place.error(
            ErrorKind::Unavailable,
            "mysql.contention",
            "another tidelock is making or removing its tables on this server",
        )),
    }
}

async fn unlock(connection: &mut MySqlConnection) -> Sql<()> {
    sqlx::query("DO RELEASE_LOCK('tidelock')").execute(connection).await.map(|_| ())
}

/// Makes what is missing and registers the consumer. Returns the registration's incarnation.
pub(super) async fn prepare(connection: &mut MySqlConnection, collection: &Collection) -> Result<String> {
    lock(connection, collection).await?;
    let prepared = prepare_locked(connection, collection).await;
    let unlocked = unlock(connection).await;
    let failed = |error| collection.place.failed("preparing change tracking", error);
    let incarnation = prepared.map_err(failed)?;
    unlocked.map_err(failed)?;
    Ok(incarnation)
}

async fn prepare_locked(connection: &mut MySqlConnection, collection: &Collection) -> Sql<String> {
    let (table, names) = (&collection.table, Names::of(&collection.table));
    run(connection, bookkeeping(table, &names)).await?;
    let form = form(collection);
    if !is_intact(connection, table, &names, &form).await? {
        run(connection, dropped(table, &names)).await?;
        run(connection, change_table(collection, &names)).await?;
        for trigger in triggers(collection, &names) {
            run(connection, trigger).await?;
        }
        let sql = format!("INSERT INTO {} (change_table, form) VALUES (?, ?)", names.streams);
        sqlx::query(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(form).execute(&mut *connection).await?;
    }
    warn_of_cascades(connection, table).await?;
    register(connection, collection, &names).await
}

/// What a change table was made for. The number changes with the form of the tracking objects, which are then made anew.
fn form(collection: &Collection) -> String {
    let columns = key_columns(collection);
    let one =
        |(key, tracked): (&MyColumn, &MyColumn)| format!("{} {}", quote(key.name()), tracked.tracked_definition());
    format!("1: {}", list(collection.key.iter().zip(&columns).map(one)))
}

fn bookkeeping(table: &Table, names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {streams} (change_table varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, \
           form text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, trimmed bigint NOT NULL DEFAULT 0, \
           decided bigint NOT NULL DEFAULT 0) ENGINE = InnoDB; \
         CREATE TABLE IF NOT EXISTS {consumers} (change_table varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
           consumer varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, incarnation char(36) CHARACTER SET ascii NOT NULL, \
           position longtext CHARACTER SET ascii NOT NULL, PRIMARY KEY (change_table, consumer)) ENGINE = InnoDB; {gates}",
        streams = names.streams,
        consumers = names.consumers,
        gates = gates::definition(table),
    )
}

fn trigger_name(role: &str, table: &Table) -> String {
    tracking_name(role, &table.name)
}

const ROLES: [&str; 3] = ["insert", "update", "delete"];

/// Whether changes were recorded without a gap since the stream was made: else its positions are void.
async fn is_intact(connection: &mut MySqlConnection, table: &Table, names: &Names, form: &str) -> Sql<bool> {
    let triggers = list(ROLES.iter().map(|role| literal(&trigger_name(role, table))));
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} WHERE change_table = ? AND form = ?) \
           AND EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?) \
           AND 3 = (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? \
             AND TRIGGER_NAME IN ({triggers}))",
        names.streams
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(form.to_owned());
    let query = query.bind(table.database.clone()).bind(names.stream.clone());
    let intact: i64 = query.bind(table.database.clone()).bind(table.name.clone()).fetch_one(connection).await?;
    Ok(intact == 1)
}

fn change_table(collection: &Collection, names: &Names) -> String {
    format!(
        "CREATE TABLE {} (seq bigint AUTO_INCREMENT PRIMARY KEY, op char(1) CHARACTER SET ascii NOT NULL, {}, at datetime(6) NOT NULL, \
         origin varchar(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin) ENGINE = InnoDB",
        names.changes,
        list(key_columns(collection).iter().map(MyColumn::tracked_definition)),
    )
}

/// They run with the rights of who makes them, so that applications need no grants on the change table. `REPLACE` and
/// `INSERT … ON DUPLICATE KEY UPDATE` fire them for what they do.
fn triggers(collection: &Collection, names: &Names) -> Vec<String> {
    let table = &collection.table;
    let columns = list((0..collection.key.len()).map(|index| format!("k{index}")));
    let change = |op: &str, row: &str| {
        let key = list(collection.key.iter().map(|column| column.of(row)));
        format!(
            "INSERT INTO {} (op, {columns}, at, origin) VALUES ('{op}', {key}, UTC_TIMESTAMP(6), @tidelock_origin)",
            names.changes
        )
    };
    let same_key = all(collection.key.iter().map(|column| column.same("OLD", "NEW")));
    let moved = format!("IF NOT ({same_key}) THEN {}; END IF; {}", change("D", "OLD"), change("U", "NEW"));
    let bodies = [change("U", "NEW"), moved, change("D", "OLD")];
    let one = |(role, body): (&str, String)| {
        format!(
            "CREATE TRIGGER {name} AFTER {event} ON {of} FOR EACH ROW BEGIN DECLARE tidelock_gate int; \
               DECLARE EXIT HANDLER FOR {survived} INSERT INTO {changes} (op, at) VALUES ('L', UTC_TIMESTAMP(6)); \
               {enter}; {body}; END",
            name = table.beside(&trigger_name(role, table)),
            event = role.to_uppercase(),
            of = table.quoted(),
            survived = list(SURVIVED.split(", ").map(str::to_owned)),
            changes = names.changes,
            enter = gates::enter(table),
        )
    };
    ROLES.into_iter().zip(bodies).map(one).collect()
}

/// Triggers first: without their change table every write of the users would fail.
fn dropped(table: &Table, names: &Names) -> String {
    let triggers: String = ROLES
        .iter()
        .map(|role| format!("DROP TRIGGER IF EXISTS {}; ", table.beside(&trigger_name(role, table))))
        .collect();
    format!(
        "{triggers}DROP TABLE IF EXISTS {changes}; DELETE FROM {streams} WHERE change_table = {stream}; \
         DELETE FROM {consumers} WHERE change_table = {stream}",
        changes = names.changes,
        streams = names.streams,
        consumers = names.consumers,
        stream = literal(&names.stream),
    )
}

/// What a foreign key changes in this table fires no trigger.
pub(super) async fn warn_of_cascades(connection: &mut MySqlConnection, table: &Table) -> Sql<()> {
    let rules = "('CASCADE', 'SET NULL', 'SET DEFAULT')";
    let sql = format!(
        "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? \
         AND (DELETE_RULE IN {rules} OR UPDATE_RULE IN {rules})"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(table.database.clone()).bind(table.name.clone());
    for row in &query.fetch_all(connection).await? {
        let constraint: String = row.try_get_unchecked(0)?;
        let table = table.label();
        tracing::warn!(
            table,
            constraint,
            "rows that this foreign key changes fire no trigger: such changes are not seen"
        );
    }
    Ok(())
}

/// Registers the consumer behind all that happened so far. Who comes back after it was removed has missed changes: its registration
/// has another name.
async fn register(connection: &mut MySqlConnection, collection: &Collection, names: &Names) -> Sql<String> {
    let head = head(connection, names).await?;
    let sql = format!(
        "INSERT IGNORE INTO {} (change_table, consumer, incarnation, position) VALUES (?, ?, UUID(), ?)",
        names.consumers
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(collection.options.consumer.clone());
    query.bind(position::write(&head).0).execute(&mut *connection).await?;
    let found = registration(connection, collection, names).await?;
    found.map(|found| found.incarnation).ok_or(sqlx::Error::WorkerCrashed)
}

/// What the stream knows of a consumer.
pub(super) struct Registration {
    incarnation: String,
    /// The newest number there ever was, as far as anything of it is left.
    pub(super) newest: i64,
}

/// The consumer's registration; `None` where there is none.
pub(super) async fn registration(
    connection: &mut MySqlConnection,
    collection: &Collection,
    names: &Names,
) -> Sql<Option<Registration>> {
    let sql = format!(
        "SELECT c.incarnation, GREATEST(s.trimmed, COALESCE((SELECT MAX(seq) FROM {}), 0)) FROM {} c JOIN {} s USING (change_table) \
         WHERE c.change_table = ? AND c.consumer = ?",
        names.changes, names.consumers, names.streams
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(collection.options.consumer.clone());
    let row = query.fetch_optional(connection).await?;
    row.map(|row| Ok(Registration { incarnation: row.try_get_unchecked(0)?, newest: row.try_get_unchecked(1)? }))
        .transpose()
}

/// The position behind everything that is visible now: what is missing up to there may still come.
pub(super) async fn head(connection: &mut MySqlConnection, names: &Names) -> Sql<LogPosition> {
    // One statement, so that all of it is seen at one time.
    let sql = format!(
        "SELECT 1, s.decided, GREATEST(s.trimmed, s.decided, COALESCE((SELECT MAX(seq) FROM {changes}), 0)) FROM {streams} s \
           WHERE s.change_table = ? \
         UNION ALL SELECT 0, before_it + 1, seq - 1 FROM (SELECT c.seq, COALESCE(LAG(c.seq) OVER (ORDER BY c.seq), s.decided) AS before_it \
           FROM {streams} s JOIN {changes} c ON c.seq > s.decided WHERE s.change_table = ?) g WHERE seq > before_it + 1 \
         UNION ALL SELECT 2, COALESCE(MAX(seq), 0), 0 FROM {changes}",
        changes = names.changes,
        streams = names.streams,
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(names.stream.clone());
    let (mut position, mut last) = (LogPosition::default(), 0);
    for row in &query.fetch_all(connection).await? {
        let (what, first, second): (i64, i64, i64) =
            (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?, row.try_get_unchecked(2)?);
        match what {
            0 => position.open.push((first, second)),
            1 => {
                position.seq = second;
                last = last.max(first);
            }
            _ => last = last.max(first),
        }
    }
    // Behind the last row that is left, rows were trimmed and others may still come.
    if last < position.seq {
        position.open.push((last + 1, position.seq));
    }
    position.open.sort_unstable();
    Ok(position)
}

/// Keeps the consumer's position, and deletes what every registered consumer has behind it.
pub(super) async fn trim(
    connection: &mut MySqlConnection,
    collection: &Collection,
    names: &Names,
    position: &LogPosition,
) -> Sql<()> {
    let sql = format!("UPDATE {} SET position = ? WHERE change_table = ? AND consumer = ?", names.consumers);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(position::write(position).0).bind(names.stream.clone());
    query.bind(collection.options.consumer.clone()).execute(&mut *connection).await?;
    let sql = format!("SELECT position FROM {} WHERE change_table = ?", names.consumers);
    let stored: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(names.stream.clone()).fetch_all(&mut *connection).await?;
    let Some(positions) =
        stored.into_iter().map(|text| position::read::<LogPosition>(&Position(text))).collect::<Option<Vec<_>>>()
    else {
        return Ok(());
    };
    let behind = positions.iter().map(|position| position.seq).min().unwrap_or_default();
    let open: Vec<Range> = positions.iter().flat_map(|position| position.open.iter().copied()).collect();
    let sql = format!(
        "UPDATE {} SET trimmed = GREATEST(trimmed, ?), decided = GREATEST(decided, ?) WHERE change_table = ?",
        names.streams
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(behind).bind(position.decided());
    query.bind(names.stream.clone()).execute(&mut *connection).await?;
    let sql = format!(
        "DELETE FROM {} WHERE seq <= {behind} AND NOT (FALSE{}) ORDER BY seq LIMIT {TRIM_ROWS}",
        names.changes,
        within(&open)
    );
    loop {
        let deleted = sqlx::query(AssertSqlSafe(sql.clone())).persistent(false).execute(&mut *connection).await?;
        if deleted.rows_affected() < TRIM_ROWS {
            return Ok(());
        }
    }
}

/// When each record last changed other than by this consumer, as far as the change table knows.
pub(super) async fn times(
    connection: &mut MySqlConnection,
    collection: &Collection,
    keys: &[Key],
) -> Sql<Vec<Option<i64>>> {
    let (names, columns) = (Names::of(&collection.table), key_columns(collection));
    let mut times = vec![None; keys.len()];
    for asked in Asked::new(&columns, keys).parts() {
        let sql = format!(
            "SELECT {AT}, {} FROM {} c WHERE {} AND NOT (c.origin <=> {})",
            list(columns.iter().map(|column| column.read("c"))),
            names.changes,
            asked.condition("c"),
            literal(&collection.origin),
        );
        for row in &asked.rows(connection, sql).await? {
            let at: Option<i64> = row.try_get_unchecked(0)?;
            for owner in asked.owners(&key(row, 1, &columns)?) {
                if let Some(time) = times.get_mut(*owner) {
                    *time = at.max(*time);
                }
            }
        }
    }
    Ok(times)
}

/// The key in a row of the change table.
pub(super) fn key(row: &MySqlRow, first: usize, columns: &[MyColumn]) -> Sql<Key> {
    read(row, first, columns).map(Key)
}

/// Unregisters a consumer that finds changes in another way now: nobody would trim what it does not read.
pub(super) async fn leave(connection: &mut MySqlConnection, collection: &Collection) -> Result<()> {
    lock(connection, collection).await?;
    let left = unregister(connection, collection).await;
    let unlocked = unlock(connection).await;
    left.and(unlocked).map_err(|error| collection.place.failed("removing change tracking", error))
}

/// Unregisters the consumer and drops what nobody else uses.
pub(super) async fn remove(connection: &mut MySqlConnection, collection: &Collection) -> Result<()> {
    lock(connection, collection).await?;
    let removed = remove_locked(connection, collection).await;
    let unlocked = unlock(connection).await;
    removed.and(unlocked).map_err(|error| collection.place.failed("removing change tracking", error))
}

async fn remove_locked(connection: &mut MySqlConnection, collection: &Collection) -> Sql<()> {
    marks::forget_consumer(connection, collection).await?;
    unregister(connection, collection).await?;
    let consumers = Names::of(&collection.table).consumers;
    let left = format!("SELECT EXISTS (SELECT 1 FROM {consumers})");
    let left: Sql<i64> = sqlx::query_scalar(AssertSqlSafe(left)).fetch_one(&mut *connection).await;
    if marks::or_empty(left, 0)? == 0 && !binlog::is_used(connection, &collection.table).await? {
        marks::drop_if_empty(connection, &collection.table).await?;
    }
    Ok(())
}

async fn unregister(connection: &mut MySqlConnection, collection: &Collection) -> Sql<()> {
    let (table, names) = (&collection.table, Names::of(&collection.table));
    let sql = format!("DELETE FROM {} WHERE change_table = ? AND consumer = ?", names.consumers);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(names.stream.clone()).bind(collection.options.consumer.clone());
    match query.execute(&mut *connection).await {
        Err(error) if is_no_table(&error) => return Ok(()),
        done => done?,
    };
    let left = format!(
        "SELECT COALESCE(SUM(change_table = {}), 0) > 0, COUNT(*) > 0 FROM {}",
        literal(&names.stream),
        names.consumers
    );
    let row = sqlx::query(AssertSqlSafe(left)).fetch_one(&mut *connection).await?;
    let (here, anywhere): (i64, i64) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
    if here == 0 {
        run(connection, dropped(table, &names)).await?;
    }
    if anywhere == 0 {
        let gates = gates::table(table);
        run(connection, format!("DROP TABLE IF EXISTS {}, {}, {gates}", names.consumers, names.streams)).await?;
    }
    Ok(())
}
