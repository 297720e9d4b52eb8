//! The loaded plugins of a service: the standard ones and those of the folder, replaced while it runs.
//!
//! A plugin is only ever replaced by one that passed every check; a set that somebody holds never changes (I9). Nothing here is on the
//! sync's path: taking a snapshot waits for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use tokio::sync::{Mutex, broadcast};

use super::compile::Compiler;
use super::detail::PluginDetail;
use super::event::{CatalogEvent, Happened, LoadFailure};
use super::folder::{Entry, Signature, read, read_at_rest, scan};
use super::host::{Host, LoadedPlugin};
use super::images::Images;
use super::limits::ROLLED_BACK_MAX;
use super::load::{Candidate, Loader};
use super::preamble::TRUNCATED;
use super::probation::{Probation, ROLLED_BACK};
use super::set::PluginSet;
use super::standard::{STANDARD, standard};
use super::watch::{self, Watch};
use super::{Catalogue, FunctionInfo, PluginError, Plugins};
use crate::config::PluginSettings;

/// Compilations at a time.
const LOADS_AT_ONCE: usize = 2;
/// A file that ends too early may be being written for so long before it is called broken.
const WRITING_MAX: Duration = Duration::from_secs(5);
/// Events that a slow listener may be behind.
const EVENTS_MAX: usize = 256;
/// What is wrong with the machine and not with the file: it is tried again.
const PASSING: [&str; 5] = ["plugin.unreadable", "plugin.compiler", "plugin.cache", "plugin.busy", "plugin.stopped"];

/// What a catalogue needs to know.
#[derive(Debug, Clone)]
pub struct CatalogSettings {
    /// Folder and limits.
    pub plugins: PluginSettings,
    /// The program whose `__compile` compiles plugins: this one.
    pub compiler: PathBuf,
    /// Where compiled images are kept; [`super::default_cache_dir`] for users.
    pub cache_dir: PathBuf,
}

/// What is known of a file of the folder.
struct Known {
    signature: Signature,
    digest: Option<Arc<str>>,
    /// The verdict holds for as long as the file is the same.
    settled: bool,
}

/// The folder as it was last seen.
#[derive(Default)]
struct Files {
    known: BTreeMap<Arc<str>, Known>,
    /// Why the folder could not be looked at, last time.
    unreadable: Option<PluginError>,
    /// Files that end too early, and since when.
    unfinished: BTreeMap<Arc<str>, Instant>,
}

/// A file that may have changed.
struct Seen {
    stem: Arc<str>,
    entry: Entry,
    /// Digest of what it held when it was last judged.
    refused: Option<Arc<str>>,
}

/// Where a plugin that is put in use comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// The program itself, at its start.
    Embedded,
    /// A change of the folder.
    Folder,
}

/// What looking at one file led to.
enum Verdict {
    /// It is what is in use already.
    InUse(Arc<str>),
    /// It was refused before, for the same bytes.
    RefusedBefore(Arc<str>),
    /// It is being written.
    Changing,
    Loaded(Box<LoadedPlugin>),
    Refused(Option<Arc<str>>, PluginError),
}

/// Digests that were taken back and why, by stem, the latest last: they are not tried again.
type RolledBack = BTreeMap<Arc<str>, Vec<(Arc<str>, PluginError)>>;

/// The loaded plugins, which change while the service runs.
pub struct Catalog {
    loader: Loader,
    settings: CatalogSettings,
    current: ArcSwap<PluginSet>,
    /// Held for as long as a reload takes: reloads follow one another.
    files: Mutex<Files>,
    events: broadcast::Sender<CatalogEvent>,
    /// Held for as long as publishing a changed set takes.
    publishing: Lock<()>,
    rolled_back: Lock<RolledBack>,
    /// For those who take back a version.
    me: Weak<Self>,
}

