//! `tidelock plugin`: what there is to do with plugins, one file per command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::config::PluginSettings;
use crate::plugin::{CatalogSettings, FunctionRef, PluginSet, default_cache_dir};

mod call;
mod check;
mod compile;
mod list;

pub use compile::{CompileArgs, compile};

/// Digits of a digest that people see.
const DIGEST_CHARS: usize = 12;

/// List, check and call plugins.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// List the functions that can be used
    List {
        #[command(flatten)]
        folder: Folder,
    },
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
        PluginCommand::List { folder } => list::run(folder, json).await,
        PluginCommand::Check { file, grants, cache } => check::run(file, grants, cache, json).await,
        PluginCommand::Call { function, params, folder } => {
            call::run(FunctionRef { name: function, params }, folder).await
        }
    }
}

fn settings(dir: PathBuf, cache: Cache) -> anyhow::Result<CatalogSettings> {
    let compiler = std::env::current_exe().context("this program does not know where it is")?;
    let cache_dir = cache.plugin_cache.unwrap_or_else(default_cache_dir);
    let plugins = PluginSettings::new(dir);
    Ok(CatalogSettings { plugins, compiler, cache_dir })
}

fn grant(text: &str) -> Result<String, String> {
    if PluginSettings::is_grantable(text) {
        return Ok(text.to_owned());
    }
    Err("a package or interface of wasi:cli, wasi:clocks, wasi:filesystem, wasi:io or wasi:random".to_owned())
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
