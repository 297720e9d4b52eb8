//! Values and what SQLite stores of them (layer 4): storage class ↔ kind.
//!
//! Typing is loose: a stored value that does not fit its column's kind is read as what it is, never refused, lost or changed. A
//! value that a column's affinity (<https://www.sqlite.org/datatype3.html>) would change on the way in is refused.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Row, Sqlite, TypeInfo, ValueRef};

use super::affinity::Affinity;
use super::errors::Sql;
use crate::value::{Kind, Value, canonical_decimal};

/// 0000-01-01 and 9999-12-31 as days since 1970-01-01: years of four digits, which is what ISO 8601 and SQLite's date functions know.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;
const MICROS_PER_DAY: i64 = 86_400_000_000;

const TOO_PRECISE: &str = "the number has more digits than this column keeps (its declared type has NUMERIC affinity, which stores \
     about 15): declare the column as DECIMALTEXT or TEXT";
const TOO_LARGE: &str =
    "the integer has more than 64 bits, which SQLite cannot store as an integer: declare the column as DECIMALTEXT";
const LOOKS_NUMERIC: &str = "this text looks like a number, and the column's declared type makes SQLite store it as one, in another \
     spelling: declare the column as TEXT";
const OUT_OF_RANGE: &str = "the date or time lies outside the years 0000 to 9999";
const NOT_EXACT: &str = "the integer cannot be stored exactly in a REAL column";

/// A value as SQLite stores it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Raw {
    /// NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// REAL.
    #[serde(with = "bits")]
    Real(f64),
    /// TEXT.
    Text(String),
    /// BLOB, or TEXT that is not valid Unicode.
    Blob(Vec<u8>),
}

impl Raw {
    /// Reads column `index` of a row.
    pub(super) fn read(row: &SqliteRow, index: usize) -> Sql<Self> {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Self::Null);
        }
        let class = value.type_info().name().to_owned();
        let decoded = match class.as_str() {
            "INTEGER" => <i64 as Decode<'_, Sqlite>>::decode(value).map(Self::Int),
            "REAL" => <f64 as Decode<'_, Sqlite>>::decode(value).map(Self::Real),
            "TEXT" => <Vec<u8> as Decode<'_, Sqlite>>::decode(value).map(|bytes| match String::from_utf8(bytes) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::Blob(error.into_bytes()),
            }),
            _ => <Vec<u8> as Decode<'_, Sqlite>>::decode(value).map(Self::Blob),
        };
        decoded.map_err(sqlx::Error::Decode)
    }

    /// Adds this value to a statement's arguments.
    pub(super) fn bind(self, arguments: &mut SqliteArguments) -> Sql<()> {
        match self {
            Self::Null => arguments.add(None::<i64>),
            Self::Int(value) => arguments.add(value),
            Self::Real(value) => arguments.add(value),
            Self::Text(value) => arguments.add(value),
            Self::Blob(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)
    }

    /// Whether SQLite sorts this before `other`, bytewise: null, numbers, text, bytes.
    pub(super) fn sorts_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a < b,
            (Self::Real(a), Self::Real(b)) => a < b,
            (Self::Text(a), Self::Text(b)) => a < b,
            (Self::Blob(a), Self::Blob(b)) => a < b,
            // Where a column mixes both, the second that rounding may cost does not matter.
            (Self::Int(a), Self::Real(b)) => a.to_string().parse().is_ok_and(|a: f64| a < *b),
            (Self::Real(a), Self::Int(b)) => b.to_string().parse().is_ok_and(|b: f64| *a < b),
            _ => self.class() < other.class(),
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        }
    }

    /// The value that it is, whatever the column says.
    pub(super) fn natural(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(value) => Value::Int(value),
            Self::Real(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value),
            Self::Blob(value) => Value::Bytes(value),
        }
    }
}

/// Doubles in a position: by their bits, for not every JSON parser gives the same double back.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// How the values of one column are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codec {
    /// What its values are.
    pub(super) kind: Kind,
    /// What SQLite makes of them.
    pub(super) affinity: Affinity,
}

