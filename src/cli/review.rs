//! `tidelock review`: what waits for a person, and what the person decides.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::output::{Table, print_json};
use super::service::{ConfigArgs, DEFAULT_STATE, open_state};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, check};
use crate::runtime::reviews::{self, Line};
use crate::state::{Decision, Outcome, Review, ReviewFilter, ReviewKind};
use crate::value::Value;

mod decide;

/// Reviews read at a time.
const PAGE: usize = 1_000;

/// Arguments of `tidelock review`.
#[derive(Debug, clap::Args)]
pub struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// List what waits: records that were refused, conflicts left to a person, ambiguous matches, …
    List(ListArgs),
    /// Show one review: both records field by field with what was agreed, and what was decided before
    Show(ShowArgs),
    /// Decide reviews: take a side's record, or give values; refused where the record has moved on
    #[command(disable_version_flag = true)]
    Resolve(decide::ResolveArgs),
    /// Try again as things are now, for example once a plugin, a rule or the other system was corrected
    Retry(decide::RetryArgs),
}

/// Where the state is.
#[derive(Debug, clap::Args)]
struct StateArgs {
    /// Where the state is
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    /// A configuration: says where the state is; where no service has it, decisions are carried out at once
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Folder of the plugins, in place of the configuration's
    #[arg(long, value_name = "DIR", requires = "config")]
    plugins: Option<PathBuf>,
}

impl StateArgs {
    /// As the arguments of other commands; `None` without a configuration.
    fn config(&self) -> Option<ConfigArgs> {
        let (files, plugins, state) = (self.config.clone(), self.plugins.clone(), self.state.clone());
        (!files.is_empty()).then_some(ConfigArgs { files, plugins, state })
    }

    /// URL of the state. The inner error is the exit code where the configuration is wrong.
    fn url(&self, json: bool) -> Result<String, ExitCode> {
        let Some(config) = self.config() else {
            return Ok(self.state.clone().unwrap_or_else(|| DEFAULT_STATE.to_owned()));
        };
        config.load().map(|(config, _)| config.state_url).map_err(|problems| {
            check::report(&problems, json);
            ExitCode::from(EXIT_CONFIGURATION)
        })
    }
}

/// Which reviews.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Of this pair
    #[arg(long)]
    pair: Option<String>,
    /// Of this kind
    #[arg(long, value_parser = kind_of)]
    kind: Option<ReviewKind>,
    /// With this code, such as "invalid-phone"
    #[arg(long)]
    code: Option<String>,
    /// About this field
    #[arg(long)]
    field: Option<String>,
}

impl FilterArgs {
    fn filter(&self) -> ReviewFilter {
        let Self { pair, kind, code, field } = self;
        ReviewFilter { pair: pair.clone(), kind: *kind, code: code.clone(), field: field.clone(), after: None }
    }
}

fn kind_of(name: &str) -> Result<ReviewKind, String> {
    let all = ReviewKind::ALL.map(ReviewKind::name).join(", ");
    ReviewKind::of(name).ok_or_else(|| format!("there are the kinds {all}"))
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Number of the review
    id: i64,
    #[command(flatten)]
    state: StateArgs,
}

/// Runs the command.
///
/// # Errors
/// Where the state cannot be used.
pub async fn run(args: ReviewArgs, json: bool) -> anyhow::Result<ExitCode> {
    match args.command {
        ReviewCommand::List(args) => list(args, json).await,
        ReviewCommand::Show(args) => show(args, json).await,
        ReviewCommand::Resolve(args) => decide::resolve(args, json).await,
        ReviewCommand::Retry(args) => decide::retry(args, json).await,
    }
}

