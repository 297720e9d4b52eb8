//! Python: `componentize-py` puts the module and CPython into one component that imports nothing.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Project, missing, tool};
use crate::plugin::PluginError;

/// Bundles the module; the component.
pub(super) async fn build(project: &Project, wit: &Path, work: &Path) -> Result<PathBuf, PluginError> {
    let bundler = tool::near(&project.dir, ".venv/bin", "componentize-py").ok_or_else(|| {
        let dir = project.dir.display();
        let how = format!("run: python3 -m venv {dir}/.venv && {dir}/.venv/bin/pip install -r {dir}/requirements.txt");
        missing("componentize-py is not installed", &how)
    })?;
    let component = work.join("component.wasm");
    let mut command = Command::new(bundler);
    command.current_dir(&project.dir).arg("-q").arg("-d").arg(wit).args(["-w", &project.world]);
    command.args(["componentize", "--stub-wasi", "plugin", "-o"]).arg(&component);
    tool::run(&mut command, false).await?;
    Ok(component)
}
