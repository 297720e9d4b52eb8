//! `tidelock plugin call`: JSON values in, results out, a line each.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Folder, settings, warn_of_failures};
use crate::cli::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::plugin::{CallContext, Catalog, FunctionRef, PluginSet, Plugins, ValueError};
use crate::telemetry::clock;

/// Values of one call to a plugin.
const CALL_LINES_MAX: usize = 1_000;
/// How long a call waits for more lines.
const MORE_LINES: Duration = Duration::from_millis(2);

pub(super) async fn run(function: FunctionRef, folder: Folder) -> anyhow::Result<ExitCode> {
    let set = Catalog::start(settings(folder.plugins, &folder.cache)?).await?.current();
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
    let context = CallContext { now_micros: clock::now_micros(), ..CallContext::none() };
    match set.call_json(function, &context, lines).await {
        Ok(answers) => (answers.into_iter().map(answer_line).collect(), false),
        Err(error) => (lines.iter().map(|_| error_line(error.code, &error.message)).collect(), true),
    }
}

fn answer_line(answer: Result<String, ValueError>) -> String {
    match answer {
        Ok(value) => format!("{{\"value\": {value}}}"),
        Err(ValueError { code, message }) => error_line(&code, &message),
    }
}

fn error_line(code: &str, message: &str) -> String {
    format!("{{\"error\": {{\"code\": {}, \"message\": {}}}}}", json!(code), json!(message))
}
