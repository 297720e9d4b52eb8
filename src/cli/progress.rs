//! Progress of pairs on a terminal: one line each, on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::runtime::supervisor::Statuses;

/// The lines and the tasks that move them.
pub struct Bars {
    lines: Vec<ProgressBar>,
    tasks: Vec<JoinHandle<()>>,
}

/// Shows what the pairs do, if standard error is a terminal and `quiet` is not wanted.
pub fn follow(statuses: Statuses, quiet: bool) -> Bars {
    let mut bars = Bars { lines: Vec::new(), tasks: Vec::new() };
    if quiet || !std::io::stderr().is_terminal() {
        return bars;
    }
    let all = MultiProgress::new();
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    for (name, mut status) in statuses {
        let line = all.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(name.to_string()));
        line.enable_steady_tick(Duration::from_millis(100));
        bars.lines.push(line.clone());
        bars.tasks.push(tokio::spawn(async move {
            loop {
                {
                    let now = status.borrow_and_update();
                    let counts = now.counts;
                    let written = counts.written_source + counts.written_target;
                    line.set_message(format!(
                        "{}: {} read, {written} written, {} rejected",
                        now.phase.name(),
                        counts.read,
                        counts.rejected
                    ));
                }
                if status.changed().await.is_err() {
                    break;
                }
            }
        }));
    }
    bars
}

impl Bars {
    /// Takes the lines away.
    pub fn finish(self) {
        for task in self.tasks {
            task.abort();
        }
        for line in self.lines {
            line.finish_and_clear();
        }
    }
}