impl Catalog {
    /// Loads the standard plugins and the folder. A plugin that is refused is a failure to look up, not an error.
    ///
    /// # Errors
    /// Where no plugin at all can be loaded here: `plugin.engine`, `plugin.cache`, `plugin.compiler`.
    pub async fn start(settings: CatalogSettings) -> Result<Arc<Self>, PluginError> {
        let catalog = Self::empty(settings)?;
        catalog.load_standard().await?;
        catalog.reload(false).await;
        Ok(catalog)
    }

    /// A catalogue that has loaded nothing yet.
    ///
    /// # Errors
    /// `plugin.engine`, `plugin.cache`.
    pub fn empty(settings: CatalogSettings) -> Result<Arc<Self>, PluginError> {
        let host = Arc::new(Host::new(settings.plugins.limits)?);
        let compiler = Compiler::new(settings.compiler.clone(), settings.plugins.limits);
        let images = Arc::new(Images::open(&settings.cache_dir, &host.engine, compiler)?);
        let grants = Arc::new(settings.plugins.grants.clone());
        let empty = PluginSet::new(Arc::clone(&host), BTreeMap::new(), BTreeMap::new());
        Ok(Arc::new_cyclic(|me| Self {
            loader: Loader { host, images, grants },
            settings,
            current: ArcSwap::from_pointee(empty),
            files: Mutex::default(),
            events: broadcast::channel(EVENTS_MAX).0,
            publishing: Lock::default(),
            rolled_back: Lock::default(),
            me: Weak::clone(me),
        }))
    }

    /// Follows the folder for as long as the watch is held.
    pub fn watch(self: &Arc<Self>) -> Watch {
        watch::start(self, self.settings.plugins.dir.clone())
    }

    /// The set as it is now, with more to ask than the pipeline does.
    pub fn current(&self) -> Arc<PluginSet> {
        self.current.load_full()
    }

    /// Every function of the set as it is now.
    pub fn functions(&self) -> Vec<FunctionInfo> {
        self.current.load().functions()
    }

    /// Files that are not in use, and why, by stem.
    pub fn failures(&self) -> BTreeMap<Arc<str>, LoadFailure> {
        self.current.load().failures().clone()
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<CatalogEvent> {
        self.events.subscribe()
    }

    /// Looks at the folder at once and takes its files as they are, half-written or not.
    pub async fn reload_now(&self) {
        self.reload(false).await;
    }

    /// Runs everything that loading runs, without using the plugin.
    ///
    /// # Errors
    /// Why it would be refused.
    pub async fn check(&self, stem: &str, bytes: Vec<u8>) -> Result<PluginDetail, PluginError> {
        self.loader.load(Candidate::new(stem, bytes)).await.map(|plugin| PluginDetail::of(&plugin))
    }

    /// A set of this one plugin, for trying it out.
    ///
    /// # Errors
    /// Why it would be refused.
    pub async fn only(&self, stem: &str, bytes: Vec<u8>) -> Result<PluginSet, PluginError> {
        let plugin = Arc::new(self.loader.load(Candidate::new(stem, bytes)).await?);
        let plugins = BTreeMap::from([(Arc::clone(&plugin.stem), plugin)]);
        Ok(PluginSet::new(Arc::clone(&self.loader.host), plugins, BTreeMap::new()))
    }

    /// A standard plugin that a file replaces is not loaded: were the file refused, the standard one would silently do something else.
    async fn load_standard(&self) -> Result<(), PluginError> {
        let replaced: BTreeSet<Arc<str>> = scan(&self.settings.plugins.dir)?.into_keys().collect();
        let wanted = STANDARD.iter().filter(|(stem, _)| !replaced.contains(*stem));
        let loads: Vec<_> = wanted.map(|(stem, bytes)| self.load_embedded(stem, bytes)).collect();
        let mut loads = futures_util::stream::iter(loads).buffer_unordered(LOADS_AT_ONCE);
        while let Some((stem, loaded)) = loads.next().await {
            match loaded {
                Ok(plugin) => self.put(plugin, Origin::Embedded),
                Err(error) if PASSING.contains(&error.code) => return Err(error),
                Err(error) => self.refuse(&Arc::from(stem), None, error),
            }
        }
        Ok(())
    }

    async fn load_embedded(
        &self,
        stem: &'static str,
        bytes: &[u8],
    ) -> (&'static str, Result<LoadedPlugin, PluginError>) {
        (stem, self.loader.load(Candidate::new(stem, bytes.to_vec())).await)
    }

    /// Brings the set up to date with the folder; whether a file is still being written. `patient`: only files at rest are taken.
    pub(super) async fn reload(&self, patient: bool) -> bool {
        let mut files = self.files.lock().await;
        let found = match scan(&self.settings.plugins.dir) {
            Ok(found) => found,
            Err(error) => {
                // That is no reason to unload what is in use. Said once, not at every look.
                if files.unreadable.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the plugin folder cannot be looked at");
                }
                files.unreadable = Some(error);
                return false;
            }
        };
        files.unreadable = None;
        let gone: Vec<Arc<str>> = files.known.keys().filter(|stem| !found.contains_key(*stem)).cloned().collect();
        for stem in gone {
            files.known.remove(&stem);
            self.remove(&stem).await;
        }
        files.unfinished.retain(|stem, _| found.contains_key(stem));
        let changed: Vec<Seen> = found
            .into_iter()
            .filter_map(|(stem, entry)| {
                let known = files.known.get(&stem).filter(|known| known.settled);
                let refused = known.and_then(|known| known.digest.clone());
                known.is_none_or(|known| known.signature != entry.signature).then_some(Seen { stem, entry, refused })
            })
            .collect();
        let looks = changed.into_iter().map(|seen| self.look(seen, patient));
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(LOADS_AT_ONCE);
        let mut changing = false;
        while let Some((seen, verdict)) = looks.next().await {
            changing |= self.settle(&mut files, &seen, verdict, patient);
        }
        changing
    }