async fn list(args: ListArgs, json: bool) -> anyhow::Result<ExitCode> {
    let url = match args.state.url(json) {
        Ok(url) => url,
        Err(code) => return Ok(code),
    };
    let state = open_state(&url, false).await?;
    let mut filter = args.filter.filter();
    let counts = state.review_counts(&filter).await?;
    let mut table =
        Table::new(&["id", "pair", "kind", "side", "key", "field", "code", "since", "later changes", "message"]);
    let mut left = args.limit;
    while left > 0 {
        let page = state.reviews(&filter, left.min(PAGE)).await?;
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        left -= page.len();
        for review in &page {
            if json {
                print_json(&reviews::summary(review));
            } else {
                table.row(cells(review));
            }
        }
    }
    if !json {
        let each: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        if each.is_empty() {
            println!("nothing waits");
        } else {
            table.print();
            println!("{} in all: {}", counts.values().sum::<u64>(), each.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(review: &Review) -> [String; 10] {
    let finding = &review.finding;
    let field = finding.field.clone().unwrap_or_else(|| finding.contested.join(", "));
    [
        review.id.to_string(),
        review.pair.clone(),
        finding.kind.name().to_owned(),
        finding.end.name().to_owned(),
        finding.key.to_string(),
        field,
        finding.code.clone(),
        reviews::time(review.at),
        review.later.to_string(),
        finding.message.clone(),
    ]
}

async fn show(args: ShowArgs, json: bool) -> anyhow::Result<ExitCode> {
    let url = match args.state.url(json) {
        Ok(url) => url,
        Err(code) => return Ok(code),
    };
    let state = open_state(&url, false).await?;
    let decided = state.decided(args.id).await?;
    let Some(review) = state.review(args.id).await? else {
        return Ok(show_closed(args.id, &decided, json));
    };
    if json {
        print_json(&reviews::details(&review, &decided));
        return Ok(ExitCode::SUCCESS);
    }
    let finding = &review.finding;
    println!("review {} of pair {}: {} record {}", review.id, review.pair, finding.end.name(), finding.key);
    println!("{}: {} [{}]", finding.kind.name(), finding.message, finding.code);
    let told = [
        ("field", finding.field.clone()),
        ("its counterpart", finding.other.as_ref().map(ToString::to_string)),
        ("plugin's digest", finding.digest.clone()),
        ("since", Some(reviews::time(review.at))),
        ("last looked at", Some(reviews::time(review.seen))),
        ("later changes", Some(review.later.to_string())),
        ("version", Some(review.version.clone())),
    ];
    for (what, text) in told {
        text.iter().for_each(|text| println!("{what}: {text}"));
    }
    println!();
    let mut table = Table::new(&["side", "field", "agreed", "now", ""]);
    for line in reviews::lines(&review) {
        let mark = mark(&review, &line);
        table.row([line.end.name().to_owned(), line.name, shown(line.base), shown(line.now), mark.to_owned()]);
    }
    table.print();
    print_decisions(&decided);
    Ok(ExitCode::SUCCESS)
}

/// A review that is open no more; exit code 1 where there never was one that somebody decided.
fn show_closed(id: i64, decided: &[(Decision, Option<Outcome>)], json: bool) -> ExitCode {
    if decided.is_empty() {
        return unknown(id);
    }
    if json {
        let decisions: Vec<_> = decided.iter().map(reviews::decision).collect();
        print_json(&serde_json::json!({"id": id, "open": false, "decisions": decisions}));
    } else {
        println!("review {id} is not open any more");
        print_decisions(decided);
    }
    ExitCode::SUCCESS
}

fn unknown(id: i64) -> ExitCode {
    eprintln!("error: there is no open review {id}: `tidelock review list` shows what there is");
    ExitCode::from(EXIT_FAILED)
}

/// What is special about a field.
fn mark(review: &Review, line: &Line) -> &'static str {
    if review.finding.contested.contains(&line.name) {
        "contested"
    } else if review.finding.field.as_ref() == Some(&line.name) {
        "at fault"
    } else if line.is_edited() {
        "edited"
    } else {
        ""
    }
}

fn shown(value: Option<Value>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_json().to_string())
}

fn print_decisions(decided: &[(Decision, Option<Outcome>)]) {
    for (decision, outcome) in decided {
        let what = match (decision.ruling.take, decision.ruling.set.is_empty()) {
            (None, true) => "another try".to_owned(),
            (Some(end), true) => format!("take {}", end.name()),
            (take, false) => {
                let names: Vec<&str> = decision.ruling.set.keys().map(String::as_str).collect();
                let take = take.map(|end| format!("take {} and ", end.name())).unwrap_or_default();
                format!("{take}set {}", names.join(", "))
            }
        };
        let verdict = outcome.as_ref().map_or_else(|| "waits".to_owned(), decide::told);
        println!("{}: {what}, by {}: {verdict}", reviews::time(decision.at), decision.actor);
    }
}
