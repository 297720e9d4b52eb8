//! Scans of a whole table (layer 4): `COPY … TO STDOUT` on a connection of its own, decoded beside the reader, a few chunks ahead.

use async_trait::async_trait;
use futures_util::StreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use super::collection::Collection;
use super::copy::Decoder;
use super::errors::Place;
use super::table::{PgColumn, list};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Layout, Record};

/// Records that are handed over at a time.
const CHUNK_RECORDS: usize = 512;
/// Chunks that may wait.
const CHUNKS_AHEAD: usize = 4;

type Chunk = Result<Vec<Record>>;

/// A running scan. Dropping it closes its connection.
struct PgScan {
    chunks: mpsc::Receiver<Chunk>,
    /// Read, but not asked for yet.
    rest: Vec<Record>,
}

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Collection, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let sql = statement(collection, order)?;
    let connection = collection.server.connect().await?;
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let kinds = collection.fields.iter().map(PgColumn::kind).collect();
    let decoder = Decoder::new(Layout::clone(&collection.layout), kinds);
    tokio::spawn(run(connection, sql, decoder, sender, collection.place.clone()));
    Ok(Box::new(PgScan { chunks, rest: Vec::new() }))
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
        if records.len() >= CHUNK_RECORDS
            && send(&sender, Ok(std::mem::replace(&mut records, Vec::with_capacity(CHUNK_RECORDS)))).await.is_none()
        {
            return;
        }
    }
    send(&sender, Ok(records)).await.unwrap_or_default();
}

/// `None` where nobody reads any more.
async fn send(sender: &mpsc::Sender<Chunk>, chunk: Chunk) -> Option<()> {
    sender.send(chunk).await.ok()
}

#[async_trait]
impl Scan for PgScan {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        while self.rest.len() < max {
            match self.chunks.recv().await {
                Some(chunk) if self.rest.is_empty() => self.rest = chunk?,
                Some(chunk) => self.rest.append(&mut chunk?),
                None => break,
            }
        }
        let after = self.rest.split_off(max.min(self.rest.len()));
        Ok(std::mem::replace(&mut self.rest, after))
    }
}
