//! `tidelock audit`: compares both sides of each pair through its mapping.

use std::process::ExitCode;
use std::sync::Arc;

use super::output::{Table, print_json};
use super::service::{ConfigArgs, Service};
use super::{EXIT_CONFIGURATION, EXIT_DIFFERENT, EXIT_FAILED, check};
use crate::change::Ends;
use crate::runtime::audit::{Report, audit};
use crate::runtime::open::{OpenError, OpenPair, open, open_to_look};
use crate::runtime::read_only::read_only;
use crate::runtime::rehearsal::{Found, rehearse};
use crate::runtime::repair::{Repaired, repair};
use crate::runtime::reviews::joined;
use crate::runtime::status::describe;

/// Arguments of `tidelock audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Look at the records that differ again, as if they had just changed, and compare once more; no service may run meanwhile
    #[arg(long)]
    repair: bool,
    /// With --repair: only show what would be written
    #[arg(long, requires = "repair")]
    dry_run: bool,
    /// With --repair: at most this many records
    #[arg(long, value_name = "N", requires = "repair", default_value_t = 100_000)]
    limit: usize,
    /// With --repair: at most this many records a second
    #[arg(long, value_name = "N", requires = "repair", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

/// What a repair did, or would do.
enum Repair {
    None,
    Done(Repaired),
    Rehearsed(Box<Found>),
}

/// Audits a pair, and repairs it where that is asked for.
async fn audit_one(mut pair: OpenPair, args: &AuditArgs) -> crate::error::Result<(Report, Repair)> {
    let report = audit(&pair.pipeline, &pair.schemas, if args.repair { args.limit } else { 0 }).await?;
    if !args.repair || report.differing.is_empty() {
        return Ok((report, Repair::None));
    }
    if args.dry_run {
        let (mut pair, ledger) = rehearse(pair, Ends { source: true, target: true });
        repair(&mut pair, &report.differing, None, &|end, key| ledger.is_decided(end, key)).await?;
        return Ok((report, Repair::Rehearsed(Box::new(ledger.found()))));
    }
    if pair.config.rollout.read_only {
        return Err(read_only(&pair.config.name));
    }
    pair.pipeline.recover().await?;
    let repaired = repair(&mut pair, &report.differing, args.rate, &|_, _| false).await?;
    Ok((audit(&pair.pipeline, &pair.schemas, 0).await?, Repair::Done(repaired)))
}

fn repair_json(repair: &Repair) -> anyhow::Result<serde_json::Value> {
    Ok(match repair {
        Repair::None => serde_json::Value::Null,
        Repair::Done(done) => serde_json::json!({
            "looked_at": done.looked_at, "written_source": done.counts.written_source,
            "written_target": done.counts.written_target, "conflicts": done.counts.conflicts, "rejected": done.counts.rejected,
        }),
        Repair::Rehearsed(found) => serde_json::json!({"dry_run": true, "would": serde_json::to_value(found)?}),
    })
}

/// Runs the command: exit code 3 where a pair differs.
///
/// # Errors
/// Where something fails that is no problem of the configuration.
pub async fn run(args: AuditArgs, json: bool) -> anyhow::Result<ExitCode> {
    let owns = args.repair && !args.dry_run;
    let service = match Service::start(&args.config, owns, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    if owns && !service.owns_state {
        anyhow::bail!("there is no state yet, so nothing was ever agreed: `tidelock run` brings both sides together");
    }
    let mut code = 0;
    let mut reports = Vec::new();
    for config in &service.config.pairs {
        let (pair, state) = (Arc::new(config.clone()), Arc::clone(&service.state));
        let opened = if owns {
            open(pair, state, service.catalogue()).await
        } else {
            open_to_look(pair, state, service.catalogue()).await
        };
        let report = match opened {
            Ok(pair) => audit_one(pair, &args).await,
            Err(OpenError::System(error)) => Err(error),
            Err(OpenError::Configuration(problems)) => {
                check::report(&problems, json);
                code = code.max(EXIT_CONFIGURATION);
                continue;
            }
        };
        match report {
            Ok((report, repair)) => {
                if !report.equal() {
                    code = code.max(EXIT_DIFFERENT);
                }
                reports.push((report, repair));
            }
            Err(error) => {
                eprintln!("error: pair {}: {}", config.name, describe(&error));
                code = code.max(EXIT_FAILED);
            }
        }
    }
    show(&reports, json)?;
    Ok(ExitCode::from(code))
}

fn show(reports: &[(Report, Repair)], json: bool) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "pair",
        "compared",
        "matching",
        "missing in source",
        "missing in target",
        "different",
        "in review",
        "held",
    ]);
    for (report, repair) in reports {
        if json {
            let repair = serde_json::json!({"repair": repair_json(repair)?});
            print_json(&joined(serde_json::to_value(report)?, repair));
        }
        let numbers = [
            report.compared,
            report.matching,
            report.missing_in_source,
            report.missing_in_target,
            report.different,
            report.in_review,
            report.held,
        ];
        table.row([report.pair.clone()].into_iter().chain(numbers.iter().map(u64::to_string)));
    }
    if !json && !reports.is_empty() {
        table.print();
        for (report, repair) in reports {
            samples(report);
            if !matches!(repair, Repair::None) {
                println!("{}: repair {}", report.pair, repair_json(repair)?);
            }
        }
    }
    Ok(())
}

fn samples(report: &Report) {
    for sample in &report.samples {
        let fields = if sample.fields.is_empty() { String::new() } else { format!(": {}", sample.fields.join(", ")) };
        println!("{}: {} {}{fields}", report.pair, sample.kind.replace('_', " "), sample.key);
    }
}
