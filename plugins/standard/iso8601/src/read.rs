//! Dates and times as people and programs write them.
//!
//! The time of day is found first, by its colons or by the `T` before it, with what belongs to it (am or pm, the zone); what is
//! left is the date: numbers and the English name of a month, in the order that they say.

use crate::moment::{Moment, offset};
use tidelock_plugin::Failure;
use tidelock_plugin::calendar::days_of;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// The longest spelling has fewer bytes.
const BYTES_MAX: usize = 80;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads a date or time.
///
/// # Errors
/// `ambiguous-date` where day and month could be either and `day_first` does not say, else `invalid-date`.
pub fn read(text: &str, day_first: Option<bool>) -> Result<Moment, Failure> {
    let text = text.trim();
    if text.len() > BYTES_MAX {
        return Err(invalid());
    }
    let (date, clock) = split_clock(text).ok_or_else(invalid)?;
    let days = read_date(&date, day_first)?;
    let Some(clock) = clock else { return Ok(Moment { days, time: None, offset: None }) };
    Ok(Moment { days, time: Some(clock.micros), offset: clock.offset })
}

struct Clock {
    /// Since midnight.
    micros: i64,
    offset: Option<i64>,
}

/// What is the date, and the time of day where there is one. `None`: what looks like a time is none.
fn split_clock(text: &str) -> Option<(String, Option<Clock>)> {
    let Some(start) = clock_start(text) else { return Some((text.to_owned(), None)) };
    let (before, from) = (text.get(..start)?, text.get(start..)?);
    let before = before.strip_suffix(['T', 't']).unwrap_or(before);
    let end = from.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(from.len());
    let (digits, rest) = (from.get(..end)?, from.get(end..)?);
    let (half, rest) = split_half(rest.trim_start());
    // The zone stands behind the time, the year possibly behind both.
    let zone_end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (zone, after) = (rest.get(..zone_end)?, rest.get(zone_end..)?);
    let (zone, after) = match offset(zone) {
        Some(seconds) => (Some(seconds), after),
        None => (None, rest),
    };
    let micros = read_clock(digits, half)?;
    Some((format!("{} {}", before.trim(), after.trim()), Some(Clock { micros, offset: zone })))
}

/// Where the time of day begins: at the digits before the first colon, or behind a T that stands behind a digit.
fn clock_start(text: &str) -> Option<usize> {
    let marked = text.find(['T', 't']).filter(|&at| {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        at > 0 && is_digit(text.as_bytes().get(at - 1)) && is_digit(text.as_bytes().get(at + 1))
    });
    if let Some(at) = marked {
        return Some(at + 1);
    }
    let colon = text.find(':')?;
    let digits = text.get(..colon)?.bytes().rev().take_while(u8::is_ascii_digit).count();
    Some(colon - digits)
}

/// Whether `am` or `pm` stands at the beginning, and the rest.
fn split_half(text: &str) -> (Option<bool>, &str) {
    for (spelling, afternoon) in [("a.m.", false), ("p.m.", true), ("am", false), ("pm", true)] {
        let head = text.get(..spelling.len()).filter(|head| head.eq_ignore_ascii_case(spelling));
        let rest = head.and_then(|_| text.get(spelling.len()..));
        if let Some(rest) = rest.filter(|rest| !rest.starts_with(char::is_alphabetic)) {
            return (Some(afternoon), rest.trim_start());
        }
    }
    (None, text)
}

/// Microseconds since midnight: `13:37`, `13:37:00.25`, `133700`, `1337`. 24:00 is the end of the day.
fn read_clock(digits: &str, afternoon: Option<bool>) -> Option<i64> {
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let parts: Vec<&str> = if whole.contains(':') {
        whole.split(':').collect()
    } else {
        vec![whole.get(..2)?, whole.get(2..4)?, whole.get(4..).filter(|seconds| !seconds.is_empty()).unwrap_or("0")]
    };
    let number = |at: usize| match parts.get(at) {
        None if at == 2 => Some(0),
        part => part.filter(|part| matches!(part.len(), 1 | 2))?.parse::<i64>().ok(),
    };
    let (hours, minutes, seconds) = (number(0)?, number(1)?, number(2)?);
    let hours = match afternoon {
        Some(_) if !(1..=12).contains(&hours) => return None,
        Some(afternoon) => hours % 12 + if afternoon { 12 } else { 0 },
        None => hours,
    };
    let micros = (hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND + micros_of(fraction)?;
    let sound = parts.len() <= 3 && minutes < 60 && seconds < 60 && micros <= 24 * 3600 * MICROS_PER_SECOND;
    sound.then_some(micros)
}

/// Digits behind the second. Finer than a microsecond is refused rather than lost.
fn micros_of(fraction: &str) -> Option<i64> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 {
        return None;
    }
    format!("{fraction:0<6}").parse().ok()
}

