//! Notices changes of the plugin folder. What changed is the catalogue's to find out; here is only when to look.
//!
//! Events are hints: they come late, in thousands, or (network file systems, links into other folders) not at all, so the folder is
//! also looked at every few seconds.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::catalog::Catalog;
use super::folder::stem;

/// Quiet time after the last event.
const QUIET: Duration = Duration::from_millis(100);
/// A folder that is never quiet is looked at all the same.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Without events.
const RESCAN: Duration = Duration::from_secs(3);

/// A folder is followed for as long as this is held.
#[derive(Debug)]
#[must_use = "the folder is followed for as long as this is held"]
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows the folder; also ends when the catalogue is dropped.
pub(super) fn start(catalog: &Arc<Catalog>, dir: PathBuf) -> Watch {
    Watch(tokio::spawn(watch(Arc::downgrade(catalog), dir)))
}

async fn watch(catalog: Weak<Catalog>, dir: PathBuf) {
    // One place: a second hint says nothing new.
    let (hint, mut hints) = mpsc::channel(1);
    let mut watched = Watched::new(dir, hint);
    loop {
        // Watched before it is looked at, so that nothing falls between.
        watched.follow();
        let Some(catalog) = catalog.upgrade() else { return };
        let changing = catalog.reload(true).await;
        drop(catalog);
        let wait = if changing { QUIET } else { RESCAN };
        if let Ok(Some(())) = timeout(wait, hints.recv()).await {
            until_quiet(&mut hints).await;
        }
    }
}

async fn until_quiet(hints: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + QUIET_MAX;
    while Instant::now() < end && matches!(timeout(QUIET, hints.recv()).await, Ok(Some(()))) {}
}

/// A folder that is being watched; another folder of the same name is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let metadata = std::fs::metadata(&path).ok()?;
        Some(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

/// The watches: on the folder, and on the one it is in, where it is made, renamed or its link is swapped.
struct Watched {
    dir: PathBuf,
    watcher: Option<RecommendedWatcher>,
    folder: Option<Place>,
    parent: Option<Place>,
}

impl Watched {
    fn new(dir: PathBuf, hint: mpsc::Sender<()>) -> Self {
        let name = dir.file_name().map(ToOwned::to_owned);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let relevant = event.map_or(true, |event| is_relevant(&event, name.as_deref()));
            // A full channel holds a hint already.
            if relevant && let Err(mpsc::error::TrySendError::Closed(())) = hint.try_send(()) {
                tracing::trace!("nobody watches the plugin folder any more");
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the plugin folder is looked at every few seconds only"))
            .ok();
        Self { dir, watcher, folder: None, parent: None }
    }

    /// Watches what the path leads to now.
    fn follow(&mut self) {
        let parent =
            self.dir.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let (folder, parent) = (Place::of(&self.dir), parent.and_then(Place::of));
        if let Some(watcher) = &mut self.watcher {
            replace(watcher, &mut self.parent, parent);
            replace(watcher, &mut self.folder, folder);
        }
    }
}

fn replace(watcher: &mut RecommendedWatcher, old: &mut Option<Place>, new: Option<Place>) {
    if *old == new {
        return;
    }
    // A folder that is gone has lost its watch already.
    if let Some(Err(error)) = old.take().map(|old| watcher.unwatch(&old.path)) {
        tracing::trace!(%error, "a folder was not watched any more");
    }
    if let Some(Err(error)) = new.as_ref().map(|new| watcher.watch(&new.path, RecursiveMode::NonRecursive)) {
        tracing::debug!(%error, "a folder is looked at every few seconds only");
    }
    *old = new;
}

/// Reading is no change, and our own readings are events too.
fn is_relevant(event: &Event, dir_name: Option<&std::ffi::OsStr>) -> bool {
    let read_only = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let ours = |path: &PathBuf| stem(path).is_some() || (dir_name.is_some() && path.file_name() == dir_name);
    !read_only && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_other_files_are_no_hints() {
        let event = |kind, path: &str| Event::new(kind).add_path(PathBuf::from(path));
        let relevant = |kind, path| is_relevant(&event(kind, path), Some(std::ffi::OsStr::new("plugins")));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(relevant(written, "/x/plugins/a.wasm"));
        assert!(relevant(EventKind::Any, "/x/plugins"));
        assert!(!relevant(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/x/plugins/a.wasm"));
        assert!(!relevant(EventKind::Any, "/x/plugins/a.txt"));
        assert!(!relevant(EventKind::Any, "/x/other.db"));
    }
}
