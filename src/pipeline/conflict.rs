//! Stage 6 (pure): who wins. The order is total, so every replica of the decision is the same: time, then the source before the target.

use std::time::Duration;

use crate::change::{End, Ends};
use crate::config::{Close, Rule};

/// When each side last changed: microseconds since 1970-01-01 UTC; `None` where nothing knows, which is older than any time.
pub type Times = Ends<Option<i64>>;

/// The end that wins under `rule`; `None` where a person decides. A resolver that is not asked leaves it to the later change.
pub fn winner(rule: Rule, times: &Times, skew: Duration) -> Option<End> {
    let later = || if times.target > times.source { End::Target } else { End::Source };
    match rule {
        Rule::Manual => None,
        Rule::Prefer(end) => Some(end),
        Rule::LastWriteWins(close) if are_close(times, skew) => match close {
            Close::Later => Some(later()),
            Close::Prefer(end) => Some(end),
            Close::Manual => None,
        },
        Rule::LastWriteWins(_) | Rule::Plugin(_) => Some(later()),
    }
}

/// Whether clocks that may be apart by `skew` cannot say which came later.
fn are_close(times: &Times, skew: Duration) -> bool {
    match (times.source, times.target) {
        (Some(source), Some(target)) => u128::from(source.abs_diff(target)) <= skew.as_micros(),
        _ => false,
    }
}

/// The rule's name in the audit trail.
pub fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Prefer(_) => "system_priority",
        Rule::LastWriteWins(_) => "last_write_wins",
        Rule::Plugin(_) => "plugin",
        Rule::Manual => "manual",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_change_wins_and_ties_go_to_the_source() {
        for (source, target, expected) in [
            (Some(1), Some(2), End::Target),
            (Some(2), Some(1), End::Source),
            (Some(1), Some(1), End::Source),
            (None, Some(1), End::Target),
            (Some(1), None, End::Source),
            (None, None, End::Source),
        ] {
            for skew in [Duration::ZERO, Duration::from_secs(1)] {
                assert_eq!(winner(Rule::LATER, &Times { source, target }, skew), Some(expected));
            }
        }
        let times = Times { source: Some(9), target: None };
        assert_eq!(winner(Rule::Prefer(End::Target), &times, Duration::ZERO), Some(End::Target));
        assert_eq!(winner(Rule::Manual, &times, Duration::ZERO), None);
    }

    #[test]
    fn within_the_skew_window_the_fallback_decides() {
        let skew = Duration::from_micros(10);
        for (target, close) in [(100, true), (110, true), (111, false), (90, true), (89, false)] {
            let times = Times { source: Some(100), target: Some(target) };
            let later = if target > 100 { End::Target } else { End::Source };
            let by = |fallback, within| (winner(Rule::LastWriteWins(fallback), &times, skew), within);
            for (found, within) in [
                by(Close::Later, Some(later)),
                by(Close::Prefer(End::Source), Some(End::Source)),
                by(Close::Prefer(End::Target), Some(End::Target)),
                by(Close::Manual, None),
            ] {
                assert_eq!(found, if close { within } else { Some(later) }, "{target}");
            }
        }
        // A time that nobody knows is not close to any.
        let unknown = Times { source: None, target: Some(1) };
        assert_eq!(winner(Rule::LastWriteWins(Close::Manual), &unknown, skew), Some(End::Target));
    }
}