impl Codec {
    /// The value of a stored one.
    pub(super) fn decode(self, raw: Raw) -> Value {
        match raw {
            Raw::Null => Value::Null,
            Raw::Int(value) => self.decode_int(value),
            Raw::Real(value) => self.decode_real(value),
            Raw::Text(text) => decode_text(self.kind, text),
            Raw::Blob(bytes) => match (self.kind, <[u8; 16]>::try_from(bytes.as_slice())) {
                (Kind::Uuid, Ok(uuid)) => Value::Uuid(uuid),
                _ => Value::Bytes(bytes),
            },
        }
    }

    /// As `decode`, for a field that records are looked up by: typed only where a lookup by the value finds this spelling.
    pub(super) fn decode_findable(self, raw: Raw) -> Value {
        if !matches!(raw, Raw::Text(_) | Raw::Blob(_)) || matches!(self.kind, Kind::Text | Kind::Bytes) {
            return self.decode(raw);
        }
        let value = self.decode(raw.clone());
        if self.forms(&value).contains(&raw) { value } else { raw.natural() }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind takes the value as it is")]
    fn decode_int(self, value: i64) -> Value {
        match self.kind {
            Kind::Boolean if value == 0 || value == 1 => Value::Boolean(value == 1),
            Kind::Decimal => Value::Decimal(value.to_string()),
            Kind::Json => Value::Json(value.to_string()),
            Kind::Text if self.affinity.changes_text() => Value::Text(value.to_string()),
            Kind::Float => Value::Int(value).convert(Kind::Float).unwrap_or(Value::Int(value)),
            _ => Value::Int(value),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind takes the value as it is")]
    fn decode_real(self, value: f64) -> Value {
        let text = || Value::Float(value).to_text().unwrap_or_default();
        match self.kind {
            Kind::Decimal => Value::Decimal(canonical_decimal(&text())),
            Kind::Json if value.is_finite() => Value::Json(text()),
            Kind::Text if self.affinity.changes_text() => Value::Text(text()),
            _ => Value::Float(value),
        }
    }

    /// What is stored for a value; the error says why it cannot be kept as it is.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other affinity takes the value as it is")]
    pub(super) fn encode(self, value: &Value) -> Result<Raw, &'static str> {
        Ok(match value {
            Value::Null => Raw::Null,
            Value::Boolean(value) => Raw::Int(i64::from(*value)),
            Value::Int(value) => match self.affinity {
                Affinity::Text => Raw::Text(value.to_string()),
                Affinity::Real if Value::Int(*value).convert(Kind::Float).is_err() => return Err(NOT_EXACT),
                _ => Raw::Int(*value),
            },
            // SQLite turns the number NaN into NULL.
            Value::Float(value) if value.is_nan() => Raw::Text("NaN".to_owned()),
            Value::Float(value) => Raw::Real(*value),
            Value::Decimal(text) => self.encode_decimal(text)?,
            Value::Text(text) | Value::Json(text) => self.encode_text(value, text)?,
            Value::Bytes(bytes) => Raw::Blob(bytes.clone()),
            Value::Date(days) if !DAYS.contains(&i64::from(*days)) => return Err(OUT_OF_RANGE),
            Value::Instant(micros) | Value::Local(micros) if !DAYS.contains(&micros.div_euclid(MICROS_PER_DAY)) => {
                return Err(OUT_OF_RANGE);
            }
            Value::Time(micros) if !(0..=MICROS_PER_DAY).contains(micros) => return Err(OUT_OF_RANGE),
            Value::Date(_) | Value::Time(_) | Value::Uuid(_) => Raw::Text(value.to_text().unwrap_or_default()),
            Value::Instant(_) | Value::Local(_) => Raw::Text(spaced(value)),
        })
    }

    fn encode_decimal(self, text: &str) -> Result<Raw, &'static str> {
        let text = canonical_decimal(text);
        if !self.affinity.changes_text() || text == "NaN" {
            return Ok(Raw::Text(text));
        }
        if let (Ok(value), true) = (text.parse(), self.affinity != Affinity::Real) {
            return Ok(Raw::Int(value));
        }
        // As a double it would be no integer any more.
        if self.kind == Kind::Int {
            return Err(TOO_LARGE);
        }
        // Bound as a double of ours: SQLite's own way from text to double may be off in the last digit.
        let value: f64 = text.parse().map_err(|_| TOO_PRECISE)?;
        let back = Value::Float(value).to_text().unwrap_or_default();
        if canonical_decimal(&back) == text { Ok(Raw::Real(value)) } else { Err(TOO_PRECISE) }
    }

    fn encode_text(self, value: &Value, text: &str) -> Result<Raw, &'static str> {
        if !self.affinity.changes_text() || !looks_numeric(text) {
            return Ok(Raw::Text(text.to_owned()));
        }
        let raw = self.encode_decimal(trim(text)).map_err(|_| LOOKS_NUMERIC)?;
        if self.decode(raw.clone()) == *value { Ok(raw) } else { Err(LOOKS_NUMERIC) }
    }

