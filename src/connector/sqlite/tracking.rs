//! The change table and the triggers that fill it (layer 4). The log is read by `source`.
//!
//! The triggers run in the users' programs, whatever version of SQLite those have: nothing newer than SQLite 3.8 here.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::Opened;
use super::connection::{Transaction, run};
use super::errors::Sql;
use super::marks;
use super::statement::Statement;
use super::table::{Fields, Table};
use crate::connector::change_log::{all, list, quote, tracking_name};
use crate::error::Result;

/// Who is writing: one row inside our own transactions, none outside.
pub(super) const ORIGIN: &str = "tidelock_origin";

const SHARED_TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS tidelock_streams (change_table TEXT PRIMARY KEY, key_fields TEXT NOT NULL, incarnation TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tidelock_consumers (change_table TEXT NOT NULL, consumer TEXT NOT NULL, registration TEXT NOT NULL, \
     acknowledged INTEGER NOT NULL, PRIMARY KEY (change_table, consumer))",
    "CREATE TABLE IF NOT EXISTS tidelock_origin (id TEXT NOT NULL)",
    marks::DEFINITION,
];

/// Microseconds since 1970, exact to the millisecond that SQLite's clock has; both calls see the same time.
pub(super) const NOW: &str =
    "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)";

/// A trigger of ours.
struct Trigger {
    name: String,
    sql: String,
    /// Changes are lost where it is missing.
    essential: bool,
}

/// Name of the change table.
pub(super) fn change_table(table: &Table) -> String {
    tracking_name("changes", &table.name)
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The condition that a change's key equals that of `row`, whose columns are `tidelock_0`, …
pub(super) fn matching(key: &Fields, row: &str) -> String {
    all((0..key.len()).map(|field| format!("k{field} = {row}.tidelock_{field}")))
}

/// Whether there is a table of that name.
pub(super) async fn exists(connection: &mut SqliteConnection, table: &str) -> Sql<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)")
        .bind(table.to_owned())
        .fetch_one(connection)
        .await
}

/// What [`prepare`] makes: the change table, its triggers, and what all tables share.
pub(super) fn names(table: &Table) -> Vec<String> {
    let shared = ["tidelock_streams", "tidelock_consumers", ORIGIN].map(|name| format!("table {name}"));
    let triggers = triggers(table).into_iter().map(|trigger| format!("trigger {}", trigger.name));
    std::iter::once(format!("table {}", change_table(table))).chain(triggers).chain(shared).collect()
}

/// Whether everything is there that changes cannot do without.
pub(super) async fn is_intact(connection: &mut SqliteConnection, table: &Table) -> Sql<bool> {
    let there = existing_triggers(connection, table).await?;
    let complete = triggers(table)
        .iter()
        .filter(|trigger| trigger.essential)
        .all(|trigger| there.iter().any(|(name, _)| *name == trigger.name));
    Ok(complete && exists(connection, &change_table(table)).await?)
}

/// Creates what is missing and registers the consumer; the stream's incarnation.
pub(super) async fn prepare(opened: &Opened) -> Result<String> {
    let failed = || opened.place().failed("creating change table and triggers");
    let mut transaction = opened.database.begin().await?;
    let incarnation = prepare_in(&mut transaction, opened).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    Ok(incarnation)
}

