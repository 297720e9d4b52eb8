//! Finding and running the tools of the languages.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::failed;
use crate::config::environment;
use crate::plugin::PluginError;

/// A program on the PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = environment("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A program in a project's own folder of tools (`node_modules/.bin`), in that of a folder above it, or on the PATH.
pub(super) fn near(dir: &Path, tools: &str, name: &str) -> Option<PathBuf> {
    let own = dir.ancestors().map(|folder| folder.join(tools).join(name)).find(|file| file.is_file());
    own.or_else(|| on_path(name))
}

/// What a tool printed on standard output. What it says on standard error is shown as it comes where `shown`, else after a failure only.
///
/// # Errors
/// `plugin.build_failed`: it cannot be started, or ended with another code than 0.
pub(super) async fn run(command: &mut Command, shown: bool) -> Result<String, PluginError> {
    let program = Path::new(command.as_std().get_program()).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stderr(if shown { Stdio::inherit() } else { Stdio::piped() }).kill_on_drop(true);
    let output = command.output().await.map_err(|error| failed(format!("`{program}` does not start: {error}")))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    if !shown {
        eprint!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    }
    Err(failed(format!("`{program}` says that something is wrong ({})", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_the_project_come_before_those_of_the_folders_above() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(inner.join("tools")).unwrap();
        std::fs::create_dir_all(root.path().join("tools")).unwrap();
        std::fs::write(root.path().join("tools/x"), "").unwrap();
        assert_eq!(near(&inner, "tools", "x"), Some(root.path().join("tools/x")));
        std::fs::write(inner.join("tools/x"), "").unwrap();
        assert_eq!(near(&inner, "tools", "x"), Some(inner.join("tools/x")));
        assert_eq!(near(&inner, "tools", "no_such_tool_anywhere"), None);
    }

    #[tokio::test]
    async fn a_tool_that_fails_is_an_error_and_one_that_is_missing_too() {
        assert_eq!(run(Command::new("echo").arg("a"), false).await.unwrap(), "a\n");
        assert_eq!(run(&mut Command::new("false"), false).await.unwrap_err().code, "plugin.build_failed");
        assert_eq!(run(&mut Command::new("/no/such/tool"), false).await.unwrap_err().code, "plugin.build_failed");
    }
}
