//! `tidelock review resolve` and `retry`: decisions are kept in the state, and carried out by whoever owns it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};

use super::{FilterArgs, PAGE, StateArgs, unknown};
use crate::change::End;
use crate::cli::output::print_json;
use crate::cli::service::{ConfigArgs, Service, open_state, state_is_owned};
use crate::cli::{EXIT_CONFIGURATION, EXIT_FAILED, check};
use crate::config::environment;
use crate::runtime::reviews;
use crate::runtime::status::{Reporter, describe};
use crate::runtime::worker::{Failure, Worker};
use crate::state::{Outcome, Review, ReviewFilter, Ruling, StateStore, Verdict};

/// How soon a verdict is noticed.
const VERDICT_CHECK: Duration = Duration::from_millis(100);

/// Verdicts told one by one; of more, only those that went wrong.
const TOLD_MAX: usize = 20;

#[derive(Debug, clap::Args)]
struct SelectionArgs {
    /// Numbers of the reviews
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Yes, every review of the filter
    #[arg(long)]
    all: bool,
    /// Who decides; by default the login name
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Wait for what becomes of it, at most so many seconds; exit code 1 where it is not carried out
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    wait: Option<u64>,
    #[command(flatten)]
    state: StateArgs,
}

/// Arguments of `tidelock review resolve`.
#[derive(Debug, clap::Args)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Whose record counts where both sides disagree, and where the other's was refused
    #[arg(long, value_name = "SIDE", value_parser = end_of)]
    take: Option<End>,
    /// A value of your own, by the target's name of the field; it is held to the rules as an edit would be
    #[arg(long, value_name = "FIELD=JSON", value_parser = assignment)]
    set: Vec<(String, Json)>,
    /// The version that you looked at; by default the one that there is now
    #[arg(long, value_name = "V")]
    version: Option<String>,
}

/// Arguments of `tidelock review retry`.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    selection: SelectionArgs,
}

fn end_of(name: &str) -> Result<End, String> {
    let ends = [End::Source, End::Target];
    ends.into_iter().find(|end| end.name() == name).ok_or_else(|| "\"source\" or \"target\"".to_owned())
}

/// `FIELD=JSON`.
fn assignment(text: &str) -> Result<(String, Json), String> {
    let (name, value) = text.split_once('=').ok_or("expected FIELD=JSON, such as 'name=\"Ada\"' or active=true")?;
    let value = serde_json::from_str(value).map_err(|error| {
        let hint = "a text stands in quotes: 'name=\"Ada\"'";
        format!("what follows {name}= is not JSON at column {}: {hint}", error.column())
    })?;
    Ok((name.to_owned(), value))
}

/// A decision that was kept; `decision` is `None` where the review was gone by then.
struct Kept {
    review: i64,
    pair: String,
    version: String,
    decision: Option<i64>,
    outcome: Option<Outcome>,
}

/// Decides with a side's record or with values.
pub(super) async fn resolve(args: ResolveArgs, json: bool) -> anyhow::Result<ExitCode> {
    let ResolveArgs { selection, take, set, version } = args;
    let mut values = Map::new();
    for (name, value) in set {
        if values.insert(name.clone(), value).is_some() {
            return Ok(misused(&format!("--set names \"{name}\" twice")));
        }
    }
    let ruling = Ruling { take, set: values };
    if ruling.is_retry() {
        return Ok(misused(
            "say --take source, --take target or --set FIELD=JSON; `tidelock review retry` tries again",
        ));
    }
    if version.is_some() && selection.ids.len() != 1 {
        return Ok(misused("--version is that of one review: give its number, and no other"));
    }
    decide(selection, (ruling, version), json).await
}

/// Decides that it be tried again.
pub(super) async fn retry(args: RetryArgs, json: bool) -> anyhow::Result<ExitCode> {
    decide(args.selection, (Ruling::default(), None), json).await
}

fn misused(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::from(EXIT_CONFIGURATION)
}

async fn decide(
    args: SelectionArgs,
    (ruling, version): (Ruling, Option<String>),
    json: bool,
) -> anyhow::Result<ExitCode> {
    let filter = args.filter.filter();
    if args.ids.is_empty() == (filter == ReviewFilter::default() && !args.all) {
        return Ok(misused("give numbers of reviews, or a filter (--pair, --kind, --code, --field) with --all"));
    }
    let url = match args.state.url(json) {
        Ok(url) => url,
        Err(code) => return Ok(code),
    };
    let state = open_state(&url, false).await?;
    let actor = args.actor.unwrap_or_else(login_name);
    let mut kept = Vec::new();
    if args.ids.is_empty() {
        let count: u64 = state.review_counts(&filter).await?.values().sum();
        if count == 0 {
            eprintln!("error: no open review is like that: `tidelock review list` shows what there is");
            return Ok(ExitCode::from(EXIT_FAILED));
        }
        if !args.all {
            return Ok(misused(&format!("{count} reviews are like that: --all decides every one of them")));
        }
        keep_all(state.as_ref(), filter, (&ruling, &actor), &mut kept).await?;
    } else {
        let mut reviews = Vec::with_capacity(args.ids.len());
        for id in args.ids {
            match state.review(id).await? {
                Some(review) => reviews.push(review),
                None => return Ok(unknown(id)),
            }
        }
        reviews.sort_by_key(|review| review.id);
        reviews.dedup_by_key(|review| review.id);
        keep(state.as_ref(), &reviews, (&ruling, version.as_deref()), &actor, &mut kept).await?;
    }
    let owned = state_is_owned(&url);
    let mut failed = false;
    if let Some(config) = args.state.config().filter(|_| !owned) {
        failed = !carry_out(&config, &kept, json).await?;
    } else if !json {
        tell_who(kept.len(), owned);
    }
    look(state.as_ref(), &mut kept, Duration::from_secs(args.wait.unwrap_or_default())).await?;
    Ok(conclude(&kept, (args.wait.is_some(), owned, failed), json))
}

