//! Times as an updated-at column holds them (layer 4): ISO 8601 text, seconds, milliseconds or microseconds since 1970, Julian days.

use super::values::Raw;
use crate::value::{Kind, Value};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: f64 = 86_400e6;
const JULIAN_EPOCH: f64 = 2_440_587.5;

/// Integers up to here count something else than time.
const SECONDS_FROM: i64 = 100_000_000;
const MILLIS_FROM: i64 = 100_000_000_000;
const MICROS_FROM: i64 = 100_000_000_000_000;

/// Microseconds of one unit of an integer time.
fn unit(value: i64) -> i64 {
    match value.abs() {
        MICROS_FROM.. => 1,
        MILLIS_FROM.. => 1000,
        _ => MICROS_PER_SECOND,
    }
}

fn is_julian(value: f64) -> bool {
    (1e6..1e7).contains(&value)
}

/// The time in microseconds since 1970-01-01 UTC, where the value can be read as one. Text without a zone is UTC.
pub(super) fn instant(raw: &Raw) -> Option<i64> {
    match raw {
        Raw::Int(value) if value.abs() < SECONDS_FROM => None,
        Raw::Int(value) => value.checked_mul(unit(*value)),
        Raw::Real(value) if is_julian(*value) => whole((value - JULIAN_EPOCH) * MICROS_PER_DAY),
        // SQLite's own `unixepoch('subsec')` is seconds; larger numbers are milliseconds.
        Raw::Real(value) if value.abs() >= 1e11 => whole(value * 1e3),
        Raw::Real(value) if value.abs() >= 1e8 => whole(value * 1e6),
        Raw::Text(text) => [Kind::Instant, Kind::Local, Kind::Date]
            .into_iter()
            .find_map(|kind| Value::from_text(kind, text).ok()?.convert(Kind::Instant).ok())
            .and_then(|value| if let Value::Instant(micros) = value { Some(micros) } else { None }),
        Raw::Real(_) | Raw::Null | Raw::Blob(_) => None,
    }
}

/// The whole number nearest to `value`, where there is one.
fn whole(value: f64) -> Option<i64> {
    format!("{value:.0}").parse().ok()
}

/// The value `micros` later (or a little less), written so that it sorts among values of the same spelling; itself where it is no time.
pub(super) fn shifted(raw: &Raw, micros: i64) -> Raw {
    match raw {
        Raw::Int(value) => Raw::Int(value.saturating_add(micros.div_euclid(unit(*value)))),
        Raw::Real(value) if is_julian(*value) => Raw::Real(value + seconds(micros) / 86_400.0),
        Raw::Real(value) if value.abs() >= 1e11 => Raw::Real(value + seconds(micros) * 1e3),
        Raw::Real(value) => Raw::Real(value + seconds(micros)),
        Raw::Text(text) => shifted_text(text, micros).map_or_else(|| raw.clone(), Raw::Text),
        Raw::Null | Raw::Blob(_) => raw.clone(),
    }
}

fn seconds(micros: i64) -> f64 {
    // Whole milliseconds, which an f64 holds exactly for any overlap in use.
    let millis = i32::try_from(micros.div_euclid(1000)).unwrap_or(if micros < 0 { i32::MIN } else { i32::MAX });
    f64::from(millis) / 1e3
}

/// Works on the local part, which all texts of one column share with their zone; without fraction and zone it sorts first.
fn shifted_text(text: &str, micros: i64) -> Option<String> {
    let separator = text.get(10..11).unwrap_or("T");
    let local = match text.get(..19) {
        Some(local) => Value::from_text(Kind::Local, local).ok()?,
        None => Value::from_text(Kind::Date, text.get(..10)?).ok()?.convert(Kind::Local).ok()?,
    };
    let Value::Local(local) = local else { return None };
    let later = local.checked_add(micros)?.div_euclid(MICROS_PER_SECOND) * MICROS_PER_SECOND;
    let later = Value::Local(later).to_text()?.replacen('T', separator, 1);
    if text.len() == 10 { later.get(..10).map(str::to_owned) } else { Some(later) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn the_usual_forms_are_read() {
        let expected = Some(1_700_000_000_000_000);
        for raw in [
            text("2023-11-14 22:13:20"),
            text("2023-11-14T22:13:20Z"),
            text("2023-11-15T00:13:20.000+02:00"),
            Raw::Int(1_700_000_000),
            Raw::Int(1_700_000_000_000),
            Raw::Int(1_700_000_000_000_000),
            Raw::Real(1.7e9),
        ] {
            assert_eq!(instant(&raw), expected, "{raw:?}");
        }
        let julian = instant(&Raw::Real(2_460_263.425_925_926)).unwrap();
        assert!((julian - 1_700_000_000_000_000).abs() < 100_000, "{julian}");
        for raw in [Raw::Int(7), text("v7"), Raw::Blob(vec![]), Raw::Null] {
            assert_eq!(instant(&raw), None);
        }
    }

    #[test]
    fn a_shifted_time_sorts_before_what_is_later() {
        for (raw, expected) in [
            (text("2023-11-14 22:13:20.75"), text("2023-11-14 22:13:15")),
            (text("2023-11-14T22:13:20Z"), text("2023-11-14T22:13:15")),
            (text("2023-11-14T22:13:20+02:00"), text("2023-11-14T22:13:15")),
            (text("2023-11-14"), text("2023-11-13")),
            (Raw::Int(1_700_000_000), Raw::Int(1_699_999_995)),
            (Raw::Int(1_700_000_000_000), Raw::Int(1_699_999_995_000)),
            (Raw::Int(7), Raw::Int(2)),
            (text("v7"), text("v7")),
        ] {
            assert_eq!(shifted(&raw, -5_000_000), expected);
        }
    }
}
