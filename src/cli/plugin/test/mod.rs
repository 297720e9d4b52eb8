//! `tidelock plugin test`: a plugin's own examples, and a file of fixtures.
//!
//! The examples run as they do whenever the plugin is loaded; one that does not hold refuses it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::build::build;
use super::project::Project;
use super::{Cache, check, print_error, settings};
use crate::cli::EXIT_FAILED;
use crate::plugin::{Catalog, PluginError, PluginSet};

mod changes;
mod fixtures;

use fixtures::{Difference, Fixture};

/// Test a plugin.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The project, which is built first, or a component
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    path: PathBuf,
    /// One JSON object a line, {"function", "params", "input", "output"} [default: fixtures.jsonl of the project]
    #[arg(long, value_name = "FILE", hide_default_value = true)]
    fixtures: Option<PathBuf>,
    /// Stay, and run again whenever a file changes
    #[arg(long)]
    watch: bool,
    /// Build it optimised (Rust and C)
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    cache: Cache,
}

/// What one run came to.
#[derive(Serialize)]
struct Report {
    plugin: String,
    digest: String,
    /// Of the plugin itself; all of them hold.
    examples: usize,
    /// Lines of the file of fixtures.
    fixtures: usize,
    differences: Vec<Difference>,
}

/// Runs the command.
///
/// # Errors
/// Where the files cannot be followed.
pub(super) async fn run(args: TestArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut changes = args.watch.then(|| changes::follow(&args.path, args.fixtures.as_deref())).transpose()?;
    loop {
        let code = match test(&args).await {
            Ok(report) => {
                print(&report, json);
                ExitCode::from(if report.differences.is_empty() { 0 } else { EXIT_FAILED })
            }
            Err(error) => print_error(&error, json),
        };
        let Some(changes) = &mut changes else { return Ok(code) };
        if !json {
            println!("waiting for changes of {} (Ctrl-C ends)", args.path.display());
        }
        if !changes.next().await {
            return Ok(code);
        }
    }
}

async fn test(args: &TestArgs) -> Result<Report, PluginError> {
    let (stem, bytes, own) = subject(args).await?;
    let set = Catalog::empty(settings(PathBuf::new(), &args.cache)?)?.only(&stem, bytes).await?;
    let file = args.fixtures.clone().or(own);
    let fixtures = file.as_deref().map(fixtures::read).transpose()?.unwrap_or_default();
    let differences = differences(&set, &fixtures, file.as_deref()).await?;
    let details = set.details();
    let functions = details.iter().flat_map(|plugin| &plugin.functions);
    Ok(Report {
        plugin: stem,
        digest: details.first().map(|plugin| plugin.digest.clone()).unwrap_or_default(),
        examples: functions.map(|function| function.examples).sum(),
        fixtures: fixtures.len(),
        differences,
    })
}

/// The plugin's name and bytes, and the fixtures of its project.
async fn subject(args: &TestArgs) -> Result<(String, Vec<u8>, Option<PathBuf>), PluginError> {
    let path = &args.path;
    if !path.is_dir() {
        let bytes = check::read(path).await.map_err(|error| {
            PluginError::new("plugin.unreadable", format!("`{}` cannot be read: {error}", path.display()))
        })?;
        return Ok((check::stem(path), bytes, None));
    }
    let project = Project::open(path)?;
    let built = build(&project, args.release, &args.cache).await?;
    let fixtures = project.fixtures();
    Ok((project.name, built.bytes, fixtures))
}

async fn differences(
    set: &PluginSet,
    fixtures: &[Fixture],
    file: Option<&Path>,
) -> Result<Vec<Difference>, PluginError> {
    let mut differences = Vec::new();
    for fixture in fixtures {
        let difference = fixture.run(set).await.map_err(|error| {
            let file = file.unwrap_or(Path::new("")).display();
            PluginError::new(error.code, format!("{file}:{}: {}", fixture.line, error.message))
        })?;
        differences.extend(difference);
    }
    Ok(differences)
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", json!(report));
        return;
    }
    for difference in &report.differences {
        println!("{difference}");
    }
    let (examples, fixtures) = (report.examples, report.fixtures);
    let held = fixtures - report.differences.len().min(fixtures);
    println!("{}: {examples} examples hold, {held} of {fixtures} fixtures", report.plugin);
}
