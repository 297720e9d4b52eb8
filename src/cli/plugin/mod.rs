//! `tidelock plugin`: what there is to do with plugins, one file per command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::PluginSettings;
use crate::plugin::{CatalogSettings, FunctionRef, PluginError, PluginSet, default_cache_dir};

mod bench;
mod build;
mod call;
mod check;
mod compile;
mod list;
mod new;
mod project;
mod test;

pub use compile::{CompileArgs, compile};

/// Digits of a digest that people see.
const DIGEST_CHARS: usize = 12;

/// Make, build, check, call and list plugins.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// List the functions that can be used
    List {
        /// Ask the service that listens there what it uses, and what its functions did: calls, values, errors, time; its token is
        /// taken from TIDELOCK_TOKEN
        #[arg(long, value_name = "ADDRESS", conflicts_with = "plugins")]
        service: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Make a project of a plugin, ready to be built, in the folder NAME
    New(new::NewArgs),
    /// Build a project, check the component as `check` does, and put it where it belongs
    Build(build::BuildArgs),
    /// Run a plugin's own examples and its fixtures; exit code 1 where one does not hold
    Test(test::TestArgs),
    /// Load a file as the service would, and say why it would be refused; exit code 1 where it would
    Check {
        /// The component
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        /// What it may import of WASI, as `plugins.grants` would say: `wasi:clocks`; may be repeated
        #[arg(long = "grant", value_name = "WASI", value_parser = grant)]
        grants: Vec<String>,
        #[command(flatten)]
        cache: Cache,
    },
    /// Measure a function through the real host, limits on
    Bench(bench::BenchArgs),
    /// Call a function: one JSON value a line on standard input, one result a line on standard output
    Call {
        /// `format_phone`, or `plugin/format_phone`
        function: String,
        /// The function's parameters, a JSON object
        #[arg(long, value_name = "JSON", default_value = "{}")]
        params: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
struct Folder {
    /// Folder of plugins, beside the standard ones
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    plugins: PathBuf,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, Args)]
struct Cache {
    /// Where compiled plugins are kept [default: the user's cache folder]
    #[arg(long, value_name = "DIR", hide_default_value = true)]
    plugin_cache: Option<PathBuf>,
}

/// Runs a plugin command.
///
/// # Errors
/// Where the plugin host does not start, or the output is closed.
pub async fn run(args: PluginArgs, json: bool) -> anyhow::Result<ExitCode> {
    match args.command {
        PluginCommand::List { service, folder } => list::run(folder, service, json).await,
        PluginCommand::Check { file, grants, cache } => check::run(file, grants, cache, json).await,
        PluginCommand::New(args) => new::run(&args, json),
        PluginCommand::Build(args) => build::run(args, json).await,
        PluginCommand::Bench(args) => bench::run(args, json).await,
        PluginCommand::Test(args) => test::run(args, json).await,
        PluginCommand::Call { function, params, folder } => {
            call::run(FunctionRef { name: function, params }, folder).await
        }
    }
}

fn grant(text: &str) -> Result<String, String> {
    if PluginSettings::is_grantable(text) {
        return Ok(text.to_owned());
    }
    Err("a package or interface of wasi:cli, wasi:clocks, wasi:filesystem, wasi:io or wasi:random".to_owned())
}

fn settings(dir: PathBuf, cache: &Cache) -> Result<CatalogSettings, PluginError> {
    let compiler = std::env::current_exe().map_err(|error| {
        PluginError::new("plugin.compiler", format!("this program does not know where it is: {error}"))
    })?;
    let cache_dir = cache.plugin_cache.clone().unwrap_or_else(default_cache_dir);
    let plugins = PluginSettings::new(dir);
    Ok(CatalogSettings { plugins, compiler, cache_dir })
}

/// Says why a command ends; its exit code.
fn print_error(error: &PluginError, json: bool) -> ExitCode {
    if json {
        println!("{}", json!({"error": {"code": error.code, "message": error.message}}));
    } else {
        eprintln!("error: {error}");
    }
    let not_right =
        matches!(error.code, "plugin.project" | "plugin.fixtures" | "plugin.unknown_function" | "plugin.ambiguous");
    ExitCode::from(if not_right { EXIT_CONFIGURATION } else { EXIT_FAILED })
}

/// Part of a digest that people see.
fn short(digest: &str) -> &str {
    digest.get(..DIGEST_CHARS).unwrap_or_default()
}

/// Says which files are not in use.
fn warn_of_failures(set: &PluginSet) {
    for (stem, failure) in set.failures() {
        eprintln!("warning: {stem}.wasm is refused: {}", failure.error);
    }
}
