//! What reading the log takes (layer 4): what the server has to be like, who reads it, and how our own writes are known.
//!
//! A table, `tidelock_binlog`, has one row for each reader: the name of its registration, how far it was acknowledged, and the mark that our
//! transactions leave there, which is in the log as they are.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::super::collection::Collection;
use super::super::errors::{Class, Place, Sql, class, is_no_table};
use super::super::marks::or_empty;
use super::super::table::{Table, literal};
use super::super::tracking;
use super::decode::{Charset, KeyColumn};
use super::gtid::{Gtid, Gtids, Known};
use super::position::number;
use crate::error::{ErrorKind, Result, SyncError};
use crate::value::Kind;

/// What messages about the configuration of the server or table are filed under.
const CODE: &str = "mysql.binlog";
/// The table of readers, without its database.
pub(super) const READERS: &str = "tidelock_binlog";
/// In it, the places of the columns by which a mark is known.
pub(super) const MARK_COLUMNS: [usize; 2] = [0, 3];
const DOING: &str = "preparing to read the binary log";
/// A log that is kept for less may be gone after a weekend.
const KEPT_SECONDS: f64 = 3.0 * 86_400.0;

/// What a server is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    /// It says which place in the log is visible.
    MariaDb,
    /// It does not.
    MySql,
}

/// Its settings.
pub(super) struct Settings(HashMap<String, String>);

impl Settings {
    /// Reads them.
    pub(super) async fn read(connection: &mut MySqlConnection) -> Sql<Self> {
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'log_bin', 'binlog_format', 'binlog_row_image', \
             'binlog_row_metadata', 'binlog_checksum', 'binlog_order_commits', 'expire_logs_days', \
             'binlog_expire_logs_seconds', 'lower_case_table_names')";
        let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
        let one = |row: &sqlx::mysql::MySqlRow| {
            Ok((row.try_get_unchecked::<String, _>(0)?.to_lowercase(), row.try_get_unchecked(1)?))
        };
        rows.iter().map(one).collect::<Sql<_>>().map(Self)
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whose server it is.
    pub(super) fn make(&self) -> Make {
        if self.get("version").contains("MariaDB") { Make::MariaDb } else { Make::MySql }
    }

    /// Whether events end with a checksum.
    pub(super) fn checksums(&self) -> bool {
        self.get("binlog_checksum").eq_ignore_ascii_case("CRC32")
    }

    /// Whether names of tables are compared without case.
    pub(super) fn any_case(&self) -> bool {
        self.get("lower_case_table_names") != "0"
    }

    /// What has to be otherwise, if anything; and what should be.
    fn problems(&self, primary: bool) -> (Option<String>, Vec<String>) {
        let is = |name: &str, value: &str| self.get(name).eq_ignore_ascii_case(value);
        let off = |name: &str| !self.get(name).is_empty() && !is(name, "ON");
        let refused = if off("log_bin") {
            Some("it is switched off (log_bin); add log_bin to the server's configuration and restart it".to_owned())
        } else if !is("binlog_format", "ROW") {
            let now = self.get("binlog_format");
            Some(format!(
                "binlog_format has to be ROW, and it is {now}: SET GLOBAL binlog_format = ROW (and in the server's configuration)"
            ))
        } else if !is("binlog_row_image", "FULL") && !primary {
            let now = self.get("binlog_row_image");
            Some(format!(
                "binlog_row_image is {now}, which leaves the columns out that the table is keyed by where they are no primary key: \
                 SET GLOBAL binlog_row_image = FULL (and in the server's configuration)"
            ))
        } else if off("binlog_order_commits") {
            Some("binlog_order_commits has to be ON: else nobody can tell when a change is visible".to_owned())
        } else {
            None
        };
        let mut advice = Vec::new();
        if !is("binlog_row_metadata", "FULL") {
            advice.push(
                "the log does not name columns: where several are moved, renamed or dropped while nobody reads, the pair stops; \
                 SET GLOBAL binlog_row_metadata = FULL avoids that"
                    .to_owned(),
            );
        }
        let seconds: f64 = self.get("binlog_expire_logs_seconds").parse().unwrap_or_default();
        let days: f64 = self.get("expire_logs_days").parse().unwrap_or_default();
        let kept = if seconds > 0.0 { seconds } else { days * 86_400.0 };
        if kept > 0.0 && kept < KEPT_SECONDS {
            advice.push(format!(
                "the server keeps its log for {:.1} hours: a pair that is stopped for longer has to be loaded again \
                 (binlog_expire_logs_seconds)",
                kept / 3_600.0
            ));
        }
        (refused, advice)
    }
}

