//! Creates (layer 4): of many records with their keys in one statement, or one by one where the server makes the key, with a token
//! that is kept beside the created key in the same transaction, so that a replay finds the record instead of making another.

use std::collections::HashMap;

use sqlx::mysql::MySqlQueryResult;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::{Collection, Look};
use super::errors::{Sql, is_no_table};
use super::table::{MyColumn, Table, quote};
use super::values::Bind;
use crate::connector::PendingCreate;
use crate::connector::change_log::list;
use crate::error::Result;
use crate::record::{Key, Record};

/// The table of tokens, quoted.
pub(super) fn table(table: &Table) -> String {
    table.beside("tidelock_creates")
}

/// Makes the table of tokens.
fn definition(of: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (consumer varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
         collection varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, token varbinary(255) NOT NULL, \
         record_key longblob NOT NULL, PRIMARY KEY (consumer, collection, token)) ENGINE = InnoDB",
        table(of)
    )
}

/// Makes the table of tokens where it is missing: a target is written to before its side's source is prepared, or without. Not inside
/// a transaction, which it would commit.
pub(super) async fn ensure(collection: &Collection) -> Result<()> {
    let making = || async {
        let mut connection = collection.pool.acquire().await?;
        sqlx::raw_sql(AssertSqlSafe(definition(&collection.table))).execute(&mut *connection).await.map(|_| ())
    };
    let failed = |error| collection.place.failed("making the table of create tokens", error);
    collection.creates.get_or_try_init(|| async { making().await.map_err(failed) }).await.map(|_| ())
}

/// The empty answer where the table that was asked does not exist yet.
pub(super) fn or_empty<T>(answer: Sql<T>, empty: T) -> Sql<T> {
    match answer {
        Err(error) if is_no_table(&error) => Ok(empty),
        other => other,
    }
}

/// Creates of this consumer whose tokens are not forgotten.
pub(super) async fn pending(connection: &mut MySqlConnection, collection: &Collection) -> Sql<Vec<PendingCreate>> {
    let sql =
        format!("SELECT token, record_key FROM {} WHERE consumer = ? AND collection = ?", table(&collection.table));
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    let rows = query.bind(collection.table.name.clone()).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let (token, key): (Vec<u8>, Vec<u8>) = (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
            let token = String::from_utf8(token).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok((token, Key::decode(&key).map_err(|error| sqlx::Error::Decode(error.into()))?))
        })
        .collect()
}

/// Forgets tokens whose links are committed.
pub(super) async fn forget(connection: &mut MySqlConnection, collection: &Collection, tokens: &[String]) -> Sql<()> {
    for part in tokens.chunks(500) {
        let parameters = list(part.iter().map(|_| "?".to_owned()));
        let of = table(&collection.table);
        let sql = format!("DELETE FROM {of} WHERE consumer = ? AND collection = ? AND token IN ({parameters})");
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(collection.options.consumer.clone());
        let query = query.bind(collection.table.name.clone());
        let query = part.iter().fold(query, |query, token| query.bind(token.clone().into_bytes()));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Drops the tokens of a consumer that leaves, and the table where nobody needs it.
pub(super) async fn forget_consumer(connection: &mut MySqlConnection, collection: &Collection) -> Sql<()> {
    let of = table(&collection.table);
    let sql = format!("DELETE FROM {of} WHERE consumer = ? AND collection = ?");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    let deleted = query.bind(collection.table.name.clone()).execute(&mut *connection).await.map(|_| true);
    if !or_empty(deleted, false)? {
        return Ok(());
    }
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {of})")))
        .fetch_one(&mut *connection)
        .await?;
    if left == 0 {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {of}"))).execute(connection).await?;
    }
    Ok(())
}

/// Inserts one record and remembers its key under the token, or finds what an earlier create with this token made: its key, which the
/// caller reads back. `None` where the key cannot be told.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    collection: &Collection,
    record: &Record,
    binds: Vec<(&MyColumn, Bind)>,
    token: Option<&str>,
) -> Sql<Option<Key>> {
    let (columns, binds): (Vec<&MyColumn>, Vec<Bind>) = binds.into_iter().unzip();
    let done = insert_all(connection, collection, &columns, vec![binds]).await?;
    let mut key = Vec::with_capacity(collection.key.len());
    for column in &collection.key {
        match record.get(column.name()).filter(|value| !value.is_null()) {
            Some(value) => key.push(value.clone()),
            None if column.auto_increment => {
                let made = done.last_insert_id();
                let decimal = || crate::value::Value::Decimal(made.to_string());
                key.push(i64::try_from(made).map_or_else(|_| decimal(), crate::value::Value::Int));
            }
            None => return Ok(None),
        }
    }
    let key = Key(key);
    if let Some(token) = token {
        let of = table(&collection.table);
        let sql = format!("INSERT INTO {of} (consumer, collection, token, record_key) VALUES (?, ?, ?, ?)");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
        let query = query.bind(collection.table.name.clone()).bind(token.as_bytes().to_vec()).bind(key.encode());
        query.execute(connection).await?;
    }
    Ok(Some(key))
}

