//! JavaScript: `componentize-qjs` puts the module and the QuickJS engine into one component that imports nothing.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Project, missing, tool};
use crate::plugin::PluginError;

/// Bundles the module; the component.
pub(super) async fn build(project: &Project, wit: &Path, work: &Path) -> Result<PathBuf, PluginError> {
    let bundler = tool::near(&project.dir, "node_modules/.bin", "componentize-qjs").ok_or_else(|| {
        missing("componentize-qjs is not installed", &format!("run: npm install --prefix {}", project.dir.display()))
    })?;
    let component = work.join("component.wasm");
    let mut command = Command::new(bundler);
    command.current_dir(&project.dir).args(["--js", "plugin.js", "--world", &project.world, "--stub-wasi", "--sync"]);
    command.arg("--wit").arg(wit).arg("--output").arg(&component);
    tool::run(&mut command, false).await?;
    Ok(component)
}
