//! Values on their way to MySQL and back (layer 4): numbers as numbers, everything else as text or bytes, nothing through `f64` but
//! floats.
//!
//! A value that a column cannot keep is refused here, where the server would round it or take another for it. Only fractions of a
//! second are cut to what the column has. What a kind cannot hold (`0000-00-00`) is read as text, so that nothing is lost.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{MySql, Row};

use super::errors::Sql;
use super::table::MyColumn;
use crate::value::{Kind, Value, canonical_decimal};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 0000-01-01 to 9999-12-31.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

const OUT_OF_RANGE: &str = "is out of the range of dates and times that MySQL has";
const YEARS: std::ops::RangeInclusive<i64> = 1901..=2155;
const NO_YEAR: &str = "is no year of the column: 0, or 1901 to 2155";
const NO_MEMBER: &str = "is none of the values that the column has (their spelling counts)";
const NO_JSON: &str = "has a number in it with more digits than MySQL's JSON keeps";
const TOO_LONG: &str = "is longer than the column, whose blanks at the end the server would cut";
const NOT_FINITE: &str = "is not a number or infinite, which MySQL cannot store";
const TOO_LARGE: &str = "is larger than a single-precision number can be";
const TOO_PRECISE: &str = "does not fit the digits that the column has";

/// The kind of a type; every other type (enums, sets, addresses) is text.
pub(super) fn kind_of(data_type: &str, native: &str) -> Kind {
    match data_type {
        "tinyint" if native.starts_with("tinyint(1)") => Kind::Boolean,
        "bit" if native == "bit(1)" => Kind::Boolean,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit" => Kind::Int,
        "float" | "double" => Kind::Float,
        "decimal" => Kind::Decimal,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "timestamp" => Kind::Instant,
        "datetime" => Kind::Local,
        "json" => Kind::Json,
        "uuid" => Kind::Uuid,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point"
        | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" | "vector" => Kind::Bytes,
        _ => Kind::Text,
    }
}

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bind {
    /// NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// A whole number beyond those.
    Unsigned(u64),
    /// A finite double.
    Float(f64),
    /// Text, and what the server reads from text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Bind {
    /// Adds it to a statement.
    pub(super) fn to(self, query: Query<'_, MySql, MySqlArguments>) -> Query<'_, MySql, MySqlArguments> {
        match self {
            Self::Null => query.bind(None::<String>),
            Self::Int(value) => query.bind(value),
            Self::Unsigned(value) => query.bind(value),
            Self::Float(value) => query.bind(value),
            Self::Text(text) => query.bind(text),
            Self::Bytes(bytes) => query.bind(bytes),
        }
    }

    /// About how many bytes it takes on the way.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) | Self::Unsigned(_) | Self::Float(_) => 9,
            Self::Text(text) => text.len() + 9,
            Self::Bytes(bytes) => bytes.len() + 9,
        }
    }
}

