//! Values as the API writes them (layer 4), and what becomes of them in it. Numbers go through no `f64`: they are read as they stand.

use serde_json::value::RawValue;

use super::catalogue::Field;
use super::ids;
use crate::value::{Kind, Value, canonical_decimal};

/// In a cell that is written: null. What is read holds nothing there instead.
const NULL_CELL: &str = "#N/A";

/// What a field of an answer holds; `None` where it is nothing that such a field can hold.
pub(super) fn read(field: &Field, raw: &RawValue) -> Option<Value> {
    let text = raw.get();
    if text == "null" {
        return Some(Value::Null);
    }
    match field.kind {
        Kind::Boolean | Kind::Int | Kind::Decimal | Kind::Json => parsed(field, text),
        Kind::Date | Kind::Time | Kind::Instant | Kind::Text => {
            parsed(field, &serde_json::from_str::<String>(text).ok()?)
        }
        Kind::Null | Kind::Float | Kind::Bytes | Kind::Local | Kind::Uuid => None,
    }
}

/// What a cell of a CSV file that the API wrote holds for a field; `None` where it is nothing that such a field can hold.
pub(super) fn read_cell(field: &Field, text: &str) -> Option<Value> {
    if text.is_empty() { Some(Value::Null) } else { parsed(field, text) }
}

fn parsed(field: &Field, text: &str) -> Option<Value> {
    match field.kind {
        Kind::Boolean => text.parse().ok().map(Value::Boolean),
        // Some come as 5.0.
        Kind::Int => Value::Decimal(canonical_decimal(text)).convert(Kind::Int).ok(),
        Kind::Decimal => Value::from_text(Kind::Decimal, &canonical_decimal(text)).ok(),
        Kind::Date => Value::from_text(Kind::Date, text).ok(),
        Kind::Time => Value::from_text(Kind::Time, text.trim_end_matches('Z')).ok(),
        Kind::Instant => instant(text).map(Value::Instant),
        Kind::Json => Some(Value::Json(text.to_owned())),
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Null | Kind::Float | Kind::Bytes | Kind::Local | Kind::Uuid => None,
    }
}

