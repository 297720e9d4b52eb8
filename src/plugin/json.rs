//! Values in JSON as `meta.example` of the contract has them: for examples and for `tidelock plugin call`.

use serde_json::value::RawValue;

mod record;

pub(crate) use record::{
    read_conflict, read_record, write_conflict, write_record, write_reshaped, write_resolution, write_violations,
};
pub(super) use record::{reshaped_says, resolution_says, violations_say};

use crate::value::{Kind, Value, canonical_decimal};

/// The form of a JSON text, by its first character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Boolean,
    Number,
    Text,
    Nested,
}

impl Form {
    fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => Self::Text,
            Some(b'{' | b'[') => Self::Nested,
            _ => Self::Number,
        }
    }

    /// Whether values of the kind have this form.
    fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Null => self == Self::Null,
            Kind::Boolean => self == Self::Boolean,
            Kind::Int | Kind::Float => self == Self::Number,
            Kind::Json => true,
            Kind::Decimal
            | Kind::Text
            | Kind::Bytes
            | Kind::Date
            | Kind::Time
            | Kind::Instant
            | Kind::Local
            | Kind::Uuid => self == Self::Text,
        }
    }
}

/// Reads a value as the first of `inputs` that it fits; where it fits none, by its form alone. Numbers never pass through a double
/// unless they become one.
///
/// # Errors
/// Where the text is not one JSON value.
pub(crate) fn read(text: &str, inputs: &[Kind]) -> Result<Value, serde_json::Error> {
    let raw: &RawValue = serde_json::from_str(text)?;
    let raw = raw.get();
    let form = Form::of(raw);
    if form == Form::Null {
        return Ok(Value::Null);
    }
    let fitting = inputs.iter().filter(|kind| form.fits(**kind)).find_map(|kind| read_as(*kind, raw, form));
    // A decimal is text in JSON, but people write numbers.
    let lenient =
        || (form == Form::Number && inputs.contains(&Kind::Decimal)).then(|| read_as(Kind::Decimal, raw, form));
    match fitting.or_else(|| lenient().flatten()) {
        Some(value) => Ok(value),
        None => by_form(raw, form),
    }
}

fn by_form(raw: &str, form: Form) -> Result<Value, serde_json::Error> {
    Ok(match form {
        Form::Null => Value::Null,
        Form::Boolean => Value::Boolean(raw == "true"),
        Form::Text => Value::Text(serde_json::from_str(raw)?),
        Form::Nested => Value::Json(raw.to_owned()),
        Form::Number => match (raw.parse(), Value::from_text(Kind::Float, raw)) {
            (Ok(integer), _) => Value::Int(integer),
            (Err(_), Ok(float)) if says_the_same(&float, raw) => float,
            (Err(_), _) => Value::Decimal(raw.to_owned()),
        },
    })
}

/// Whether the double is exactly the number that was written.
fn says_the_same(float: &Value, raw: &str) -> bool {
    float.to_text().is_some_and(|text| canonical_decimal(&text) == canonical_decimal(raw))
}

fn read_as(kind: Kind, raw: &str, form: Form) -> Option<Value> {
    match form {
        _ if kind == Kind::Json => Some(Value::Json(raw.to_owned())),
        Form::Null => Some(Value::Null),
        Form::Boolean | Form::Number => Value::from_text(kind, raw).ok(),
        Form::Text => Value::from_text(kind, &serde_json::from_str::<String>(raw).ok()?).ok(),
        Form::Nested => None,
    }
}

/// The JSON text of a value, on one line.
pub(crate) fn write(value: &Value) -> String {
    match value {
        // As it is: white space outside of texts may be a line break, inside it cannot.
        Value::Json(text) if serde_json::from_str::<&RawValue>(text).is_ok() => text.replace(['\n', '\r'], " "),
        Value::Null
        | Value::Boolean(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Instant(_)
        | Value::Local(_)
        | Value::Json(_)
        | Value::Uuid(_) => value.to_json().to_string(),
    }
}

/// Whether the value is what the example says.
pub(super) fn says(value: &Value, expected: &str) -> bool {
    match read(expected, &[value.kind()]) {
        Ok(Value::Null) => value.is_null(),
        Ok(expected) => expected == *value,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kind_that_fits_is_taken() {
        for (text, inputs, expected) in [
            ("null", &[Kind::Int][..], Value::Null),
            ("\"5\"", &[Kind::Decimal, Kind::Text], Value::Decimal("5".into())),
            ("\"x\"", &[Kind::Decimal, Kind::Text], Value::Text("x".into())),
            ("\"2024-01-02\"", &[Kind::Date], Value::Date(19_724)),
            ("5", &[Kind::Float, Kind::Int], Value::Float(5.0)),
            ("5", &[Kind::Text], Value::Int(5)),
            ("1.5", &[Kind::Decimal], Value::Decimal("1.5".into())),
            ("true", &[Kind::Int, Kind::Boolean], Value::Boolean(true)),
            ("[1]", &[Kind::Json], Value::Json("[1]".into())),
        ] {
            let value = read(text, inputs).unwrap();
            assert!(value == expected && value.kind() == expected.kind(), "{text} {value:?}");
        }
    }

    #[test]
    fn without_kinds_no_digit_is_lost() {
        assert_eq!(read("9223372036854775807", &[]).unwrap(), Value::Int(i64::MAX));
        assert_eq!(read("0.1", &[]).unwrap(), Value::Float(0.1));
        let long = read("0.10000000000000000555", &[]).unwrap();
        assert_eq!(long.to_text().unwrap(), "0.10000000000000000555");
        assert_eq!(read("1e400", &[]).unwrap().kind(), Kind::Decimal);
        assert!(read("", &[]).is_err() && read("1 2", &[]).is_err() && read("{", &[]).is_err());
    }

    #[test]
    fn output_is_one_line() {
        assert_eq!(write(&Value::Json("{\n\"a\": \"x\\ny\"}".into())), "{ \"a\": \"x\\ny\"}");
        assert_eq!(write(&Value::Text("a\nb".into())), "\"a\\nb\"");
        assert_eq!(write(&Value::Decimal("1.50".into())), "\"1.50\"");
    }

    #[test]
    fn examples_are_compared_by_meaning() {
        assert!(says(&Value::Float(1.0), "1") && says(&Value::Json("{\"a\":1}".into()), "{ \"a\": 1 }"));
        assert!(says(&Value::Null, "null") && !says(&Value::Null, "\"\"") && !says(&Value::Text("1".into()), "1"));
    }
}
