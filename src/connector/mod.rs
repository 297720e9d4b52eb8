//! What the pipeline asks of a system: the port that every connector folder implements (layer 3).
//!
//! A connector describes a collection, then opens it as a [`Side`]: a [`Source`] that captures changes and a [`Target`] that
//! fetches and writes. Connectors translate foreign errors once, in their `errors.rs`, and know nothing of pairs or policies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::change::{ChangeBatch, Position};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{Result, SyncError};
use crate::record::{Key, KeyRange, Record};
use crate::value::{Kind, Value};

pub mod blueprint;
pub mod change_log;
pub mod chunked_scan;
pub mod keeps;
mod logged;
pub mod lost_connection;
pub mod marks;
mod nodelay;
pub mod patience;
pub mod polling;
pub mod registry;
pub mod sorting;
pub mod tls;
pub mod url;
pub mod view;

pub mod mysql;
pub mod postgres;
pub mod salesforce;
pub mod sqlite;

pub use blueprint::{Blueprint, Creation, NewColumn, columns_by_index, without_index};
pub use keeps::Keeps;
pub use marks::Mark;

/// One column of a collection, as the system's catalogue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name in the catalogue's own spelling.
    pub name: String,
    /// What its values are read as, and what a value is converted to before it is written.
    pub kind: Kind,
    /// The system's own type name, for messages and casts.
    pub native_type: String,
    /// Whether null may be stored.
    pub nullable: bool,
    /// Whether the system fills it where an insert leaves it out (default, identity, serial, rowid).
    pub has_default: bool,
    /// Whether it can be written at all (false for generated columns).
    pub writable: bool,
    /// What it makes of values that it takes.
    pub keeps: Keeps,
}

/// What the catalogue says about a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Columns in the catalogue's order.
    pub columns: Vec<Column>,
    /// Primary key fields in key order (or those of a unique not-null constraint where there is no primary key); never empty.
    pub key: Vec<String>,
    /// Field sets with a unique constraint, the primary key included.
    pub unique: Vec<Vec<String>>,
    /// It is a view, or what else is read only and has neither triggers nor a log: the key is what the configuration says.
    pub view: bool,
}

impl Schema {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether equal values of `fields` can stand in one record at most.
    pub fn is_unique(&self, fields: &[String]) -> bool {
        self.unique.iter().any(|set| !set.is_empty() && set.iter().all(|name| fields.contains(name)))
    }
}

/// How a collection is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The fields to read, key fields included; every one is in the schema.
    pub fields: Vec<String>,
    /// The field set by which this side's records are matched with the other side's: `upsert` goes by it.
    pub correlation: Vec<String>,
    /// Identifies this reader and writer of the collection: state store and pair. At most 200 bytes of `[A-Za-z0-9_.:-]`.
    /// Writes carry it as their origin, and changes of that origin are left out of `next_batch`.
    pub consumer: String,
    /// How changes are found.
    pub capture: CaptureMethod,
    /// Polling only: the column that moves forward at each write.
    pub updated_at: Option<String>,
    /// Nothing will be written, and nothing may be changed for that: no journal mode, no session that others notice.
    pub looks: bool,
    /// Logs only: a change may carry its record as the log has it, which may have changed again by now; but none that is older than one that was seen
    /// or written through the same side before.
    pub images: bool,
    /// Polling only: how far behind the newest time seen each read begins, for writers that commit late.
    pub overlap: Duration,
}

/// What a connector can do on a collection as it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Deletes show up in `next_batch`.
    pub deletes: bool,
    /// `next_batch` and `change_times` know when a change happened.
    pub change_times: bool,
    /// Best number of records in one `write`, `fetch` or `find`.
    pub batch: usize,
    /// A cheaper way for many creates or upserts at once.
    pub bulk: Option<Bulk>,
}

/// A way to load that costs more than others at first, and less for each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Loads of at least so many records are worth it.
    pub from: u64,
    /// So many creates in one `write`, or records in one `upsert`, are worth it.
    pub least: usize,
    /// Best number of them.
    pub batch: usize,
}

/// Both halves of an opened collection. They may be used at the same time.
pub struct Side {
    /// Captures changes.
    pub source: Box<dyn Source>,
    /// Fetches and writes records.
    pub target: Arc<dyn Target>,
}

