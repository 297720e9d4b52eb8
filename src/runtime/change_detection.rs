//! Whether the systems let changes be found in the way that a pair asks for (layer 7): what `check --connect` says before anything is made.

use super::open::{Checked, OpenError, connectors, endpoint};
use crate::change::End;
use crate::config::{PairConfig, Problem};

/// What should be otherwise.
///
/// # Errors
/// Where changes cannot be found so, or a system cannot be reached.
pub async fn advice(config: &PairConfig, checked: &Checked) -> Result<Vec<Problem>, OpenError> {
    let connectors = connectors(config)?;
    let mut problems = Vec::new();
    for end in [End::Source, End::Target] {
        let absent = end == End::Target && checked.absent.is_some();
        if !checked.binding.flows.get(end) || absent {
            continue;
        }
        let (endpoint, schema) = (endpoint(config, end), checked.schemas.get(end));
        let advice = connectors.get(end).advice(endpoint, schema, config.capture).await?;
        let problem = |text| Problem::warning("capture.advice", &endpoint.at, format!("the {}: {text}", end.name()));
        problems.extend(advice.into_iter().map(problem));
    }
    Ok(problems)
}
