//! Reads a whole table in order (layer 4). Memory does not grow with it.
//!
//! By key: page by page, each where the last one ended, so that no lock and no snapshot is held in between. By other fields: one
//! statement whose rows go through a bounded channel, because sorting anew for each page would cost the square of the table. That
//! statement sees one snapshot; without write-ahead logging it would keep writers out, so there it sorts into a temporary table first.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tokio::sync::mpsc;

use super::Opened;
use super::affinity::Affinity;
use super::connection::execute;
use super::errors::Sql;
use super::statement::Statement;
use super::values::{Codec, Raw};
use crate::connector::change_log::{all, list, quote};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::record::{Key, KeyRange, Record};
use crate::value::Kind;

/// Records in one message of a running statement.
const CHUNK: usize = 256;
/// Messages that wait to be taken.
const CHUNKS_AHEAD: usize = 2;

/// Starts a scan.
pub(super) async fn open(opened: Arc<Opened>, order: ScanOrder) -> Result<Box<dyn Scan>> {
    match order {
        ScanOrder::Key(range) => Ok(Box::new(KeyScan::start(opened, &range))),
        ScanOrder::Fields { fields, as_text } => Ok(Box::new(FieldScan::start(opened, &fields, as_text).await?)),
    }
}

/// Whether values of the key are stored in one form only, so that their order is that of what is read of them.
fn has_one_form(opened: &Opened) -> bool {
    let codecs = opened.table.key.iter().map(|name| opened.table.column(name).map(|column| column.codec));
    let mut codecs = codecs.map(|codec| codec.map(|codec| (codec.kind, codec.affinity)));
    codecs.all(|codec| {
        matches!(
            codec,
            Some((Kind::Int, Affinity::Integer) | (Kind::Text, Affinity::Text) | (Kind::Bytes, Affinity::Blob))
        )
    })
}

/// A key as it is stored; `None` where it may be stored otherwise, too.
fn stored(opened: &Opened, key: &Key) -> Option<Vec<Raw>> {
    let columns = opened.table.key.iter().map(|name| opened.table.column(name));
    let raws = columns.zip(&key.0).map(|(column, value)| column?.codec.encode(value).ok());
    let raws: Vec<Raw> = raws.collect::<Option<_>>()?;
    (has_one_form(opened) && raws.len() == opened.table.key.len() && !raws.contains(&Raw::Null)).then_some(raws)
}

/// Page by page along the primary key.
struct KeyScan {
    opened: Arc<Opened>,
    /// The key of the last record, as it is stored.
    last: Option<Vec<Raw>>,
    /// The last key of the range, as it is stored.
    until: Option<Vec<Raw>>,
    done: bool,
    /// Whether it keeps to its range.
    resumable: bool,
}

impl KeyScan {
    fn start(opened: Arc<Opened>, range: &KeyRange) -> Self {
        let [after, until] = [&range.after, &range.until].map(|end| end.as_ref().map(|key| stored(&opened, key)));
        let resumable = has_one_form(&opened) && after != Some(None) && until != Some(None);
        let [last, until] = [after, until].map(|end| end.flatten().filter(|_| resumable));
        Self { opened, last, until, done: false, resumable }
    }

    fn statement(&self, max: usize) -> Sql<Statement> {
        let (opened, table) = (&self.opened, &self.opened.table);
        let key: Vec<String> = table.key.iter().map(|name| table.of(name)).collect();
        let key_list = key.join(", ");
        let not_null = all(key.iter().map(|column| format!("{column} IS NOT NULL")));
        let mut statement = Statement::new(format!(
            "SELECT {}, {key_list} FROM {} WHERE {not_null}{}",
            opened.fields.select(table),
            table.quoted(),
            opened.and_filter()
        ));
        for (end, compared) in [(&self.last, ">"), (&self.until, "<=")] {
            let Some(end) = end else { continue };
            statement.push(&format!(" AND ({key_list}) {compared} ("));
            statement.push_binds(end.iter().cloned());
            statement.push(")");
        }
        statement.push(&format!(" ORDER BY {key_list} LIMIT "));
        statement.push_bind(Raw::Int(i64::try_from(max).unwrap_or(i64::MAX)));
        Ok(statement)
    }

