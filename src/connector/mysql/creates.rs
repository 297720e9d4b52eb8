//! Creates (layer 4): of many records with their keys in one statement, or one by one where the server makes the key.

use sqlx::mysql::MySqlQueryResult;
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::collection::Collection;
use super::errors::Sql;
use super::table::{MyColumn, quote};
use super::values::Bind;
use crate::connector::change_log::list;
use crate::record::{Key, Record};

/// Inserts one record; its key, which the caller reads back. `None` where the key cannot be told.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    collection: &Collection,
    record: &Record,
    binds: Vec<(&MyColumn, Bind)>,
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
    Ok(Some(Key(key)))
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
