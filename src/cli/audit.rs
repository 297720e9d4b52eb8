//! `tidelock audit`: compares both sides of each pair through its mapping.

use std::process::ExitCode;
use std::sync::Arc;

use super::output::{Table, print_json};
use super::service::{ConfigArgs, Service};
use super::{EXIT_CONFIGURATION, EXIT_DIFFERENT, EXIT_FAILED, check};
use crate::runtime::audit::{Report, audit};
use crate::runtime::open::{OpenError, open};
use crate::runtime::status::describe;

/// Arguments of `tidelock audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command: exit code 3 where a pair differs.
///
/// # Errors
/// Where something fails that is no problem of the configuration.
pub async fn run(args: AuditArgs, json: bool) -> anyhow::Result<ExitCode> {
    let service = match Service::start(&args.config, false, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let mut code = 0;
    let mut table = Table::new(&[
        "pair",
        "compared",
        "matching",
        "missing in source",
        "missing in target",
        "different",
        "in review",
    ]);
    let mut reports = Vec::new();
    for config in &service.config.pairs {
        let opened = open(Arc::new(config.clone()), Arc::clone(&service.state), service.catalogue()).await;
        let report = match opened {
            Ok(pair) => audit(&pair).await,
            Err(OpenError::System(error)) => Err(error),
            Err(OpenError::Configuration(problems)) => {
                check::report(&problems, json);
                code = code.max(EXIT_CONFIGURATION);
                continue;
            }
        };
        match report {
            Ok(report) => {
                if !report.equal() {
                    code = code.max(EXIT_DIFFERENT);
                }
                reports.push(report);
            }
            Err(error) => {
                eprintln!("error: pair {}: {}", config.name, describe(&error));
                code = code.max(EXIT_FAILED);
            }
        }
    }
    for report in &reports {
        if json {
            print_json(&serde_json::to_value(report)?);
        }
        let numbers = [
            report.compared,
            report.matching,
            report.missing_in_source,
            report.missing_in_target,
            report.different,
            report.in_review,
        ];
        table.row([report.pair.clone()].into_iter().chain(numbers.iter().map(u64::to_string)));
    }
    if !json && !reports.is_empty() {
        table.print();
        reports.iter().for_each(samples);
    }
    Ok(ExitCode::from(code))
}

fn samples(report: &Report) {
    for sample in &report.samples {
        let fields = if sample.fields.is_empty() { String::new() } else { format!(": {}", sample.fields.join(", ")) };
        println!("{}: {} {}{fields}", report.pair, sample.kind.replace('_', " "), sample.key);
    }
}