/// The table of readers, quoted.
fn readers(table: &Table) -> String {
    table.beside(READERS)
}

async fn run(connection: &mut MySqlConnection, sql: String) -> Sql<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

/// Refuses what cannot work, and says what should be otherwise.
pub(super) async fn check(connection: &mut MySqlConnection, collection: &Collection) -> Result<Vec<String>> {
    let failed = |error| collection.place.failed(DOING, error);
    let settings = Settings::read(connection).await.map_err(failed)?;
    let table = &collection.table;
    let sql = "SELECT COUNT(*) > 0 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY'";
    let query = sqlx::query_scalar(sql).bind(table.database.clone()).bind(table.name.clone());
    let primary: i64 = query.fetch_one(&mut *connection).await.map_err(failed)?;
    let (refused, advice) = settings.problems(primary != 0);
    if let Some(why) = refused {
        let message = format_args!("the binary log cannot be followed: {why}; or use \"database_triggers\"");
        return Err(collection.place.error(ErrorKind::SchemaMismatch, CODE, message));
    }
    key_columns(connection, &collection.table, &collection.place).await?;
    filtered(connection, &settings, collection).await?;
    Ok(advice)
}

/// A server may be told to log some databases only.
async fn filtered(connection: &mut MySqlConnection, settings: &Settings, collection: &Collection) -> Result<()> {
    let row = match status(connection).await {
        Ok(row) => row,
        // Only MySQL has to be asked this for more than the filter.
        Err(error) if class(&error) == Class::Permission && settings.make() == Make::MariaDb => return Ok(()),
        Err(error) => return Err(explain(&collection.place, settings.make(), error)),
    };
    let list = |index: usize| -> Sql<Vec<String>> {
        let text: Option<String> = row.try_get_unchecked(index)?;
        Ok(text.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    };
    let lists = list(2).and_then(|logged| Ok((logged, list(3)?)));
    let (logged, left_out) = lists.map_err(|error| collection.place.failed(DOING, error))?;
    let database = &collection.table.database;
    if left_out.contains(database) || (!logged.is_empty() && !logged.contains(database)) {
        let message = format_args!(
            "the server leaves database {database} out of its binary log (binlog_do_db, binlog_ignore_db)"
        );
        return Err(collection.place.error(ErrorKind::SchemaMismatch, CODE, message));
    }
    Ok(())
}

/// Says which right is missing.
pub(super) fn explain(place: &Place, make: Make, error: sqlx::Error) -> SyncError {
    if class(&error) != Class::Permission {
        return place.failed(DOING, error);
    }
    missing_right(place, make)
}

/// What to grant.
pub(super) fn missing_right(place: &Place, make: Make) -> SyncError {
    let rights = match make {
        Make::MariaDb => "REPLICATION SLAVE, BINLOG MONITOR",
        Make::MySql => "REPLICATION SLAVE, REPLICATION CLIENT",
    };
    let message = format_args!("{DOING}: the user needs GRANT {rights} ON *.*");
    place.error(ErrorKind::PermissionDenied, "mysql.permission_denied", message)
}

/// The end of the log: newer servers call the question otherwise.
async fn status(connection: &mut MySqlConnection) -> Sql<sqlx::mysql::MySqlRow> {
    let mut last = sqlx::Error::RowNotFound;
    for sql in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        match sqlx::raw_sql(sql).fetch_one(&mut *connection).await {
            Err(error) if class(&error) == Class::Schema => last = error,
            answer => return answer,
        }
    }
    Err(last)
}

