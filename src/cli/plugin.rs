//! `tidelock plugin`: list, check and call plugins; and the child that compiles them.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::output::Table;
use super::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::{PluginLimits, PluginSettings};
use crate::plugin::{
    CallContext, Catalog, CatalogSettings, CompileJob, FunctionDetail, FunctionRef, PluginDetail, PluginError,
    PluginSet, Plugins, ValueError, compile_here, default_cache_dir, json,
};
use crate::telemetry::clock;
use crate::value::Value;

/// Values of one call to a plugin.
const CALL_LINES_MAX: usize = 1_000;
/// How long a call waits for more lines.
const MORE_LINES: Duration = Duration::from_millis(2);
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

/// What the compiling child is told.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// The component
    input: PathBuf,
    /// Where its image goes
    output: PathBuf,
    /// CPU time
    #[arg(long, default_value_t = PluginLimits::default().compile_seconds)]
    cpu_seconds: u64,
    /// Address space
    #[arg(long, default_value_t = u64::try_from(PluginLimits::default().compile_memory_bytes).unwrap_or(u64::MAX))]
    memory_bytes: u64,
}

/// The child that compiles one component. What it says on standard error, its parent reads.
pub fn compile(args: &CompileArgs) -> ExitCode {
    let CompileArgs { input, output, cpu_seconds, memory_bytes } = args;
    let (cpu_seconds, memory_bytes) = (*cpu_seconds, *memory_bytes);
    match compile_here(&CompileJob { input: input.clone(), output: output.clone(), cpu_seconds, memory_bytes }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.message);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Runs a plugin command.
///
/// # Errors
/// Where the plugin host does not start, or the output is closed.
pub async fn run(args: PluginArgs, json: bool) -> anyhow::Result<ExitCode> {
    match args.command {
        PluginCommand::List { folder } => list(folder, json).await,
        PluginCommand::Check { file, cache } => check(file, cache, json).await,
        PluginCommand::Call { function, params, folder } => call(FunctionRef { name: function, params }, folder).await,
    }
}

fn settings(dir: PathBuf, cache: Cache) -> anyhow::Result<CatalogSettings> {
    let compiler = std::env::current_exe().context("this program does not know where it is")?;
    let cache_dir = cache.plugin_cache.unwrap_or_else(default_cache_dir);
    let plugins = PluginSettings { dir, limits: PluginLimits::default() };
    Ok(CatalogSettings { plugins, compiler, cache_dir })
}

/// Says which files are not in use.
fn warn_of_failures(set: &PluginSet) {
    for (stem, failure) in set.failures() {
        eprintln!("warning: {stem}.wasm is refused: {}", failure.error);
    }
}

async fn list(folder: Folder, json: bool) -> anyhow::Result<ExitCode> {
    let set = Catalog::start(settings(folder.plugins, folder.cache)?).await?.current();
    warn_of_failures(&set);
    let plugins = set.details();
    if json {
        let rows: Vec<FunctionRow<'_>> = plugins.iter().flat_map(FunctionRow::all).collect();
        println!("{}", json!(rows));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["function", "role", "plugin", "digest", "idempotent", "what it does"]);
    for plugin in &plugins {
        for function in &plugin.functions {
            let idempotent = if function.idempotent { "yes" } else { "no" };
            let digest = plugin.digest.get(..DIGEST_CHARS).unwrap_or_default();
            let cells = [&function.name, &function.role, &plugin.plugin, digest, idempotent, &function.doc];
            table.row(cells.map(str::to_owned));
        }
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

async fn check(file: PathBuf, cache: Cache, json: bool) -> anyhow::Result<ExitCode> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let limit = PluginLimits::default().file_bytes;
    let bytes = match tokio::fs::metadata(&file).await {
        Ok(metadata) if metadata.len() > limit => Ok(vec![0; 0]),
        Ok(_) => tokio::fs::read(&file).await,
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("error: `{}` cannot be read: {error}", file.display());
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    let checked = Catalog::empty(settings(PathBuf::new(), cache)?)?.check(&stem, bytes).await;
    let verdict = Verdict {
        file: file.display().to_string(),
        accepted: checked.is_ok(),
        plugin: checked.as_ref().ok(),
        code: checked.as_ref().err().map(|error| error.code),
        message: checked.as_ref().err().map(|error| error.message.as_str()),
    };
    if json {
        println!("{}", json!(verdict));
    }
    match &checked {
        Ok(plugin) if !json => print_accepted(&verdict.file, plugin),
        Err(error) if !json => eprintln!("{}: refused: {error}", verdict.file),
        _ => {}
    }
    Ok(ExitCode::from(if verdict.accepted { 0 } else { EXIT_FAILED }))
}

fn print_accepted(file: &str, plugin: &PluginDetail) {
    let digest = plugin.digest.get(..DIGEST_CHARS).unwrap_or_default();
    println!("{file}: accepted ({} {}, {digest}, {} ms)", plugin.name, plugin.version, plugin.load_ms);
    for function in &plugin.functions {
        println!("  {} ({}): {}", function.name, function.role, function.doc);
    }
}

/// A line of `plugin list --json`.
#[derive(Serialize)]
struct FunctionRow<'a> {
    plugin: &'a str,
    version: &'a str,
    digest: &'a str,
    #[serde(flatten)]
    function: &'a FunctionDetail,
}

impl<'a> FunctionRow<'a> {
    fn all(detail: &'a PluginDetail) -> impl Iterator<Item = Self> {
        let PluginDetail { plugin, version, digest, .. } = detail;
        detail.functions.iter().map(move |function| Self { plugin, version, digest, function })
    }
}

/// What `plugin check --json` says.
#[derive(Serialize)]
struct Verdict<'a> {
    file: String,
    accepted: bool,
    #[serde(flatten)]
    plugin: Option<&'a PluginDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

async fn call(function: FunctionRef, folder: Folder) -> anyhow::Result<ExitCode> {
    let set = Catalog::start(settings(folder.plugins, folder.cache)?).await?.current();
    warn_of_failures(&set);
    if let Err(error) = set.probe(&function).await {
        eprintln!("error: {error}");
        return Ok(ExitCode::from(EXIT_CONFIGURATION));
    }
    let mut lines = read_lines();
    let mut code = ExitCode::SUCCESS;
    loop {
        let batch = next_lines(&mut lines).await?;
        if batch.is_empty() {
            return Ok(code);
        }
        let (results, failed) = call_lines(&set, &function, &batch).await;
        if failed {
            code = ExitCode::from(EXIT_FAILED);
        }
        let mut output = std::io::stdout().lock();
        for result in results {
            writeln!(output, "{result}")?;
        }
        output.flush()?;
    }
}

/// Lines of standard input, read by a thread of its own: a terminal or pipe cannot be waited for otherwise.
fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, lines) = mpsc::channel(2 * CALL_LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let failed = line.is_err();
            // Nobody listens any more: the program is ending.
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// The next lines that are there, without waiting for a full batch: whoever writes one line and waits gets its answer.
async fn next_lines(lines: &mut mpsc::Receiver<std::io::Result<String>>) -> anyhow::Result<Vec<String>> {
    let mut next = lines.recv().await;
    let mut batch = Vec::new();
    while let Some(line) = next {
        batch.push(line.context("standard input")?);
        if batch.len() == CALL_LINES_MAX {
            break;
        }
        next = tokio::time::timeout(MORE_LINES, lines.recv()).await.ok().flatten();
    }
    Ok(batch)
}

/// One JSON line per line, and whether the function could not be called at all.
async fn call_lines(set: &PluginSet, function: &FunctionRef, lines: &[String]) -> (Vec<String>, bool) {
    let parsed: Vec<Result<Value, PluginError>> =
        lines.iter().map(|line| set.value_from_json(&function.name, line)).collect();
    let values: Vec<Value> = parsed.iter().flatten().cloned().collect();
    let context = CallContext { now_micros: clock::now_micros(), ..CallContext::none() };
    let (mut results, failure) = match set.transform(function, &context, values).await {
        Ok(results) => (results.into_iter(), None),
        Err(error) => (Vec::new().into_iter(), Some(error)),
    };
    let lines = parsed.into_iter().map(|parsed| match (parsed, &failure) {
        (Err(error), _) => error_line(error.code, &error.message),
        (Ok(_), Some(error)) => error_line(error.code, &error.message),
        (Ok(_), None) => match results.next() {
            Some(Ok(value)) => format!("{{\"value\": {}}}", json::write(&value)),
            Some(Err(ValueError { code, message })) => error_line(&code, &message),
            None => error_line("bad-output", "no result"),
        },
    });
    (lines.collect(), failure.is_some())
}

fn error_line(code: &str, message: &str) -> String {
    format!("{{\"error\": {{\"code\": {}, \"message\": {}}}}}", json!(code), json!(message))
}