/// The cell of a CSV file that sets a field, made of what is kept of the value; `None` for the one text that a cell cannot hold.
pub(super) fn cell(field: &Field, value: &Value) -> Option<String> {
    let kept = kept(field, value);
    let text = match kept {
        Value::Null => return Some(NULL_CELL.to_owned()),
        Value::Time(_) => format!("{}Z", kept.to_text()?),
        Value::Boolean(_)
        | Value::Int(_)
        | Value::Decimal(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Instant(_)
        | Value::Local(_)
        | Value::Json(_)
        | Value::Uuid(_) => kept.to_text()?,
    };
    (text != NULL_CELL).then_some(text)
}

/// Microseconds since 1970 of `2024-01-31T10:00:00.000+0000`, whose zone has no colon.
pub(super) fn instant(text: &str) -> Option<i64> {
    let (head, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let spelled = match zone.split_at_checked(3) {
        Some((hours, minutes)) if zone.starts_with(['+', '-']) => format!("{head}{hours}:{minutes}"),
        Some(_) | None => text.to_owned(),
    };
    match Value::from_text(Kind::Instant, &spelled) {
        Ok(Value::Instant(micros)) => Some(micros),
        Ok(_) | Err(_) => None,
    }
}

/// The JSON that sets a field.
pub(super) fn write(value: &Value) -> Box<RawValue> {
    let text = match value {
        Value::Null => None,
        Value::Boolean(_) | Value::Int(_) => value.to_text(),
        Value::Decimal(text) => {
            let number = canonical_decimal(text);
            Some(if number.ends_with(|last: char| last.is_ascii_digit()) { number } else { json_text(&number) })
        }
        Value::Time(_) => value.to_text().map(|text| json_text(&format!("{text}Z"))),
        Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Instant(_)
        | Value::Local(_)
        | Value::Json(_)
        | Value::Uuid(_) => value.to_text().map(|text| json_text(&text)),
    };
    text.and_then(|text| RawValue::from_string(text).ok()).unwrap_or_else(|| RawValue::NULL.to_owned())
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What Salesforce keeps of a value: text is trimmed, an empty one is null, numbers are rounded to the field's scale, ids have 18
/// characters, times no fractions of a second.
pub(super) fn kept(field: &Field, value: &Value) -> Value {
    match value {
        Value::Text(text) if text.trim().is_empty() => Value::Null,
        Value::Text(text) if ["id", "reference"].contains(&field.type_name()) => {
            Value::Text(ids::long(text.trim()).unwrap_or_else(|| text.clone()))
        }
        Value::Text(text) => Value::Text(text.trim().to_owned()),
        Value::Decimal(text) => Value::Decimal(rounded(&canonical_decimal(text), field.scale)),
        Value::Instant(micros) => Value::Instant(micros - micros.rem_euclid(1_000_000)),
        Value::Null
        | Value::Boolean(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Local(_)
        | Value::Json(_)
        | Value::Uuid(_) => value.clone(),
    }
}

/// Whether a stored value is what became of one that was written. Of several chosen values the order does not count.
pub(super) fn became(field: &Field, written: &Value, stored: &Value) -> bool {
    let written = kept(field, written);
    if let (Value::Text(one), Value::Text(other), "multipicklist") = (&written, stored, field.type_name()) {
        return chosen(one) == chosen(other);
    }
    if field.kind == Kind::Boolean && written.is_null() {
        return *stored == Value::Boolean(false);
    }
    written == *stored
}

fn chosen(text: &str) -> std::collections::BTreeSet<&str> {
    text.split(';').map(str::trim).filter(|value| !value.is_empty()).collect()
}

/// Half up, by the digits as they are written.
fn rounded(text: &str, scale: u32) -> String {
    let scale = usize::try_from(scale).unwrap_or(usize::MAX);
    let Some((whole, fraction)) = text.split_once('.').filter(|(_, fraction)| fraction.len() > scale) else {
        return text.to_owned();
    };
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut digits: Vec<u8> = std::iter::once(b'0').chain(whole.bytes()).chain(fraction.bytes().take(scale)).collect();
    let mut carry = fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
    canonical_decimal(&format!("{sign}{}.{}", text(whole), text(fraction)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(native_type: &str, scale: u32) -> Field {
        let described = serde_json::json!({
            "name": "F", "type": native_type, "length": 0, "scale": scale, "precision": 18, "nillable": true,
            "defaultedOnCreate": false, "createable": true, "updateable": true, "unique": false, "externalId": false,
        });
        super::super::catalogue::tests::field(described)
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn values_of_every_type_are_read_and_written_again() {
        for (native_type, json, text) in [
            ("currency", "1234567890123456.78", "1234567890123456.78"),
            ("double", "9.12260031E8", "912260031"),
            ("int", "5.0", "5"),
            ("boolean", "true", "true"),
            ("date", "\"2024-01-31\"", "2024-01-31"),
            ("time", "\"10:15:00.000Z\"", "10:15:00"),
            ("datetime", "\"2024-01-31T10:00:00.000+0000\"", "2024-01-31T10:00:00Z"),
            ("datetime", "\"2024-01-31T10:00:00.000-0130\"", "2024-01-31T11:30:00Z"),
            ("string", "\"a \\\"b\\\"\"", "a \"b\""),
        ] {
            let field = field(native_type, 2);
            let value = read(&field, &raw(json)).expect(json);
            assert_eq!(value.to_text().unwrap(), text, "{native_type}");
            assert_eq!(read(&field, &write(&value)), Some(value), "{native_type}");
        }
        assert_eq!(read(&field("string", 0), &raw("null")), Some(Value::Null));
        assert_eq!(read(&field("int", 0), &raw("\"x\"")), None);
        assert_eq!(write(&Value::Decimal("NaN".to_owned())).get(), "\"NaN\"");
    }

    #[test]
    fn cells_tell_null_from_the_text_that_means_it() {
        let string = field("string", 0);
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(read_cell(&string, ""), Some(Value::Null));
        assert_eq!(read_cell(&string, "#N/A"), Some(text("#N/A")));
        assert_eq!(cell(&string, &Value::Null).as_deref(), Some("#N/A"));
        assert_eq!(cell(&string, &text("  ")).as_deref(), Some("#N/A"), "an empty text is null");
        assert_eq!(cell(&string, &text("#N/A")), None);
        assert_eq!(cell(&string, &text(" a,\n\"b\" ")).as_deref(), Some("a,\n\"b\""));
        assert_eq!(cell(&field("currency", 2), &Value::Decimal("1.005".to_owned())).as_deref(), Some("1.01"));
        assert_eq!(cell(&field("time", 0), &Value::Time(36_915_000_000)).as_deref(), Some("10:15:15Z"));
        let time = read_cell(&field("datetime", 0), "2024-01-31T10:00:00.000Z");
        assert_eq!(time, read_cell(&field("datetime", 0), "2024-01-31T10:00:00.000+0000"));
        assert_eq!(read_cell(&field("boolean", 0), "maybe"), None);
    }

    #[test]
    fn what_is_kept_is_known_beforehand() {
        let text = |text: &str| Value::Text(text.to_owned());
        let decimal = |text: &str| Value::Decimal(text.to_owned());
        assert!(became(&field("string", 0), &text(" Acme "), &text("Acme")));
        assert!(became(&field("string", 0), &text("  "), &Value::Null));
        assert!(became(&field("multipicklist", 0), &text("B;A"), &text("A;B")));
        assert!(!became(&field("picklist", 0), &text("B;A"), &text("A;B")));
        assert!(became(&field("reference", 0), &text("001D000000IRt53"), &text("001D000000IRt53IAD")));
        for (written, stored) in [("1.005", "1.01"), ("-9.995", "-10"), ("99.994", "99.99"), ("7", "7"), ("0.004", "0")]
        {
            assert!(became(&field("currency", 2), &decimal(written), &decimal(stored)), "{written}");
        }
        assert!(!became(&field("currency", 2), &decimal("1.01"), &decimal("1.02")));
    }
}
