//! Conversion of a value to the kind of the column that it is written to. Exact, or an error: never a silent loss.

use super::calendar::{is_beyond_dates, is_beyond_times};
use super::decimal::{canonical_decimal, is_decimal};
use super::{Kind, Value};

/// Integers up to this size are exact in an `f64`.
const FLOAT_INT_MAX: i64 = 1 << 53;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The value does not fit the kind. Says the kinds, never the value (I12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of kind {from:?} does not fit {to:?}{hint}")]
pub struct ConvertError {
    /// What it was.
    pub from: Kind,
    /// What it should become.
    pub to: Kind,
    /// More, such as ": expected a number".
    pub hint: &'static str,
}

impl Value {
    /// This value as one of `kind`; null stays null. A timestamp without a zone is taken as UTC where one with a zone is wanted,
    /// and the other way round. What databases keep in columns of dates and times beyond those (`infinity`, `0000-00-00`) stays the
    /// text that it is: systems that know it take it, the others refuse it.
    ///
    /// # Errors
    /// Where something would be lost.
    pub fn convert(self, kind: Kind) -> Result<Self, ConvertError> {
        let from = self.kind();
        if from == kind || self.is_null() {
            return Ok(self);
        }
        let fail = |hint| ConvertError { from, to: kind, hint };
        match (self, kind) {
            (Self::Text(text) | Self::Decimal(text), Kind::Int) => whole(text, from),
            (Self::Text(text), Kind::Float) => exact_float(&text, from),
            (Self::Text(text), Kind::Date | Kind::Local | Kind::Instant) if is_beyond_dates(&text) => {
                Ok(Self::Text(text))
            }
            (Self::Text(text), Kind::Time) if is_beyond_times(&text) && Self::from_text(kind, &text).is_err() => {
                Ok(Self::Text(text))
            }
            (Self::Text(text), _) => Self::from_text(kind, &text),
            (value, Kind::Text) => value.to_text().map(Self::Text).ok_or_else(|| fail("")),
            // Not through `serde_json::Value`, whose fractions are `f64`.
            (Self::Json(text), _) if is_decimal(text.trim()) => Self::Decimal(text.trim().to_owned()).convert(kind),
            (Self::Json(text), _) => {
                let json = serde_json::from_str(&text).map_err(|_| fail(": not JSON"))?;
                Self::from_json(kind, &json)
            }
            (value, Kind::Json) => Ok(Self::Json(value.to_json().to_string())),
            (Self::Boolean(value), Kind::Int | Kind::Float | Kind::Decimal) => {
                Self::Int(i64::from(value)).convert(kind)
            }
            (Self::Int(value @ (0 | 1)), Kind::Boolean) => Ok(Self::Boolean(value == 1)),
            (Self::Int(value), Kind::Decimal) => Ok(Self::Decimal(value.to_string())),
            (Self::Int(value), Kind::Float) if value.abs() <= FLOAT_INT_MAX => {
                Self::from_text(kind, &value.to_string())
            }
            (Self::Decimal(text), Kind::Boolean) => Self::from_text(Kind::Int, &canonical_decimal(&text))
                .map_err(|_| fail(": not a whole number of 64 bits"))?
                .convert(kind),
            (Self::Decimal(text), Kind::Float) => exact_float(&text, from),
            (Self::Float(value), Kind::Decimal) => {
                Self::from_text(kind, &Self::Float(value).to_text().unwrap_or_default())
            }
            (Self::Float(value), Kind::Int | Kind::Boolean) if value.fract() == 0.0 => {
                Self::from_text(Kind::Int, &format!("{:.0}", value + 0.0))?.convert(kind)
            }
            (Self::Instant(micros), Kind::Local) => Ok(Self::Local(micros)),
            (Self::Local(micros), Kind::Instant) => Ok(Self::Instant(micros)),
            (Self::Date(days), Kind::Local) => Ok(Self::Local(i64::from(days) * MICROS_PER_DAY)),
            (Self::Date(days), Kind::Instant) => Ok(Self::Instant(i64::from(days) * MICROS_PER_DAY)),
            (Self::Local(micros) | Self::Instant(micros), Kind::Date) if micros % MICROS_PER_DAY == 0 => {
                i32::try_from(micros / MICROS_PER_DAY).map(Self::Date).map_err(|_| fail(": out of range"))
            }
            (Self::Bytes(bytes), Kind::Uuid) => {
                bytes.try_into().map(Self::Uuid).map_err(|_| fail(": expected 16 bytes"))
            }
            (Self::Uuid(bytes), Kind::Bytes) => Ok(Self::Bytes(bytes.to_vec())),
            _ => Err(fail("")),
        }
    }
}

/// A whole number. One beyond 64 bits stays a decimal: an unsigned column may take it, the others refuse it.
fn whole(text: String, from: Kind) -> Result<Value, ConvertError> {
    if let Ok(value) = text.parse() {
        return Ok(Value::Int(value));
    }
    let fail = |hint| ConvertError { from, to: Kind::Int, hint };
    if from == Kind::Text && !text.strip_prefix('-').unwrap_or(&text).bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fail(": expected an integer"));
    }
    let number = canonical_decimal(&text);
    if let Ok(value) = number.parse() {
        return Ok(Value::Int(value));
    }
    let digits = number.strip_prefix('-').unwrap_or(&number);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::Decimal(number));
    }
    Err(fail(": not a whole number"))
}

