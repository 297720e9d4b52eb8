//! `updated` and `deleted`: what happened to an object's records between two times.

use serde_json::json;

use super::clock::{DAY_MS, MINUTE_MS, datetime, parse_datetime};
use super::describe::{IS_DELETED, Object, SYSTEM_MODSTAMP};
use super::exchange::{Answer, Refusal};
use super::org::{Call, Org};
use super::store::at;

const UPDATED_DAYS: i64 = 30;
/// How long deletes are known.
pub(super) const DELETED_DAYS: i64 = 15;

/// Ids of the records that were created or changed.
pub(super) fn updated(org: &Org, call: &Call<'_>, object: &Object) -> Result<Answer, Refusal> {
    let window = Window::read(org, call, UPDATED_DAYS)?;
    let changed = |row| {
        let stamp = at(row, SYSTEM_MODSTAMP).as_str().and_then(parse_datetime);
        at(row, IS_DELETED) == &json!(false) && stamp.is_some_and(|ms| window.holds(ms))
    };
    let ids: Vec<&String> = org.store.rows(object).filter(|(_, row)| changed(row)).map(|(id, _)| id).collect();
    Ok(Answer::ok(&json!({"ids": ids, "latestDateCovered": datetime(window.covered_ms)})))
}

/// Ids of the records that were deleted, and when.
pub(super) fn deleted(org: &Org, call: &Call<'_>, object: &Object) -> Result<Answer, Refusal> {
    let window = Window::read(org, call, DELETED_DAYS)?;
    let deletions = org.store.deletions(object).filter(|deletion| window.holds(deletion.ms));
    let records: Vec<_> = deletions
        .map(|deletion| json!({"id": deletion.id, "deletedDate": datetime(deletion.ms - deletion.ms.rem_euclid(1000))}))
        .collect();
    Ok(Answer::ok(&json!({
        "deletedRecords": records, "earliestDateAvailable": datetime(org.deletes_known_since()),
        "latestDateCovered": datetime(window.covered_ms),
    })))
}

/// From the first minute to before the last: the server cuts off seconds.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    start_ms: i64,
    /// The end, or the minute that is now where the end lies ahead.
    covered_ms: i64,
}

impl Window {
    fn read(org: &Org, call: &Call<'_>, days: i64) -> Result<Self, Refusal> {
        let time = |name: &str| {
            let text = call.request.parameter(name);
            let text =
                text.ok_or_else(|| Refusal::new("MISSING_ARGUMENT", format!("The {name} parameter is missing")))?;
            parse_datetime(text)
                .ok_or_else(|| Refusal::new("MALFORMED_DATETIME", format!("{name} is not a valid date: {text}")))
        };
        Self::new(time("start")?, time("end")?, org.clock.now_ms(), days)
    }

    fn new(start_ms: i64, end_ms: i64, now_ms: i64, days: i64) -> Result<Self, Refusal> {
        let minute = |ms: i64| ms - ms.rem_euclid(MINUTE_MS);
        let (start_ms, end_ms) = (minute(start_ms), minute(end_ms));
        let refuse = |message: String| Err(Refusal::new("INVALID_REPLICATION_DATE", message));
        if start_ms >= end_ms {
            return refuse("startDate must be before endDate".to_owned());
        }
        if start_ms < minute(now_ms) - days * DAY_MS {
            return refuse(format!("startDate cannot be more than {days} days ago"));
        }
        Ok(Self { start_ms, covered_ms: end_ms.min(minute(now_ms)) })
    }

    fn holds(&self, ms: i64) -> bool {
        (self.start_ms..self.covered_ms).contains(&ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_to_minutes_and_to_the_past() {
        let now = parse_datetime("2026-03-31T10:00:30Z").unwrap();
        let window = Window::new(now - 5 * MINUTE_MS, now + MINUTE_MS, now, 15).unwrap();
        assert_eq!(datetime(window.start_ms), "2026-03-31T09:55:00.000+0000");
        assert_eq!(
            datetime(window.covered_ms),
            "2026-03-31T10:00:00.000+0000",
            "the minute that is not over is not covered"
        );
        assert!(window.holds(window.start_ms) && !window.holds(window.covered_ms));
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        let now = parse_datetime("2026-03-31T10:00:30Z").unwrap();
        let code = |start, end| Window::new(start, end, now, 15).map_err(|refusal| refusal.code);
        assert_eq!(code(now, now), Err("INVALID_REPLICATION_DATE"));
        assert_eq!(code(now - 20_000, now), Err("INVALID_REPLICATION_DATE"), "both are the same minute");
        assert_eq!(code(now - 16 * DAY_MS, now), Err("INVALID_REPLICATION_DATE"));
        assert!(code(now - 15 * DAY_MS, now).is_ok());
    }
}
