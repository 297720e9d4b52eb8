//! `tidelock schema`: prints the JSON Schema of the configuration.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config;

/// Prints the schema.
///
/// # Errors
/// Where standard output cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    writeln!(io::stdout().lock(), "{:#}", config::schema())?;
    Ok(ExitCode::SUCCESS)
}
