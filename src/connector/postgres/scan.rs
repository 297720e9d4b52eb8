//! Scans of a whole table (layer 4): `COPY … TO STDOUT` on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::{PgConnection, Row};
use tokio::sync::mpsc;

use super::collection::{Collection, columns_of, query, unnest};
use super::copy::Decoder;
use super::errors::{Place, Sql};
use super::table::PgColumn;
use crate::connector::change_log::list;
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Key, Layout};

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Collection, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let mut connection = collection.server.connect().await?;
    let begin = match order {
        ScanOrder::After(key) => {
            let begin = behind(collection, &mut connection, key).await;
            begin.map_err(|error| collection.place.failed("scanning", error))?
        }
        ScanOrder::Key | ScanOrder::Fields { .. } => None,
    };
    let sql = statement(collection, order, begin)?;
    let (sender, scan) = ChunkedScan::new(order.is_by_key());
    let kinds = collection.fields.iter().map(PgColumn::kind).collect();
    let decoder = Decoder::new(Layout::clone(&collection.layout), kinds);
    tokio::spawn(run(connection, sql, decoder, sender, collection.place.clone()));
    Ok(Box::new(scan))
}

/// The condition of the rows behind this key; `None` where no row can have it. COPY takes no parameters: the server itself makes literals of
/// the values.
async fn behind(collection: &Collection, connection: &mut PgConnection, key: &Key) -> Sql<Option<String>> {
    let width = collection.key.len();
    let literals = list((0..width).map(|index| format!("quote_literal(c{index})")));
    let asked = query(format!("SELECT {literals} FROM {}", unnest(width, 1)), columns_of([key].into_iter(), width));
    let row = asked.fetch_one(connection).await?;
    let mut values = Vec::with_capacity(width);
    for (index, column) in collection.key.iter().enumerate() {
        match row.try_get::<Option<String>, _>(index)? {
            Some(literal) => values.push(column.cast(&literal)),
            None => return Ok(None),
        }
    }
    Ok(Some(format!("({}) > ({})", list(collection.key.iter().map(|column| column.of("t"))), list(values))))
}

fn statement(collection: &Collection, order: &ScanOrder, begin: Option<String>) -> Result<String> {
    let fields = list(collection.fields.iter().map(|column| column.copied("t")));
    let key = list(collection.key.iter().map(|column| column.of("t")));
    let (condition, by) = match order {
        ScanOrder::Key | ScanOrder::After(_) => (begin.map(|begin| format!(" WHERE {begin}")).unwrap_or_default(), key),
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
