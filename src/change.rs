//! Changes and positions of a stream (layer 1). A change only says "look at this key".

use serde::{Deserialize, Serialize};

use crate::record::{Key, Record};

/// An opaque resume token of one stream. Only its connector reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub String);

/// What a change says about its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The record was inserted or updated.
    Upsert,
    /// The record was deleted.
    Delete,
}

/// One change of one record.
#[derive(Debug, Clone)]
pub struct Change {
    /// The record's own primary key.
    pub key: Key,
    /// What happened last.
    pub op: Op,
    /// When, by the clock of the system where it happened: microseconds since 1970-01-01 UTC.
    pub at: Option<i64>,
    /// The record as the stream saw it, where the stream carries it; else it is fetched.
    pub image: Option<Record>,
}

/// Changes in stream order and the position behind them.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The changes; may be empty while `through` moves on.
    pub changes: Vec<Change>,
    /// Everything up to here is in this batch or an earlier one.
    pub through: Position,
    /// Whether more is known to be waiting.
    pub more: bool,
}

/// One of the two ends of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The pair's source.
    Source,
    /// The pair's target.
    Target,
}

impl End {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    /// `source` or `target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// One value for each end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ends<T> {
    /// For the source.
    pub source: T,
    /// For the target.
    pub target: T,
}

impl<T> Ends<T> {
    /// Makes one value per end.
    pub fn from_fn(mut make: impl FnMut(End) -> T) -> Self {
        Self { source: make(End::Source), target: make(End::Target) }
    }

    /// The value of an end.
    pub fn get(&self, end: End) -> &T {
        match end {
            End::Source => &self.source,
            End::Target => &self.target,
        }
    }

    /// The value of an end, to change.
    pub fn get_mut(&mut self, end: End) -> &mut T {
        match end {
            End::Source => &mut self.source,
            End::Target => &mut self.target,
        }
    }
}
