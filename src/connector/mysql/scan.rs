//! Scans of a whole table (layer 4): one query on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio::sync::mpsc;

use std::sync::Arc;

use super::collection::Collection;
use super::table::MyColumn;
use crate::connector::change_log::{all, list};
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Arc<Collection>, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let sql = statement(collection, order)?;
    let connection = collection.server.connect().await?;
    let (sender, scan) = ChunkedScan::new();
    tokio::spawn(run(connection, sql, Arc::clone(collection), sender));
    Ok(Box::new(scan))
}

fn statement(collection: &Collection, order: &ScanOrder) -> Result<String> {
    let row = collection.row();
    let key = list(collection.key.iter().map(|column| column.of(&row)));
    let mut conditions: Vec<String> = collection.filter_condition().into_iter().collect();
    let by = match order {
        ScanOrder::Key => key,
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
    Ok(format!("SELECT {reads} FROM {table}{condition} ORDER BY {by}"))
}

async fn run(mut connection: MySqlConnection, sql: String, collection: Arc<Collection>, sender: mpsc::Sender<Chunk>) {
    let mut rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch(&mut connection);
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
