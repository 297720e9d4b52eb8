//! Logs, the clock, and where tests make the process die (layer 1).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

pub mod clock;
pub mod crash_point;

pub use crash_point::CrashPoint;

/// Starts logging to standard error: text, or one JSON object a line.
///
/// `level` is a level (`info`) or a filter (`tidelock=debug,sqlx=warn`); what cannot be read as one is `info`.
pub fn start(level: &str, json: bool) {
    let filter =
        EnvFilter::try_new(quiet_dependencies(level)).unwrap_or_else(|_| EnvFilter::new(quiet_dependencies("info")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (in tests) changes nothing.
    let started =
        if json { builder.json().try_init() } else { builder.with_ansi(std::io::stderr().is_terminal()).try_init() };
    drop(started);
}

/// A bare level is for us; the libraries below speak up from `warn` on.
fn quiet_dependencies(level: &str) -> String {
    if level.contains(['=', ',']) { level.to_owned() } else { format!("warn,tidelock={level}") }
}