/// A part of a date.
#[derive(Clone, Copy)]
enum Part {
    Number { value: i64, digits: usize },
    Month(i64),
}

fn read_date(text: &str, day_first: Option<bool>) -> Result<i64, Failure> {
    let parts = split_date(text).ok_or_else(invalid)?;
    let (year, month, day) = match *parts.as_slice() {
        [Part::Number { value, digits: 8 }] => (value / 10_000, value / 100 % 100, value % 100),
        [Part::Number { value, digits: 4 }, Part::Month(month), Part::Number { value: day, digits: 1 | 2 }]
        | [
            Part::Number { value, digits: 4 },
            Part::Number { value: month, digits: 1 | 2 },
            Part::Number { value: day, digits: 1 | 2 },
        ] => (value, month, day),
        [Part::Number { value: day, digits: 1 | 2 }, Part::Month(month), year]
        | [Part::Month(month), Part::Number { value: day, digits: 1 | 2 }, year] => (year_of(year)?, month, day),
        [Part::Number { value: first, digits: 1 | 2 }, Part::Number { value: second, digits: 1 | 2 }, year] => {
            let day_is_first = match day_first {
                _ if first > 12 || first == second => true,
                _ if second > 12 => false,
                Some(day_first) => day_first,
                None => return Err(ambiguous()),
            };
            let (day, month) = if day_is_first { (first, second) } else { (second, first) };
            (year_of(year)?, month, day)
        }
        _ => return Err(invalid()),
    };
    if year == 0 { Err(invalid()) } else { days_of(year, month, day).ok_or_else(invalid) }
}

/// Numbers and months, without separators, weekdays and the endings of ordinals; `None` where something else is among them.
fn split_date(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_alphabetic() };
        let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (token, after) = (rest.get(..end)?, rest.get(end..)?);
        let behind_digit = rest.len() < text.len()
            && text.get(..text.len() - rest.len())?.ends_with(|before: char| before.is_ascii_digit());
        if first.is_ascii_digit() {
            parts.push(Part::Number { value: token.parse().ok()?, digits: token.len() });
        } else if let Some(month) = place_of(token, &MONTHS) {
            parts.push(Part::Month(month));
        } else if !is_noise(token, behind_digit) {
            return None;
        }
        rest = after;
    }
    Some(parts)
}

/// What may stand between the parts of a date.
fn is_noise(token: &str, behind_digit: bool) -> bool {
    let ordinal = || behind_digit && ["st", "nd", "rd", "th"].iter().any(|ending| token.eq_ignore_ascii_case(ending));
    let separator =
        || matches!(token, "-" | "/" | "." | "," | "\u{2010}" | "\u{2013}") || token.chars().all(char::is_whitespace);
    separator() || ordinal() || place_of(token, &WEEKDAYS).is_some() || token.eq_ignore_ascii_case("of")
}

/// The place (from one) of a name that is written out, or cut after three letters or, as in Sept or Thurs, later.
fn place_of(word: &str, names: &[&str]) -> Option<i64> {
    let found = names
        .iter()
        .position(|name| word.len() >= 3 && name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)));
    found.and_then(|at| i64::try_from(at + 1).ok())
}

/// Two digits are of the years 1969 to 2068, as POSIX has it.
fn year_of(part: Part) -> Result<i64, Failure> {
    match part {
        Part::Number { value, digits: 4 } => Ok(value),
        Part::Number { value, digits: 2 } => Ok(if value < 69 { 2000 + value } else { 1900 + value }),
        Part::Number { .. } | Part::Month(_) => Err(invalid()),
    }
}

fn invalid() -> Failure {
    Failure::new("invalid-date", "the value cannot be read as a date or time of the calendar")
}

