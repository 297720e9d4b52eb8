//! `tidelock demo`.

use std::process::ExitCode;

/// Arguments of `tidelock demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Stay, so that you can edit both databases and watch
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
///
/// # Errors
/// Where something fails.
pub async fn run(_args: DemoArgs, _json: bool) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
