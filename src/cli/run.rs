//! `tidelock run`: the service, or once until quiet.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{Table, print_json};
use super::service::{ConfigArgs, Service};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, check, plan, progress};
use crate::config::{Location, Problem, codes};
use crate::error::{Disposition, SyncError};
use crate::http::{Served, Server};
use crate::pipeline::rollout::HELD;
use crate::runtime::open::{self, OpenError};
use crate::runtime::plan::Plan;
use crate::runtime::status::describe;
use crate::runtime::supervisor::{Outcome, Supervisor};
use crate::runtime::worker::Failure;
use crate::state::{Counts, Review, ReviewFilter};

/// Arguments of `tidelock run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Bring both sides together, drain every pending change in both directions until quiet, and end
    #[arg(long)]
    once: bool,
    /// Address of the HTTP server, in place of the configuration's
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Where something fails that is no problem of the configuration.
pub async fn run(args: RunArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut service = match Service::start(&args.config, true, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    if let Some(listen) = args.listen {
        service.config.server.listen = listen;
        if service.config.server.is_unprotected() {
            let text = "other machines can reach that address, so \"server\".\"token\" is required";
            let at = Location { file: Arc::from("--listen"), ..Location::default() };
            check::report(&[Problem::error(codes::TOKEN_REQUIRED, &at, text)], json);
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    }
    let shutdown = stop_on_signal()?;
    if let Some(failures) = nothing_can_run(&service, !args.once).await {
        if args.once {
            return conclude(&service, &failures.into_iter().map(not_run).collect::<Vec<_>>(), json).await;
        }
        return Ok(refuse(failures, json));
    }
    service.own_state().await?;
    if args.once { once(service, shutdown, json).await } else { serve(service, shutdown).await }
}

/// A token that SIGINT or SIGTERM cancels.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tracing::info!("stopping: begun batches are finished first");
        cancel.cancel();
    });
    Ok(token)
}

async fn once(service: Service, shutdown: CancellationToken, json: bool) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::new(service.config.pairs.clone(), &service.state, &service.catalogue());
    let bars = progress::follow(supervisor.statuses(), json);
    let outcomes = supervisor.once(shutdown).await;
    bars.finish();
    conclude(&service, &outcomes, json).await
}

/// The outcome of a pair that could not even begin.
fn not_run((pair, failure): (Arc<str>, Failure)) -> Outcome {
    Outcome { pair, counts: Counts::default(), seconds: 0.0, would: None, failure: Some(failure) }
}

/// Says what became of each pair.
async fn conclude(service: &Service, outcomes: &[Outcome], json: bool) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    let mut table = Table::new(&[
        "pair",
        "read",
        "written source",
        "written target",
        "skipped",
        "conflicts",
        "rejected",
        "reviews",
        "waiting",
        "held",
        "seconds",
    ]);
    for outcome in outcomes {
        let (reviews, waiting) = open_reviews(service, &outcome.pair).await?;
        // What the rollout holds back is not a failure.
        let held = ReviewFilter { code: Some(HELD.to_owned()), ..ReviewFilter::pair(&outcome.pair) };
        let held = service.state.review_counts(&held).await?.values().sum::<u64>();
        code = code.max(exit_code(outcome, (reviews + waiting).saturating_sub(held)));
        let counts = outcome.counts;
        if json {
            print_json(&summary(outcome, reviews, waiting));
        }
        let numbers = [
            counts.read,
            counts.written_source,
            counts.written_target,
            counts.skipped,
            counts.conflicts,
            counts.rejected,
            reviews,
            waiting,
            counts.held,
        ];
        let cells = numbers.iter().map(u64::to_string).chain([format!("{:.2}", outcome.seconds)]);
        table.row([outcome.pair.to_string()].into_iter().chain(cells));
    }
    if !json {
        table.print();
        let plans: Vec<Plan> = outcomes.iter().filter_map(|outcome| outcome.would.as_deref().cloned()).collect();
        if !plans.is_empty() {
            println!("nothing is written while \"rollout\" is read-only; this would be:");
            plan::show(&plans, false)?;
        }
        for outcome in outcomes {
            explain(service, outcome).await?;
        }
    }
    Ok(ExitCode::from(code))
}

fn summary(outcome: &Outcome, reviews: u64, waiting: u64) -> serde_json::Value {
    let error = outcome.failure.as_ref().map(|failure| match failure {
        Failure::Run(error) => json!({"code": error.code, "message": describe(error)}),
        Failure::Configuration(problems) => {
            json!({"code": "config.does_not_fit", "message": "the configuration does not fit the systems",
            "problems": check::to_json(problems).get("problems")})
        }
    });
    let counts = outcome.counts;
    json!({
        "pair": outcome.pair.as_ref(), "read": counts.read, "written_source": counts.written_source,
        "written_target": counts.written_target, "skipped": counts.skipped, "conflicts": counts.conflicts,
        "rejected": counts.rejected, "warnings": counts.warnings, "reviews": reviews, "waiting": waiting, "held": counts.held,
        "would": outcome.would.as_deref(), "seconds": outcome.seconds, "error": error,
    })
}

