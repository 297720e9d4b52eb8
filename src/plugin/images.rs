//! Compiled images on disk, so that a plugin is compiled once per machine and not once per start.
//!
//! An image is native code that is run as it is: see `docs/decisions/0002-compiled-image-cache.md` for why that is safe here.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::PluginError;
use super::compile::Compiler;
use crate::config::environment;
use crate::telemetry::clock;

/// Images that nothing has used for so long are removed.
const UNUSED_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

static NEXT_SCRATCH: AtomicU64 = AtomicU64::new(0);

/// `$XDG_CACHE_HOME/tidelock`, else `~/.cache/tidelock`, else a folder in the system's temporary folder.
pub fn default_cache_dir() -> PathBuf {
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).map_or_else(
        || std::env::temp_dir().join(format!("tidelock-{}", rustix::process::geteuid().as_raw())),
        |cache| cache.join("tidelock"),
    )
}

/// SHA-256, lower-case hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The private folder of images. An image is named `SOURCE-ENGINE-IMAGE.cwasm` after the digests of its source, of the engine's
/// compile settings, and of itself: one rename publishes the image together with the digest that it must have.
#[derive(Debug)]
pub(super) struct Images {
    dir: PathBuf,
    engine: String,
    /// This very program under these limits: whose verdicts on plugins hold.
    judge: String,
    compiler: Compiler,
}

