//! Scans of a whole table (layer 4): `COPY … TO STDOUT` on a connection of its own, decoded beside the reader, a few chunks ahead.

use futures_util::StreamExt;
use sqlx::{PgConnection, Row};
use tokio::sync::mpsc;

use super::collection::{Collection, columns_of, query, read, unnest};
use super::copy::Decoder;
use super::errors::{Place, Sql};
use super::table::PgColumn;
use crate::connector::change_log::{all, list};
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Key, KeyRange, Layout};

/// Bytes of a table from which on it is cut: to read fewer takes less than a connection more.
const CUT_FROM: i64 = 32 << 20;
/// Bytes of its pages, spread over all of it, that say where: a share of rows is off by a few percent then.
const SAMPLED: i64 = 4 << 20;

/// Starts a scan: see `Target::scan`.
pub(super) async fn start(collection: &Collection, order: &ScanOrder) -> Result<Box<dyn Scan>> {
    let mut connection = collection.server.connect().await?;
    let within = match order {
        ScanOrder::Key(range) => {
            let within = within(collection, &mut connection, range).await;
            within.map_err(|error| collection.place.failed("scanning", error))?
        }
        ScanOrder::Fields { .. } => None,
    };
    let (sender, scan) = ChunkedScan::new(within.is_some());
    let sql = statement(collection, order, within.unwrap_or_default())?;
    let kinds = collection.fields.iter().map(PgColumn::kind).collect();
    let decoder = Decoder::new(Layout::clone(&collection.layout), kinds);
    tokio::spawn(run(connection, sql, decoder, sender, collection.place.clone()));
    Ok(Box::new(scan))
}

/// See `Target::split`: quantiles of the keys of some pages.
pub(super) async fn split(collection: &Collection, parts: usize) -> Sql<Vec<Key>> {
    // Pages of views and of other servers cannot be drawn; the size of a partitioned table is that of its partitions.
    let percent = query(
        "SELECT (100.0 * $2::bigint / sum(pg_relation_size(c.oid)))::real \
         FROM (SELECT $1::text::regclass::oid AS id UNION SELECT relid FROM pg_partition_tree($1::text::regclass)) AS p \
         JOIN pg_class c ON c.oid = p.id \
         HAVING bool_and(c.relkind IN ('r', 'm', 'p')) AND sum(pg_relation_size(c.oid)) >= $3::bigint"
            .to_owned(),
        Vec::new(),
    )
    .bind(collection.table.quoted())
    .bind(SAMPLED)
    .bind(CUT_FROM)
    .fetch_optional(&collection.pool)
    .await?;
    let Some(percent) = percent else { return Ok(Vec::new()) };
    // Not the sorted text: a bare name in ORDER BY would be that of what is selected.
    let named = |index: usize| format!("s.c{index}");
    let columns = || collection.key.iter().enumerate();
    let key = list(collection.key.iter().map(|column| column.of("t")));
    let sql = format!(
        "SELECT DISTINCT ON (part) {texts} FROM \
         (SELECT {names}, ntile($1::int) OVER (ORDER BY {key}) AS part FROM {table} AS t TABLESAMPLE SYSTEM ($2::real)) AS s \
         WHERE part < $1::int ORDER BY part, {last}",
        texts = list(columns().map(|(index, column)| column.text_of(&named(index)))),
        names = list(columns().map(|(index, column)| format!("{} AS c{index}", column.of("t")))),
        table = collection.table.quoted(),
        last = list(columns().map(|(index, _)| format!("{} DESC", named(index)))),
    );
    let sample = query(sql, Vec::new()).bind(i32::try_from(parts).unwrap_or(i32::MAX));
    let rows = sample.bind(percent.try_get::<f32, _>(0)?).fetch_all(&collection.pool).await?;
    rows.iter().map(|row| read(row, 0, &collection.key).map(Key)).collect()
}

/// The conditions of the rows of a range; `None` where one of its ends is no key that a row can have.
async fn within(collection: &Collection, connection: &mut PgConnection, range: &KeyRange) -> Sql<Option<Vec<String>>> {
    let mut conditions = Vec::new();
    for (end, compared) in [(&range.after, ">"), (&range.until, "<=")] {
        let Some(key) = end else { continue };
        let Some(values) = literals(collection, connection, key).await? else { return Ok(None) };
        let columns = list(collection.key.iter().map(|column| column.of("t")));
        conditions.push(format!("({columns}) {compared} ({values})"));
    }
    Ok(Some(conditions))
}

/// The values of a key; `None` where no row can have it. COPY takes no parameters: the server itself makes literals of them.
async fn literals(collection: &Collection, connection: &mut PgConnection, key: &Key) -> Sql<Option<String>> {
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
    Ok(Some(list(values)))
}

fn statement(collection: &Collection, order: &ScanOrder, mut conditions: Vec<String>) -> Result<String> {
    let read = list(collection.fields.iter().map(|column| column.copied("t")));
    let key = list(collection.key.iter().map(|column| column.of("t")));
    let by = match order {
        ScanOrder::Key(_) => key,
        ScanOrder::Fields { fields, as_text } => {
            let missing = |name: &String| {
                SyncError::internal(format!("{}: a scan is ordered by {name}, which is no column", collection.place))
            };
            let columns: Vec<&PgColumn> = fields
                .iter()
                .map(|name| collection.table.column(name).ok_or_else(|| missing(name)))
                .collect::<Result<_>>()?;
            conditions.extend(columns.iter().map(|column| format!("{} IS NOT NULL", column.of("t"))));
            // Equals in a certain order, so that two scans agree.
            list(columns.iter().map(|column| column.ordered("t", *as_text)).chain([key]))
        }
    };
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", all(conditions)) };
    Ok(format!("COPY (SELECT {read} FROM {} AS t{condition} ORDER BY {by}) TO STDOUT", collection.rows()))
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