/// The double that a decimal text names. It has to say no more than the double's own shortest text does: `0.1` and `0.10` are one, and
/// `0.1000000000000000001` is none.
fn exact_float(text: &str, from: Kind) -> Result<Value, ConvertError> {
    let value = Value::from_text(Kind::Float, text).map_err(|error| ConvertError { from, ..error })?;
    let shortest = value.to_text().unwrap_or_default();
    if canonical_decimal(&shortest) == canonical_decimal(text) {
        return Ok(value);
    }
    Err(ConvertError { from, to: Kind::Float, hint: ": it has more digits than a float keeps" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(text.into())
    }

    #[test]
    fn what_fits_is_converted() {
        for (value, kind, expected) in [
            (Value::Int(1), Kind::Boolean, Value::Boolean(true)),
            (Value::Int(5), Kind::Decimal, decimal("5.00")),
            (decimal("5.00"), Kind::Int, Value::Int(5)),
            (Value::Float(2.0), Kind::Int, Value::Int(2)),
            (Value::Float(-0.0), Kind::Int, Value::Int(0)),
            (Value::Float(0.1), Kind::Decimal, decimal("0.1")),
            (Value::Text("7".into()), Kind::Int, Value::Int(7)),
            (Value::Int(7), Kind::Text, Value::Text("7".into())),
            (Value::Local(5), Kind::Instant, Value::Instant(5)),
            (Value::Date(1), Kind::Local, Value::Local(MICROS_PER_DAY)),
            (Value::Json("3".into()), Kind::Int, Value::Int(3)),
            (Value::Json("12345678901234567890.1".into()), Kind::Decimal, decimal("12345678901234567890.1")),
            (Value::Null, Kind::Int, Value::Null),
            (decimal("0.10"), Kind::Float, Value::Float(0.1)),
            (decimal("18446744073709551615"), Kind::Int, decimal("18446744073709551615")),
            (Value::Text("-9223372036854775809".into()), Kind::Int, decimal("-9223372036854775809")),
            (decimal("1e300"), Kind::Float, Value::Float(1e300)),
            (Value::Text("NaN".into()), Kind::Float, Value::Float(f64::NAN)),
            (Value::Text("infinity".into()), Kind::Instant, Value::Text("infinity".into())),
            (Value::Text("0000-00-00".into()), Kind::Date, Value::Text("0000-00-00".into())),
            (Value::Text("-01:00:00".into()), Kind::Time, Value::Text("-01:00:00".into())),
            (Value::Text("24:00:00".into()), Kind::Time, Value::Time(MICROS_PER_DAY)),
        ] {
            assert_eq!(value.convert(kind).unwrap(), expected);
        }
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        for (value, kind) in [
            (decimal("5.01"), Kind::Int),
            (Value::Int(2), Kind::Boolean),
            (Value::Int(i64::MAX), Kind::Float),
            (Value::Float(0.5), Kind::Int),
            (Value::Local(1), Kind::Date),
            (Value::Text("x".into()), Kind::Int),
            (Value::Text("".into()), Kind::Int),
            (Value::Text("1.0".into()), Kind::Int),
            (decimal("NaN"), Kind::Int),
            (Value::Bytes(vec![1]), Kind::Uuid),
            (Value::Int(3), Kind::Date),
            (decimal("0.1000000000000000000001"), Kind::Float),
            (decimal("9007199254740993"), Kind::Float),
            (Value::Text("9007199254740993".into()), Kind::Float),
        ] {
            assert!(value.convert(kind).is_err());
        }
    }
}
