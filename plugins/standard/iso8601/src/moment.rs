//! A date or time that was read, and how it is written.

use tidelock_plugin::calendar::{MICROS_PER_DAY, date_of, date_text, date_time_text};
use tidelock_plugin::{Failure, Text};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Microseconds since midnight, where there is a time.
    pub time: Option<i64>,
    /// Seconds east of UTC, where there is a zone.
    pub offset: Option<i64>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// What the value has.
    Written,
    Date,
    Local,
    Instant,
}

/// The function's parameters but for the order of day and month.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub as_kind: As,
    /// Seconds east of UTC where values that name no zone are at home.
    pub zone: Option<i64>,
}

impl Style {
    /// Appends a moment.
    ///
    /// # Errors
    /// `no-zone` where a time in UTC is wanted and nothing says of what zone the value is; `invalid-date` outside of the years 1 to 9999.
    pub fn write(self, moment: &Moment, out: &mut Text) -> Result<(), Failure> {
        let local = moment.days * MICROS_PER_DAY + moment.time.unwrap_or(0);
        // The clock of the zone asked for, else the value's own.
        let here = match (moment.offset, self.zone) {
            (Some(offset), Some(zone)) => local + (zone - offset) * MICROS_PER_SECOND,
            _ => local,
        };
        let utc = moment.offset.or(self.zone).map(|offset| local - offset * MICROS_PER_SECOND);
        let text = match (self.as_kind, utc) {
            (As::Date, _) => date_text(day(here)?),
            (As::Written, _) if moment.time.is_none() => date_text(day(here)?),
            (As::Local, _) | (As::Written, None) => {
                day(here)?;
                date_time_text(here)
            }
            (As::Instant | As::Written, Some(utc)) => {
                day(utc)?;
                format!("{}Z", date_time_text(utc))
            }
            (As::Instant, None) => {
                return Err(Failure::new(
                    "no-zone",
                    "the value names no zone, and neither does the parameter \"zone\"",
                ));
            }
        };
        out.push_str(&text);
        Ok(())
    }
}

/// The day of a local time, where its year has four digits.
fn day(micros: i64) -> Result<i64, Failure> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    if (1..=9999).contains(&date_of(days).0) {
        Ok(days)
    } else {
        Err(Failure::new("invalid-date", "the value's year is not between 1 and 9999"))
    }
}

/// Seconds east of UTC: `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`.
pub fn offset(text: &str) -> Option<i64> {
    if ["Z", "UTC", "GMT"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Some(0);
    }
    let (sign, rest) = match text.chars().next()? {
        '+' => (1, text.get(1..)?),
        '-' => (-1, text.get(1..)?),
        '\u{2212}' => (-1, text.get(3..)?),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        1 | 2 => (rest, "0"),
        4 => (rest.get(..2)?, rest.get(2..)?),
        5 => rest.split_once(':')?,
        _ => return None,
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(as_kind: As, zone: Option<&str>, moment: Moment) -> Result<String, &'static str> {
        let mut out = Text::new();
        let style = Style { as_kind, zone: zone.map(|zone| offset(zone).unwrap()) };
        style.write(&moment, &mut out).map(|()| out.as_str().to_owned()).map_err(|failure| failure.code)
    }

    #[test]
    fn offsets_are_seconds_east() {
        for (text, seconds) in [
            ("Z", 0),
            ("utc", 0),
            ("+02", 7200),
            ("+2", 7200),
            ("-0330", -12_600),
            ("+05:45", 20_700),
            ("\u{2212}01", -3600),
        ] {
            assert_eq!(offset(text), Some(seconds), "{text}");
        }
        for text in ["", "2", "+", "+19", "+02:60", "+2:00:00", "CET", "+0-1", "++1", "+é"] {
            assert_eq!(offset(text), None, "{text}");
        }
    }

    #[test]
    fn zones_decide_what_day_it_is() {
        let moment = Moment { days: 0, time: Some(23 * 3_600_000_000), offset: Some(-3600) };
        assert_eq!(written(As::Written, None, moment), Ok("1970-01-02T00:00:00Z".to_owned()));
        assert_eq!(written(As::Date, None, moment), Ok("1970-01-01".to_owned()));
        assert_eq!(written(As::Date, Some("Z"), moment), Ok("1970-01-02".to_owned()));
        assert_eq!(written(As::Local, Some("+01:00"), moment), Ok("1970-01-02T01:00:00".to_owned()));
        let date = Moment { days: 0, time: None, offset: None };
        assert_eq!(written(As::Written, Some("+01:00"), date), Ok("1970-01-01".to_owned()));
        assert_eq!(written(As::Local, None, date), Ok("1970-01-01T00:00:00".to_owned()));
        assert_eq!(written(As::Instant, None, date), Err("no-zone"));
    }

    #[test]
    fn years_have_four_digits() {
        let last = Moment { days: 2_932_896, time: Some(0), offset: Some(0) };
        assert_eq!(written(As::Local, Some("Z"), last), Ok("9999-12-31T00:00:00".to_owned()));
        let beyond = Moment { offset: Some(-18 * 3600), time: Some(23 * 3_600_000_000), ..last };
        assert_eq!(written(As::Instant, None, beyond), Err("invalid-date"));
    }
}