/// What earlier creates with tokens of this consumer made: the key, and the record if it is still there.
pub(super) async fn earlier(
    connection: &mut MySqlConnection,
    collection: &Collection,
    tokens: &[&str],
) -> Sql<HashMap<String, (Key, Option<Record>)>> {
    if tokens.is_empty() {
        return Ok(HashMap::new());
    }
    let made = pending(connection, collection).await?;
    let made: Vec<PendingCreate> = made.into_iter().filter(|(token, _)| tokens.contains(&token.as_str())).collect();
    let keys: Vec<Key> = made.iter().map(|(_, key)| key.clone()).collect();
    let found = collection.find(connection, &collection.key, &keys, Look::All).await?;
    let stored = found.into_iter().map(|records| records.into_iter().next().map(|(_, record)| record));
    Ok(made.into_iter().zip(stored).map(|((token, key), stored)| (token, (key, stored))).collect())
}

/// Inserts rows of the same columns in one statement.
pub(super) async fn insert_all(
    connection: &mut MySqlConnection,
    collection: &Collection,
    columns: &[&MyColumn],
    rows: Vec<Vec<Bind>>,
) -> Sql<MySqlQueryResult> {
    let names = list(columns.iter().map(|column| quote(column.name())));
    let one = format!("({})", list(columns.iter().map(|_| "?".to_owned())));
    let values = list(rows.iter().map(|_| one.clone()));
    let sql = format!("INSERT INTO {} ({names}) VALUES {values}", collection.table.quoted());
    let common = rows.len() == 1 || rows.len() == INSERT_ROWS;
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(common);
    rows.into_iter().flatten().fold(query, |query, bind| bind.to(query)).execute(connection).await
}

/// Rows of one `INSERT`: more gain little.
const INSERT_ROWS: usize = 500;
/// Parameters of one statement: the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 60_000;
/// Bytes of one statement: a quarter of the smallest `max_allowed_packet` in use.
const STATEMENT_BYTES: usize = 1 << 20;

/// Cuts rows into what one statement takes.
pub(super) fn statements<T>(rows: Vec<T>, width: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let most = INSERT_ROWS.min(PARAMETERS_MAX / width.max(1)).max(1);
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let of_row = size(&row);
        if part.len() >= most || (bytes + of_row > STATEMENT_BYTES && !part.is_empty()) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += of_row;
        part.push(row);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_bounded_by_rows_parameters_and_bytes() {
        let lengths = |count: usize, width: usize, bytes: usize| -> Vec<usize> {
            statements(vec![(); count], width, |()| bytes).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(1_001, 3, 10), [500, 500, 1]);
        assert_eq!(lengths(250, 600, 10), [100, 100, 50]);
        assert_eq!(lengths(3, 1, STATEMENT_BYTES / 2 + 1), [1, 1, 1], "one that is too large goes alone");
        assert!(lengths(0, 1, 1).is_empty());
    }
}
