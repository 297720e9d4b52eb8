//! Following a project's files, for `plugin test --watch`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Editors write several files for one change.
const QUIET: Duration = Duration::from_millis(200);
/// What builds write inside a project.
const BUILT: [&str; 5] = ["target", "node_modules", "__pycache__", ".venv", "Cargo.lock"];

/// Changes of the followed files.
pub(super) struct Changes {
    hints: mpsc::Receiver<()>,
    // Held: the files are followed for as long as it lives.
    _watcher: RecommendedWatcher,
}

/// Follows a project's folder or a component, and a file of fixtures elsewhere.
///
/// # Errors
/// Where the system does not tell of changes.
pub(super) fn follow(path: &Path, fixtures: Option<&Path>) -> anyhow::Result<Changes> {
    // One place: a second hint says nothing new.
    let (hint, hints) = mpsc::channel(1);
    let root = path.canonicalize().with_context(|| format!("`{}`", path.display()))?;
    let of_project = root.is_dir();
    let followed = root.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let relevant = event.map_or(true, |event| is_relevant(&event, &followed, of_project));
        if relevant && let Err(mpsc::error::TrySendError::Closed(())) = hint.try_send(()) {
            tracing::trace!("nobody waits for changes any more");
        }
    })
    .context("changes of files cannot be followed here")?;
    for file in [Some(root), fixtures.map(Path::to_path_buf)].into_iter().flatten() {
        watch(&mut watcher, &file).with_context(|| format!("`{}` cannot be followed", file.display()))?;
    }
    Ok(Changes { hints, _watcher: watcher })
}

/// A file is followed by its folder: editors put another file in its place.
fn watch(watcher: &mut RecommendedWatcher, file: &Path) -> notify::Result<()> {
    if file.is_dir() {
        return watcher.watch(file, RecursiveMode::Recursive);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(folder, RecursiveMode::NonRecursive)
}

fn is_relevant(event: &Event, root: &Path, of_project: bool) -> bool {
    let ours = |path: &PathBuf| !of_project || path.strip_prefix(root).map_or(true, is_source);
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || event.paths.iter().any(ours))
}

fn is_source(path: &Path) -> bool {
    let built = |part: Component<'_>| part.as_os_str().to_str().is_some_and(|name| BUILT.contains(&name));
    !path.components().any(built) && path.extension().is_none_or(|kind| kind != "wasm")
}

impl Changes {
    /// Waits for the next change, and until it is quiet again; `false` where there will be none.
    pub(super) async fn next(&mut self) -> bool {
        let Some(()) = self.hints.recv().await else { return false };
        while let Ok(Some(())) = timeout(QUIET, self.hints.recv()).await {}
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_write_is_no_change() {
        let root = Path::new("/p");
        let event = |path: &str| Event::new(EventKind::Any).add_path(PathBuf::from(path));
        for path in ["/p/plugin.js", "/p/src/lib.rs", "/elsewhere/fixtures.jsonl"] {
            assert!(is_relevant(&event(path), root, true), "{path}");
        }
        for path in ["/p/target/plugin/x", "/p/a.wasm", "/p/node_modules/a.js", "/p/__pycache__/plugin.pyc"] {
            assert!(!is_relevant(&event(path), root, true), "{path}");
        }
        let read = Event::new(EventKind::Access(notify::event::AccessKind::Any)).add_path(PathBuf::from("/p/a.js"));
        assert!(!is_relevant(&read, root, true));
    }

    #[tokio::test]
    async fn a_change_wakes_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = follow(folder.path(), None).unwrap();
        std::fs::write(folder.path().join("plugin.js"), "1").unwrap();
        assert!(timeout(Duration::from_secs(30), changes.next()).await.unwrap());
    }
}
