//! Stage 6 (pure): who wins. The order is total, so every replica of the decision is the same: time, then the source before the target.

use crate::change::{End, Ends};
use crate::config::Rule;

/// When each side last changed: microseconds since 1970-01-01 UTC; `None` where nothing knows, which is older than any time.
pub type Times = Ends<Option<i64>>;

/// The end that wins under `rule`; a resolver that is not asked leaves it to the later change.
pub fn winner(rule: Rule, times: &Times) -> End {
    match rule {
        Rule::Prefer(end) => end,
        Rule::LastWriteWins | Rule::Plugin(_) if times.target > times.source => End::Target,
        Rule::LastWriteWins | Rule::Plugin(_) => End::Source,
    }
}

/// The rule's name in the audit trail.
pub fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Prefer(_) => "system_priority",
        Rule::LastWriteWins => "last_write_wins",
        Rule::Plugin(_) => "plugin",
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
            assert_eq!(winner(Rule::LastWriteWins, &Times { source, target }), expected);
        }
        assert_eq!(winner(Rule::Prefer(End::Target), &Times { source: Some(9), target: None }), End::Target);
    }
}