/// Keeps a decision about every review of a filter, a page at a time: each page is durable, whatever happens to the next.
async fn keep_all(
    state: &dyn StateStore,
    mut filter: ReviewFilter,
    (ruling, actor): (&Ruling, &str),
    kept: &mut Vec<Kept>,
) -> anyhow::Result<()> {
    loop {
        let page = state.reviews(&filter, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.id);
        keep(state, &page, (ruling, None), actor, kept).await?;
    }
}

async fn keep(
    state: &dyn StateStore,
    page: &[Review],
    ruling: (&Ruling, Option<&str>),
    actor: &str,
    kept: &mut Vec<Kept>,
) -> anyhow::Result<()> {
    let decisions = reviews::decide(state, page, ruling, actor).await?;
    kept.extend(page.iter().zip(decisions).map(|(review, decision)| Kept {
        review: review.id,
        pair: review.pair.clone(),
        version: ruling.1.unwrap_or(&review.version).to_owned(),
        decision,
        outcome: None,
    }));
    Ok(())
}

/// The name that this person has logged in with.
fn login_name() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(environment).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn tell_who(count: usize, owned: bool) {
    let who = if owned {
        "the service that is running carries it out within a second or so, unless the pair is paused"
    } else {
        "no service is running: the next `tidelock run` carries it out (or give --config FILE to do it at once)"
    };
    println!("decided: {count}; {who}");
}

/// Carries the decisions out here and now, as nobody else has the state; whether all pairs got through.
async fn carry_out(config: &ConfigArgs, kept: &[Kept], json: bool) -> anyhow::Result<bool> {
    let Ok(service) = Service::start(config, true, json).await? else { return Ok(false) };
    let concerned = service.config.pairs.iter().filter(|pair| kept.iter().any(|one| *one.pair == *pair.name));
    let mut through = true;
    for pair in concerned {
        let worker = Worker {
            config: Arc::new(pair.clone()),
            state: Arc::clone(&service.state),
            catalogue: service.catalogue(),
            reporter: Reporter::new().0,
            watch: Arc::default(),
        };
        match worker.decide().await {
            Ok(()) => continue,
            Err(Failure::Configuration(problems)) => check::report(&problems, json),
            Err(Failure::Run(error)) => eprintln!("error: pair {}: {}", pair.name, describe(&error)),
        }
        through = false;
    }
    Ok(through)
}

/// Looks what became of the decisions, until all have a verdict or the time is up.
async fn look(state: &dyn StateStore, kept: &mut [Kept], patience: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let mut open: Vec<&mut Kept> = kept.iter_mut().filter(|one| one.outcome.is_none()).collect();
        let ids: Vec<i64> = open.iter().filter_map(|one| one.decision).collect();
        let mut verdicts = state.verdicts(&ids).await?.into_iter();
        for one in &mut open {
            one.outcome = match one.decision {
                Some(_) => verdicts.next().flatten(),
                None => Some((Verdict::Stale, "the record has gone on without it".to_owned())),
            };
        }
        if open.iter().all(|one| one.outcome.is_some()) || begin.elapsed() >= patience {
            return Ok(());
        }
        tokio::time::sleep(VERDICT_CHECK).await;
    }
}

/// A verdict in words.
pub(super) fn told((verdict, message): &Outcome) -> String {
    if message.is_empty() { verdict.name().to_owned() } else { format!("{}: {message}", verdict.name()) }
}

fn conclude(kept: &[Kept], (waited, owned, failed): (bool, bool, bool), json: bool) -> ExitCode {
    let applied = |one: &Kept| matches!(one.outcome, Some((Verdict::Applied, _)));
    let went_wrong = |one: &Kept| if one.outcome.is_none() { waited } else { !applied(one) };
    if json {
        for one in kept {
            let line = serde_json::json!({
                "review": one.review, "pair": one.pair, "version": one.version, "decision": one.decision, "service_running": owned,
            });
            print_json(&reviews::joined(line, reviews::verdict(one.outcome.as_ref())));
        }
    } else if waited || kept.iter().any(|one| one.outcome.is_some()) {
        let told = |one: &&Kept| kept.len() <= TOLD_MAX || went_wrong(one);
        for one in kept.iter().filter(told).take(TOLD_MAX) {
            println!(
                "review {}: {}",
                one.review,
                one.outcome.as_ref().map_or_else(|| "waits still".to_owned(), self::told)
            );
        }
        if kept.len() > TOLD_MAX {
            println!("applied: {} of {}", kept.iter().filter(|one| applied(one)).count(), kept.len());
        }
    }
    if failed || kept.iter().any(went_wrong) { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS }
}
