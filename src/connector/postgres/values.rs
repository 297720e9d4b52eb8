//! Values as PostgreSQL prints and reads them (layer 4): text in the server's own form both ways, nothing through `f64` but floats.
//!
//! Sessions are fixed to ISO dates, UTC and hex bytes (`options`). What a kind cannot hold (`infinity` as a date) stays text, so
//! that nothing is lost.

use std::borrow::Cow;

use crate::value::calendar::{civil_from_days, days_from_civil};
use crate::value::{Kind, Value};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The kind of a built-in type; every other type (enums, arrays, intervals, extensions) is text.
pub(super) fn kind_of(schema: &str, type_name: &str) -> Kind {
    if schema != "pg_catalog" {
        return Kind::Text;
    }
    match type_name {
        "bool" => Kind::Boolean,
        "int2" | "int4" | "int8" => Kind::Int,
        "float4" | "float8" => Kind::Float,
        "numeric" => Kind::Decimal,
        "bytea" => Kind::Bytes,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "timestamptz" => Kind::Instant,
        "timestamp" => Kind::Local,
        "json" | "jsonb" => Kind::Json,
        "uuid" => Kind::Uuid,
        _ => Kind::Text,
    }
}

/// Reads what the server printed for a column of `kind`.
pub(super) fn parse(kind: Kind, text: &str) -> Value {
    let value = match kind {
        Kind::Boolean => match text {
            "t" | "true" => Some(Value::Boolean(true)),
            "f" | "false" => Some(Value::Boolean(false)),
            _ => None,
        },
        Kind::Int => text.parse().ok().map(Value::Int),
        Kind::Float => text.parse().ok().map(Value::Float),
        Kind::Decimal => Some(Value::Decimal(text.to_owned())),
        Kind::Bytes => bytes_from(text).map(Value::Bytes),
        Kind::Date => date_from(text).map(Value::Date),
        Kind::Time => time_from(text).map(Value::Time),
        Kind::Instant => text
            .strip_suffix(" BC")
            .unwrap_or(text)
            .ends_with("+00")
            .then(|| stamp_from(text))
            .flatten()
            .map(Value::Instant),
        Kind::Local => stamp_from(text).map(Value::Local),
        Kind::Json => Some(Value::Json(text.to_owned())),
        Kind::Uuid => uuid::Uuid::try_parse(text).ok().map(|id| Value::Uuid(id.into_bytes())),
        Kind::Text | Kind::Null => None,
    };
    value.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// What the server reads as this value; `None` for null.
pub(super) fn input(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => Cow::Borrowed(if *value { "t" } else { "f" }),
        Value::Int(value) => Cow::Owned(value.to_string()),
        Value::Float(value) => Cow::Owned(float_text(*value)),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => Cow::Owned(bytes_text(bytes)),
        Value::Date(days) => Cow::Owned(date_text(i64::from(*days))),
        Value::Time(micros) => Cow::Owned(time_text(*micros)),
        Value::Instant(micros) => Cow::Owned(stamp_text(*micros, "+00")),
        Value::Local(micros) => Cow::Owned(stamp_text(*micros, "")),
        Value::Uuid(bytes) => Cow::Owned(uuid::Uuid::from_bytes(*bytes).to_string()),
    })
}

/// Whether the server cannot store the value in any column: its text has no U+0000.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text.as_bytes().contains(&0),
        Value::Null
        | Value::Boolean(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Instant(_)
        | Value::Local(_)
        | Value::Uuid(_) => false,
    }
}

fn float_text(value: f64) -> String {
    if value.is_finite() {
        return format!("{value:e}");
    }
    let text = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    text.to_owned()
}

fn bytes_from(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let nibble = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect()
}

fn bytes_text(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].iter().filter_map(|nibble| DIGITS.get(usize::from(*nibble))));
    }
    text
}

/// Reads a text from the left; each step is `None` where the text is of another form.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// A run of digits: its value and length.
    fn number(&mut self) -> Option<(i64, usize)> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || length > 9 {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), length))
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == expected).then_some(())
    }

    /// `YYYY-MM-DD` as days since 1970-01-01.
    fn days(&mut self, before_christ: bool) -> Option<i64> {
        let (year, _) = self.number()?;
        self.byte(b'-')?;
        let (month, _) = self.number()?;
        self.byte(b'-')?;
        let (day, _) = self.number()?;
        // The year before 1 AD is 1 BC, which is 0 in astronomical count.
        Some(days_from_civil(if before_christ { 1 - year } else { year }, month, day))
    }

    /// `HH:MM:SS[.ffffff]` as microseconds.
    fn micros(&mut self) -> Option<i64> {
        let (hours, _) = self.number()?;
        self.byte(b':')?;
        let (minutes, _) = self.number()?;
        self.byte(b':')?;
        let (seconds, _) = self.number()?;
        let mut micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND;
        if self.byte(b'.').is_some() {
            let (fraction, digits) = self.number()?;
            micros += fraction * 10_i64.pow(6_u32.checked_sub(u32::try_from(digits).ok()?)?);
        }
        Some(micros)
    }
}

fn split_era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |rest| (rest, true))
}