/// The columns of the key as the log has them.
pub(super) async fn key_columns(
    connection: &mut MySqlConnection,
    table: &Table,
    place: &Place,
) -> Result<Vec<KeyColumn>> {
    let sql = "SELECT COLUMN_NAME, COALESCE(CHARACTER_SET_NAME, 'binary') FROM information_schema.COLUMNS \
               WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    let rows = sqlx::query(sql).bind(table.database.clone()).bind(table.name.clone()).fetch_all(connection).await;
    let charset = |row: &sqlx::mysql::MySqlRow| -> Sql<(String, String)> {
        Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?))
    };
    let charsets = rows.and_then(|rows| rows.iter().map(charset).collect::<Sql<HashMap<_, _>>>());
    let charsets = charsets.map_err(|error| place.failed(DOING, error))?;
    let refused = |name: &str, what: &str| {
        let message =
            format_args!("key column {name} {what} that is not read from the binary log; use \"database_triggers\"");
        Err(place.error(ErrorKind::SchemaMismatch, CODE, message))
    };
    let mut columns = Vec::with_capacity(table.key.len());
    for name in &table.key {
        let missing =
            || place.error(ErrorKind::SchemaMismatch, "mysql.schema", format_args!("there is no column {name}"));
        let column = table.column(name).cloned().ok_or_else(missing)?;
        let native = &column.column.native_type;
        let unread = ["inet", "geometry", "point", "linestring", "polygon", "multi", "geom", "vector", "json"];
        if column.kind() == Kind::Json || unread.iter().any(|unread| column.data_type.starts_with(unread)) {
            return refused(name, &format!("is of type {native},"));
        }
        let charset = charsets.get(name).map_or("binary", String::as_str);
        let Some(charset) = Charset::named(charset) else {
            return refused(name, &format!("is in the character set {charset},"));
        };
        let choices = choices(native);
        columns.push(KeyColumn { column, charset, choices });
    }
    Ok(columns)
}

/// The values of `enum('a','it''s')`.
fn choices(native: &str) -> Vec<String> {
    let Some((_, list)) = native.split_once('(').filter(|(kind, _)| matches!(*kind, "enum" | "set")) else {
        return Vec::new();
    };
    let (mut choices, mut choice) = (Vec::new(), None::<String>);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, &mut choice) {
            ('\'', None) => choice = Some(String::new()),
            ('\'', Some(text)) if letters.next_if_eq(&'\'').is_some() => text.push('\''),
            ('\'', Some(_)) => choices.extend(choice.take()),
            ('\\', Some(text)) => match letters.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => {}
            },
            (letter, Some(text)) => text.push(letter),
            (_, None) => {}
        }
    }
    choices
}

/// What a reader has put down.
pub(super) struct Registration {
    /// The name of its registration.
    pub(super) incarnation: String,
    /// How far it was acknowledged; empty at first.
    pub(super) position: String,
}