    /// Every spelling of a value that a lookup has to find, the one that is written first.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other value has one spelling")]
    pub(super) fn forms(self, value: &Value) -> Vec<Raw> {
        let written = self.encode(value).unwrap_or_else(|_| natural_form(value));
        let text = value.to_text().unwrap_or_default();
        match value {
            Value::Uuid(bytes) => vec![written, Raw::Text(text.to_uppercase()), Raw::Blob(bytes.to_vec())],
            Value::Local(_) => vec![written, Raw::Text(text)],
            Value::Instant(_) => {
                let offset = |text: &str| Raw::Text(format!("{}+00:00", text.trim_end_matches('Z')));
                vec![written, offset(&text), offset(&spaced(value)), Raw::Text(text)]
            }
            _ => vec![written],
        }
    }
}

/// For a value that cannot be stored: nothing equals it, but the lookup has to be asked something.
fn natural_form(value: &Value) -> Raw {
    value.to_text().map_or(Raw::Null, Raw::Text)
}

/// The canonical text with a space for the `T`: the form of SQLite's own date functions.
fn spaced(value: &Value) -> String {
    value.to_text().unwrap_or_default().replacen('T', " ", 1)
}

fn decode_text(kind: Kind, text: String) -> Value {
    let others: &[Kind] = match kind {
        Kind::Null | Kind::Text | Kind::Boolean | Kind::Int | Kind::Bytes => &[],
        Kind::Float if text == "NaN" => return Value::Float(f64::NAN),
        Kind::Float => &[],
        Kind::Decimal => {
            return match Value::from_text(kind, &text) {
                Ok(Value::Decimal(number)) => Value::Decimal(canonical_decimal(&number)),
                _ => Value::Text(text),
            };
        }
        Kind::Time | Kind::Json | Kind::Uuid => &[kind],
        Kind::Date => &[Kind::Date, Kind::Local, Kind::Instant],
        Kind::Local => &[Kind::Local, Kind::Instant, Kind::Date],
        Kind::Instant => &[Kind::Instant, Kind::Local, Kind::Date],
    };
    others.iter().find_map(|kind| Value::from_text(*kind, &text).ok()).unwrap_or(Value::Text(text))
}

