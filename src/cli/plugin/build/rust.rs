//! Rust: cargo, and the compiler's target for WebAssembly.
//!
//! The environment is cargo's own: `RUSTC`, `CARGO_TARGET_DIR`, … With `CARGO_UNSTABLE_BUILD_STD` set, cargo builds the standard library
//! itself, and no target has to be installed (Debian's compiler; see `plugins/toolchain.sh` in the repository).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::{Project, failed, missing, tool};
use crate::config::environment;
use crate::plugin::PluginError;

const TARGET: &str = "wasm32-unknown-unknown";

/// A line that cargo prints about something it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds the crate; the file that it became.
pub(super) async fn build(project: &Project, release: bool) -> Result<PathBuf, PluginError> {
    let cargo = tool::on_path("cargo").ok_or_else(|| missing("there is no cargo on the PATH", "get it with rustup"))?;
    if environment("CARGO_UNSTABLE_BUILD_STD").is_none() {
        check_target(&project.dir).await?;
    }
    let mut command = Command::new(cargo);
    command.current_dir(&project.dir).args(["build", "--message-format=json-render-diagnostics", "--target", TARGET]);
    if release {
        command.arg("--release");
    }
    let printed = tool::run(&mut command, true).await?;
    component(&printed).ok_or_else(|| failed("the crate makes no `.wasm`; `crate-type` is to be [\"cdylib\"]"))
}

/// The last `.wasm` that cargo says it made: dependencies come first.
fn component(printed: &str) -> Option<PathBuf> {
    let made = printed.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut made = made.filter(|message| message.reason == "compiler-artifact").flat_map(|message| message.filenames);
    made.rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// Whether the compiler has a standard library for the target. It prints where that would be either way.
async fn check_target(dir: &Path) -> Result<(), PluginError> {
    let rustc = environment("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let mut command = Command::new(rustc);
    // In the project: rustup has toolchains by folder.
    command.current_dir(dir).args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = tool::run(&mut command, false).await?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(missing("the compiler has no standard library for WebAssembly", &format!("run: rustup target add {TARGET}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_component_is_taken() {
        let printed = concat!(
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/a.rlib\",\"/t/a.wasm\"]}\n",
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/b.wasm\"]}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\nnoise\n",
        );
        assert_eq!(component(printed), Some(PathBuf::from("/t/b.wasm")));
        assert_eq!(component("{\"reason\":\"build-finished\",\"success\":true}"), None);
    }
}
