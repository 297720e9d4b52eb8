//! `tidelock plan`: what would be written to each side, with predicted conflicts. Writes nothing.

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::output::{Table, print_json};
use super::service::{ConfigArgs, Service};
use super::{EXIT_CONFIGURATION, EXIT_DIFFERENT, EXIT_FAILED, check};
use crate::runtime::open::{OpenError, open_to_look};
use crate::runtime::plan::{Plan, plan};
use crate::runtime::status::describe;

/// Arguments of `tidelock plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Exit code 3 where there is something to do
    #[arg(long)]
    exit_code: bool,
}

/// Runs the command.
///
/// # Errors
/// Where something fails that is no problem of the configuration.
pub async fn run(args: PlanArgs, json: bool) -> anyhow::Result<ExitCode> {
    let service = match Service::start(&args.config, false, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let shutdown = CancellationToken::new();
    let mut code = 0;
    let mut plans = Vec::new();
    for config in &service.config.pairs {
        let opened = open_to_look(Arc::new(config.clone()), Arc::clone(&service.state), service.catalogue()).await;
        let planned = match opened {
            Ok(pair) => plan(pair, &shutdown).await,
            Err(OpenError::System(error)) => Err(error),
            Err(OpenError::Configuration(problems)) => {
                check::report(&problems, json);
                code = code.max(EXIT_CONFIGURATION);
                continue;
            }
        };
        match planned {
            Ok(plan) => {
                if args.exit_code && !plan.is_empty() {
                    code = code.max(EXIT_DIFFERENT);
                }
                plans.push(plan);
            }
            Err(error) => {
                eprintln!("error: pair {}: {}", config.name, describe(&error));
                code = code.max(EXIT_FAILED);
            }
        }
    }
    show(&plans, json)?;
    Ok(ExitCode::from(code))
}

pub(super) fn show(plans: &[Plan], json: bool) -> anyhow::Result<()> {
    if json {
        for plan in plans {
            print_json(&serde_json::to_value(plan)?);
        }
        return Ok(());
    }
    for plan in plans {
        for statement in &plan.create_target {
            println!("{}: a run first makes the target's table:\n{statement};\n", plan.pair);
        }
        for statement in &plan.index_recommendation {
            println!("{}: an index would serve its look-ups (a run makes none):\n{statement};\n", plan.pair);
        }
    }
    let mut table = Table::new(&[
        "pair",
        "side",
        "creates",
        "updates",
        "deletes",
        "conflicts",
        "in review",
        "held",
        "makes tracking",
    ]);
    for plan in plans {
        let sides = [
            ("source", plan.found.source, plan.makes_tracking.source),
            ("target", plan.found.target, plan.makes_tracking.target),
        ];
        let reviews: u64 = plan.found.reviews.values().sum();
        for (side, writes, tracking) in sides {
            let numbers = [writes.creates, writes.updates, writes.deletes, plan.conflicts, reviews, plan.held];
            let tracking = if tracking { "yes" } else { "no" }.to_owned();
            let cells = numbers.iter().map(u64::to_string).chain([tracking]);
            table.row([plan.pair.clone(), side.to_owned()].into_iter().chain(cells));
        }
    }
    if !plans.is_empty() {
        table.print();
    }
    plans.iter().for_each(samples);
    Ok(())
}

fn samples(plan: &Plan) {
    for (side, names) in [("source", &plan.tracking.source), ("target", &plan.tracking.target)] {
        for name in names {
            println!("{}: makes in the {side}, if it is not there: {name}", plan.pair);
        }
    }
    if !plan.deletes_known {
        println!("{}: deletes are not told: the change table may not be read", plan.pair);
    }
    for sample in &plan.found.samples {
        let value =
            |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let fields =
            sample.fields.iter().map(|(name, diff)| format!("{name}: {} → {}", value(&diff.from), value(&diff.to)));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let key = sample.key.as_deref().unwrap_or("(new)");
        println!("{}: {} {} {key}  {fields}", plan.pair, sample.op, sample.side.name());
    }
    for conflict in &plan.found.conflict_samples {
        println!(
            "{}: conflict source {} target {} {}: {} wins by {}",
            plan.pair,
            conflict.source_key,
            conflict.target_key,
            conflict.field.as_deref().unwrap_or("(delete)"),
            conflict.winner,
            conflict.rule
        );
    }
    for held in &plan.found.review_samples {
        let field = held.field.as_deref().map(|field| format!(", field {field}")).unwrap_or_default();
        println!("{}: in review {} {}{field} [{}]", plan.pair, held.side.name(), held.key, held.code);
    }
}
