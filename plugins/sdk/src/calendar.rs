//! The proleptic Gregorian calendar: days since 1970-01-01 and back, and the canonical texts of dates and times.
//!
//! Howard Hinnant's algorithms, in 64 bits: exact for every day that a column can hold.

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
const DAYS_PER_ERA: i64 = 146_097;

/// Days since 1970-01-01, or `None` where the calendar has no such day.
pub fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(-9_999_999..=9_999_999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month)
    {
        return None;
    }
    // A year begins in March here, so that the day of a leap year is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * DAYS_PER_ERA + day_of_era - 719_468)
}

/// Year, month and day of a day since 1970-01-01.
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

/// Days of a month.
pub const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `2024-02-29`.
pub fn date_text(days: i64) -> String {
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `13:37:00`, with as many digits after the second as it needs.
pub fn time_text(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// `2024-02-29T13:37:00`, from microseconds since 1970-01-01T00:00.
pub fn date_time_text(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    format!("{}T{}", date_text(days), time_text(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_goes_there_and_back() {
        let mut expected = (1599, 12, 31);
        for days in days_of(1600, 1, 1).unwrap()..days_of(2400, 1, 1).unwrap() {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), Some(days));
            let (y, m, d) = expected;
            let next = if d < days_in(y, m) {
                (y, m, d + 1)
            } else if m < 12 {
                (y, m + 1, 1)
            } else {
                (y + 1, 1, 1)
            };
            assert_eq!((year, month, day), next);
            expected = next;
        }
    }

    #[test]
    fn days_that_do_not_exist_are_none() {
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 13, 1), (2024, 0, 1), (2024, 1, 0)]
        {
            assert_eq!(days_of(year, month, day), None);
        }
        assert_eq!(days_of(2000, 2, 29), Some(11_016));
        assert_eq!(days_of(i64::MAX, 1, 1), None);
    }

    #[test]
    fn texts_are_those_of_iso_8601() {
        assert_eq!(date_text(0), "1970-01-01");
        assert_eq!(date_text(-719_468), "0000-03-01");
        assert_eq!(time_text(49_020_000_000), "13:37:00");
        assert_eq!(date_time_text(-1), "1969-12-31T23:59:59.999999");
        assert_eq!(date_time_text(1_500_000), "1970-01-01T00:00:01.5");
        assert!(!date_time_text(i64::MIN).is_empty() && !date_text(i64::MAX).is_empty());
    }
}