    async fn page(&mut self, max: usize, connection: &mut SqliteConnection) -> Sql<Vec<Record>> {
        let rows = self.statement(max)?.rows(connection).await?;
        let (width, key_width) = (self.opened.fields.len(), self.opened.key.len());
        if let Some(row) = rows.last() {
            self.last = Some((width..width + key_width).map(|index| Raw::read(row, index)).collect::<Sql<_>>()?);
        }
        self.done = rows.len() < max;
        rows.iter().map(|row| self.opened.fields.record(row, 0)).collect()
    }
}

#[async_trait]
impl Scan for KeyScan {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        if self.done {
            return Ok(Vec::new());
        }
        let opened = Arc::clone(&self.opened);
        let mut lease = opened.database.read().await?;
        let page = self.page(max.max(1), lease.connection()).await.map_err(opened.place().failed("scanning"))?;
        lease.give_back();
        Ok(page)
    }

    fn resumable(&self) -> bool {
        self.resumable
    }
}

/// One sorted statement.
struct FieldScan {
    chunks: mpsc::Receiver<Result<Vec<Record>>>,
    taken: VecDeque<Record>,
}

impl FieldScan {
    async fn start(opened: Arc<Opened>, fields: &[String], as_text: bool) -> Result<Self> {
        let (table, mut options) = (&opened.table, opened.database.options());
        let (mut order, mut not_null) = (Vec::new(), Vec::new());
        for (index, name) in fields.iter().enumerate() {
            let codec = opened.table.column(name).map(|column| column.codec).ok_or_else(|| {
                SyncError::internal(format!("{}: scan by {name}, which is no column", opened.place()))
            })?;
            let column = table.of(name);
            not_null.push(format!("{column} IS NOT NULL"));
            let (term, with) = ordered(codec, &column, (index, as_text, opened.database.utf8), options);
            order.push(term);
            options = with;
        }
        // The key as tie-break makes the order of equal records the same in every scan.
        order.extend(table.key.iter().map(|name| table.of(name)));
        let sql = format!(
            "SELECT {} FROM {} WHERE {}{} ORDER BY {}",
            opened.fields.select(table),
            table.quoted(),
            all(not_null),
            opened.and_filter(),
            list(order)
        );
        let failed = || opened.place().failed("scanning");
        opened.database.check_identity()?;
        let mut connection = options.connect().await.map_err(failed())?;
        let sql = if opened.database.wal { sql } else { sort_aside(&mut connection, &sql).await.map_err(failed())? };
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        // The task ends by itself when the scan is dropped: nobody takes its chunks.
        tokio::spawn(async move {
            if let Err(error) = stream(&opened, &mut connection, &sql, &sender).await {
                let error = opened.place().failed("scanning")(error);
                sender.send(Err(error)).await.ok();
            }
        });
        Ok(Self { chunks, taken: VecDeque::new() })
    }
}

#[async_trait]
impl Scan for FieldScan {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        let max = max.max(1);
        while self.taken.len() < max {
            match self.chunks.recv().await {
                Some(chunk) => self.taken.extend(chunk?),
                None => break,
            }
        }
        let count = max.min(self.taken.len());
        Ok(self.taken.drain(..count).collect())
    }
}

async fn stream(
    opened: &Opened,
    connection: &mut SqliteConnection,
    sql: &str,
    sender: &mpsc::Sender<Result<Vec<Record>>>,
) -> Sql<()> {
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(row) = rows.try_next().await? {
        chunk.push(opened.fields.record(&row, 0)?);
        if chunk.len() == CHUNK
            && sender.send(Ok(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)))).await.is_err()
        {
            return Ok(());
        }
    }
    // A receiver that is gone wants nothing more.
    sender.send(Ok(chunk)).await.ok();
    Ok(())
}

