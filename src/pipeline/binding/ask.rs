//! What has to be asked of the plugins before a pair is bound: which fields a record transform reads, and which it makes.

use crate::change::Ends;
use crate::config::{PairConfig, Problem, RecordTransform};
use crate::connector::Schema;
use crate::plugin::{CallContext, FunctionRef, Plugins, Reshaped};
use crate::record::Record;
use crate::value::Value;

/// What a record transform's function says about its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// Fields that it reads; empty = all.
    pub inputs: Vec<String>,
    /// Fields that it makes.
    pub outputs: Vec<String>,
}

/// Asks for each record transform of the pair, in their order. A function that is not there is left to `bind` to report.
///
/// # Errors
/// Problems of those that cannot be asked, each with its place in the configuration.
pub async fn ask(
    pair: &PairConfig,
    schemas: &Ends<Schema>,
    plugins: &dyn Plugins,
) -> Result<Vec<Answered>, Vec<Problem>> {
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for one in &pair.record_transforms {
        let known = plugins.info(&one.call.name).is_ok_and(|info| info.role == "record-transform");
        match if known { ask_one(one, schemas.get(one.from), plugins).await } else { Ok(Answered::default()) } {
            Ok(answer) => answers.push(answer),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(answers) } else { Err(problems) }
}

async fn ask_one(one: &RecordTransform, schema: &Schema, plugins: &dyn Plugins) -> Result<Answered, Problem> {
    let function = FunctionRef { name: one.call.name.clone(), params: one.call.params.clone() };
    let at = &one.call.at;
    let failed = |error: crate::plugin::PluginError| Problem::error(error.code, at, error.message);
    let inputs = plugins.fields(&function).await.map_err(failed)?;
    if let Some(outputs) = &one.outputs {
        return Ok(Answered { inputs, outputs: outputs.clone() });
    }
    let all = || schema.columns.iter().map(|column| column.name.clone()).collect();
    let read: Vec<String> = if inputs.is_empty() { all() } else { inputs.clone() };
    let nulls = Record::of(read.into_iter().map(|name| (name, Value::Null)));
    let made = plugins.reshape(&function, &CallContext::none(), vec![nulls]).await.map_err(failed)?;
    let outputs: Vec<String> = match made.into_iter().next() {
        Some(Ok(Reshaped::Keep(record))) => record.iter().map(|(name, _)| name.to_owned()).collect(),
        Some(Ok(Reshaped::Skip | Reshaped::Review) | Err(_)) | None => Vec::new(),
    };
    if outputs.is_empty() {
        let text = format!("\"{}\" does not show which fields it makes", function.name);
        return Err(Problem::error("mapping.no_outputs", at, text).suggest("name them: \"outputs\": [\"…\"]"));
    }
    Ok(Answered { inputs, outputs })
}
