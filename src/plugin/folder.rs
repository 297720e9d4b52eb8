//! The plugin folder as it is on disk: which files there are, and reading one when it has come to rest.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::PluginError;
use super::load::Candidate;

/// Between the two readings that must be equal.
const REST: Duration = Duration::from_millis(50);

/// What tells that a file may have changed, without reading it. The change time cannot be set by a copy, unlike the modification
/// time; the device and inode tell a swapped link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

/// A plugin file in the folder.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) signature: Signature,
}

/// The `*.wasm` files of the folder by stem; none where the folder is missing. Names that begin with a dot are other programs'
/// temporary files.
///
/// # Errors
/// `plugin.unreadable` where the folder is there but cannot be read.
pub(super) fn scan(dir: &Path) -> Result<BTreeMap<Arc<str>, Entry>, PluginError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(dir, &error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(dir, &error))?.path();
        let Some(stem) = stem(&path) else { continue };
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone by now, or a link to nothing. Any other error does not say that the file is gone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if metadata.is_file() {
            let signature = Signature {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            };
            found.insert(stem, Entry { path, signature });
        }
    }
    Ok(found)
}

/// The plugin's name, where the path is that of a plugin.
pub(super) fn stem(path: &Path) -> Option<Arc<str>> {
    let is_plugin = path.extension().is_some_and(|extension| extension == "wasm");
    let stem = path.file_stem()?.to_str()?;
    let plain = !stem.is_empty() && !stem.starts_with('.') && !stem.chars().any(char::is_control);
    (is_plugin && plain).then(|| stem.into())
}

/// Reads a file once.
///
/// # Errors
/// `plugin.unreadable`, `plugin.too_large`.
pub(super) async fn read(stem: &Arc<str>, entry: &Entry, size_max: u64) -> Result<Candidate, PluginError> {
    if entry.signature.size > size_max {
        let message = format!("it has {} bytes; `plugins.limits` allows {size_max}", entry.signature.size);
        return Err(PluginError::new("plugin.too_large", message));
    }
    let (stem, path) = (Arc::clone(stem), entry.path.clone());
    super::images::blocking(move || {
        let mut bytes = Vec::new();
        // One byte more than allowed: a file that grows meanwhile is refused for its size, not read to its end.
        let whole =
            std::fs::File::open(&path).and_then(|file| file.take(size_max.saturating_add(1)).read_to_end(&mut bytes));
        whole.map_err(|error| unreadable(&path, &error))?;
        Ok(Candidate::new(&stem, bytes))
    })
    .await
}

/// Reads a file twice; `None` where it changed in between.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_at_rest(
    stem: &Arc<str>,
    entry: &Entry,
    size_max: u64,
) -> Result<Option<Candidate>, PluginError> {
    let first = read(stem, entry, size_max).await?;
    tokio::time::sleep(REST).await;
    let second = read(stem, entry, size_max).await?;
    Ok((first.digest == second.digest).then_some(second))
}

fn unreadable(path: &Path, error: &std::io::Error) -> PluginError {
    PluginError::new("plugin.unreadable", format!("`{}` cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_wasm_files_are_plugins() {
        for (path, expected) in [
            ("a/trim.wasm", Some("trim")),
            ("a/my-plugin.v2.wasm", Some("my-plugin.v2")),
            ("a/.trim.wasm", None),
            ("a/trim.wasm.part", None),
            ("a/trim", None),
            ("a/.wasm", None),
        ] {
            assert_eq!(stem(Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_folder_is_empty_and_folders_in_it_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        assert!(scan(&dir.path().join("missing")).unwrap().is_empty());
        std::fs::create_dir(dir.path().join("x.wasm")).unwrap();
        std::fs::write(dir.path().join("y.wasm"), b"").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("z.wasm")).unwrap();
        assert_eq!(scan(dir.path()).unwrap().keys().map(|stem| &**stem).collect::<Vec<_>>(), ["y"]);
    }
}
