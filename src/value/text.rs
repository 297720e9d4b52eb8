//! Text and JSON forms of values: one canonical text per value, exact both ways.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::calendar::{date_from, date_text, instant_from, local_from, local_text, time_from, time_text};
use super::convert::ConvertError;
use super::decimal::{canonical_decimal, is_decimal};
use super::{Kind, Value};

/// JSON nested deeper than this is compared as text.
const JSON_DEPTH_MAX: usize = 128;

impl Value {
    /// The canonical text: ISO 8601 for times, base64 for bytes, `true`/`false`; `None` for null.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => float_text(*value),
            Self::Decimal(text) | Self::Text(text) | Self::Json(text) => text.clone(),
            Self::Bytes(bytes) => BASE64_STANDARD.encode(bytes),
            Self::Date(days) => date_text(i64::from(*days)),
            Self::Time(micros) => time_text(*micros),
            Self::Instant(micros) => format!("{}Z", local_text(*micros)),
            Self::Local(micros) => local_text(*micros),
            Self::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
        })
    }

    /// Reads a value of `kind` from text: the canonical form, and the usual variants of it (a space for `T`, any UTC offset,
    /// `t`/`f`/`0`/`1` for booleans, UUIDs in capitals).
    ///
    /// # Errors
    /// Where the text is not such a form, or is finer than microseconds.
    pub fn from_text(kind: Kind, text: &str) -> Result<Self, ConvertError> {
        let fail = |hint| ConvertError { from: Kind::Text, to: kind, hint };
        match kind {
            Kind::Null => Err(fail(": only null does")),
            Kind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => Ok(Self::Boolean(true)),
                "false" | "f" | "0" => Ok(Self::Boolean(false)),
                _ => Err(fail(": expected true or false")),
            },
            Kind::Int => text.parse().map(Self::Int).map_err(|_| fail(": expected an integer of 64 bits")),
            Kind::Float => float_from(text).map(Self::Float).ok_or_else(|| fail(": expected a number")),
            Kind::Decimal if is_decimal(text) => Ok(Self::Decimal(text.to_owned())),
            Kind::Decimal => Err(fail(": expected a decimal number")),
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Bytes => BASE64_STANDARD.decode(text).map(Self::Bytes).map_err(|_| fail(": expected base64")),
            Kind::Date => date_from(text).map(Self::Date).ok_or_else(|| fail(": expected YYYY-MM-DD")),
            Kind::Time => time_from(text).map(Self::Time).ok_or_else(|| fail(": expected HH:MM:SS[.ffffff]")),
            Kind::Instant => instant_from(text)
                .map(Self::Instant)
                .ok_or_else(|| fail(": expected YYYY-MM-DDTHH:MM:SS[.ffffff] with Z or an offset")),
            Kind::Local => {
                local_from(text).map(Self::Local).ok_or_else(|| fail(": expected YYYY-MM-DDTHH:MM:SS[.ffffff]"))
            }
            Kind::Json => serde_json::from_str::<&RawValue>(text)
                .map(|_| Self::Json(text.to_owned()))
                .map_err(|_| fail(": expected JSON")),
            Kind::Uuid => {
                uuid::Uuid::try_parse(text).map(|id| Self::Uuid(id.into_bytes())).map_err(|_| fail(": expected a UUID"))
            }
        }
    }

    /// The JSON form of the plugin contract (`meta.example`): booleans, null and text as they are, integers and floats as numbers
    /// (not-a-number and infinities as text), JSON as itself, everything else as its canonical text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Boolean(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| float_text(*value).into(), serde_json::Value::Number),
            Self::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
            Self::Decimal(_)
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Instant(_)
            | Self::Local(_)
            | Self::Uuid(_) => self.to_text().unwrap_or_default().into(),
        }
    }

    /// Reads a value of `kind` from its JSON form: the inverse of [`Value::to_json`].
    ///
    /// # Errors
    /// Where the JSON does not fit the kind.
    pub fn from_json(kind: Kind, json: &serde_json::Value) -> Result<Self, ConvertError> {
        if kind == Kind::Json {
            return Ok(Self::Json(json.to_string()));
        }
        match json {
            serde_json::Value::Null => Ok(Self::Null),
            serde_json::Value::Bool(value) => Self::Boolean(*value).convert(kind),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Int(integer).convert(kind),
                None if number.is_f64() => Self::Float(number.as_f64().unwrap_or(f64::NAN)).convert(kind),
                None => Self::Decimal(number.to_string()).convert(kind),
            },
            serde_json::Value::String(text) => Self::from_text(kind, text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                Err(ConvertError { from: Kind::Json, to: kind, hint: ": expected a single value" })
            }
        }
    }
}