    async fn look(&self, seen: Seen, patient: bool) -> (Seen, Verdict) {
        let verdict = self.judge(&seen, patient).await;
        (seen, verdict)
    }

    async fn judge(&self, seen: &Seen, patient: bool) -> Verdict {
        let size_max = self.settings.plugins.limits.file_bytes;
        let candidate = if patient {
            read_at_rest(&seen.stem, &seen.entry, size_max).await
        } else {
            read(&seen.stem, &seen.entry, size_max).await.map(Some)
        };
        let candidate = match candidate {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return Verdict::Changing,
            Err(error) => return Verdict::Refused(None, error),
        };
        let digest = Arc::clone(&candidate.digest);
        if self.digest_in_use(&seen.stem).as_ref() == Some(&digest) {
            return Verdict::InUse(digest);
        }
        if seen.refused.as_ref() == Some(&digest) {
            return Verdict::RefusedBefore(digest);
        }
        if let Some(error) = self.rolled_back(&seen.stem, &digest) {
            return Verdict::Refused(Some(digest), error);
        }
        match self.loader.load(candidate).await {
            Ok(plugin) => Verdict::Loaded(Box::new(plugin)),
            Err(error) => Verdict::Refused(Some(digest), error),
        }
    }

    /// Why these bytes were taken back before, if they were.
    fn rolled_back(&self, stem: &str, digest: &str) -> Option<PluginError> {
        let rolled_back = self.rolled_back.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rolled_back.get(stem)?.iter().find(|(known, _)| **known == *digest);
        known.map(|(_, error)| error.clone())
    }