/// Records in review, and records that wait for others.
async fn open_reviews(service: &Service, pair: &str) -> anyhow::Result<(u64, u64)> {
    let summaries = service.state.summaries().await?;
    let of_pair = summaries.iter().find(|summary| summary.pair == pair);
    Ok(of_pair.map_or((0, 0), |summary| (summary.reviews, summary.waiting)))
}

fn exit_code(outcome: &Outcome, reviews: u64) -> u8 {
    match &outcome.failure {
        Some(Failure::Configuration(_)) => EXIT_CONFIGURATION,
        Some(Failure::Run(_)) => EXIT_FAILED,
        None if reviews > 0 => EXIT_FAILED,
        None => 0,
    }
}

/// What could not be applied, and why.
async fn explain(service: &Service, outcome: &Outcome) -> anyhow::Result<()> {
    match &outcome.failure {
        Some(Failure::Configuration(problems)) => check::report(problems, false),
        Some(Failure::Run(error)) => eprintln!("error: pair {}: {}", outcome.pair, describe(error)),
        None => {}
    }
    const SHOWN: usize = 10;
    let reviews = service.state.reviews(&ReviewFilter::pair(&outcome.pair), SHOWN + 1).await?;
    for Review { finding, .. } in reviews.iter().take(SHOWN) {
        let field = finding.field.as_ref().map(|field| format!(", field {field}")).unwrap_or_default();
        eprintln!(
            "in review: {} {} record {}{field}: {} [{}]",
            outcome.pair,
            finding.end.name(),
            finding.key,
            finding.message,
            finding.code
        );
    }
    if reviews.len() > SHOWN {
        eprintln!("in review: and more");
    }
    Ok(())
}

async fn serve(service: Service, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let _watch = service.watch_plugins();
    let supervisor = Supervisor::new(service.config.pairs.clone(), &service.state, &service.catalogue());
    let settings = &service.config.server;
    let served = Served {
        pairs: service.config.pairs.clone(),
        statuses: supervisor.statuses(),
        plugins: service.tell_plugins(),
        catalogue: service.catalogue(),
        state: Arc::clone(&service.state),
        past: Arc::clone(&service.past),
        stopping: shutdown.clone(),
    };
    let server = Server::bind(settings, served).await;
    let server = server.with_context(|| {
        format!("cannot listen on {}: choose another with --listen or \"server\".\"listen\"", settings.listen)
    })?;
    tracing::info!(address = %server.address()?, pairs = service.config.pairs.len(), "serving");
    let http = tokio::spawn(server.serve(shutdown.clone()));
    supervisor.serve(shutdown.clone()).await;
    shutdown.cancel();
    http.await.context("the HTTP server's task")??;
    Ok(ExitCode::SUCCESS)
}

/// At start: why none of the pairs can ever run, so that nothing is made for them. `None` where one can; the others then say so in their
/// turn. A service waits for a system that may soon be back; one that runs once does not, and where it ran before it finds out as it runs.
async fn nothing_can_run(service: &Service, waits: bool) -> Option<Vec<(Arc<str>, Failure)>> {
    if !waits && service.owns_state {
        return None;
    }
    let plugins = service.catalogue().snapshot();
    let mut failures = Vec::new();
    for pair in &service.config.pairs {
        match open::check(pair, plugins.as_ref()).await {
            Ok(_) => return None,
            Err(OpenError::System(error)) if waits && error.disposition() == Disposition::Retry => return None,
            Err(error) => failures.push((Arc::clone(&pair.name), error.into())),
        }
    }
    Some(failures)
}

/// Says why a service does not start.
fn refuse(failures: Vec<(Arc<str>, Failure)>, json: bool) -> ExitCode {
    let (mut problems, mut errors): (Vec<Problem>, Vec<(Arc<str>, SyncError)>) = Default::default();
    for (pair, failure) in failures {
        match failure {
            Failure::Configuration(more) => problems.extend(more),
            Failure::Run(error) => errors.push((pair, error)),
        }
    }
    let code = if errors.is_empty() { EXIT_CONFIGURATION } else { EXIT_FAILED };
    check::report(&problems, json);
    for (pair, error) in errors {
        eprintln!("error: pair {pair}: {}", describe(&error));
    }
    ExitCode::from(code)
}