/// Shortest text that reads back as the same double; `NaN`, `Infinity`, `-Infinity`.
fn float_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    format!("{value}")
}

fn float_from(text: &str) -> Option<f64> {
    is_decimal(text)
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value: &f64| value.is_finite() || canonical_decimal(text).ends_with(['y', 'N']))
}

/// Compares two JSON texts by meaning: white space, the order of object keys and the spelling of numbers do not count.
pub(super) fn compare_json(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (canonical_a, canonical_b) = (canonical_json(a, 0), canonical_json(b, 0));
    canonical_a.as_deref().unwrap_or(a).cmp(canonical_b.as_deref().unwrap_or(b))
}

fn canonical_json(text: &str, depth: usize) -> Option<String> {
    if depth > JSON_DEPTH_MAX {
        return None;
    }
    let text = text.trim();
    match text.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let parts: Option<Vec<String>> = fields
                .iter()
                .map(|(name, raw)| {
                    Some(format!(
                        "{}:{}",
                        serde_json::Value::from(name.as_str()),
                        canonical_json(raw.get(), depth + 1)?
                    ))
                })
                .collect();
            Some(format!("{{{}}}", parts?.join(",")))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let parts: Option<Vec<String>> = items.iter().map(|raw| canonical_json(raw.get(), depth + 1)).collect();
            Some(format!("[{}]", parts?.join(",")))
        }
        b'"' => serde_json::from_str::<String>(text).ok().map(|inner| serde_json::Value::from(inner).to_string()),
        b't' | b'f' | b'n' => Some(text.to_owned()),
        _ => is_decimal(text).then(|| canonical_decimal(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_the_same_value() {
        for value in [
            Value::Boolean(true),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Float(f64::INFINITY),
            Value::Float(1e300),
            Value::Decimal("123456789012345678901234567890.10".into()),
            Value::Text("a\0😀".into()),
            Value::Bytes(vec![0, 255]),
            Value::Date(-1),
            Value::Date(19_876),
            Value::Date(2_932_896),
            Value::Date(i32::MIN),
            Value::Date(i32::MAX),
            Value::Instant(i64::MAX),
            Value::Local(i64::MIN),
            Value::Time(86_400_000_000),
            Value::Instant(2_932_896 * 86_400_000_000),
            Value::Local(2_932_897 * 86_400_000_000 - 1),
            Value::Local(-1),
            Value::Time(86_399_999_999),
            Value::Instant(-1),
            Value::Instant(1_700_000_000_123_456),
            Value::Local(1_700_000_000_000_000),
            Value::Json("{\"a\":1}".into()),
            Value::Uuid([7; 16]),
        ] {
            let text = value.to_text().unwrap();
            assert_eq!(Value::from_text(value.kind(), &text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_databases_print_is_read() {
        assert_eq!(Value::from_text(Kind::Instant, "1970-01-01 02:00:00.5+02").unwrap(), Value::Instant(500_000));
        assert_eq!(Value::from_text(Kind::Instant, "1970-01-01 00:00:00+00:00").unwrap(), Value::Instant(0));
        assert_eq!(
            Value::from_text(Kind::Instant, "1970-01-01T00:00:00-00:30").unwrap(),
            Value::Instant(1_800_000_000)
        );
        for text in [
            "1970-01-01 00:00:00",
            "1970-01-01 00:00:00+",
            "1970-01-01 00:00:00+1",
            "1970-01-01 00:00:00+25",
            "1970-01-01Z",
        ] {
            assert!(Value::from_text(Kind::Instant, text).is_err(), "{text}");
        }
        assert_eq!(Value::from_text(Kind::Local, "1970-01-02 00:00:00").unwrap(), Value::Local(86_400_000_000));
        assert_eq!(Value::from_text(Kind::Boolean, "t").unwrap(), Value::Boolean(true));
        assert!(Value::from_text(Kind::Local, "1970-01-02 00:00:00+02").is_err());
        assert!(Value::from_text(Kind::Instant, "1970-01-01T00:00:00.0000001Z").is_err());
        assert_eq!(Value::Instant(-1).to_text().unwrap(), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn json_is_compared_by_meaning() {
        assert_eq!(Value::Json("{\"a\": 1.0, \"b\": [1,2]}".into()), Value::Json("{\"b\":[1, 2],\"a\":1}".into()));
        assert_ne!(Value::Json("12345678901234567890123".into()), Value::Json("12345678901234567890124".into()));
        let deep = "[".repeat(100_000);
        assert_ne!(Value::Json(deep.clone()), Value::Json(deep + "1"));
    }
}