async fn prepare_in(transaction: &mut Transaction<'_>, opened: &Opened) -> Sql<String> {
    let connection = transaction.connection();
    for sql in SHARED_TABLES {
        run(connection, sql).await?;
    }
    let (table, changes) = (&opened.table, change_table(&opened.table));
    let wanted = triggers(table);
    let there = existing_triggers(connection, table).await?;
    let is_there = |name: &str| there.iter().any(|(other, _)| other == name);
    let gap = wanted.iter().any(|trigger| trigger.essential && !is_there(&trigger.name));
    let key_fields = serde_json::to_string(&table.key).unwrap_or_default();
    let stored: Option<(String, String)> =
        sqlx::query_as("SELECT key_fields, incarnation FROM tidelock_streams WHERE change_table = ?1")
            .bind(changes.clone())
            .fetch_all(&mut *connection)
            .await?
            .pop();
    let intact = !gap
        && stored.as_ref().is_some_and(|(fields, _)| *fields == key_fields)
        && exists(connection, &changes).await?;
    if !intact {
        // Changes may have passed unseen, or the old ones carry other keys: a new stream begins.
        drop_triggers(connection, &there).await?;
        start_stream(connection, table, &changes, &key_fields).await?;
    }
    for trigger in &wanted {
        if intact && there.contains(&(trigger.name.clone(), trigger.sql.clone())) {
            continue;
        }
        execute(connection, format!("DROP TRIGGER IF EXISTS {}", quote(&trigger.name))).await?;
        execute(connection, trigger.sql.clone()).await?;
    }
    let surplus: Vec<_> =
        there.into_iter().filter(|(name, _)| !wanted.iter().any(|trigger| trigger.name == *name)).collect();
    drop_triggers(connection, &surplus).await?;
    register(connection, &changes, &opened.consumer).await
}

/// Registers the consumer behind all that happened so far. Who comes back after it was removed has missed changes: its registration
/// has another name.
async fn register(connection: &mut SqliteConnection, changes: &str, consumer: &str) -> Sql<String> {
    sqlx::query(
        "INSERT INTO tidelock_consumers (change_table, consumer, registration, acknowledged) \
         SELECT ?1, ?2, lower(hex(randomblob(4))), coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0) WHERE TRUE \
         ON CONFLICT DO NOTHING",
    )
    .bind(changes.to_owned())
    .bind(consumer.to_owned())
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar(
        "SELECT incarnation || '.' || registration FROM tidelock_streams JOIN tidelock_consumers USING (change_table) \
         WHERE change_table = ?1 AND consumer = ?2",
    )
    .bind(changes.to_owned())
    .bind(consumer.to_owned())
    .fetch_one(connection)
    .await
}

