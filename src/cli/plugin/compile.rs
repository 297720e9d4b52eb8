//! The child of the plugin host that compiles one component, within limits.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::EXIT_FAILED;
use crate::config::PluginLimits;
use crate::plugin::{CompileJob, compile_here};

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
