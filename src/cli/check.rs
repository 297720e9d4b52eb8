//! `tidelock check`: everything that is wrong with a configuration, for people and for programs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::EXIT_CONFIGURATION;
use super::service::{ConfigArgs, open_catalog};
use crate::config::{Location, Problem, Severity, environment, source_line};
use crate::pipeline::binding::check_functions;
use crate::plugin::Catalogue;
use crate::runtime::open::{self, OpenError};
use crate::runtime::status::describe;
use crate::runtime::{change_detection, index_recommendation};

/// Arguments of `tidelock check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also reach the systems and check tables and columns; changes nothing in them
    #[arg(long)]
    connect: bool,
}

/// Checks configurations, their plugin functions and, where asked for, their systems.
///
/// # Errors
/// Where the plugin host does not start, or the output is closed.
pub async fn run(args: CheckArgs, json: bool) -> anyhow::Result<ExitCode> {
    let (config, mut problems) = match args.config.load() {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(print(&problems, json)?),
    };
    crate::telemetry::start("error", json);
    let catalog = open_catalog(&config.plugins).await?;
    for (stem, failure) in catalog.failures() {
        let at = Location {
            file: config.plugins.dir.join(format!("{stem}.wasm")).display().to_string().into(),
            ..Location::default()
        };
        problems.push(Problem::warning("plugin.refused", &at, failure.error.message));
    }
    let plugins = catalog.snapshot();
    for pair in &config.pairs {
        if !args.connect {
            problems.extend(check_functions(pair, plugins.as_ref()));
            continue;
        }
        match open::check(pair, plugins.as_ref()).await {
            Ok(checked) => {
                let missing = index_recommendation::missing(pair, &checked).await;
                let advice = change_detection::advice(pair, &checked).await;
                problems.extend(checked.warnings);
                for asked in [missing, advice] {
                    match asked {
                        Ok(more) | Err(OpenError::Configuration(more)) => problems.extend(more),
                        Err(OpenError::System(error)) => {
                            problems.push(Problem::error(error.code, &pair.at, describe(&error)));
                        }
                    }
                }
            }
            Err(OpenError::Configuration(more)) => problems.extend(more),
            Err(OpenError::System(error)) => problems.push(Problem::error(error.code, &pair.at, describe(&error))),
        }
    }
    Ok(print(&problems, json)?)
}

/// Says on standard error (or, for programs, on standard output) what keeps a command from its work.
pub fn report(problems: &[Problem], json: bool) {
    if json {
        super::output::print_json(&to_json(problems));
    } else {
        eprint!(
            "{}",
            render(
                problems,
                io::stderr().is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty())
            )
        );
    }
}

/// A longer source line is shown in part.
const MAX_WIDTH: usize = 120;

/// Whether standard output understands colours and the user wants them.
pub fn wants_colour() -> bool {
    io::stdout().is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// 0: fine, or only warnings; 2: errors.
pub fn exit_code(problems: &[Problem]) -> ExitCode {
    if problems.iter().any(Problem::is_error) { ExitCode::from(EXIT_CONFIGURATION) } else { ExitCode::SUCCESS }
}

/// Prints problems on standard output, as JSON or for people, and says how the command ends.
///
/// # Errors
/// Where standard output cannot be written.
pub fn print(problems: &[Problem], as_json: bool) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", to_json(problems))?;
    } else {
        write!(out, "{}", render(problems, wants_colour()))?;
        writeln!(out, "{}", summary(problems))?;
    }
    Ok(exit_code(problems))
}

/// `{"ok": …, "problems": […]}`.
pub fn to_json(problems: &[Problem]) -> Value {
    let list: Vec<Value> = problems
        .iter()
        .map(|problem| {
            json!({
                "file": &*problem.at.file,
                "line": problem.at.line,
                "column": problem.at.column,
                "pointer": problem.at.pointer,
                "severity": problem.severity,
                "code": problem.code,
                "message": problem.message,
                "suggestion": problem.suggestion,
            })
        })
        .collect();
    json!({ "ok": !problems.iter().any(Problem::is_error), "problems": list })
}

/// `2 errors, 1 warning`.
pub fn summary(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    match (errors, problems.len() - errors) {
        (0, 0) => "no problems".to_owned(),
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

/// For people: place, message, the line with a mark under the column, and what would be right.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let paint = Paint { colour };
    let mut text = String::new();
    for problem in problems {
        render_one(&mut text, problem, &paint);
    }
    text
}

fn render_one(text: &mut String, problem: &Problem, paint: &Paint) {
    let (word, style) = match problem.severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let place = problem.at.to_string();
    let place = if place.is_empty() { "configuration".to_owned() } else { place };
    let mut lines = format!("{place}: {}: {}\n", paint.with(style, word), paint.with("1", &problem.message));
    if let Some(line) = source_line(&problem.at) {
        lines.push_str(&marked(&line, &problem.at, style, paint));
    }
    let code = paint.with("2", &format!("[{}]", problem.code));
    let written = match &problem.suggestion {
        Some(suggestion) => writeln!(lines, "  {}: {suggestion} {code}", paint.with("1;36", "help")),
        None => writeln!(lines, "  {code}"),
    };
    // Writing to a `String` cannot fail.
    debug_assert!(written.is_ok());
    text.push_str(&lines);
}

/// The source line and a caret under its column.
fn marked(line: &str, at: &Location, style: &str, paint: &Paint) -> String {
    let column = usize::try_from(at.column).unwrap_or(1).max(1);
    let skipped = if line.chars().count() > MAX_WIDTH { column.saturating_sub(MAX_WIDTH / 2) } else { 0 };
    let shown: String = line.chars().skip(skipped).take(MAX_WIDTH).collect();
    let tab_or_space = |char: char| if char == '\t' { '\t' } else { ' ' };
    let before: String = shown.chars().take(column - 1 - skipped.min(column - 1)).map(tab_or_space).collect();
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    let bar = paint.with("2", "|");
    format!("  {number} {bar} {}\n  {margin} {bar} {before}{}\n", shown.trim_end(), paint.with(style, "^"))
}

/// Colours, or none.
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
