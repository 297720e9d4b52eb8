//! `index_recommendation`: the indexes that a pair's look-ups lack, as statements that a person may run.

use super::open::{Checked, OpenError, connectors, endpoint};
use crate::change::End;
use crate::config::{CaptureMethod, PairConfig, Problem};

/// Code of these warnings.
pub const MISSING_INDEX: &str = "mapping.missing_index";

/// A warning for each field set that records are looked up by and no index serves; what helps is the statement that makes one.
///
/// # Errors
/// Where a system cannot be asked.
pub async fn missing(config: &PairConfig, checked: &Checked) -> Result<Vec<Problem>, OpenError> {
    let mut problems = Vec::new();
    if !config.index_recommendation {
        return Ok(problems);
    }
    let connectors = connectors(config)?;
    for end in [End::Source, End::Target] {
        // A view has no indexes of its own.
        if (end == End::Target && checked.absent.is_some()) || checked.schemas.get(end).view {
            continue;
        }
        let endpoint = endpoint(config, end);
        for (fields, why) in wanted(config, checked, end) {
            let statements = connectors.get(end).missing_indexes(endpoint, std::slice::from_ref(&fields)).await?;
            problems.extend(statements.into_iter().map(|statement| {
                let fields = fields.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
                let text =
                    format!("no index of the {} \"{}\" begins with {fields}, {why}", end.name(), endpoint.collection);
                Problem::warning(MISSING_INDEX, &endpoint.at, text).suggest(statement)
            }));
        }
    }
    Ok(problems)
}

/// The field sets, and what each is for.
fn wanted(config: &PairConfig, checked: &Checked, end: End) -> Vec<(Vec<String>, &'static str)> {
    let binding = &checked.binding;
    let mut wanted = vec![(binding.correlation.get(end).clone(), "by which the other side's records are found")];
    let matched: Vec<String> = binding
        .match_on
        .iter()
        .filter_map(|place| binding.mappings.get(*place))
        .map(|mapping| mapping.fields.get(end).name.clone())
        .collect();
    if !matched.is_empty() {
        wanted.push((matched, "by which records are matched (\"match_on\")"));
    }
    let cursor = endpoint(config, end).updated_at.clone();
    if let Some(name) = cursor.filter(|_| config.capture == CaptureMethod::Polling && *binding.flows.get(end)) {
        wanted.push((vec![name], "by which polling reads"));
    }
    wanted
}
