//! The sandbox's own time: it runs with the real clock until it is set, moved on or stopped, so that windows of days can be tried in
//! milliseconds.

use jiff::Timestamp;

use crate::telemetry::clock::now_micros;

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;
/// Milliseconds of a minute.
pub(super) const MINUTE_MS: i64 = 60_000;

/// A clock that can be moved.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_ms: i64,
    stopped_ms: Option<i64>,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.stopped_ms.unwrap_or_else(|| (now_micros() / 1000).saturating_add(self.offset_ms))
    }

    /// The stamp of a transaction that began `late_seconds` ago. Salesforce keeps whole seconds.
    pub(super) fn stamp(&self, late_seconds: i64) -> String {
        let now = self.now_ms().saturating_sub(late_seconds.saturating_mul(1000));
        datetime(now - now.rem_euclid(1000))
    }

    /// Moves on, or back.
    pub(super) fn advance(&mut self, ms: i64) {
        match &mut self.stopped_ms {
            Some(stopped) => *stopped = stopped.saturating_add(ms),
            None => self.offset_ms = self.offset_ms.saturating_add(ms),
        }
    }

    /// Stops, or runs on from where it stands.
    pub(super) fn stop(&mut self, stop: bool) {
        let now = self.now_ms();
        self.stopped_ms = stop.then_some(now);
        self.offset_ms = now.saturating_sub(now_micros() / 1000);
    }
}

/// How the API writes a time: `2024-01-31T10:00:00.000+0000`.
pub(super) fn datetime(ms: i64) -> String {
    format(ms, "%Y-%m-%dT%H:%M:%S%.3f+0000")
}

/// How HTTP writes a time.
pub(super) fn http_date(ms: i64) -> String {
    format(ms, "%a, %d %b %Y %H:%M:%S GMT")
}

fn format(ms: i64, pattern: &str) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().strftime(pattern).to_string()
}

/// Reads what the API and SOQL take for a time: a zone is required, with or without its colon.
pub(super) fn parse_datetime(text: &str) -> Option<i64> {
    let (head, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let digits = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let spelled = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), offset)) if digits(offset) => {
            let (hours, minutes) = offset.split_at_checked(2)?;
            format!("{head}{sign}{hours}:{minutes}")
        }
        Some(_) | None => text.to_owned(),
    };
    let ms = spelled.parse::<Timestamp>().ok()?.as_millisecond();
    // What Salesforce can keep.
    let year = jiff::tz::TimeZone::UTC.to_datetime(Timestamp::from_millisecond(ms).ok()?).year();
    (1700..=4000).contains(&year).then_some(ms)
}

/// Reads a date of HTTP, such as that of `If-Unmodified-Since`.
pub(super) fn parse_http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_time_is_one_time() {
        for text in [
            "2024-01-31T10:00:00Z",
            "2024-01-31T10:00:00.000+0000",
            "2024-01-31T11:00:00+01:00",
            "2024-01-31T11:00:00.000+0100",
            "2024-01-31T08:30:00-0130",
        ] {
            let ms = parse_datetime(text).expect(text);
            assert_eq!(datetime(ms), "2024-01-31T10:00:00.000+0000", "{text}");
        }
        for text in ["", "2024-01-31", "2024-01-31T10:00:00", "1600-01-01T00:00:00Z", "yesterday", "é+0000"] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
        let ms = parse_datetime("2024-01-31T10:00:00Z").unwrap();
        assert_eq!(parse_http_date(&http_date(ms)), Some(ms));
    }

    #[test]
    fn it_moves_and_stops() {
        let mut clock = Clock::default();
        clock.stop(true);
        let began = clock.now_ms();
        clock.advance(3 * DAY_MS);
        assert_eq!(clock.now_ms(), began + 3 * DAY_MS);
        assert!(clock.stamp(60) < clock.stamp(0));
        assert!(clock.stamp(0).ends_with(".000+0000"));
        clock.stop(false);
        assert!(clock.now_ms() >= began + 3 * DAY_MS);
    }
}
