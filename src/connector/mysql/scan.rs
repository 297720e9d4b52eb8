//! Scans of a whole table (layer 4): one query on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use tokio::sync::mpsc;

use std::sync::Arc;

use super::collection::Collection;
use super::errors::Sql;
use super::table::{MyColumn, quote};
use super::values::{Bind, encode};
use crate::connector::change_log::{all, list};
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Key, KeyRange};
use crate::value::{Kind, Value};

/// Keys between the first and the last from which on a table is cut: to read fewer takes less than a connection more.
const CUT_FROM: i128 = 100_000;

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Arc<Collection>, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let within = match order {
        ScanOrder::Key(range) => within(collection, range),
        ScanOrder::Fields { .. } => None,
    };
    let (sender, scan) = ChunkedScan::new(within.is_some());
    let statement = statement(collection, order, within.unwrap_or_default())?;
    let connection = collection.server.connect().await?;
    tokio::spawn(run(connection, statement, Arc::clone(collection), sender));
    Ok(Box::new(scan))
}

/// See `Target::split`: equal steps between the first and the last key, where that is one whole number.
pub(super) async fn split(collection: &Collection, parts: usize) -> Sql<Vec<Key>> {
    let [column] = collection.key.as_slice() else { return Ok(Vec::new()) };
    if collection.table.view || column.kind() != Kind::Int || !compares_as_it_sorts(column) {
        return Ok(Vec::new());
    }
    let (key, table) = (quote(column.name()), collection.table.quoted());
    let sql = format!("SELECT CAST(min({key}) AS char), CAST(max({key}) AS char) FROM {table}");
    let asked = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let row = asked.fetch_one(&collection.pool).await?;
    let end = |index| -> Sql<Option<i128>> {
        let text: Option<String> = row.try_get(index)?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let (Some(first), Some(last)) = (end(0)?, end(1)?) else { return Ok(Vec::new()) };
    Ok(steps(first, last, parts))
}

fn steps(first: i128, last: i128, parts: usize) -> Vec<Key> {
    let (length, parts) = (last - first, i128::try_from(parts).unwrap_or(1));
    if length < CUT_FROM {
        return Vec::new();
    }
    let key = |step: i128| {
        let number = first + length * step / parts;
        Key(vec![i64::try_from(number).map_or_else(|_| Value::Decimal(number.to_string()), Value::Int)])
    };
    (1..parts).map(key).collect()
}

/// Whether a column's order is that of its comparison with a value of ours. Members of enumerations are sorted by their places and compared
/// as texts; times may be compared as texts, too.
fn compares_as_it_sorts(column: &MyColumn) -> bool {
    let (kind, data_type) = (column.kind(), column.data_type.as_str());
    let text = ["char", "varchar", "tinytext", "text", "mediumtext", "longtext"].contains(&data_type);
    kind == Kind::Bytes || (kind == Kind::Int && !["bit", "year"].contains(&data_type)) || (kind == Kind::Text && text)
}

/// Conditions, and their parameters.
type Conditions = (Vec<String>, Vec<Bind>);

/// The rows of a range; `None` where scans keep to none, or one of its ends is no key that a row can have.
fn within(collection: &Collection, range: &KeyRange) -> Option<Conditions> {
    let columns = &collection.key;
    if !columns.iter().all(compares_as_it_sorts) {
        return None;
    }
    let (mut conditions, mut binds) = Conditions::default();
    for (end, compared) in [(&range.after, ">"), (&range.until, "<=")] {
        let Some(key) = end else { continue };
        let values = columns.iter().zip(&key.0).map(|(column, value)| encode(column, value).ok());
        let values: Vec<Bind> = values.collect::<Option<_>>()?;
        if values.len() != columns.len() || values.contains(&Bind::Null) {
            return None;
        }
        let names = list(columns.iter().map(|column| column.of(&collection.row())));
        conditions.push(format!("({names}) {compared} ({})", list(columns.iter().map(MyColumn::parameter))));
        binds.extend(values);
    }
    Some((conditions, binds))
}

fn statement(
    collection: &Collection,
    order: &ScanOrder,
    (mut conditions, binds): Conditions,
) -> Result<(String, Vec<Bind>)> {
    let row = collection.row();
    let key = list(collection.key.iter().map(|column| column.of(&row)));
    conditions.extend(collection.filter_condition());
    let by = match order {
        ScanOrder::Key(_) => key,
        ScanOrder::Fields { fields, as_text } => {
            let missing = |name: &String| {
                SyncError::internal(format!("{}: a scan is ordered by {name}, which is no column", collection.place))
            };
            let columns: Vec<&MyColumn> = fields
                .iter()
                .map(|name| collection.table.column(name).ok_or_else(|| missing(name)))
                .collect::<Result<_>>()?;
            conditions.extend(columns.iter().map(|column| format!("{} IS NOT NULL", column.of(&row))));
            // Equals in a certain order, so that two scans agree.
            list(columns.iter().map(|column| column.ordered(&row, *as_text)).chain([key]))
        }
    };
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", all(conditions)) };
    let (reads, table) = (collection.reads(), collection.table.quoted());
    Ok((format!("SELECT {reads} FROM {table}{condition} ORDER BY {by}"), binds))
}

async fn run(
    mut connection: MySqlConnection,
    (sql, binds): (String, Vec<Bind>),
    collection: Arc<Collection>,
    sender: mpsc::Sender<Chunk>,
) {
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let query = binds.into_iter().fold(query, |query, bind| bind.to(query));
    let mut rows = query.fetch(&mut connection);
    let mut records = Vec::with_capacity(CHUNK_RECORDS);
    while let Some(row) = rows.next().await {
        match row.and_then(|row| collection.record(&row, 0)) {
            Ok(record) => records.push(record),
            Err(error) => {
                return send(&sender, Err(collection.place.failed("scanning", error))).await.unwrap_or_default();
            }
        }
        if send_full(&sender, &mut records).await.is_none() {
            return;
        }
    }
    send(&sender, Ok(records)).await.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(keys: &[Key]) -> Vec<String> {
        keys.iter().map(Key::to_string).collect()
    }

    #[test]
    fn steps_are_equal_from_one_end_of_64_bits_to_the_other() {
        assert_eq!(texts(&steps(1, 300_001, 3)), ["100001", "200001"]);
        assert_eq!(texts(&steps(-300_000, 300_000, 4)), ["-150000", "0", "150000"]);
        assert_eq!(texts(&steps(i64::MIN.into(), i64::MAX.into(), 2)), ["-1"]);
        let unsigned = steps(0, u64::MAX.into(), 4);
        assert_eq!(texts(&unsigned), ["4611686018427387903", "9223372036854775807", "13835058055282163711"]);
        assert!(matches!(unsigned[2].0[..], [Value::Decimal(_)]), "beyond a signed one it is read as a decimal, too");
        assert_eq!(texts(&steps(1, 99_999, 4)), [""; 0]);
        assert_eq!(texts(&steps(1, 300_001, 1)), [""; 0]);
    }
}
