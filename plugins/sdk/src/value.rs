//! One value of any kind, as a function sees it.

use crate::calendar::{date_text, date_time_text, time_text};
use crate::kind::Kind;
use std::borrow::Cow;

/// One value. A field that a record does not carry is absent, which is not null: `Option<Value>` says both.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// Signed 64-bit integer.
    Int(i64),
    /// IEEE 754 double.
    Float(f64),
    /// Decimal number, as text.
    Decimal(Cow<'a, str>),
    /// Unicode text.
    Text(Cow<'a, str>),
    /// Raw bytes.
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// Microseconds since 1970-01-01T00:00:00 on the local clock.
    Local(i64),
    /// JSON, as text.
    Json(Cow<'a, str>),
    /// The 16 bytes in network order.
    Uuid([u8; 16]),
}

impl Value<'_> {
    /// The kind of this value.
    pub const fn kind(&self) -> Kind {
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
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, where the value is one; of other kinds see [`to_text`](Self::to_text).
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The canonical text of a value of any kind (ISO 8601, base64, `true`); `None` for null.
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Decimal(text) | Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(float_text(*value)),
            Self::Bytes(bytes) => Cow::Owned(base64(bytes)),
            Self::Date(days) => Cow::Owned(date_text(i64::from(*days))),
            Self::Time(micros) => Cow::Owned(time_text(*micros)),
            Self::Instant(micros) => Cow::Owned(format!("{}Z", date_time_text(*micros))),
            Self::Local(micros) => Cow::Owned(date_time_text(*micros)),
            Self::Uuid(bytes) => Cow::Owned(uuid_text(bytes)),
        })
    }

    /// The same value on its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Decimal(text) => Value::Decimal(text.into_owned().into()),
            Self::Text(text) => Value::Text(text.into_owned().into()),
            Self::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
            Self::Date(days) => Value::Date(days),
            Self::Time(micros) => Value::Time(micros),
            Self::Instant(micros) => Value::Instant(micros),
            Self::Local(micros) => Value::Local(micros),
            Self::Json(text) => Value::Json(text.into_owned().into()),
            Self::Uuid(bytes) => Value::Uuid(bytes),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// Null for `None`.
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

fn float_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    value.to_string()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
            text.push(char::from(if at as usize > group.len() { b'=' } else { letter }));
        }
    }
    text
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_canonical_text() {
        let uuid = [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
        for (value, text) in [
            (Value::Boolean(false), "false"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(f64::NEG_INFINITY), "-Infinity"),
            (Value::Decimal("1.50".into()), "1.50"),
            (Value::Bytes(Cow::Borrowed(b"any c")), "YW55IGM="),
            (Value::Bytes(Cow::Borrowed(b"a")), "YQ=="),
            (Value::Bytes(Cow::Borrowed(b"any")), "YW55"),
            (Value::Date(-1), "1969-12-31"),
            (Value::Time(1), "00:00:00.000001"),
            (Value::Instant(0), "1970-01-01T00:00:00Z"),
            (Value::Local(0), "1970-01-01T00:00:00"),
            (Value::Uuid(uuid), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ] {
            assert_eq!(value.to_text().as_deref(), Some(text));
            assert_eq!(value.clone().into_owned(), value);
        }
        assert_eq!(Value::Null.to_text(), None);
        assert_eq!(Value::from(None::<&str>), Value::Null);
    }
}