/// Sorts into a temporary table of the connection, which is a file of its own; the statement that reads it.
async fn sort_aside(connection: &mut SqliteConnection, sql: &str) -> Sql<String> {
    execute(connection, "PRAGMA temp_store = FILE", SqliteArguments::default()).await?;
    execute(connection, format!("CREATE TEMP TABLE tidelock_sorted AS {sql}"), SqliteArguments::default()).await?;
    Ok("SELECT * FROM temp.tidelock_sorted ORDER BY rowid".to_owned())
}

/// The term to sort a column by (see [`ScanOrder::Fields`]); where SQLite has no such order, a collation of ours is added to the
/// connection. A value that does not fit its column's kind sorts by storage class.
fn ordered(
    codec: Codec,
    column: &str,
    (index, as_text, utf8): (usize, bool, bool),
    options: SqliteConnectOptions,
) -> (String, SqliteConnectOptions) {
    let name = format!("tidelock_order_{index}");
    let plain_text = codec.affinity == Affinity::Text || codec.affinity == Affinity::Blob;
    match (codec.kind, as_text) {
        (Kind::Text, _) if plain_text && utf8 => (format!("{column} COLLATE BINARY"), options),
        (Kind::Null | Kind::Boolean | Kind::Int | Kind::Float | Kind::Bytes, false) => (column.to_owned(), options),
        (Kind::Int, true) => (format!("CAST({column} AS TEXT) COLLATE BINARY"), options),
        (Kind::Json | Kind::Text, _) => (
            format!("CAST({column} AS TEXT) COLLATE {}", quote(&name)),
            options.collation(name, |a: &str, b: &str| a.cmp(b)),
        ),
        (_, false) => {
            let compare = move |a: &str, b: &str| {
                codec.decode(Raw::Text(a.to_owned())).cmp(&codec.decode(Raw::Text(b.to_owned())))
            };
            (format!("{column} COLLATE {}", quote(&name)), options.collation(name, compare))
        }
        (_, true) => {
            let compare = move |a: &str, b: &str| -> Ordering { canonical(codec, a).cmp(&canonical(codec, b)) };
            (format!("quote({column}) COLLATE {}", quote(&name)), options.collation(name, compare))
        }
    }
}

/// The canonical text of a value that is given as an SQL literal, which is what `quote` makes of any storage class.
fn canonical(codec: Codec, literal: &str) -> String {
    let raw = match literal.as_bytes() {
        [b'\'', ..] => {
            let inner = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or_default();
            Raw::Text(inner.replace("''", "'"))
        }
        [b'X', b'\'', ..] => Raw::Blob(unhex(literal)),
        _ => match literal.parse() {
            Ok(integer) => Raw::Int(integer),
            Err(_) => literal.parse().map_or(Raw::Null, Raw::Real),
        },
    };
    codec.decode(raw).to_text().unwrap_or_default()
}

fn unhex(literal: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        literal.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_have_the_canonical_text_of_their_values() {
        let codec = |kind| Codec { kind, affinity: Affinity::Numeric };
        for (kind, literal, expected) in [
            (Kind::Float, "1.0", "1"),
            (Kind::Float, "1.0e+300", &format!("1{}", "0".repeat(300))),
            (Kind::Float, "9.0e+999", "Infinity"),
            (Kind::Boolean, "1", "true"),
            (Kind::Bytes, "X'00FF'", "AP8="),
            (Kind::Local, "'1970-01-01 00:00:01'", "1970-01-01T00:00:01"),
            (Kind::Text, "'it''s'", "it's"),
        ] {
            assert_eq!(canonical(codec(kind), literal), expected, "{literal}");
        }
    }

    #[test]
    fn values_without_a_kind_still_compare() {
        let codec = Codec { kind: Kind::Uuid, affinity: Affinity::Numeric };
        assert!(codec.decode(Raw::Text("x".into())) < codec.decode(Raw::Text("y".into())));
    }
}
