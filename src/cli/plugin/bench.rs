//! `tidelock plugin bench`: what a function costs per value through the real host, and how far it stays from its deadline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{Folder, check, print_error, settings, warn_of_failures};
use crate::cli::output::Table;
use crate::config::PluginLimits;
use crate::plugin::{
    CallContext, Catalog, FunctionCounts, FunctionRef, PluginError, PluginSet, Plugins, call_deadline,
};

/// Values of a call.
const BATCHES: [usize; 3] = [1, 100, 1_000];
/// Calls that are not counted: the first ones make instances and warm caches.
const WARM_UP: Duration = Duration::from_millis(100);
/// How long each batch is measured, and how often at least.
const MEASURED: Duration = Duration::from_millis(500);
const CALLS_MIN: u32 = 5;

/// Measure functions.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// `format_phone`, `plugin/format_phone`, or a component, whose functions are all measured
    #[arg(value_name = "FUNCTION|FILE.wasm")]
    subject: String,
    /// The functions' parameters, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
    /// Inputs, one JSON value a line, as `plugin call` takes them [default: those of the plugin's examples]
    #[arg(long, value_name = "FILE", hide_default_value = true)]
    values: Option<PathBuf>,
    #[command(flatten)]
    folder: Folder,
}

/// One function with so many values a call.
#[derive(Serialize)]
struct Measured {
    function: String,
    batch: usize,
    ns_per_value: f64,
    values_per_second: f64,
    /// Mean time of a call, of what it may take.
    deadline_share: f64,
    /// Part of the values that the function fails on.
    failing: f64,
}

/// Runs the command.
///
/// # Errors
/// None at present: what is wrong is printed.
pub(super) async fn run(args: BenchArgs, json: bool) -> anyhow::Result<ExitCode> {
    let measured = match measure_all(&args).await {
        Ok(measured) => measured,
        Err(error) => return Ok(print_error(&error, json)),
    };
    if json {
        println!("{}", json!(measured));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        Table::new(&["function", "values a call", "ns a value", "values a second", "% of the deadline", "% failing"]);
    for it in measured {
        let numbers = [it.ns_per_value, it.values_per_second].map(|number| format!("{number:.0}"));
        let shares = [it.deadline_share, it.failing].map(|share| format!("{:.1}", 100.0 * share));
        table.row([it.function, it.batch.to_string()].into_iter().chain(numbers).chain(shares));
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

async fn measure_all(args: &BenchArgs) -> Result<Vec<Measured>, PluginError> {
    let (set, functions) = subject(args).await?;
    let mut measured = Vec::new();
    for name in functions {
        let function = FunctionRef { name, params: args.params.clone() };
        set.probe(&function).await?;
        let inputs = inputs(&set, &function.name, args.values.as_deref())?;
        for batch in BATCHES {
            measured.push(measure(&set, &function, &inputs, batch).await?);
        }
    }
    Ok(measured)
}

/// The plugins, and the functions to be measured.
async fn subject(args: &BenchArgs) -> Result<(Arc<PluginSet>, Vec<String>), PluginError> {
    let (subject, cache) = (&args.subject, &args.folder.cache);
    let file = Path::new(subject);
    if file.extension().is_some_and(|extension| extension == "wasm") {
        let bytes = check::read(file)
            .await
            .map_err(|error| PluginError::new("plugin.unreadable", format!("`{subject}` cannot be read: {error}")))?;
        let set = Catalog::empty(settings(PathBuf::new(), cache)?)?.only(&check::stem(file), bytes).await?;
        let functions = set.functions().into_iter().map(|function| function.name).collect();
        return Ok((Arc::new(set), functions));
    }
    let set = Catalog::start(settings(args.folder.plugins.clone(), cache)?).await?.current();
    warn_of_failures(&set);
    Ok((set, vec![subject.clone()]))
}

/// The inputs of a file, or of the function's examples.
fn inputs(set: &PluginSet, function: &str, file: Option<&Path>) -> Result<Vec<String>, PluginError> {
    let wrong = |message: String| PluginError::new("plugin.fixtures", message);
    let inputs = match file {
        None => set.example_inputs(function)?,
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| wrong(format!("`{}` cannot be read: {error}", file.display())))?;
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
        }
    };
    if inputs.is_empty() {
        return Err(wrong(format!("there is no input for `{function}`: it has no examples; give some with --values")));
    }
    Ok(inputs)
}

/// Calls the function with so many of the inputs, over and over. What counts is what the host counts: reading and writing JSON is outside.
async fn measure(
    set: &PluginSet,
    function: &FunctionRef,
    inputs: &[String],
    batch: usize,
) -> Result<Measured, PluginError> {
    let inputs: Vec<String> = inputs.iter().cycle().take(batch).cloned().collect();
    let context = CallContext::none();
    let warm = Instant::now();
    while warm.elapsed() < WARM_UP {
        set.call_json(function, &context, &inputs).await?;
    }
    let (before, began) = (set.counts(&function.name)?, Instant::now());
    let mut calls = 0;
    while calls < CALLS_MIN || began.elapsed() < MEASURED {
        set.call_json(function, &context, &inputs).await?;
        calls += 1;
    }
    let after = set.counts(&function.name)?;
    let nanos = |counts: &FunctionCounts| counts.ns_per_value.unwrap_or(0).saturating_mul(counts.values);
    let values = float(after.values.saturating_sub(before.values)).max(1.0);
    let ns_per_value = float(nanos(&after).saturating_sub(nanos(&before))) / values;
    let deadline = call_deadline(&PluginLimits::default(), batch);
    Ok(Measured {
        function: function.name.clone(),
        batch,
        ns_per_value,
        values_per_second: 1e9 / ns_per_value.max(1.0),
        deadline_share: ns_per_value * values / f64::from(calls) / 1e9 / deadline.as_secs_f64(),
        failing: float(after.errors.saturating_sub(before.errors)) / values,
    })
}

/// Exact up to 2^53, more than is counted here.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn float(count: u64) -> f64 {
    count as f64
}
