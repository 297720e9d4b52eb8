//! Scans of a whole table (layer 4): `COPY … TO STDOUT` on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use super::collection::Collection;
use super::copy::Decoder;
use super::errors::Place;
use super::table::PgColumn;
use crate::connector::change_log::list;
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::Layout;

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Collection, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let sql = statement(collection, order)?;
    let connection = collection.server.connect().await?;
    let (sender, scan) = ChunkedScan::new();
    let kinds = collection.fields.iter().map(PgColumn::kind).collect();
    let decoder = Decoder::new(Layout::clone(&collection.layout), kinds);
    tokio::spawn(run(connection, sql, decoder, sender, collection.place.clone()));
    Ok(Box::new(scan))
}

fn statement(collection: &Collection, order: &ScanOrder) -> Result<String> {
    let fields = list(collection.fields.iter().map(|column| column.copied("t")));
    let key = list(collection.key.iter().map(|column| column.of("t")));
    let (condition, by) = match order {
        ScanOrder::Key => (String::new(), key),
        ScanOrder::Fields { fields, as_text } => {
            let columns: Vec<&PgColumn> = fields
                .iter()
                .map(|name| {
                    collection.table.column(name).ok_or_else(|| {
                        SyncError::internal(format!(
                            "{}: a scan is ordered by {name}, which is no column",
                            collection.place
                        ))
                    })
                })
                .collect::<Result<_>>()?;
            let conditions: Vec<String> =
                columns.iter().map(|column| format!("{} IS NOT NULL", column.of("t"))).collect();
            (
                format!(" WHERE {}", conditions.join(" AND ")),
                // Equals in a certain order, so that two scans agree.
                list(columns.iter().map(|column| column.ordered("t", *as_text)).chain([key])),
            )
        }
    };
    Ok(format!("COPY (SELECT {fields} FROM {} AS t{condition} ORDER BY {by}) TO STDOUT", collection.rows()))
}

async fn run(
    mut connection: PgConnection,
    sql: String,
    mut decoder: Decoder,
    sender: mpsc::Sender<Chunk>,
    place: Place,
) {
    let failed = |error| place.failed("scanning", error);
    let mut stream = match connection.copy_out_raw(&sql).await {
        Ok(stream) => stream,
        Err(error) => return send(&sender, Err(failed(error))).await.unwrap_or_default(),
    };
    let mut records = Vec::with_capacity(CHUNK_RECORDS);
    while let Some(bytes) = stream.next().await {
        let read = bytes.map_err(failed).and_then(|bytes| {
            decoder
                .push(&bytes, &mut records)
                .map_err(|error| SyncError::internal(format!("{place}: scanning: {error}")))
        });
        if let Err(error) = read {
            return send(&sender, Err(error)).await.unwrap_or_default();
        }
        if send_full(&sender, &mut records).await.is_none() {
            return;
        }
    }
    send(&sender, Ok(records)).await.unwrap_or_default();
}