async fn start_stream(connection: &mut SqliteConnection, table: &Table, changes: &str, key_fields: &str) -> Sql<()> {
    // No declared type: a key is kept in the storage class that it has.
    let keys = list((0..table.key.len()).map(|field| format!("k{field}")));
    execute(&mut *connection, format!("DROP TABLE IF EXISTS {}", quote(changes))).await?;
    let sql = format!(
        "CREATE TABLE {} (seq INTEGER PRIMARY KEY AUTOINCREMENT, op TEXT NOT NULL, at INTEGER NOT NULL, origin TEXT, {keys})",
        quote(changes)
    );
    execute(&mut *connection, sql).await?;
    for sql in [
        "DELETE FROM tidelock_consumers WHERE change_table = ?1",
        "INSERT OR REPLACE INTO tidelock_streams (change_table, key_fields, incarnation) VALUES (?1, ?2, lower(hex(randomblob(8))))",
    ] {
        sqlx::query(sql).bind(changes.to_owned()).bind(key_fields.to_owned()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Unregisters the consumer; takes away what nobody needs any more.
pub(super) async fn remove(opened: &Opened) -> Result<()> {
    let failed = || opened.place().failed("removing change table and triggers");
    let mut transaction = opened.database.begin().await?;
    remove_in(transaction.connection(), opened).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())
}

async fn remove_in(connection: &mut SqliteConnection, opened: &Opened) -> Sql<()> {
    let changes = change_table(&opened.table);
    if exists(connection, marks::TABLE).await? {
        let mut statement = Statement::new("DELETE FROM tidelock_marks WHERE ");
        marks::push_ours(&mut statement, opened);
        statement.execute(connection).await?;
        drop_if_empty(connection, marks::TABLE).await?;
    }
    if !exists(connection, "tidelock_consumers").await? {
        return Ok(());
    }
    sqlx::query("DELETE FROM tidelock_consumers WHERE change_table = ?1 AND consumer = ?2")
        .bind(changes.clone())
        .bind(opened.consumer.clone())
        .execute(&mut *connection)
        .await?;
    let others: i64 = sqlx::query_scalar("SELECT count(*) FROM tidelock_consumers WHERE change_table = ?1")
        .bind(changes.clone())
        .fetch_one(&mut *connection)
        .await?;
    if others > 0 {
        return Ok(());
    }
    let there = existing_triggers(connection, &opened.table).await?;
    drop_triggers(connection, &there).await?;
    execute(connection, format!("DROP TABLE IF EXISTS {}", quote(&changes))).await?;
    sqlx::query("DELETE FROM tidelock_streams WHERE change_table = ?1").bind(changes).execute(&mut *connection).await?;
    if drop_if_empty(connection, "tidelock_streams").await? {
        execute(connection, "DROP TABLE IF EXISTS tidelock_consumers".to_owned()).await?;
        execute(connection, format!("DROP TABLE IF EXISTS {ORIGIN}")).await?;
    }
    Ok(())
}

async fn drop_if_empty(connection: &mut SqliteConnection, table: &str) -> Sql<bool> {
    let rows: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(&mut *connection).await?;
    if rows == 0 {
        execute(connection, format!("DROP TABLE {table}")).await?;
    }
    Ok(rows == 0)
}

async fn execute(connection: &mut SqliteConnection, sql: String) -> Sql<()> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(connection).await.map(|_| ())
}

/// Our triggers on this table, by name and text.
async fn existing_triggers(connection: &mut SqliteConnection, table: &Table) -> Sql<Vec<(String, String)>> {
    sqlx::query("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 AND name LIKE 'tidelock\\_%' ESCAPE '\\'")
        .bind(table.name.clone())
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

async fn drop_triggers(connection: &mut SqliteConnection, triggers: &[(String, String)]) -> Sql<()> {
    for (name, _) in triggers {
        execute(connection, format!("DROP TRIGGER {}", quote(name))).await?;
    }
    Ok(())
}

/// Every trigger that the table needs.
fn triggers(table: &Table) -> Vec<Trigger> {
    let columns = list((0..table.key.len()).map(|field| format!("k{field}")));
    let into = format!("INSERT INTO {} (op, at, origin, {columns})", quote(&change_table(table)));
    let row = |op: &str, row: &str| {
        let key = list(table.key.iter().map(|name| format!("{row}.{}", quote(name))));
        format!("{into} SELECT '{op}', {NOW}, (SELECT id FROM {ORIGIN}), {key}")
    };
    // Bytewise: keys that a collation takes for equal are different keys.
    let same_key =
        |a: &str, b: &str| all(table.key.iter().map(|name| format!("{a}.{0} IS {b}.{0} COLLATE BINARY", quote(name))));
    let moved = format!("NOT ({})", same_key("OLD", "NEW"));
    let make = |role: &str, event: &str, body: String, essential: bool| {
        let name = tracking_name(role, &table.name);
        let sql = format!("CREATE TRIGGER {} {event} ON {} BEGIN {body} END", quote(&name), table.quoted());
        Trigger { name, sql, essential }
    };
    let mut triggers = vec![
        make("insert", "AFTER INSERT", format!("{};", row("U", "NEW")), true),
        make("update", "AFTER UPDATE", format!("{} WHERE {moved}; {};", row("D", "OLD"), row("U", "NEW")), true),
        make("delete", "AFTER DELETE", format!("{};", row("D", "OLD")), true),
    ];
    // REPLACE deletes the records in its way without a delete trigger. One of the same key is logged by its new image; those that
    // are in the way by another unique constraint are noted down before (`R`: may be gone afterwards).
    let replaced: Vec<String> = table
        .other_unique()
        .map(|set| {
            let same = all(set.iter().map(|name| format!("tidelock_t.{0} = NEW.{0}", quote(name))));
            let from = format!(
                "FROM {} AS tidelock_t WHERE {same} AND NOT ({})",
                table.quoted(),
                same_key("tidelock_t", "NEW")
            );
            format!("{} {from};", row("R", "tidelock_t"))
        })
        .collect();
    if !replaced.is_empty() {
        let body = replaced.join(" ");
        triggers.push(make("before_insert", "BEFORE INSERT", body.clone(), false));
        triggers.push(make("before_update", "BEFORE UPDATE", body, false));
    }
    triggers
}
