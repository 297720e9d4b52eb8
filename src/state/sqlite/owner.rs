//! One service owns a state file: it has a lock on a file beside it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Result, SyncError};

/// The file that the owner of a state file locks.
fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Makes the caller the owner of a state file, for as long as the handle is kept.
pub(super) fn lock(path: &Path) -> Result<File> {
    let file = File::create(lock_file(path)).map_err(|error| {
        let text = format!("the state file's folder cannot be written to: {}", path.display());
        SyncError::new(ErrorKind::PermissionDenied, "state.unusable", text).caused_by(error)
    })?;
    file.try_lock().map_err(|error| {
        let text =
            format!("another tidelock service has the state file {}: stop it, or use another --state", path.display());
        SyncError::new(ErrorKind::PermissionDenied, "state.in_use", text).caused_by(error.to_string())
    })?;
    Ok(file)
}

/// Whether a state file has an owner.
pub(super) fn has(path: &str) -> bool {
    // What cannot be locked shared is locked by its owner; this lock ends with the file handle.
    let locked = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    File::open(lock_file(Path::new(path))).is_ok_and(locked)
}