fn date_from(text: &str) -> Option<i32> {
    let (text, before_christ) = split_era(text);
    let mut cursor = Cursor(text.as_bytes());
    let days = cursor.days(before_christ)?;
    cursor.0.is_empty().then(|| i32::try_from(days).ok()).flatten()
}

fn time_from(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let micros = cursor.micros()?;
    cursor.0.is_empty().then_some(micros)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff][+00][ BC]`.
fn stamp_from(text: &str) -> Option<i64> {
    let (text, before_christ) = split_era(text);
    let mut cursor = Cursor(text.strip_suffix("+00").unwrap_or(text).as_bytes());
    let days = cursor.days(before_christ)?;
    cursor.byte(b' ')?;
    let micros = cursor.micros()?;
    cursor.0.is_empty().then(|| days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)).flatten()
}

/// Adds a number of two digits; formatting by the standard library takes several times as long, and a load writes millions. Another number,
/// which no time of a day has, is added as it is: the server refuses it.
fn push_two(out: &mut String, number: i64) {
    match u8::try_from(number) {
        Ok(number @ 0..=99) => {
            out.push(char::from(b'0' + number / 10));
            out.push(char::from(b'0' + number % 10));
        }
        Ok(_) | Err(_) => out.push_str(&number.to_string()),
    }
}

/// Adds `YYYY-MM-DD`; true where the year is before Christ, which is said at the end.
fn push_date(out: &mut String, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year };
    if year < 10_000 {
        push_two(out, year / 100);
        push_two(out, year % 100);
    } else {
        out.push_str(&year.to_string());
    }
    for part in [month, day] {
        out.push('-');
        push_two(out, part);
    }
    before_christ
}

/// Adds `HH:MM:SS.ffffff`.
fn push_time(out: &mut String, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    push_two(out, seconds / 3600);
    for part in [seconds / 60 % 60, seconds % 60] {
        out.push(':');
        push_two(out, part);
    }
    out.push('.');
    for part in [fraction / 10_000, fraction / 100 % 100, fraction % 100] {
        push_two(out, part);
    }
}

/// Bytes of the longest usual stamp.
const STAMP_BYTES: usize = "2000-01-01 00:00:00.000000+00".len();
const BEFORE_CHRIST: &str = " BC";

fn date_text(days: i64) -> String {
    let mut out = String::with_capacity(STAMP_BYTES);
    if push_date(&mut out, days) {
        out.push_str(BEFORE_CHRIST);
    }
    out
}

fn time_text(micros: i64) -> String {
    let mut out = String::with_capacity(STAMP_BYTES);
    push_time(&mut out, micros);
    out
}

fn stamp_text(micros: i64, zone: &str) -> String {
    let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let mut out = String::with_capacity(STAMP_BYTES);
    let before_christ = push_date(&mut out, days);
    out.push(' ');
    push_time(&mut out, rest);
    out.push_str(zone);
    if before_christ {
        out.push_str(BEFORE_CHRIST);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_prints_reads_as_its_kind_and_back() {
        for (kind, text, value, written) in [
            (Kind::Boolean, "t", Value::Boolean(true), "t"),
            (Kind::Int, "-9223372036854775808", Value::Int(i64::MIN), "-9223372036854775808"),
            (Kind::Float, "1e+300", Value::Float(1e300), "1e300"),
            (Kind::Float, "NaN", Value::Float(f64::NAN), "NaN"),
            (Kind::Float, "-Infinity", Value::Float(f64::NEG_INFINITY), "-Infinity"),
            (Kind::Decimal, "12.340", Value::Decimal("12.34".into()), "12.340"),
            (Kind::Bytes, "\\x00ff", Value::Bytes(vec![0, 255]), "\\x00ff"),
            (Kind::Date, "1969-12-31", Value::Date(-1), "1969-12-31"),
            (Kind::Date, "4714-11-24 BC", Value::Date(-2_440_588), "4714-11-24 BC"),
            (Kind::Time, "24:00:00", Value::Time(MICROS_PER_DAY), "24:00:00.000000"),
            (Kind::Time, "00:00:00.5", Value::Time(500_000), "00:00:00.500000"),
            (Kind::Instant, "1969-12-31 23:59:59.999999+00", Value::Instant(-1), "1969-12-31 23:59:59.999999+00"),
            (
                Kind::Instant,
                "0001-01-01 00:00:00+00 BC",
                Value::Instant(-62_167_219_200_000_000),
                "0001-01-01 00:00:00.000000+00 BC",
            ),
            (Kind::Local, "294247-01-10 04:00:54.775807", Value::Local(i64::MAX), "294247-01-10 04:00:54.775807"),
            (Kind::Date, "infinity", Value::Text("infinity".into()), "infinity"),
            (
                Kind::Instant,
                "2024-01-01 00:00:00+01",
                Value::Text("2024-01-01 00:00:00+01".into()),
                "2024-01-01 00:00:00+01",
            ),
        ] {
            let read = parse(kind, text);
            assert_eq!(read, value, "{text}");
            assert_eq!(input(&read).as_deref(), Some(written));
        }
    }

    #[test]
    fn what_is_no_time_of_a_day_is_not_made_one() {
        assert_eq!(input(&Value::Time(-1)).as_deref(), Some("00:00:-1.999999"));
        assert_eq!(input(&Value::Time(400_000 * MICROS_PER_SECOND)).as_deref(), Some("111:06:40.000000"));
    }
}
