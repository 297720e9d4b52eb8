//! Whether the systems let changes be found, and records be created, in the way that a pair asks for (layer 7): what `check --connect` says
//! before anything is made.

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
        if absent {
            continue;
        }
        let (endpoint, schema) = (endpoint(config, end), checked.schemas.get(end));
        let (connector, binding) = (connectors.get(end), &checked.binding);
        let problem = |code, text| Problem::warning(code, &endpoint.at, format!("the {}: {text}", end.name()));
        if *binding.flows.get(end) {
            let advice = connector.advice(endpoint, schema, config.capture).await?;
            problems.extend(advice.into_iter().map(|text| problem("capture.advice", text)));
        }
        if *binding.flows.get(end.other()) && !binding.upsert_only {
            let advice = connector.creates_advice(endpoint, binding.layouts.get(end)).await?;
            problems.extend(advice.map(|text| problem("creates.advice", text)));
        }
    }
    Ok(problems)
}