/// What is sent for a value of a column.
///
/// # Errors
/// Where the column cannot keep it; says why.
pub(super) fn encode(column: &MyColumn, value: &Value) -> Result<Bind, &'static str> {
    Ok(match value {
        Value::Null => Bind::Null,
        Value::Boolean(value) => Bind::Int(i64::from(*value)),
        // The server would take 5 for 2005, and a negative number for the bits of its complement.
        Value::Int(value) if column.data_type == "year" && *value != 0 && !YEARS.contains(value) => {
            return Err(NO_YEAR);
        }
        Value::Int(value) if column.data_type == "bit" && *value < 0 => return Err(TOO_PRECISE),
        Value::Int(value) => Bind::Int(*value),
        Value::Float(value) if !value.is_finite() => return Err(NOT_FINITE),
        // A single's shortest text may lie a little beyond the largest single.
        Value::Float(value) if column.data_type == "float" => {
            match single(*value).filter(|single| single.is_finite()) {
                Some(single) => Bind::Float(f64::from(single)),
                None => return Err(TOO_LARGE),
            }
        }
        Value::Float(value) => Bind::Float(*value),
        // As a number: a text would be compared as a double, and is taken for bytes by a BIT.
        Value::Decimal(text) if column.unsigned && column.kind() == Kind::Int => {
            let number = canonical_decimal(text).parse().map(Bind::Unsigned);
            number.map_err(|_| TOO_PRECISE)?
        }
        Value::Decimal(text) => Bind::Text(decimal(column, text)?),
        Value::Text(text) => Bind::Text(text_in(column, text)?),
        Value::Json(text) if column.data_type == "json" && !keeps_numbers(text) => return Err(NO_JSON),
        Value::Json(text) => Bind::Text(text.clone()),
        Value::Bytes(bytes) => Bind::Bytes(bytes.clone()),
        Value::Date(days) if DAYS.contains(&i64::from(*days)) => text_of(value),
        Value::Time(micros) if (0..=MICROS_PER_DAY).contains(micros) => text_of(&Value::Time(cut(column, *micros))),
        Value::Instant(micros) | Value::Local(micros) if DAYS.contains(&micros.div_euclid(MICROS_PER_DAY)) => {
            text_of(&Value::Local(cut(column, *micros)))
        }
        Value::Date(_) | Value::Time(_) | Value::Instant(_) | Value::Local(_) => return Err(OUT_OF_RANGE),
        Value::Uuid(_) => text_of(value),
    })
}

/// The text, where the column takes it for no other. The server would take digits for a member's number, other cases for the same, and cut
/// blanks that are too many.
fn text_in(column: &MyColumn, text: &str) -> Result<String, &'static str> {
    let is_member = |part: &str| column.members.iter().any(|member| member == part);
    match column.data_type.as_str() {
        "enum" if !is_member(text) => Err(NO_MEMBER),
        "set" if !text.is_empty() && !text.split(',').all(is_member) => Err(NO_MEMBER),
        "varchar" if text.ends_with(' ') && column.length.is_some_and(|length| text.chars().count() > length) => {
            Err(TOO_LONG)
        }
        "set" => Ok(in_order(column, text)),
        _ => Ok(text.to_owned()),
    }
}

/// Whether a document's numbers stay what they are in MySQL's JSON, which has whole ones of 64 bits and doubles. (MariaDB's is a text.)
fn keeps_numbers(json: &str) -> bool {
    let (mut rest, mut quoted) = (json, false);
    while let Some(at) =
        rest.find(|letter: char| letter == '"' || (!quoted && (letter == '-' || letter.is_ascii_digit())))
    {
        let (before, found) = rest.split_at_checked(at).unwrap_or((rest, ""));
        if let Some(behind) = found.strip_prefix('"') {
            let escaped = before.len() - before.trim_end_matches('\\').len();
            quoted = !quoted || escaped % 2 == 1;
            rest = behind;
            continue;
        }
        let end = found.find(|letter: char| !matches!(letter, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'));
        let (number, behind) = found.split_at_checked(end.unwrap_or(found.len())).unwrap_or((found, ""));
        let double = || {
            // Of two texts that are equally short and near, this prints the one that MySQL prints.
            let double = serde_json::Number::from_f64(number.parse().ok()?)?;
            Some(canonical_decimal(&double.to_string()) == canonical_decimal(number))
        };
        if number.parse::<i64>().is_err() && number.parse::<u64>().is_err() && double() != Some(true) {
            return false;
        }
        rest = behind;
    }
    true
}

/// The members of a set in the order in which the server has them.
fn in_order(column: &MyColumn, text: &str) -> String {
    let named = |member: &&String| text.split(',').any(|part| part == member.as_str());
    column.members.iter().filter(named).map(String::as_str).collect::<Vec<_>>().join(",")
}

fn text_of(value: &Value) -> Bind {
    Bind::Text(value.to_text().unwrap_or_default().replacen('T', " ", 1))
}

/// Without the digits of the fraction that the column does not have.
fn cut(column: &MyColumn, micros: i64) -> i64 {
    let lost = 6_u32.saturating_sub(column.fraction);
    micros - micros.rem_euclid(10_i64.pow(lost))
}

fn decimal(column: &MyColumn, text: &str) -> Result<String, &'static str> {
    let text = canonical_decimal(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.trim_start_matches('-');
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NOT_FINITE);
    }
    let fits = |digits: &str, room: u32| digits == "0" || u32::try_from(digits.len()).is_ok_and(|count| count <= room);
    let (digits, scale) = (column.digits, column.scale);
    if column.kind() != Kind::Decimal || (fits(whole, digits.saturating_sub(scale)) && fits(fraction, scale)) {
        Ok(text)
    } else {
        Err(TOO_PRECISE)
    }
}