fn ambiguous() -> Failure {
    Failure::new(
        "ambiguous-date",
        "the value's day and month could be either; say which is first with {\"day_first\": true} or {\"day_first\": false}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::{As, Style};
    use tidelock_plugin::Text;

    fn iso(text: &str, day_first: Option<bool>) -> Result<String, &'static str> {
        let mut out = Text::new();
        let style = Style { as_kind: As::Written, zone: None };
        let written = read(text, day_first).and_then(|moment| style.write(&moment, &mut out));
        written.map(|()| out.as_str().to_owned()).map_err(|failure| failure.code)
    }

    #[test]
    fn many_spellings_mean_one_day() {
        for text in [
            "2024-02-29",
            "2024/2/29",
            "2024.02.29",
            "20240229",
            "29.02.2024",
            "29/02/24",
            "02/29/2024",
            "2-29-24",
            "29 Feb 2024",
            "29-FEB-24",
            "29th of February, 2024",
            "Feb 29, 2024",
            "february 29 2024",
            "Thu Feb 29 2024",
            "Thursday, 29 February 2024",
            "2024 Feb 29",
            "2024-Feb-29",
            "29Feb2024",
            " 2024-02-29\n",
            "29 2 2024",
        ] {
            assert_eq!(iso(text, None).as_deref(), Ok("2024-02-29"), "{text}");
        }
    }

    #[test]
    fn many_spellings_mean_one_time() {
        for text in [
            "2024-02-29T13:37",
            "2024-02-29t13:37:00",
            "2024-02-29 13:37:00.000000000",
            "20240229T133700",
            "20240229T1337",
            "29 Feb 2024 1:37 PM",
            "29/02/2024, 1:37:00pm",
            "Thu Feb 29 13:37:00 2024",
            "13:37 29.2.2024",
            "2024-02-29 01:37 p.m.",
            "February 29th, 2024 13:37",
        ] {
            assert_eq!(iso(text, None).as_deref(), Ok("2024-02-29T13:37:00"), "{text}");
        }
        for text in [
            "2024-02-29T13:37:00Z",
            "2024-02-29T15:37:00+02:00",
            "2024-02-29 08:37:00-0500",
            "Thu, 29 Feb 2024 13:37:00 GMT",
            "Thu, 29 Feb 2024 15:37:00 +0200",
            "2024-02-29 13:37:00 UTC",
            "20240229T133700Z",
            "2024-02-29 15:37 +2",
            "Thu Feb 29 13:37:00 UTC 2024",
        ] {
            assert_eq!(iso(text, None).as_deref(), Ok("2024-02-29T13:37:00Z"), "{text}");
        }
        assert_eq!(iso("2024-02-29T24:00", None).as_deref(), Ok("2024-03-01T00:00:00"));
        assert_eq!(iso("2024-02-29 12:05 AM", None).as_deref(), Ok("2024-02-29T00:05:00"));
        assert_eq!(iso("2024-02-29T13:37:00,5", None).as_deref(), Ok("2024-02-29T13:37:00.5"));
    }

    #[test]
    fn day_and_month_are_never_guessed() {
        for text in ["3/4/2024", "03.04.24", "3-4-2024 13:37"] {
            assert_eq!(iso(text, None), Err("ambiguous-date"), "{text}");
            assert!(iso(text, Some(true)).unwrap().starts_with("2024-04-03"), "{text}");
            assert!(iso(text, Some(false)).unwrap().starts_with("2024-03-04"), "{text}");
        }
        assert_eq!(iso("4/4/2024", None).as_deref(), Ok("2024-04-04"));
        assert_eq!(
            (iso("1/1/68", None).as_deref(), iso("1/1/69", None).as_deref()),
            (Ok("2068-01-01"), Ok("1969-01-01"))
        );
    }

    #[test]
    fn what_the_calendar_does_not_have_is_refused() {
        for text in [
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "31/04/2024",
            "0000-01-01",
            "2024",
            "2024-02",
            "13:37",
            "2024-02-29T25:00",
            "2024-02-29T24:01",
            "2024-02-29T13:60",
            "2024-02-29T13:37:60",
            "2024-02-29 13:37 pm",
            "2024-02-29 0:37 pm",
            "2024-02-29T13:37:00.1234567",
            "2024-02-29 13:37 CET",
            "tomorrow",
            "29 Fe 2024",
            "29 Februar 2024 x",
            "1/2/3/2024",
            "12345678901234567890",
            "2024-02-29T13:37:00+99:00",
            "Feb 2024",
            "29 Feb",
            "29th",
            "T13",
            "1:2:3:4 2024-02-29",
            "99999999",
            "1709213820",
            "2024-02-29 :37",
        ] {
            assert_eq!(iso(text, Some(true)), Err("invalid-date"), "{text}");
        }
    }

    #[test]
    fn nothing_panics_and_twice_is_once() {
        let alphabet: Vec<char> =
            "0123456789012345678901234 -/.:,TZtz+-apmAPM.FebMarThu\u{a0}é\u{2212}".chars().collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut read_well = 0;
        for _ in 0..200_000 {
            let mut text: Vec<char> = "2024-02-29T13:37:00+02:00".chars().take(10 + next(16)).collect();
            for _ in 0..next(6) {
                let at = next(text.len());
                text[at] = alphabet[next(alphabet.len())];
            }
            let text: String = text.into_iter().collect();
            if let Ok(once) = iso(&text, Some(true)) {
                read_well += 1;
                assert_eq!(iso(&once, Some(true)).as_ref(), Ok(&once), "{text}");
            }
        }
        assert!(read_well > 10_000, "{read_well}");
    }
}
