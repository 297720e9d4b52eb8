//! `tidelock status`, `tidelock pause`, `tidelock resume`, `tidelock resync`: what the state file says of each pair, and the switches that a
//! service obeys.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::explain::side_of;
use super::output::{Table, print_json};
use super::service::{ConfigArgs, Service, open_state};
use crate::change::{End, Ends};
use crate::runtime::open::{OpenError, open};
use crate::runtime::resync::{Request, outcome};
use crate::state::StateStore;

/// How often it is looked whether a request has come through.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Arguments of `tidelock status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Where the state is
    #[arg(long, value_name = "URL", default_value = super::service::DEFAULT_STATE)]
    state: String,
}

/// Arguments of `tidelock pause`.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Name of the pair
    pair: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// Also take away what tidelock made in both systems to see changes; it is made again when the pair goes on
    #[arg(long)]
    remove: bool,
}

/// Arguments of `tidelock resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Name of the pair
    pair: String,
    /// Where the state is
    #[arg(long, value_name = "URL", default_value = super::service::DEFAULT_STATE)]
    state: String,
}

/// Arguments of `tidelock resync`.
#[derive(Debug, clap::Args)]
pub struct ResyncArgs {
    /// Name of the pair
    pair: String,
    /// Only the record of this primary key; a key of several fields as a JSON array. May be repeated
    #[arg(long = "key", value_name = "KEY", conflicts_with = "filter")]
    keys: Vec<String>,
    /// Only the records that this condition lets through, in the language of their system
    #[arg(long, value_name = "CONDITION")]
    filter: Option<String>,
    /// Whose records are meant: by default those of --from, else the source's
    #[arg(long, value_name = "SIDE", value_parser = side_of)]
    side: Option<End>,
    /// Whose record wins wherever both differ, in place of the policy; the other's values are on record as conflicts
    #[arg(long, value_name = "SIDE", value_parser = side_of)]
    from: Option<End>,
    /// Wait for what becomes of it, at most so many seconds; exit code 1 where it has not come through
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    wait: Option<u64>,
    /// Where the state is
    #[arg(long, value_name = "URL", default_value = super::service::DEFAULT_STATE)]
    state: String,
}

/// Shows each pair.
///
/// # Errors
/// Where the state file cannot be read.
pub async fn status(args: StatusArgs, json: bool) -> anyhow::Result<ExitCode> {
    let state = open_state(&args.state, false).await?;
    let mut table = Table::new(&[
        "pair",
        "loaded",
        "paused",
        "links",
        "reviews",
        "waiting",
        "read",
        "written source",
        "written target",
        "conflicts",
        "held",
    ]);
    for summary in state.summaries().await? {
        if json {
            print_json(&serde_json::to_value(&summary)?);
        }
        let yes = |value| if value { "yes" } else { "no" }.to_owned();
        let counts = summary.counts;
        let numbers = [
            summary.links,
            summary.reviews,
            summary.waiting,
            counts.read,
            counts.written_source,
            counts.written_target,
            counts.conflicts,
            counts.held,
        ];
        table.row(
            [summary.pair, yes(summary.loaded), yes(summary.paused)]
                .into_iter()
                .chain(numbers.iter().map(u64::to_string)),
        );
    }
    if !json {
        table.print();
    }
    Ok(ExitCode::SUCCESS)
}

/// Pauses a pair, and takes its tracking objects away where that is asked for.
///
/// # Errors
/// Where the pair is not known, or a system cannot be reached.
pub async fn pause(args: PauseArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut service = match Service::start(&args.config, false, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let found = service.config.pairs.iter().find(|pair| *pair.name == *args.pair).cloned();
    let Some(config) = found else {
        let names: Vec<&str> = service.config.pairs.iter().map(|pair| pair.name.as_ref()).collect();
        bail!("there is no pair \"{}\": there are {}", args.pair, names.join(", "));
    };
    if !service.has_state() {
        service.own_state().await?;
    }
    service.state.set_paused(&config.name, true).await?;
    if args.remove {
        // What changes while nobody looks is found by nothing else.
        service.state.request_resync(&config.name).await?;
        let pair = open(Arc::new(config), Arc::clone(&service.state), service.catalogue()).await;
        let mut pair = match pair {
            Ok(pair) => pair,
            Err(OpenError::System(error)) => return Err(error.into()),
            Err(OpenError::Configuration(problems)) => {
                super::check::report(&problems, json);
                return Ok(ExitCode::from(super::EXIT_CONFIGURATION));
            }
        };
        let Ends { source, target } = &mut pair.sources;
        source.remove().await?;
        if *pair.pipeline.binding.flows.get(End::Target) {
            target.remove().await?;
        }
    }
    if json {
        print_json(&serde_json::json!({"pair": args.pair, "paused": true, "removed": args.remove}));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a paused pair go on.
///
/// # Errors
/// Where the state file cannot be used.
pub async fn resume(args: ResumeArgs, json: bool) -> anyhow::Result<ExitCode> {
    let state = state_of(&args.state, &args.pair).await?;
    state.set_paused(&args.pair, false).await?;
    if json {
        print_json(&serde_json::json!({"pair": args.pair, "paused": false}));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for a comparison of both sides, in full or of some records: a service that runs begins it within a second or so, else the next run
/// does.
///
/// # Errors
/// Where the state file cannot be used.
pub async fn resync(args: ResyncArgs, json: bool) -> anyhow::Result<ExitCode> {
    let state = state_of(&args.state, &args.pair).await?;
    let request = Request { keys: args.keys, filter: args.filter, side: args.side, from: args.from };
    let id = request.keep(state.as_ref(), &args.pair).await?;
    let begin = Instant::now();
    let patience = Duration::from_secs(args.wait.unwrap_or_default());
    let mut done = None;
    while args.wait.is_some() && done.is_none() && begin.elapsed() < patience {
        tokio::time::sleep(LOOK_AGAIN).await;
        done = outcome(state.as_ref(), &args.pair, id).await?;
    }
    let error = done.as_ref().and_then(|done| done.pointer("/error/message")).and_then(serde_json::Value::as_str);
    if json {
        print_json(&serde_json::json!({"pair": args.pair, "resync": true, "request": id, "outcome": done}));
    } else {
        match (&done, error) {
            (_, Some(why)) => eprintln!("error: {why}"),
            (Some(done), None) => println!("{}: done {done}", args.pair),
            (None, None) => println!("{}: asked for; the running service begins it, else the next run does", args.pair),
        }
    }
    let failed = error.is_some() || (args.wait.is_some() && done.is_none());
    Ok(if failed { ExitCode::from(super::EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// The state of a service that has the pair.
async fn state_of(url: &str, pair: &str) -> anyhow::Result<Arc<dyn StateStore>> {
    let state = open_state(url, false).await?;
    if !state.summaries().await?.iter().any(|summary| summary.pair == pair) {
        bail!("the state file {url} knows no pair \"{pair}\"");
    }
    Ok(state)
}