    /// Puts `before` in the place of a version that failed its probation. Once, whoever finds out first.
    pub(super) fn roll_back(&self, failed: &LoadedPlugin, before: &Arc<LoadedPlugin>, reason: &str) {
        let (stem, digest) = (&failed.stem, &failed.digest);
        let message = format!("version {} is taken back for {}: {reason}", short(digest), short(&before.digest));
        let error = PluginError::new(ROLLED_BACK, message);
        let failure = LoadFailure {
            digest: Some(Arc::clone(digest)),
            error: error.clone(),
            kept: Some(Arc::clone(&before.digest)),
        };
        let swapped = self.swap(|plugins, failures| {
            let in_use = plugins.get(stem).is_some_and(|plugin| plugin.digest == *digest);
            if in_use {
                before.reinstate();
                plugins.insert(Arc::clone(stem), Arc::clone(before));
                failures.insert(Arc::clone(stem), failure);
            }
            in_use
        });
        if !swapped {
            return;
        }
        failed.roll_back();
        *failed.probation() = None;
        let mut rolled_back = self.rolled_back.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = rolled_back.entry(Arc::clone(stem)).or_default();
        digests.push((Arc::clone(digest), error.clone()));
        digests.drain(..digests.len().saturating_sub(ROLLED_BACK_MAX));
        drop(rolled_back);
        tracing::warn!(
            plugin = &**stem,
            digest = &**digest,
            back_to = &*before.digest,
            "a plugin is rolled back: {reason}"
        );
        self.tell(Happened::RolledBack, stem, Some(digest), 0, Some(error));
    }

    fn digest_in_use(&self, stem: &str) -> Option<Arc<str>> {
        self.current.load().plugins().get(stem).map(|plugin| Arc::clone(&plugin.digest))
    }

    /// Acts on a verdict; whether the file is still being written.
    fn settle(&self, files: &mut Files, seen: &Seen, verdict: Verdict, patient: bool) -> bool {
        let stem = &seen.stem;
        let mut known = Known { signature: seen.entry.signature, digest: None, settled: true };
        match verdict {
            Verdict::Changing => return true,
            Verdict::Refused(_, error) if patient && error.code == TRUNCATED && may_be_writing(files, stem) => {
                return true;
            }
            Verdict::InUse(digest) => {
                known.digest = Some(digest);
                if self.current.load().failures().contains_key(stem) {
                    self.swap(|_, failures| drop(failures.remove(stem)));
                }
            }
            Verdict::RefusedBefore(digest) => known.digest = Some(digest),
            Verdict::Loaded(plugin) => {
                known.digest = Some(Arc::clone(&plugin.digest));
                self.put(*plugin, Origin::Folder);
            }
            Verdict::Refused(digest, error) => {
                known.digest.clone_from(&digest);
                known.settled = !PASSING.contains(&error.code);
                self.refuse(stem, digest, error);
            }
        }
        files.unfinished.remove(stem);
        files.known.insert(Arc::clone(stem), known);
        false
    }

    /// The file is gone: the standard plugin of that name comes back, else there is none.
    async fn remove(&self, stem: &Arc<str>) {
        // Whoever removes a file and puts it there again wants it tried again.
        self.rolled_back.lock().unwrap_or_else(PoisonError::into_inner).remove(stem);
        let replacement = match standard(stem) {
            Some(bytes) => {
                let candidate = Candidate::new(stem, bytes.to_vec());
                if self.digest_in_use(stem).as_ref() == Some(&candidate.digest) {
                    self.swap(|_, failures| drop(failures.remove(stem)));
                    return;
                }
                self.loader.load(candidate).await
            }
            None => Err(PluginError::new("plugin.unreadable", "its file is gone")),
        };
        match replacement {
            Ok(plugin) => self.put(plugin, Origin::Folder),
            Err(_) => {
                let removed = self.swap(|plugins, failures| {
                    failures.remove(stem);
                    plugins.remove(stem)
                });
                if let Some(plugin) = removed {
                    tracing::info!(plugin = &**stem, "a plugin is unloaded: its file is gone");
                    plugin.retire();
                    self.tell(Happened::Unloaded, stem, Some(&plugin.digest), 0, None);
                }
            }
        }
    }

