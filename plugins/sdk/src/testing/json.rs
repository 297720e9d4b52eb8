//! Values in JSON, as examples have them (WIT `meta.example`).

use crate::calendar::{MICROS_PER_DAY, days_of};
use crate::kind::Kind;
use crate::params::json_text;
use crate::value::Value;
use miniserde::json::{self, Number, Value as Json};
use std::borrow::Cow;

/// The value as the first of `kinds` that its JSON fits; where it fits none, by its form alone.
pub(super) fn read(json: &Json, kinds: &[Kind]) -> Value<'static> {
    kinds.iter().find_map(|kind| read_as(json, *kind)).unwrap_or_else(|| by_form(json))
}

fn by_form(json: &Json) -> Value<'static> {
    let forms = [Kind::Null, Kind::Boolean, Kind::Int, Kind::Float, Kind::Text];
    let found = forms.into_iter().find_map(|kind| read_as(json, kind));
    found.unwrap_or_else(|| Value::Json(json::to_string(json).into()))
}

fn read_as(json: &Json, kind: Kind) -> Option<Value<'static>> {
    match (json, kind) {
        (Json::Null, _) => Some(Value::Null),
        (_, Kind::Json) => Some(Value::Json(json::to_string(json).into())),
        (Json::Bool(value), Kind::Boolean) => Some(Value::Boolean(*value)),
        (Json::Number(number), Kind::Int) => integer(number).map(Value::Int),
        (Json::Number(number), Kind::Float) => Some(Value::Float(match number {
            Number::F64(value) => *value,
            other => other.to_string().parse().ok()?,
        })),
        (Json::Number(number), Kind::Decimal) => Some(Value::Decimal(number.to_string().into())),
        (Json::String(text), _) => read_text(text, kind),
        _ => None,
    }
}

fn integer(number: &Number) -> Option<i64> {
    match number {
        Number::I64(value) => Some(*value),
        Number::U64(value) => i64::try_from(*value).ok(),
        Number::F64(_) => None,
    }
}

fn read_text(text: &str, kind: Kind) -> Option<Value<'static>> {
    Some(match kind {
        Kind::Text => Value::Text(Cow::Owned(text.to_owned())),
        Kind::Decimal => {
            let digits = text.strip_prefix('-').unwrap_or(text).replacen('.', "", 1);
            let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            decimal.then(|| Value::Decimal(text.to_owned().into()))?
        }
        Kind::Date => Value::Date(i32::try_from(date(text)?).ok()?),
        Kind::Time => Value::Time(time(text)?),
        Kind::Local => Value::Local(date_time(text)?),
        Kind::Instant => Value::Instant(date_time(text.strip_suffix('Z')?)?),
        Kind::Null | Kind::Boolean | Kind::Int | Kind::Float | Kind::Bytes | Kind::Json | Kind::Uuid => return None,
    })
}

fn date(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
    let days = days_of(parts.next()??, parts.next()??, parts.next()??)?;
    (text.len() == 10 && parts.next().is_none()).then_some(days)
}

fn time(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(|part| part.parse::<i64>().ok());
    let seconds = parts.next()?? * 3600 + parts.next()?? * 60 + parts.next()??;
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    (whole.len() == 8 && fraction.len() <= 6).then_some(seconds * 1_000_000 + micros)
}

fn date_time(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once('T')?;
    Some(date(day)? * MICROS_PER_DAY + time(clock)?)
}

/// The JSON of a value.
pub(super) fn write(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Json(text) => canonical(text),
        Value::Float(number) if !number.is_finite() => json_text(&value.to_text().unwrap_or_default()),
        Value::Float(number) => json::to_string(number),
        Value::Boolean(_) | Value::Int(_) => value.to_text().unwrap_or_default().into_owned(),
        other => json_text(&other.to_text().unwrap_or_default()),
    }
}

/// One text for all that say the same: fields in order, no white space.
pub(super) fn canonical(text: &str) -> String {
    json::from_str::<Json>(text).map_or_else(|_| text.to_owned(), |value| json::to_string(&value))
}

/// A JSON object of fields, each already in JSON.
pub(super) fn object<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let parts: Vec<String> = fields.map(|(name, value)| format!("{}:{value}", json_text(name))).collect();
    canonical(&format!("{{{}}}", parts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_there_and_back() {
        for (text, kinds, kind) in [
            ("true", &[][..], Kind::Boolean),
            ("-5", &[], Kind::Int),
            ("1.5", &[Kind::Decimal], Kind::Decimal),
            (r#""1.50""#, &[Kind::Decimal, Kind::Text], Kind::Decimal),
            (r#""x""#, &[Kind::Decimal, Kind::Text], Kind::Text),
            (r#""2024-02-29""#, &[Kind::Date], Kind::Date),
            (r#""2023-02-29""#, &[Kind::Date], Kind::Text),
            (r#""2024-02-29T01:02:03.5Z""#, &[Kind::Instant], Kind::Instant),
            (r#""2024-02-29T01:02:03""#, &[Kind::Local], Kind::Local),
            (r#""01:02:03""#, &[Kind::Time], Kind::Time),
            (r#"{"b":1,"a":[null]}"#, &[], Kind::Json),
            ("null", &[Kind::Int], Kind::Null),
        ] {
            let value = read(&json::from_str(text).unwrap(), kinds);
            assert_eq!(value.kind(), kind, "{text}");
            let written = write(&value);
            assert!(written == canonical(text) || written == json_text(text), "{text} {written}");
        }
        assert_eq!(canonical(r#"{ "b": 1, "a": [ ] }"#), r#"{"a":[],"b":1}"#);
        assert_eq!(object([("b", "1".to_owned()), ("a", "null".to_owned())].into_iter()), r#"{"a":null,"b":1}"#);
    }
}