/// Registers the reader. Who comes back after it was removed has missed changes: its registration has another name.
pub(super) async fn prepare(connection: &mut MySqlConnection, collection: &Collection) -> Result<String> {
    for advice in check(connection, collection).await? {
        tracing::warn!(table = collection.table.label(), "{advice}");
    }
    let failed = |error| collection.place.failed(DOING, error);
    // Where triggers found the changes before, nobody reads their change table any more.
    tracking::leave(connection, collection).await?;
    let made = format!(
        "CREATE TABLE IF NOT EXISTS {} (consumer varchar(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, \
         incarnation char(43) CHARACTER SET ascii NOT NULL, position text CHARACTER SET utf8mb4 NOT NULL, \
         said varchar(64) CHARACTER SET ascii NOT NULL) ENGINE = InnoDB",
        readers(&collection.table)
    );
    run(connection, made).await.map_err(failed)?;
    tracking::warn_of_cascades(connection, &collection.table).await.map_err(failed)?;
    let sql = format!(
        "INSERT IGNORE INTO {} (consumer, incarnation, position, said) VALUES (?, CONCAT('binlog:', UUID()), '', '0:0')",
        readers(&collection.table)
    );
    let inserted = sqlx::query(AssertSqlSafe(sql)).bind(collection.origin.clone()).execute(&mut *connection).await;
    inserted.map_err(failed)?;
    let found = registration(connection, collection).await.map_err(failed)?;
    let gone = || SyncError::internal("a reader that was just registered is not there");
    found.map(|found| found.incarnation).ok_or_else(gone)
}

/// Looks a reader up.
pub(super) async fn registration(
    connection: &mut MySqlConnection,
    collection: &Collection,
) -> Sql<Option<Registration>> {
    let sql = format!("SELECT incarnation, position FROM {} WHERE consumer = ?", readers(&collection.table));
    let row = sqlx::query(AssertSqlSafe(sql)).bind(collection.origin.clone()).fetch_optional(connection).await;
    let row = or_empty(row, None)?;
    let read = |row: sqlx::mysql::MySqlRow| {
        Ok(Registration { incarnation: row.try_get_unchecked(0)?, position: row.try_get_unchecked(1)? })
    };
    row.map(read).transpose()
}

/// Puts down how far a reader was acknowledged; `first`: unless that is known. Whether it was put down.
pub(super) async fn acknowledge(
    connection: &mut MySqlConnection,
    collection: &Collection,
    position: &str,
    first: bool,
) -> Sql<bool> {
    let unless = if first { " AND position = ''" } else { "" };
    let sql = format!("UPDATE {} SET position = ? WHERE consumer = ?{unless}", readers(&collection.table));
    let query = sqlx::query(AssertSqlSafe(sql)).bind(position.to_owned()).bind(collection.origin.clone());
    query.execute(connection).await.map(|done| done.rows_affected() > 0)
}

/// Takes a reader away, and the table where nobody else is in it.
pub(super) async fn leave(connection: &mut MySqlConnection, collection: &Collection) -> Sql<()> {
    let table = readers(&collection.table);
    let sql = format!("DELETE FROM {table} WHERE consumer = ?");
    match sqlx::query(AssertSqlSafe(sql)).bind(collection.origin.clone()).execute(&mut *connection).await {
        Err(error) if is_no_table(&error) => return Ok(()),
        done => done?,
    };
    if !is_used(connection, &collection.table).await? {
        run(connection, format!("DROP TABLE IF EXISTS {table}")).await?;
    }
    Ok(())
}

/// Whether anybody reads the log of a table of this database.
pub(in super::super) async fn is_used(connection: &mut MySqlConnection, table: &Table) -> Sql<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", readers(table));
    let left: Sql<i64> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await;
    Ok(or_empty(left, 0)? != 0)
}

/// Takes everything away that was made for this reader.
pub(super) async fn remove(connection: &mut MySqlConnection, collection: &Collection) -> Result<()> {
    let failed = |error| collection.place.failed("removing the reader of the binary log", error);
    leave(connection, collection).await.map_err(failed)?;
    tracking::remove(connection, collection).await
}

/// The place in the log behind everything that was committed when this was called, as number of the file and byte; when it returns, everything
/// before it is visible.
pub(super) async fn visible(connection: &mut MySqlConnection, collection: &Collection, make: Make) -> Sql<End> {
    match make {
        Make::MariaDb => end(connection, make).await,
        Make::MySql => {
            let end = end(connection, make).await?;
            // The log has a transaction before it is visible. Transactions become visible in the log's order: once ours is committed, so are
            // all that came before it.
            if !collection.options.looks {
                said(connection, collection, 0).await?;
            }
            Ok(end)
        }
    }
}