    fn put(&self, plugin: LoadedPlugin, origin: Origin) {
        let plugin = Arc::new(plugin);
        let old = self.swap(|plugins, failures| {
            failures.remove(&plugin.stem);
            if let (Some(rules), Some(old)) = (self.settings.plugins.rollback, plugins.get(&plugin.stem)) {
                // What has not proved itself is nothing to go back to; and no version holds more than one other.
                let proved = old.probation().take().map(|probation| Arc::clone(&probation.before));
                let before = proved.unwrap_or_else(|| Arc::clone(old));
                *plugin.probation() = Some(Arc::new(Probation { before, rules, catalog: Weak::clone(&self.me) }));
            }
            plugins.insert(Arc::clone(&plugin.stem), Arc::clone(&plugin))
        });
        let (happened, word) =
            if old.is_some() { (Happened::Replaced, "replaced") } else { (Happened::Loaded, "loaded") };
        if let Some(old) = old {
            old.retire();
        }
        let (stem, digest) = (&*plugin.stem, short(&plugin.digest));
        let (version, ms) = (&plugin.version, plugin.load_ms);
        match origin {
            // Nobody put it there, so nobody needs to be told.
            Origin::Embedded => tracing::debug!(plugin = stem, digest, %version, ms, "a standard plugin is {word}"),
            Origin::Folder => tracing::info!(plugin = stem, digest, %version, ms, "a plugin is {word}"),
        }
        self.tell(happened, &plugin.stem, Some(&plugin.digest), plugin.load_ms, None);
    }

    fn refuse(&self, stem: &Arc<str>, digest: Option<Arc<str>>, error: PluginError) {
        let kept = self.digest_in_use(stem);
        let failure = LoadFailure { digest: digest.clone(), error: error.clone(), kept };
        if self.current.load().failures().get(stem) == Some(&failure) {
            return;
        }
        let consequence =
            if failure.kept.is_some() { "the version before stays in use" } else { "its functions are missing" };
        tracing::warn!(
            plugin = &**stem,
            code = error.code,
            reason = error.message,
            "a plugin is refused; {consequence}"
        );
        self.swap(|_, failures| failures.insert(Arc::clone(stem), failure));
        self.tell(Happened::Refused, stem, digest.as_ref(), 0, Some(error));
    }

    /// Publishes a changed copy of the set; one after the other, so that no change is lost.
    fn swap<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<Arc<str>, Arc<LoadedPlugin>>, &mut BTreeMap<Arc<str>, LoadFailure>) -> T,
    ) -> T {
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let (mut plugins, mut failures) = (before.plugins().clone(), before.failures().clone());
        let result = change(&mut plugins, &mut failures);
        let digests: BTreeSet<Arc<str>> = plugins.values().map(|plugin| Arc::clone(&plugin.digest)).collect();
        self.current.store(Arc::new(PluginSet::new(Arc::clone(&self.loader.host), plugins, failures)));
        drop(publishing);
        self.loader.host.pool.retain(|digest| digests.contains(digest));
        result
    }

    fn tell(
        &self,
        happened: Happened,
        stem: &Arc<str>,
        digest: Option<&Arc<str>>,
        load_ms: u64,
        reason: Option<PluginError>,
    ) {
        let digest = digest.cloned().unwrap_or_else(|| Arc::from(""));
        let event = CatalogEvent { happened, stem: Arc::clone(stem), digest, load_ms, reason };
        // Without a listener there is nobody to tell.
        drop(self.events.send(event));
    }
}

/// As many digits of a digest as people compare.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or_default()
}

fn may_be_writing(files: &mut Files, stem: &Arc<str>) -> bool {
    let since = *files.unfinished.entry(Arc::clone(stem)).or_insert_with(Instant::now);
    since.elapsed() < WRITING_MAX
}

impl Catalogue for Catalog {
    fn snapshot(&self) -> Arc<dyn Plugins> {
        self.current.load_full()
    }
}