/// Reads what `MyColumn::read` selects.
pub(super) fn decode(row: &MySqlRow, index: usize, column: &MyColumn) -> Sql<Value> {
    Ok(match column.kind() {
        Kind::Boolean => match row.try_get_unchecked::<Option<i64>, _>(index)? {
            None => Value::Null,
            Some(value @ (0 | 1)) => Value::Boolean(value == 1),
            Some(value) => Value::Int(value),
        },
        Kind::Int if column.unsigned => row.try_get_unchecked::<Option<u64>, _>(index)?.map_or(Value::Null, |value| {
            i64::try_from(value).map_or_else(|_| Value::Decimal(value.to_string()), Value::Int)
        }),
        Kind::Int => row.try_get_unchecked::<Option<i64>, _>(index)?.map_or(Value::Null, Value::Int),
        Kind::Float => row.try_get_unchecked::<Option<f64>, _>(index)?.map_or(Value::Null, Value::Float),
        Kind::Bytes => row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?.map_or(Value::Null, Value::Bytes),
        Kind::Decimal
        | Kind::Date
        | Kind::Time
        | Kind::Instant
        | Kind::Local
        | Kind::Json
        | Kind::Uuid
        | Kind::Text
        | Kind::Null => {
            row.try_get_unchecked::<Option<String>, _>(index)?.map_or(Value::Null, |text| parse(column.kind(), text))
        }
    })
}

/// Reads what the server prints for a value of `kind`.
pub(super) fn parse(kind: Kind, text: String) -> Value {
    let value = match kind {
        Kind::Decimal => Some(Value::Decimal(canonical_decimal(&text))),
        Kind::Time => time(&text).map(Value::Time),
        Kind::Instant => Value::from_text(Kind::Local, &text).and_then(|value| value.convert(kind)).ok(),
        Kind::Json => return Value::Json(text),
        Kind::Date | Kind::Local | Kind::Uuid => Value::from_text(kind, &text).ok(),
        Kind::Null | Kind::Boolean | Kind::Int | Kind::Float | Kind::Bytes | Kind::Text => None,
    };
    value.unwrap_or(Value::Text(text))
}

/// `HH:MM:SS[.ffffff]` of one day; MySQL's times go beyond it, both ways.
fn time(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds = 0;
    for part in whole.split(':') {
        seconds = seconds * 60 + part.parse::<u32>().ok().map(i64::from)?;
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u32>().ok().map(i64::from)? };
    let micros = seconds * MICROS_PER_SECOND + fraction * 10_i64.pow(6_u32.checked_sub(digits)?);
    (micros <= MICROS_PER_DAY).then_some(micros)
}