/// The entry to one kind of system.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Reads the catalogue. Creates nothing.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `PermissionDenied`; `SchemaMismatch` where the collection is missing (the message names
    /// near ones) or has no key.
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema>;

    /// Opens the collection. Creates nothing: see [`Source::prepare`].
    ///
    /// # Errors
    /// As `describe`.
    async fn open(&self, endpoint: &Endpoint, schema: &Schema, options: OpenOptions) -> Result<Side>;

    /// How the endpoint's collection would be made. Makes nothing.
    ///
    /// # Errors
    /// `SchemaMismatch` where a name or a type cannot be had in this system.
    fn creation(&self, endpoint: &Endpoint, blueprint: &Blueprint) -> Result<Creation>;

    /// The statement that adds a column to the endpoint's collection. Adds nothing.
    ///
    /// # Errors
    /// As `describe` and `creation`.
    async fn addition(&self, endpoint: &Endpoint, column: &NewColumn) -> Result<String>;

    /// Carries statements of `creation` or `addition` out, all or none where the system can. What is there already is no error.
    ///
    /// # Errors
    /// As `describe`, and the system's own.
    async fn define(&self, endpoint: &Endpoint, statements: &[String]) -> Result<()>;

    /// Whether changes of the endpoint's collection can be found in this way: an error where not, else what should be otherwise. For those
    /// who look before anything is made; changes nothing.
    ///
    /// # Errors
    /// As `describe`, and what [`Source::prepare`] would say.
    async fn advice(&self, _endpoint: &Endpoint, _schema: &Schema, _capture: CaptureMethod) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What should be otherwise where records with these fields are created in the endpoint's collection, and told by links. Changes nothing.
    ///
    /// # Errors
    /// As `open`.
    async fn creates_advice(&self, _endpoint: &Endpoint, _fields: &[Box<str>]) -> Result<Option<String>> {
        Ok(None)
    }

    /// For those of these field sets that no index begins with: the statement that makes one, as a person would run it.
    ///
    /// # Errors
    /// As `describe`.
    async fn missing_indexes(&self, endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<Vec<String>>;
}

/// Captures the changes of one collection.
#[async_trait]
pub trait Source: Send {
    /// What this source can do.
    fn capabilities(&self) -> Capabilities;

    /// Creates the tracking objects (`tidelock_*`) and registers the consumer; does nothing where all is there. Returns a name of
    /// the stream's incarnation: where it differs from the stored one, positions of old are void.
    async fn prepare(&mut self) -> Result<String>;

    /// What `prepare` makes where it is not there yet: names, for people. Polling makes nothing.
    fn tracking(&self) -> Vec<String> {
        Vec::new()
    }

    /// What people should know of a stream that goes on all the same: that it is interrupted, and something slower stands in for it.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Unregisters the consumer and removes the tracking objects that no other consumer uses.
    async fn remove(&mut self) -> Result<()>;

    /// The position behind every change that is visible now.
    async fn head(&mut self) -> Result<Position>;

    /// At most about `max` changes after `after`, at once, without waiting; an empty batch where there is none. Keys may repeat.
    /// A change committed late, by a transaction that began early, is never skipped.
    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch>;

    /// Returns when something may have changed, or after `timeout`. Cancel-safe; spurious returns are fine.
    async fn wait(&mut self, timeout: Duration) -> Result<()>;

    /// The consumer will never ask for changes up to `through` again (I1: called after the state commit only).
    async fn acknowledge(&mut self, through: &Position) -> Result<()>;
}

/// In which order records are scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanOrder {
    /// Those of a range, by the primary key, in whatever order is cheap; all where the scan is not [`Scan::resumable`].
    Key(KeyRange),
    /// By these fields, records with a null among them left out, in the same order in every system: numbers by value, text and all
    /// other kinds by the bytes of their canonical text where `as_text`, else natively (text bytewise, UUID and bytes bytewise).
    Fields {
        /// The fields.
        fields: Vec<String>,
        /// Order by canonical text, for sides whose kinds differ.
        as_text: bool,
    },
}

impl ScanOrder {
    /// Whether it goes by the primary key.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }
}

/// A running scan.
#[async_trait]
pub trait Scan: Send {
    /// The next records, at most `max`; empty at the end. Memory does not grow with the collection.
    async fn next(&mut self, max: usize) -> Result<Vec<Record>>;

    /// Whether scans by key keep to their ranges: one behind the key of any of its records goes on behind that record.
    fn resumable(&self) -> bool {
        false
    }
}

/// One guarded write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Inserts a record. Where a record with the same unique values exists the outcome is `Changed`.
    Create {
        /// The fields to set; the others take the system's defaults.
        record: Record,
    },
    /// Sets fields of one record, if the fields of `guard` still have these values.
    Update {
        /// Primary key.
        key: Key,
        /// What to set.
        fields: Record,
        /// What is assumed; `None` overwrites.
        guard: Option<Record>,
    },
    /// Deletes one record, if the fields of `guard` still have these values. A record that is gone already counts as applied.
    Delete {
        /// Primary key.
        key: Key,
        /// What is assumed; `None` deletes in any case.
        guard: Option<Record>,
    },
}

