//! Names of pairs (layer 2).

use std::collections::BTreeMap;

use super::Context;
use crate::config::{Location, PairConfig, Problem, codes};

const MAX_LENGTH: usize = 64;

/// Names stand in addresses, metrics and names of database objects.
pub(super) fn check(context: &mut Context<'_>, name: &str, at: &Location) {
    if name.len() <= MAX_LENGTH && !name.is_empty() && name.chars().all(is_allowed) {
        return;
    }
    let message = format!(
        "\"{name}\" cannot be the name of a pair: it has 1 to {MAX_LENGTH} letters, digits, \"_\", \".\" and \"-\""
    );
    let mut problem = Problem::error(codes::BAD_NAME, at, message);
    problem.suggestion = (!context.is_taken(name)).then(|| format!("\"connection_name\": \"{}\"", proposal(name)));
    context.report(problem);
}

fn is_allowed(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-')
}

/// The nearest name that is allowed.
fn proposal(name: &str) -> String {
    let mut proposal = String::new();
    for char in name.chars() {
        if is_allowed(char) {
            proposal.push(char);
        } else if !proposal.ends_with('_') {
            proposal.push('_');
        }
    }
    let trimmed = proposal.trim_matches('_');
    let short: String = trimmed.chars().take(MAX_LENGTH).collect();
    if short.is_empty() { "sync".to_owned() } else { short }
}

/// No two pairs have the same name.
pub(super) fn check_unique(context: &mut Context<'_>, pairs: &[PairConfig]) {
    let mut first: BTreeMap<&str, &Location> = BTreeMap::new();
    for pair in pairs {
        let Some(other) = first.get(&*pair.name) else {
            first.insert(&pair.name, &pair.at);
            continue;
        };
        let message = format!("there is another pair \"{}\", at {other}", pair.name);
        let suggestion = "give one of them another \"connection_name\"";
        context.report(Problem::error(codes::DUPLICATE_PAIR, &pair.at, message).suggest(suggestion));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_allowed_names() {
        for (name, expected) in [("My sync!", "My_sync"), ("é", "sync"), ("", "sync"), ("a / b", "a_b")] {
            assert_eq!(proposal(name), expected);
        }
        assert_eq!(proposal(&"x".repeat(100)).len(), MAX_LENGTH);
    }
}