/// Whether a stored value is what the column makes of `wanted`: writing it would change nothing.
pub(super) fn is_stored(column: &MyColumn, stored: &Value, wanted: &Value) -> bool {
    match (stored, wanted) {
        (Value::Time(stored), Value::Time(wanted))
        | (Value::Instant(stored), Value::Instant(wanted))
        | (Value::Local(stored), Value::Local(wanted)) => *stored == cut(column, *wanted),
        (Value::Float(stored), Value::Float(wanted)) if column.data_type == "float" => {
            single(*stored) == single(*wanted)
        }
        (Value::Text(stored), Value::Text(wanted)) if column.data_type == "char" => {
            stored == wanted.trim_end_matches(' ')
        }
        (Value::Text(stored), Value::Text(wanted)) if column.data_type == "set" => *stored == in_order(column, wanted),
        (Value::Bytes(stored), Value::Bytes(wanted)) => match column.length {
            Some(length) if column.data_type == "binary" && wanted.len() < length => {
                stored.strip_prefix(wanted.as_slice()).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
            }
            _ => stored == wanted,
        },
        (stored, wanted) => same(stored, wanted),
    }
}

/// The text of the nearest single-precision number.
fn single(value: f64) -> Option<f32> {
    format!("{value:e}").parse().ok()
}