/// An end of the log.
pub(super) struct End {
    /// The file, and the byte in it.
    pub(super) file: String,
    pub(super) at: u64,
    /// What MySQL has executed up to there.
    executed: Option<String>,
}

impl End {
    /// Where it stands among others.
    pub(super) fn order(&self) -> (u64, u64) {
        (number(&self.file), self.at)
    }
}

/// The end of the log; on MariaDB of what is visible of it.
pub(super) async fn end(connection: &mut MySqlConnection, make: Make) -> Sql<End> {
    match make {
        Make::MariaDb => {
            let sql = "SHOW STATUS LIKE 'binlog\\_snapshot\\_%'";
            let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
            let [file, position] = rows.as_slice() else { return Err(sqlx::Error::RowNotFound) };
            let position: String = position.try_get_unchecked(1)?;
            let at = position.parse().unwrap_or_default();
            Ok(End { file: file.try_get_unchecked(1)?, at, executed: None })
        }
        Make::MySql => {
            let row = status(connection).await?;
            let (file, at) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
            Ok(End { file, at, executed: row.try_get_unchecked(4)? })
        }
    }
}

/// Which transactions lie before an end of the log; `None` where the server does not say.
pub(super) async fn had(connection: &mut MySqlConnection, make: Make, end: &End) -> Sql<Option<Gtids>> {
    let text = match make {
        Make::MySql => end.executed.clone(),
        Make::MariaDb => {
            let sql = "SELECT BINLOG_GTID_POS(?, ?)";
            let query = sqlx::query_scalar(sql).bind(end.file.clone()).bind(end.at);
            query.fetch_one(connection).await?
        }
    };
    Ok(text.and_then(|text: String| Gtids::read(&text, make == Make::MariaDb)))
}

/// Whether a server has all transactions that are known of.
pub(super) async fn has(connection: &mut MySqlConnection, make: Make, known: &Known) -> Sql<bool> {
    match (make, known.last) {
        (Make::MySql, Some((Gtid::Numbered(..), _))) => {
            let query =
                sqlx::query_scalar("SELECT GTID_SUBSET(?, @@GLOBAL.gtid_executed)").bind(known.had().to_string());
            query.fetch_one(connection).await.map(|subset: i64| subset != 0)
        }
        (Make::MariaDb, Some((Gtid::InDomain(domain, _, number), _))) => {
            let now: String = sqlx::query_scalar("SELECT @@GLOBAL.gtid_binlog_pos").fetch_one(connection).await?;
            let now = Gtids::read(&now, true);
            Ok(
                matches!(now, Some(Gtids::InDomain(domains)) if domains.get(&domain).is_some_and(|last| last.1 >= number)),
            )
        }
        (Make::MySql | Make::MariaDb, _) => Ok(false),
    }
}

/// Says at the end of one of our transactions how many rows it has written, so that its own reader can leave it out: where the log has more
/// of them, something else was written too, and nothing is left out.
pub(super) async fn said(connection: &mut MySqlConnection, collection: &Collection, rows: u64) -> Sql<()> {
    let sql = format!(
        "UPDATE {} SET said = CONCAT(CAST(SUBSTRING_INDEX(said, ':', 1) AS UNSIGNED) + 1, ':{rows}') WHERE consumer = {}",
        readers(&collection.table),
        literal(&collection.origin)
    );
    or_empty(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ()), ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_the_catalogue_quotes_them() {
        assert_eq!(choices("enum('a','it''s','b,c','d\\\\e')"), ["a", "it's", "b,c", "d\\e"]);
        assert_eq!(choices("set('x')"), ["x"]);
        assert!(choices("varchar(3)").is_empty());
    }
}
