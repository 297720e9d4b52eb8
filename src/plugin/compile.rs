//! Compiling a plugin in a child process with limits: a small hostile file can cost CPU-minutes and gigabytes, and a compilation
//! cannot be cancelled, only killed.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::limits::printable;
use super::{PluginError, engine};
use crate::config::PluginLimits;

/// Largest image: compiled code is about four times the size of its source.
const IMAGE_BYTES_MAX: u64 = 1 << 30;
/// How much the child may say.
const STDERR_BYTES_MAX: u64 = 4 << 10;
/// How much of it is shown.
const WORDS_CHARS_MAX: usize = 300;
/// The child's wall-clock time in relation to its CPU time, on a busy machine, and at the least.
const WALL_FACTOR: u64 = 3;
const WALL_SECONDS_FLOOR: u64 = 20;
/// Added to the child's niceness: syncs go first.
const NICENESS: i32 = 10;

/// What the compiler child does and may use up. The command line `tidelock __compile` takes exactly these.
#[derive(Debug, Clone)]
pub struct CompileJob {
    /// The component.
    pub input: PathBuf,
    /// Where its image goes.
    pub output: PathBuf,
    /// CPU time, seconds.
    pub cpu_seconds: u64,
    /// Address space, bytes.
    pub memory_bytes: u64,
}

/// The child's side: limits itself, compiles, and renames the finished image into place.
///
/// # Errors
/// What is wrong with the component, or with the files.
pub fn compile_here(job: &CompileJob) -> Result<(), PluginError> {
    let limited = limit(Resource::Cpu, job.cpu_seconds, job.cpu_seconds.saturating_add(1))
        .and_then(|()| limit(Resource::As, job.memory_bytes, job.memory_bytes))
        .and_then(|()| limit(Resource::Fsize, IMAGE_BYTES_MAX, IMAGE_BYTES_MAX))
        .and_then(|()| limit(Resource::Core, 0, 0));
    limited
        .map_err(|error| PluginError::new("plugin.compiler", format!("the compiler cannot limit itself: {error}")))?;
    // Neither matters enough to fail: the parent's own deadline stands behind both.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the compiler keeps its priority");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::debug!(%error, "the compiler outlives its parent");
    }
    let files =
        |error: std::io::Error| PluginError::new("plugin.cache", format!("the compiler cannot use its files: {error}"));
    let bytes = std::fs::read(&job.input).map_err(files)?;
    let engine = engine::for_compiling().map_err(|error| PluginError::new("plugin.engine", format!("{error:#}")))?;
    let image = engine
        .precompile_component(&bytes)
        .map_err(|error| PluginError::new("plugin.invalid", format!("{error:#}")))?;
    let partial = job.output.with_extension("part");
    std::fs::write(&partial, image).map_err(files)?;
    std::fs::rename(&partial, &job.output).map_err(files)
}

/// Lowers a limit of this process; one that is lower already stays.
fn limit(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let maximum = getrlimit(resource).maximum.map_or(hard, |maximum| maximum.min(hard));
    setrlimit(resource, Rlimit { current: Some(soft.min(maximum)), maximum: Some(maximum) })
}

/// Starts compiler children.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    exe: PathBuf,
    limits: PluginLimits,
}

impl Compiler {
    /// `exe` is this program, or another build of it with the same engine.
    pub(super) fn new(exe: PathBuf, limits: PluginLimits) -> Self {
        Self { exe, limits }
    }

    /// What tells this build of the program and its limits from others: a verdict of another one does not count.
    pub(super) fn judge(&self) -> String {
        let file = std::fs::metadata(&self.exe).ok().map(|file| (file.len(), file.mtime(), file.mtime_nsec()));
        let text = format!("{} {file:?} {:?}", env!("CARGO_PKG_VERSION"), self.limits);
        super::images::digest(text.as_bytes()).get(..16).unwrap_or_default().to_owned()
    }

    /// Compiles `input` into `output`.
    ///
    /// # Errors
    /// `plugin.invalid` with the compiler's words, `plugin.compile_limit`, or `plugin.compiler` where the child does not start.
    pub(super) async fn compile(&self, input: &Path, output: &Path) -> Result<(), PluginError> {
        let mut child = self.start(input, output)?;
        let seconds = self.limits.compile_seconds.saturating_mul(WALL_FACTOR).max(WALL_SECONDS_FLOOR);
        let mut said = Vec::new();
        let finished = tokio::time::timeout(Duration::from_secs(seconds), async {
            if let Some(stderr) = child.stderr.take() {
                stderr.take(STDERR_BYTES_MAX).read_to_end(&mut said).await?;
            }
            child.wait().await
        });
        let Ok(status) = finished.await else {
            // Our own child, by its handle; dropping the handle kills it too.
            if let Err(error) = child.kill().await {
                tracing::debug!(%error, "the compiler had ended already");
            }
            return Err(over(&format!("it was not compiled within {seconds} s")));
        };
        let status = status.map_err(|error| unstartable(&self.exe, &error))?;
        self.verdict(status, &String::from_utf8_lossy(&said))
    }

    fn start(&self, input: &Path, output: &Path) -> Result<Child, PluginError> {
        let mut command = Command::new(&self.exe);
        command
            .arg("__compile")
            .arg(input)
            .arg(output)
            .args(["--cpu-seconds", &self.limits.compile_seconds.to_string()])
            .args(["--memory-bytes", &self.limits.compile_memory_bytes.to_string()])
            // No secret of the service's environment reaches a process that reads foreign bytes.
            .env_clear()
            // The limit is on address space, of which our allocator would reserve a gigabyte at once.
            .env("MIMALLOC_ARENA_RESERVE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| unstartable(&self.exe, &error))
    }

    fn verdict(&self, status: ExitStatus, said: &str) -> Result<(), PluginError> {
        let signal = status.signal();
        if status.success() {
            return Ok(());
        }
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
        let words = printable(last.trim_start_matches("error: "), WORDS_CHARS_MAX);
        if signal == Some(Signal::XCPU.as_raw()) || signal == Some(Signal::KILL.as_raw()) {
            return Err(over(&format!("compiling it takes more than {} s of CPU time", self.limits.compile_seconds)));
        }
        if signal == Some(Signal::ABORT.as_raw())
            || said.contains("out of memory")
            || said.contains("memory allocation")
            // No room for the stack of a thread.
            || said.contains("Resource temporarily unavailable")
        {
            let mebibytes = self.limits.compile_memory_bytes >> 20;
            return Err(over(&format!("compiling it takes more than {mebibytes} MiB of memory ({words})")));
        }
        let message = match (signal, status.code()) {
            (None, Some(1)) => format!("it is not a valid component: {words}"),
            _ => format!("the compiler fails on it ({status}): {words}"),
        };
        Err(PluginError::new("plugin.invalid", message))
    }
}

fn over(what: &str) -> PluginError {
    PluginError::new("plugin.compile_limit", format!("{what}; `plugins.limits` sets what a compilation may use up"))
}

fn unstartable(exe: &Path, error: &std::io::Error) -> PluginError {
    PluginError::new("plugin.compiler", format!("the compiler `{}` does not run: {error}", exe.display()))
}
