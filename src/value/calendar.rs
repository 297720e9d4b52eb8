//! Dates and times of day as text and back: ISO 8601, in the proleptic Gregorian calendar, over every date that a value can hold.
//! Years outside 0000 to 9999 carry a sign and six digits or more (`-000043-03-15`, `+020000-01-01`).

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
const FRACTION_DIGITS: usize = 6;

/// Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms"), for the
/// years 4714 BC to 5874897 that PostgreSQL's `date` reaches; `jiff` ends at 9999.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01; the year before 1 is 0.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

pub(super) fn date_text(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+07}-{month:02}-{day:02}")
    }
}

pub(super) fn time_text(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match micros.rem_euclid(MICROS_PER_SECOND) {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

pub(super) fn local_text(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    format!("{}T{}", date_text(days), time_text(rest))
}

/// A number of exactly so many digits.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let whole = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| text.parse().ok()).flatten()
}

pub(super) fn date_from(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => (0, text),
    };
    let mut parts = rest.split('-');
    let year = parts.next()?;
    let year = if sign == 0 { number(year, 4..=4)? } else { sign * number(year, 6..=9)? };
    let (month, day) = (number(parts.next()?, 2..=2)?, number(parts.next()?, 2..=2)?);
    let days = days_from_civil(year, month, day);
    // Day 31 of a month of 30 is none.
    (parts.next().is_none() && civil_from_days(days) == (year, month, day)).then(|| i32::try_from(days).ok()).flatten()
}

/// `HH:MM[:SS[.ffffff]]`, up to 24:00:00. `None` too where the fraction is finer than a microsecond: it would be lost.
pub(super) fn time_from(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 2..=2)?;
    let minutes = number(parts.next()?, 2..=2).filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        Some(seconds) => number(seconds, 2..=2).filter(|seconds| *seconds < 60)?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    if parts.next().is_some() || text.ends_with('.') {
        return None;
    }
    let (fraction, finer) = fraction.split_at_checked(FRACTION_DIGITS).unwrap_or((fraction, ""));
    let micros = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"), 6..=6)? };
    let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros;
    (finer.bytes().all(|byte| byte == b'0') && micros <= MICROS_PER_DAY).then_some(micros)
}

/// A date, `T` or a space, and a time of that day.
pub(super) fn local_from(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let micros = time_from(time).filter(|micros| *micros < MICROS_PER_DAY)?;
    // The first day of all begins before the first microsecond that there is.
    i64::try_from(i128::from(date_from(date)?) * i128::from(MICROS_PER_DAY) + i128::from(micros)).ok()
}

/// A date and time with `Z` or an offset.
pub(super) fn instant_from(text: &str) -> Option<i64> {
    let begin = text.find(['T', 't', ' '])? + 1;
    let zone = begin + text.get(begin..)?.find(['Z', 'z', '+', '-'])?;
    let local = local_from(text.get(..zone)?.trim_end())?;
    local.checked_sub(offset_from(text.get(zone..)?)? * MICROS_PER_SECOND)
}

/// Seconds east of UTC: `Z`, `+02`, `+0200`, `+02:00`, `+02:00:00`.
fn offset_from(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = text.strip_prefix('-').map_or_else(|| (1, text.strip_prefix('+')), |rest| (-1, Some(rest)));
    let digits: String = rest?.split(':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range| digits.get(range).map_or(Some(0), |part: &str| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (part(0..2)?, part(2..4)?, part(4..6)?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// Whether the text is what a database keeps in a column of dates, or of times, beyond what a date or a time of day is: `infinity`
/// (PostgreSQL), a date without a month or a day (`0000-00-00`, MySQL), and a time below zero or beyond 24 hours (MySQL).
pub(super) fn is_beyond_dates(text: &str) -> bool {
    if matches!(text, "infinity" | "-infinity") {
        return true;
    }
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let parts: Vec<Option<i64>> =
        date.split('-').zip([4, 2, 2]).map(|(part, digits)| number(part, digits..=digits)).collect();
    let without =
        matches!(parts.as_slice(), [Some(_), Some(month), Some(day)] if *month <= 12 && *day <= 31 && month * day == 0);
    without && date.len() == "0000-00-00".len() && time_from(time).is_some()
}

/// As [`is_beyond_dates`], of a time: up to 838:59:59, either way.
pub(super) fn is_beyond_times(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let positive = clock.strip_prefix('-').unwrap_or(clock);
    let mut parts = positive.split(':');
    let hours = parts.next().and_then(|hours| number(hours, 2..=3));
    let sixtieth = |part: Option<&str>| part.and_then(|part| number(part, 2..=2)).is_some_and(|part| part < 60);
    let clock = hours.is_some_and(|hours| hours <= 838) && sixtieth(parts.next()) && sixtieth(parts.next());
    clock && parts.next().is_none() && (fraction.is_empty() || number(fraction, 1..=FRACTION_DIGITS).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_the_whole_range() {
        for days in (-2_440_588_i64..2_145_042_906).step_by(99_991) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert_eq!(date_from(&date_text(days)).map(i64::from), Some(days));
        }
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
        assert_eq!(date_text(-734_794), "-000042-03-16");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "24-01-01",
            "2024-1-1",
            "20240101",
            "2024-01-01-01",
            "+2024-01-01",
        ] {
            assert_eq!(date_from(text), None, "{text}");
        }
        for text in ["24:00:01", "23:59:60", "1:00:00", "10", "10:00:00.", "10:00.5", "10:00:00.1234567", "-01:00:00"] {
            assert_eq!(time_from(text), None, "{text}");
        }
        assert_eq!(time_from("10:00"), Some(36_000 * MICROS_PER_SECOND));
        assert_eq!(time_from("24:00:00"), Some(MICROS_PER_DAY));
        assert_eq!(time_from("10:00:00.1234560"), Some(36_000 * MICROS_PER_SECOND + 123_456));
    }

    #[test]
    fn what_databases_keep_beyond_dates_is_known() {
        for text in
            ["infinity", "0000-00-00", "2024-00-10", "2024-02-00", "0000-00-00 00:00:00", "2024-00-00 10:00:00.5"]
        {
            assert!(is_beyond_dates(text), "{text}");
        }
        for text in ["2024-01-01", "2024-13-00", "0000-00", "0000-00-00T00:00:00", "0000-00-00 25:00:00", "x"] {
            assert!(!is_beyond_dates(text), "{text}");
        }
        for text in ["838:59:59", "-01:00:00", "100:00:00.000001"] {
            assert!(is_beyond_times(text), "{text}");
        }
        for text in ["839:00:00", "1:00:00", "100:60:00", "--01:00:00", "01:00", "01:00:00.x"] {
            assert!(!is_beyond_times(text), "{text}");
        }
    }
}
