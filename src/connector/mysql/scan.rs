//! Scans of a whole table (layer 4): one query on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio::sync::mpsc;

use std::sync::Arc;

use super::collection::Collection;
use super::table::MyColumn;
use super::values::{Bind, encode};
use crate::connector::change_log::{all, list};
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::Key;
use crate::value::Kind;

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Arc<Collection>, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let statement = statement(collection, order)?;
    let connection = collection.server.connect().await?;
    let (sender, scan) = ChunkedScan::new(order.is_by_key() && collection.key.iter().all(compares_as_it_sorts));
    tokio::spawn(run(connection, statement, Arc::clone(collection), sender));
    Ok(Box::new(scan))
}

/// Whether a column's order is that of its comparison with a value of ours. Members of enumerations are sorted by their places and compared
/// as texts; times may be compared as texts, too.
fn compares_as_it_sorts(column: &MyColumn) -> bool {
    let (kind, data_type) = (column.kind(), column.data_type.as_str());
    let text = ["char", "varchar", "tinytext", "text", "mediumtext", "longtext"].contains(&data_type);
    kind == Kind::Bytes || (kind == Kind::Int && !["bit", "year"].contains(&data_type)) || (kind == Kind::Text && text)
}

/// The condition of the rows behind this key, and its parameters; `None` where no row can have it.
fn behind(collection: &Collection, key: &Key, row: &str) -> Option<(String, Vec<Bind>)> {
    let columns = &collection.key;
    let binds = columns.iter().zip(&key.0).map(|(column, value)| encode(column, value).ok());
    let binds: Vec<Bind> = binds.collect::<Option<_>>()?;
    if binds.len() != columns.len() || binds.contains(&Bind::Null) || !columns.iter().all(compares_as_it_sorts) {
        return None;
    }
    let (names, parameters) =
        (list(columns.iter().map(|column| column.of(row))), list(columns.iter().map(MyColumn::parameter)));
    Some((format!("({names}) > ({parameters})"), binds))
}

fn statement(collection: &Collection, order: &ScanOrder) -> Result<(String, Vec<Bind>)> {
    let row = collection.row();
    let key = list(collection.key.iter().map(|column| column.of(&row)));
    let mut conditions: Vec<String> = collection.filter_condition().into_iter().collect();
    let mut binds = Vec::new();
    let by = match order {
        ScanOrder::Key => key,
        ScanOrder::After(after) => {
            if let Some((condition, values)) = behind(collection, after, &row) {
                conditions.push(condition);
                binds = values;
            }
            key
        }
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