/// Whether both are the same value, one of them perhaps read as another kind than the column's. The JSON document `null` is not null.
pub(super) fn same(stored: &Value, expected: &Value) -> bool {
    let converted =
        || !expected.is_null() && stored.clone().convert(expected.kind()).is_ok_and(|value| value == *expected);
    stored == expected || converted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Column;

    fn column(data_type: &str, kind: Kind) -> MyColumn {
        MyColumn {
            column: Column {
                name: "c".to_owned(),
                kind,
                native_type: data_type.to_owned(),
                nullable: true,
                has_default: false,
                writable: true,
                keeps: crate::connector::Keeps::default(),
            },
            data_type: data_type.to_owned(),
            unsigned: false,
            digits: 5,
            scale: 2,
            fraction: 3,
            length: Some(4),
            members: ["b", "a", "it's"].map(str::to_owned).into(),
            auto_increment: false,
        }
    }

    #[test]
    fn types_have_kinds() {
        for (data_type, native, kind) in [
            ("tinyint", "tinyint(1)", Kind::Boolean),
            ("tinyint", "tinyint(1) unsigned", Kind::Boolean),
            ("tinyint", "tinyint(4)", Kind::Int),
            ("bit", "bit(1)", Kind::Boolean),
            ("bit", "bit(8)", Kind::Int),
            ("timestamp", "timestamp(6)", Kind::Instant),
            ("datetime", "datetime", Kind::Local),
            ("enum", "enum('a')", Kind::Text),
        ] {
            assert_eq!(kind_of(data_type, native), kind, "{native}");
        }
    }

    #[test]
    fn what_the_server_prints_reads_as_its_kind() {
        for (kind, text, value) in [
            (Kind::Decimal, "1.500", Value::Decimal("1.5".into())),
            (Kind::Time, "23:59:59.000001", Value::Time(86_399_000_001)),
            (Kind::Time, "24:00:00", Value::Time(MICROS_PER_DAY)),
            (Kind::Time, "-01:00:00", Value::Text("-01:00:00".into())),
            (Kind::Time, "838:59:59", Value::Text("838:59:59".into())),
            (Kind::Date, "0000-00-00", Value::Text("0000-00-00".into())),
            (Kind::Local, "1970-01-01 00:00:01.5", Value::Local(1_500_000)),
            (Kind::Instant, "1970-01-01 00:00:01", Value::Instant(1_000_000)),
            (Kind::Instant, "0000-00-00 00:00:00", Value::Text("0000-00-00 00:00:00".into())),
        ] {
            assert_eq!(parse(kind, text.to_owned()), value, "{text}");
        }
    }

    #[test]
    fn no_digit_is_lost_but_fractions_of_a_second() {
        let encoded = |data_type: &str, value: Value| encode(&column(data_type, value.kind()), &value);
        assert_eq!(encoded("decimal", Value::Decimal("-123.40".into())), Ok(Bind::Text("-123.4".into())));
        assert_eq!(encoded("decimal", Value::Decimal("0.005".into())), Err(TOO_PRECISE));
        assert_eq!(encoded("decimal", Value::Decimal("1234".into())), Err(TOO_PRECISE));
        assert_eq!(encoded("decimal", Value::Decimal("NaN".into())), Err(NOT_FINITE));
        assert_eq!(encoded("double", Value::Float(f64::INFINITY)), Err(NOT_FINITE));
        assert_eq!(encoded("date", Value::Date(i32::MAX)), Err(OUT_OF_RANGE));
        assert_eq!(encoded("time", Value::Time(-1)), Err(OUT_OF_RANGE));
        let text = Bind::Text("1969-12-31 23:59:59.999".into());
        assert_eq!(encoded("datetime", Value::Local(-1)), Ok(text.clone()));
        assert_eq!(encoded("timestamp", Value::Instant(-1)), Ok(text));
    }

    #[test]
    fn a_document_keeps_its_numbers_or_is_refused() {
        for kept in [
            "[1, -1.5, -97.79922485351562, 1e30, 0.1, 18446744073709551615, -9223372036854775808, 5e-324, 1.0, -0]",
            r#"{"a\"1234567890123456789012345": "12345678901234567890.123456789\\", "b": 2}"#,
            "\"-12345678901234567890.123\"",
            "null",
        ] {
            assert!(keeps_numbers(kept), "{kept}");
        }
        for lost in [
            "[0, 12345678901234567890.5]",
            "18446744073709551616.1",
            "{\"n\": 36893488147419103233}",
            "[1e999]",
            "-1e-999",
        ] {
            assert!(!keeps_numbers(lost), "{lost}");
        }
        let big = Value::Json("36893488147419103233".into());
        assert_eq!(encode(&column("json", Kind::Json), &big), Err(NO_JSON));
        assert!(encode(&column("longtext", Kind::Json), &big).is_ok());
    }

    #[test]
    fn nothing_is_taken_for_another_value() {
        let text = |data_type: &str, text: &str| encode(&column(data_type, Kind::Text), &Value::Text(text.into()));
        assert_eq!(text("enum", "it's"), Ok(Bind::Text("it's".into())));
        for other in ["1", "A", "", "a "] {
            assert_eq!(text("enum", other), Err(NO_MEMBER), "{other}");
        }
        assert_eq!(text("set", "a,b,a"), Ok(Bind::Text("b,a".into())));
        assert_eq!(text("set", ""), Ok(Bind::Text(String::new())));
        assert_eq!(text("set", "3"), Err(NO_MEMBER));
        assert_eq!(text("varchar", "abcd "), Err(TOO_LONG));
        assert_eq!(text("varchar", "abc "), Ok(Bind::Text("abc ".into())));
        let int = |data_type: &str, value| encode(&column(data_type, Kind::Int), &Value::Int(value));
        assert_eq!(int("year", 5), Err(NO_YEAR));
        assert_eq!(int("year", 2155), Ok(Bind::Int(2155)));
        assert_eq!(int("bit", -1), Err(TOO_PRECISE));
    }

    #[test]
    fn what_is_stored_already_is_known_in_the_form_that_the_column_gives_it() {
        let stored = |data_type: &str, stored: Value, wanted: Value| {
            is_stored(&column(data_type, wanted.kind()), &stored, &wanted)
        };
        assert!(stored("datetime", Value::Local(1_000), Value::Local(1_999)));
        assert!(!stored("datetime", Value::Local(1_000), Value::Local(2_000)));
        assert!(stored("float", Value::Float(f64::from(0.1_f32)), Value::Float(0.1)));
        assert!(!stored("double", Value::Float(f64::from(0.1_f32)), Value::Float(0.1)));
        assert!(stored("char", Value::Text("a".into()), Value::Text("a ".into())));
        assert!(stored("binary", Value::Bytes(vec![1, 0, 0, 0]), Value::Bytes(vec![1])));
        assert!(!stored("binary", Value::Bytes(vec![1, 0, 0, 1]), Value::Bytes(vec![1])));
        assert!(!stored("json", Value::Json("null".into()), Value::Null));
    }
}