impl Images {
    /// Opens or creates the folder and removes what has not been used for a month.
    ///
    /// # Errors
    /// `plugin.cache` where the folder cannot be made, or is not ours alone.
    pub(super) fn open(cache_dir: &Path, engine: &Engine, compiler: Compiler) -> Result<Self, PluginError> {
        // Made absolute: the child may not share our working folder for ever.
        let dir = std::path::absolute(cache_dir).map_err(|error| unusable(cache_dir, &error))?.join("plugins");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| unusable(&dir, &error))?;
        check_private(&dir)?;
        let mut hasher = DigestHasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hex(hasher.digest().get(..8).unwrap_or_default());
        let judge = compiler.judge();
        let images = Self { dir, engine, judge, compiler };
        if let Err(error) = images.remove_unused() {
            tracing::debug!(%error, "old plugin images are not removed");
        }
        Ok(images)
    }

    /// The component of these bytes: from the folder, else compiled now.
    ///
    /// # Errors
    /// `plugin.cache`, and what [`Compiler::compile`] says.
    pub(super) async fn component(
        self: &Arc<Self>,
        engine: &Engine,
        bytes: &Arc<[u8]>,
        digest: &str,
    ) -> Result<Component, PluginError> {
        let prefix = format!("{digest}-{}-", self.engine);
        let (images, own, name) = (Arc::clone(self), engine.clone(), prefix.clone());
        let found = blocking(move || {
            check_private(&images.dir)?;
            Ok(images.find(&own, &name))
        });
        if let Some(component) = found.await? {
            return Ok(component);
        }
        let (images, source) = (Arc::clone(self), Arc::clone(bytes));
        let scratch = blocking(move || Scratch::new(&images.dir, &source)).await?;
        self.compiler.compile(&scratch.input, &scratch.output).await?;
        let (images, own) = (Arc::clone(self), engine.clone());
        blocking(move || images.publish(&own, &scratch, &prefix)).await
    }

    /// Whether these bytes passed their examples and laws before, judged by this very program under the same limits.
    pub(super) fn passed(&self, digest: &str) -> bool {
        let path = self.verdict(digest);
        let passed = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file() && is_ours(&metadata));
        if passed {
            mark_used(&path);
        }
        passed
    }

    /// Remembers that they passed. Not worth failing for: they are judged again otherwise.
    pub(super) fn remember_passed(&self, digest: &str) {
        if let Err(error) = fs::File::create(self.verdict(digest)) {
            tracing::debug!(%error, "a plugin's verdict is not kept");
        }
    }

    fn verdict(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}.passed", self.judge))
    }

    /// Names the finished image after its digest and loads it.
    fn publish(&self, engine: &Engine, scratch: &Scratch, prefix: &str) -> Result<Component, PluginError> {
        let image = fs::read(&scratch.output).map_err(|error| unusable(&scratch.output, &error))?;
        let path = self.dir.join(format!("{prefix}{}.cwasm", digest(&image)));
        fs::set_permissions(&scratch.output, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&scratch.output, &path))
            .map_err(|error| unusable(&path, &error))?;
        self.load(engine, &path)
    }

    fn find(&self, engine: &Engine, prefix: &str) -> Option<Component> {
        let entries = fs::read_dir(&self.dir).ok()?;
        let matching = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        for entry in matching {
            match self.load(engine, &entry.path()) {
                Ok(component) => {
                    mark_used(&entry.path());
                    return Some(component);
                }
                Err(error) => {
                    tracing::warn!(%error, "a compiled plugin image is not usable: compiling again");
                    if let Err(error) = fs::remove_file(entry.path()) {
                        tracing::debug!(%error, "the image cannot be removed");
                    }
                }
            }
        }
        None
    }

    fn load(&self, engine: &Engine, path: &Path) -> Result<Component, PluginError> {
        let metadata = fs::symlink_metadata(path).map_err(|error| unusable(path, &error))?;
        if !metadata.is_file() || !is_ours(&metadata) {
            return Err(PluginError::new("plugin.cache", format!("`{}` was not written by us", path.display())));
        }
        let image = fs::read(path).map_err(|error| unusable(path, &error))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if stem.rsplit('-').next() != Some(digest(&image).as_str()) {
            return Err(PluginError::new("plugin.cache", format!("`{}` is damaged", path.display())));
        }
        self.map(engine, path)
    }

    #[expect(unsafe_code, reason = "an image is native code: wasmtime cannot check it, so the caller must have")]
    fn map(&self, engine: &Engine, path: &Path) -> Result<Component, PluginError> {
        // SAFETY: `deserialize_file` runs whatever the file holds, and the file must not change while it is mapped. The file is in
        // a folder that only this user can enter (`check_private`, checked before each use), is a regular file owned by this user
        // that nobody else may write (`is_ours`), and holds exactly what our own compiler child wrote: its name carries the digest
        // of the finished image, and `load` has just verified it. Images are replaced by rename and never written in place.
        // wasmtime itself refuses images of another version or other settings.
        unsafe { Component::deserialize_file(engine, path) }
            .map_err(|error| PluginError::new("plugin.invalid", format!("it does not fit the engine: {error:#}")))
    }

    fn remove_unused(&self) -> io::Result<()> {
        let now = u64::try_from(clock::now_micros()).unwrap_or_default();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let modified = u64::try_from(entry.metadata()?.mtime()).unwrap_or_default();
            if Duration::from_micros(now).saturating_sub(Duration::from_secs(modified)) > UNUSED_MAX {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The time of the last use, for `remove_unused`. Not worth failing for.
fn mark_used(path: &Path) {
    let now = Duration::from_micros(u64::try_from(clock::now_micros()).unwrap_or_default());
    let marked = fs::File::open(path).and_then(|file| file.set_modified(std::time::UNIX_EPOCH + now));
    if let Err(error) = marked {
        tracing::debug!(%error, "the time of the image's use is not kept");
    }
}

/// Files of one compilation, removed however it ends.
struct Scratch {
    input: PathBuf,
    output: PathBuf,
}

impl Scratch {
    /// Writes the source to a file that nobody else uses: process numbers are not unique where containers share a cache, and an
    /// image must never be published under the digest of another source.
    fn new(dir: &Path, source: &[u8]) -> Result<Self, PluginError> {
        loop {
            let number = NEXT_SCRATCH.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{}-{number}", std::process::id()));
            let input = path.with_extension("wasm");
            match fs::File::create_new(&input) {
                Ok(mut file) => {
                    let scratch = Self { output: path.with_extension("image"), input };
                    file.write_all(source).map_err(|error| unusable(&scratch.input, &error))?;
                    return Ok(scratch);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(&input, &error)),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in [&self.input, &self.output, &self.output.with_extension("part")] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::debug!(%error, "a scratch file stays");
            }
        }
    }
}

/// Files and digests off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginError> + Send + 'static,
) -> Result<T, PluginError> {
    let stopping = |_| PluginError::new("plugin.stopped", "the plugin host is stopping");
    tokio::task::spawn_blocking(work).await.map_err(stopping)?
}

fn check_private(dir: &Path) -> Result<(), PluginError> {
    let metadata = fs::symlink_metadata(dir).map_err(|error| unusable(dir, &error))?;
    if metadata.is_dir() && is_ours(&metadata) && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!(
        "compiled plugins in `{}` would not be safe: it must be a folder of this user with mode 0700 (remove it, or name another \
         cache folder)",
        dir.display()
    );
    Err(PluginError::new("plugin.cache", message))
}

/// Owned by this user and written by nobody else.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

fn unusable(path: &Path, error: &io::Error) -> PluginError {
    PluginError::new(
        "plugin.cache",
        format!("the folder of compiled plugins is not usable: `{}`: {error}", path.display()),
    )
}

/// Feeds a `Hash` to SHA-256: the same on every run, unlike the standard hasher.
#[derive(Default)]
pub(super) struct DigestHasher(Sha256);

impl DigestHasher {
    pub(super) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PluginLimits;

    fn open(dir: &Path) -> Result<Images, PluginError> {
        let engine = super::super::engine::for_compiling().unwrap();
        Images::open(dir, &engine, Compiler::new(PathBuf::from("/nonexistent"), PluginLimits::default()))
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let images = open(dir.path()).unwrap();
        assert_eq!(fs::metadata(&images.dir).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&images.dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(open(dir.path()).unwrap_err().code, "plugin.cache");
    }

    #[test]
    fn a_damaged_or_foreign_image_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let images = open(dir.path()).unwrap();
        let engine = super::super::engine::for_compiling().unwrap();
        let path = images.dir.join(format!("a-b-{}.cwasm", digest(b"right")));
        fs::write(&path, b"wrong").unwrap();
        assert!(images.load(&engine, &path).unwrap_err().message.contains("damaged"));
        fs::write(&path, b"right").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(images.load(&engine, &path).unwrap_err().message.contains("not written by us"));
        assert!(images.find(&engine, "a-b-").is_none());
        assert!(!path.exists());
    }
}
