//! `tidelock explain`: what became of a record, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value as Json;

use super::output::print_json;
use super::service::{ConfigArgs, DEFAULT_STATE};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, check};
use crate::change::End;
use crate::runtime::explain::{Question, explain};
use crate::state::sqlite::SqliteState;

/// Arguments of `tidelock explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Name of the pair
    pair: String,
    /// The record's primary key on either side; a composite one as a JSON array
    key: String,
    /// Only what is about this field
    field: Option<String>,
    /// Whose key it is: "source" or "target"
    #[arg(long, value_parser = side_of)]
    side: Option<End>,
    /// Where the state is
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    /// A configuration: says where the state is, and which functions shape the fields
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// The side of that name.
///
/// # Errors
/// Where there is none.
pub fn side_of(name: &str) -> Result<End, String> {
    let sides = [End::Source, End::Target];
    sides.into_iter().find(|side| side.name() == name).ok_or_else(|| "it is \"source\" or \"target\"".to_owned())
}

/// Runs the command: exit code 1 where nothing is known of such a record.
///
/// # Errors
/// Where the state cannot be used.
pub async fn run(args: ExplainArgs, json: bool) -> anyhow::Result<ExitCode> {
    let config = ConfigArgs { files: args.config, plugins: None, state: args.state.clone() };
    let loaded = if config.files.is_empty() { None } else { Some(config.load()) };
    let config = match loaded.transpose() {
        Ok(loaded) => loaded.map(|(config, _)| config),
        Err(problems) => {
            check::report(&problems, json);
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    let url = config.as_ref().map(|config| config.state_url.clone()).or(args.state);
    let state = SqliteState::open(&url.unwrap_or_else(|| DEFAULT_STATE.to_owned()), false).await?;
    let pair = config.as_ref().and_then(|config| config.pairs.iter().find(|pair| *pair.name == *args.pair));
    if config.is_some() && pair.is_none() {
        bail!("the configuration has no pair \"{}\"", args.pair);
    }
    let question = Question { pair: args.pair, key: args.key, side: args.side, field: args.field };
    let Some(answer) = explain((&state, &state), &question, pair).await? else {
        eprintln!(
            "error: the state knows no record {} of pair {}: nothing links it, and it was not written within retention",
            question.key, question.pair
        );
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    if json {
        print_json(&answer);
    } else {
        print!("{}", text(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer for people.
fn text(answer: &Json) -> String {
    let pair = plain(answer, "/pair");
    let mut lines = vec![if answer.pointer("/link/source").is_some() {
        let gone = if answer.pointer("/deleted") == Some(&Json::Bool(true)) { " (deleted)" } else { "" };
        format!(
            "pair {pair}: source {} = target {}{gone}",
            plain(answer, "/link/source"),
            plain(answer, "/link/target")
        )
    } else {
        format!("pair {pair}: no link")
    }];
    for side in [End::Source, End::Target] {
        let agreed = answer.pointer(&format!("/agreed/{}", side.name())).filter(|agreed| agreed.is_object());
        lines.extend(agreed.map(|fields| format!("agreed, {}: {fields}", side.name())));
    }
    let functions = answer.pointer("/functions").and_then(Json::as_object);
    lines.extend(functions.into_iter().flatten().map(|(field, functions)| format!("{field}: {functions}")));
    let review = |review: &Json| {
        format!(
            "in review: {} [{}], number {}",
            plain(review, "/message"),
            plain(review, "/code"),
            plain(review, "/id")
        )
    };
    lines.extend(list(answer, "/reviews").map(review));
    lines.extend(list(answer, "/history").map(entry));
    lines.join("\n") + "\n"
}

fn entry(entry: &Json) -> String {
    let at = plain(entry, "/at");
    let of = |path: &str| plain(entry, path);
    if of("/what") == "conflict" {
        let value = |path: &str| entry.pointer(path).map(ToString::to_string).unwrap_or_default();
        let resolver =
            entry.pointer("/resolver/name").map(|_| format!(" ({})", of("/resolver/name"))).unwrap_or_default();
        return format!(
            "{at}  conflict  {} {}: base {}, source {}, target {}: {} wins by {}{resolver}",
            of("/kind"),
            of("/field"),
            value("/base"),
            value("/source"),
            value("/target"),
            of("/winner"),
            of("/rule")
        );
    }
    let fields = list(entry, "/fields").filter_map(Json::as_str).collect::<Vec<_>>().join(", ");
    let known = |path: &str| entry.pointer(path).and_then(Json::as_str);
    let changed = known("/from/changed_at").map(|at| format!(", changed {at}")).unwrap_or_default();
    let position =
        known("/from/position").map_or_else(|| ", looked at without a position".to_owned(), |at| format!(", at {at}"));
    let plugins = entry.pointer("/plugins").and_then(Json::as_object).into_iter().flatten();
    let plugins = plugins.map(|(plugin, digest)| {
        let digest: String = digest.as_str().unwrap_or_default().chars().take(12).collect();
        format!("; {plugin} {digest}")
    });
    let plugins: String = plugins.collect();
    format!("{at}  {} {} {fields}  from the {}{position}{changed}{plugins}", of("/op"), of("/side"), of("/from/side"))
}

fn list<'a>(of: &'a Json, path: &str) -> impl Iterator<Item = &'a Json> {
    of.pointer(path).and_then(Json::as_array).into_iter().flatten()
}

/// A text as it is, anything else as JSON.
fn plain(of: &Json, path: &str) -> String {
    let value = of.pointer(path).unwrap_or(&Json::Null);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
