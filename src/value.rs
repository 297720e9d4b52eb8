//! One typed field value, the same for every system (layer 0).
//!
//! Values never pass through `f64` unless they are `f64`. Equality is exact within a kind; comparing across kinds is done
//! by converting to the kind of the column first (`Value::convert`), never by guessing here.

use std::cmp::Ordering;
use std::fmt;

pub mod calendar;
mod convert;
mod decimal;
mod text;

pub use convert::ConvertError;
pub use decimal::canonical_decimal;

/// The logical kind of a field. The first thirteen are the kinds of the plugin contract (`wit/plugin.wit`, `types.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only null fits.
    Null,
    /// True or false.
    Boolean,
    /// Signed 64-bit integer.
    Int,
    /// IEEE 754 double.
    Float,
    /// Decimal number of any precision, as text.
    Decimal,
    /// Unicode text.
    Text,
    /// Raw bytes.
    Bytes,
    /// Calendar date.
    Date,
    /// Time of day.
    Time,
    /// A point in time (timestamp with time zone).
    Instant,
    /// Date and time without a zone.
    Local,
    /// JSON document.
    Json,
    /// UUID.
    Uuid,
}

impl Kind {
    /// Every kind but null, which no column has.
    pub const ALL: [Self; 12] = [
        Self::Boolean,
        Self::Int,
        Self::Float,
        Self::Decimal,
        Self::Text,
        Self::Bytes,
        Self::Date,
        Self::Time,
        Self::Instant,
        Self::Local,
        Self::Json,
        Self::Uuid,
    ];
}

/// One field value. A field that a record does not carry is absent, which is not `Null`: see [`crate::record::Record`].
#[derive(Clone)]
pub enum Value {
    /// SQL null.
    Null,
    /// True or false.
    Boolean(bool),
    /// Signed 64-bit integer.
    Int(i64),
    /// IEEE 754 double, NaN and infinities included.
    Float(f64),
    /// Decimal in canonical text: see [`canonical_decimal`]; also `NaN`, `Infinity`, `-Infinity`.
    Decimal(String),
    /// Unicode text; may hold U+0000.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01, proleptic Gregorian.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// Microseconds since 1970-01-01T00:00:00 on the local clock.
    Local(i64),
    /// JSON text as the system gave it.
    Json(String),
    /// The 16 bytes in network order.
    Uuid([u8; 16]),
}

impl Value {
    /// The kind of this value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Decimal(_) => Kind::Decimal,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::Date(_) => Kind::Date,
            Self::Time(_) => Kind::Time,
            Self::Instant(_) => Kind::Instant,
            Self::Local(_) => Kind::Local,
            Self::Json(_) => Kind::Json,
            Self::Uuid(_) => Kind::Uuid,
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A total order: null first, then by kind, then by value. Floats by `total_cmp`, except that `-0.0` equals `0.0` (as in SQL).
/// Text and bytes compare bytewise; decimals by number.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
            (Self::Decimal(a), Self::Decimal(b)) => decimal::compare(a, b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Json(a), Self::Json(b)) => text::compare_json(a, b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Instant(a), Self::Instant(b))
            | (Self::Local(a), Self::Local(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            _ => (self.kind() as u8).cmp(&(other.kind() as u8)),
        }
    }
}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        match self {
            Self::Null | Self::Float(_) | Self::Json(_) => {}
            Self::Boolean(value) => value.hash(state),
            Self::Int(value) | Self::Time(value) | Self::Instant(value) | Self::Local(value) => value.hash(state),
            Self::Date(value) => value.hash(state),
            Self::Decimal(value) => canonical_decimal(value).hash(state),
            Self::Text(value) => value.hash(state),
            Self::Bytes(value) => value.hash(state),
            Self::Uuid(value) => value.hash(state),
        }
    }
}

/// Shows the kind only: values are users' data and must not reach a log (I12).
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(test) || cfg!(debug_assertions) {
            write!(f, "{:?}({})", self.kind(), self.to_text().unwrap_or_default())
        } else {
            write!(f, "{:?}", self.kind())
        }
    }
}