/// Whether numeric affinity would turn this text into a number.
fn looks_numeric(text: &str) -> bool {
    let text = trim(text);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(mantissa, rest)| (mantissa, Some(rest)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_one = exponent.is_none_or(|rest| {
        let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        !rest.is_empty() && digits(rest)
    });
    exponent_is_one && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Without what SQLite takes for white space.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(kind: Kind, affinity: Affinity) -> Codec {
        Codec { kind, affinity }
    }

    #[test]
    fn text_that_looks_like_a_number() {
        for text in ["1", " 1 ", "-1.5", "1.", ".5", "+1e5", "1E-3"] {
            assert!(looks_numeric(text), "{text}");
        }
        for text in ["", ".", "e5", "1e", "0x10", "1 2", "2024-01-01", "NaN", "inf", "--1", "1e5.5"] {
            assert!(!looks_numeric(text), "{text}");
        }
    }

    #[test]
    fn numeric_affinity_loses_no_digit_silently() {
        let decimal = codec(Kind::Decimal, Affinity::Numeric);
        let encode = |text: &str| decimal.encode(&Value::Decimal(text.into()));
        assert_eq!(encode("12.50"), Ok(Raw::Real(12.5)));
        assert_eq!(encode("9223372036854775807"), Ok(Raw::Int(i64::MAX)));
        assert_eq!(encode("12345678901234567890.12"), Err(TOO_PRECISE));
        assert_eq!(encode("0.1234567890123456789"), Err(TOO_PRECISE));
        assert_eq!(encode("NaN"), Ok(Raw::Text("NaN".into())));
        assert_eq!(encode("-Infinity"), Ok(Raw::Real(f64::NEG_INFINITY)));
        let text = codec(Kind::Decimal, Affinity::Text);
        assert_eq!(
            text.encode(&Value::Decimal("12345678901234567890.120".into())),
            Ok(Raw::Text("12345678901234567890.12".into()))
        );
    }

    #[test]
    fn text_in_a_numeric_column_is_kept_or_refused() {
        let string = codec(Kind::Text, Affinity::Numeric);
        let encode = |text: &str| string.encode(&Value::Text(text.into()));
        assert_eq!(encode("7"), Ok(Raw::Int(7)));
        assert_eq!(encode("abc"), Ok(Raw::Text("abc".into())));
        for text in ["007", "1.50", " 7", "1e3", "123456789012345678901"] {
            assert_eq!(encode(text), Err(LOOKS_NUMERIC), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_read_as_it_is() {
        let cases = [
            (Kind::Int, Raw::Text("x".into()), Value::Text("x".into())),
            (Kind::Boolean, Raw::Int(2), Value::Int(2)),
            (Kind::Date, Raw::Text("01/02/2024".into()), Value::Text("01/02/2024".into())),
            (Kind::Local, Raw::Text("1970-01-01T00:00:01Z".into()), Value::Instant(1_000_000)),
            (Kind::Local, Raw::Int(5), Value::Int(5)),
            (Kind::Json, Raw::Text("{".into()), Value::Text("{".into())),
            (Kind::Uuid, Raw::Blob(vec![7; 16]), Value::Uuid([7; 16])),
            (Kind::Uuid, Raw::Blob(vec![7; 3]), Value::Bytes(vec![7; 3])),
            (Kind::Text, Raw::Blob(vec![0xff]), Value::Bytes(vec![0xff])),
            (Kind::Float, Raw::Text("NaN".into()), Value::Float(f64::NAN)),
        ];
        for (kind, raw, expected) in cases {
            assert_eq!(codec(kind, Affinity::Numeric).decode(raw), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_key_is_typed_only_in_a_spelling_that_a_lookup_finds() {
        let uuid = codec(Kind::Uuid, Affinity::Numeric);
        let simple = "00000000000000000000000000000001".to_owned();
        assert_eq!(uuid.decode_findable(Raw::Text(simple.clone())), Value::Text(simple));
        let upper = "0000000A-0000-0000-0000-000000000001".to_owned();
        assert!(matches!(uuid.decode_findable(Raw::Text(upper)), Value::Uuid(_)));
        let local = codec(Kind::Local, Affinity::Numeric);
        assert_eq!(local.decode_findable(Raw::Text("1970-01-01T00:00:01".into())), Value::Local(1_000_000));
        assert_eq!(
            local.decode_findable(Raw::Text("1970-01-01 00:00:01.0".into())),
            Value::Text("1970-01-01 00:00:01.0".into())
        );
    }

    #[test]
    fn dates_beyond_four_digits_are_refused() {
        let date = codec(Kind::Date, Affinity::Numeric);
        for (days, text) in [(*DAYS.start(), "0000-01-01"), (*DAYS.end(), "9999-12-31")] {
            let days = i32::try_from(days).unwrap();
            assert_eq!(date.encode(&Value::Date(days)), Ok(Raw::Text(text.into())));
            assert!(date.encode(&Value::Date(days + days.signum())).is_err());
        }
    }
}