/// What became of one write.
#[derive(Debug)]
pub enum WriteOutcome {
    /// Done. For create and update `stored` is the record as the system now has it (all opened fields).
    Applied {
        /// Primary key.
        key: Key,
        /// The stored image; `None` after a delete.
        stored: Option<Record>,
    },
    /// The guard did not hold, the record is gone, or a created one exists already: read again and decide again.
    Changed,
    /// The system refuses this one; the others are not touched by that.
    Failed(SyncError),
}

/// What became of a batch of unguarded upserts.
#[derive(Debug, Default)]
pub struct Upserted {
    /// Records inserted or changed.
    pub written: u64,
    /// Records that were there already, equal.
    pub unchanged: u64,
    /// Records that the system refuses, in the order of their places; the others are done.
    pub refused: Vec<(usize, SyncError)>,
}

/// Fetches and writes the records of one collection. Records in and out carry the opened fields; values are of their columns' kinds.
#[async_trait]
pub trait Target: Send + Sync {
    /// What this target can do.
    fn capabilities(&self) -> Capabilities;

    /// Starts a scan of the collection (the endpoint's filter applied).
    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>>;

    /// Keys that cut the collection into at most so many parts of about the same size (the filter not applied), in the order of a scan by
    /// key; none where it is small, or has no order that can be gone into ([`Scan::resumable`]), or cannot be cut cheaply.
    async fn split(&self, _parts: usize) -> Result<Vec<Key>> {
        Ok(Vec::new())
    }

    /// Current images, same order and length as `keys`; `None` where there is none (or the filter leaves it out).
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>>;

    /// Whether there is a record of each key, the filter not applied: same order and length as `keys`.
    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>>;

    /// How many records there are, the filter applied. As dear as counting is in the system: for rare questions.
    async fn count(&self) -> Result<u64>;

    /// Records whose `fields` have these values: same order and length as `values`, each with all that match. Null matches nothing.
    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>>;

    /// How another system may have spelt a value of this field that this one keeps otherwise, as an id by its first characters; `None` where
    /// there is one spelling.
    fn alias(&self, _field: &str, _value: &Value) -> Option<Value> {
        None
    }

    /// Writes in one transaction where the system has one. Same order and length out. An outer error means that nothing was
    /// applied; of kind `InvalidRecord` it means that one of them is guilty and the caller halves the batch.
    /// Where the system can, what became of them is kept under the mark in the same transaction; marks that nobody will ask for any more
    /// are forgotten with it.
    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>>;

    /// As [`Target::write_marked`], and nothing is kept.
    async fn write(&self, writes: &[Write]) -> Result<Vec<WriteOutcome>> {
        self.write_marked(writes, None).await
    }

    /// What is kept of the writes of that run and number; waits for transactions that are about to keep more. `None` where the system
    /// keeps nothing.
    async fn marks(&self, _run: &str, _number: i64) -> Result<Option<Vec<marks::Kept>>> {
        Ok(None)
    }

    /// Records that may have come of these creates, given with their places in the intention, whose outcome nobody was told: same order and
    /// length, oldest first. Asked where no marks are kept; none where the system cannot tell.
    async fn made(&self, _of: Mark<'_>, creates: &[(usize, Record)]) -> Result<Vec<Vec<Record>>> {
        Ok(vec![Vec::new(); creates.len()])
    }

    /// Inserts or updates by the correlation fields (which have a unique constraint), without a guard, as fast as the system can;
    /// writes nothing where a record is equal already. Correlation values do not repeat within `records`. Outer errors as in `write`; a
    /// system that says of each record what became of it names the refused ones instead.
    async fn upsert(&self, records: &[Record]) -> Result<Upserted>;

    /// As [`Target::upsert`], and sooner where the system can: a failure of the system may take it back until [`Target::settle`] has returned.
    async fn upsert_unsettled(&self, records: &[Record]) -> Result<Upserted> {
        self.upsert(records).await
    }

    /// Returns once everything that was written before is as durable as the system makes it.
    async fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Deletes by correlation values, without a guard; returns how many there were.
    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64>;

    /// When each record last changed other than by this consumer, by the system's clock, microseconds since 1970-01-01 UTC, as far
    /// as the stream's unacknowledged changes know.
    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>>;
}
