//! The command line (layer 8): what people type, and what comes back. Exit codes: 0 done, 1 failed at run time, 2 usage or
//! configuration, 3 audit found differences.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to its user")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::environment;
use crate::telemetry::crash_point;

pub mod audit;
pub mod check;
pub mod demo;
pub mod explain;
pub mod init;
pub mod output;
pub mod plan;
pub mod plugin;
pub mod progress;
pub mod review;
pub mod run;
pub mod sandbox;
pub mod schema;
pub mod service;
pub mod status;

/// Something failed at run time.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const EXIT_CONFIGURATION: u8 = 2;
/// An audit found differences.
pub const EXIT_DIFFERENT: u8 = 3;

/// Keeps records in step between systems in real time, with transforms as sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Log level or filter, such as "debug" or "tidelock=debug,sqlx=warn"; in place of the configuration's
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service; with --once, bring both sides together, drain every change and end
    Run(run::RunArgs),
    /// Check configurations and say everything that is wrong with them
    Check(check::CheckArgs),
    /// Show what would be written to each side, with predicted conflicts; writes nothing
    Plan(plan::PlanArgs),
    /// Compare both sides of each pair through its mapping; exit code 3 where they differ
    Audit(audit::AuditArgs),
    /// Show where each pair stands
    Status(status::StatusArgs),
    /// Pause a pair; with --remove, also take away what tidelock made in its systems
    Pause(status::PauseArgs),
    /// Let a paused pair go on
    Resume(status::ResumeArgs),
    /// Compare both sides of a pair in full, deletes included (what a lost change stream needs), or some of its records
    Resync(status::ResyncArgs),
    /// List, show and decide what waits for a person
    Review(review::ReviewArgs),
    /// Show what became of a record and why: its link, and every write and conflict within retention
    Explain(explain::ExplainArgs),
    /// Write a configuration for two collections, its mappings proposed by the names and kinds of their fields
    Init(init::InitArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Make, build, check, call and list plugins
    Plugin(plugin::PluginArgs),
    /// See it work: two SQLite systems, live edits on both sides, a plugin swapped while it runs, a conflict settled
    Demo(demo::DemoArgs),
    /// Serve a system to try configurations against, with records of its own
    Sandbox(sandbox::SandboxArgs),
    /// Compile a component within limits; the host runs this as a child of its own
    #[command(name = "__compile", hide = true)]
    Compile(plugin::CompileArgs),
}

/// Runs the command that was typed; errors become exit code 1.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The compiling child needs no runtime, and its limits leave no room for one.
    if let Command::Compile(args) = &cli.command {
        return plugin::compile(args);
    }
    if let Some(Err(error)) = environment("TIDELOCK_CRASH_AT").map(|said| crash_point::arm(&said)) {
        eprintln!("error: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the asynchronous runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    match runtime.block_on(Box::pin(dispatch(cli))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let (json, log) = (cli.json, cli.log);
    if let Some(level) = &log {
        crate::telemetry::start(level, json);
    }
    match cli.command {
        Command::Run(args) => run::run(args, json).await,
        Command::Check(args) => check::run(args, json).await,
        Command::Plan(args) => plan::run(args, json).await,
        Command::Audit(args) => audit::run(args, json).await,
        Command::Status(args) => status::status(args, json).await,
        Command::Pause(args) => status::pause(args, json).await,
        Command::Resume(args) => status::resume(args, json).await,
        Command::Resync(args) => status::resync(args, json).await,
        Command::Review(args) => review::run(args, json).await,
        Command::Explain(args) => explain::run(args, json).await,
        Command::Init(args) => init::run(args, json).await,
        Command::Schema => schema::run(),
        Command::Plugin(args) => plugin::run(args, json).await,
        Command::Demo(args) => demo::run(args, json).await,
        Command::Sandbox(args) => sandbox::run(args, json).await,
        Command::Compile(args) => Ok(plugin::compile(&args)),
    }
}
