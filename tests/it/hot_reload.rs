//! Plugins replaced while the service runs: whatever happens to the folder, what is in use was whole and checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidelock::plugin::{Catalog, CatalogEvent, Catalogue, Happened, Plugins, Watch};
use tokio::sync::broadcast::Receiver;

use crate::plugin::{call, guest, start};

/// A watched folder.
struct Watched {
    root: TempDir,
    dir: PathBuf,
    catalog: Arc<Catalog>,
    events: Receiver<CatalogEvent>,
    _watch: Watch,
}

impl Watched {
    /// On a folder that is there, empty.
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("plugins");
        fs::create_dir(&dir).unwrap();
        Self::on(root, dir).await
    }

    async fn on(root: TempDir, dir: PathBuf) -> Self {
        let catalog = start(&dir).await;
        let events = catalog.subscribe();
        let _watch = catalog.watch();
        Self { root, dir, catalog, events, _watch }
    }

    fn path(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.wasm"))
    }

    fn write(&self, stem: &str, bytes: &[u8]) {
        fs::write(self.path(stem), bytes).unwrap();
    }

    async fn next(&mut self) -> CatalogEvent {
        tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await.unwrap().unwrap()
    }

    async fn expect(&mut self, happened: Happened, stem: &str) -> CatalogEvent {
        let event = self.next().await;
        assert_eq!((event.happened, &*event.stem), (happened, stem), "{event:?}");
        event
    }

    /// What `add_suffix` makes of "a" now.
    async fn suffixed(&self) -> Result<String, &'static str> {
        suffixed(self.catalog.snapshot().as_ref()).await
    }
}

async fn suffixed(plugins: &dyn Plugins) -> Result<String, &'static str> {
    let answers = call(plugins, "add_suffix", "{}", &[Some("a")]).await.map_err(|error| error.code)?;
    Ok(answers.into_iter().next().unwrap().unwrap().unwrap())
}

#[tokio::test]
async fn a_new_file_is_loaded_a_changed_one_replaced_a_deleted_one_unloaded() {
    let mut watched = Watched::new().await;
    assert_eq!(watched.suffixed().await, Err("plugin.unknown_function"));
    watched.write("suffix", &guest("suffix_v1"));
    let event = watched.expect(Happened::Loaded, "suffix").await;
    assert_eq!(event.digest.len(), 64);
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");

    let held = watched.catalog.snapshot();
    let before = held.info("add_suffix").unwrap().digest;
    watched.write("suffix", &guest("suffix_v2"));
    watched.expect(Happened::Replaced, "suffix").await;
    assert_eq!(watched.suffixed().await.unwrap(), "a-v2");
    // I9: a batch that began with version 1 ends with it.
    assert_eq!(suffixed(held.as_ref()).await.unwrap(), "a-v1");
    assert_ne!(watched.catalog.snapshot().info("add_suffix").unwrap().digest, before);

    fs::remove_file(watched.path("suffix")).unwrap();
    watched.expect(Happened::Unloaded, "suffix").await;
    assert_eq!(watched.suffixed().await, Err("plugin.unknown_function"));
    assert_eq!(suffixed(held.as_ref()).await.unwrap(), "a-v1");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported() {
    let mut watched = Watched::new().await;
    watched.write("suffix", &guest("suffix_v1"));
    watched.expect(Happened::Loaded, "suffix").await;
    for (bad, code) in [
        (b"not wasm".to_vec(), "plugin.not_wasm"),
        (guest("bad_example"), "plugin.example_failed"),
        (guest("describe_loops"), "plugin.describe_failed"),
    ] {
        watched.write("suffix", &bad);
        let event = watched.expect(Happened::Refused, "suffix").await;
        assert_eq!(event.reason.unwrap().code, code);
        assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
        let failure = watched.catalog.failures()["suffix"].clone();
        assert_eq!((failure.error.code, failure.kept.is_some()), (code, true));
    }
    watched.write("suffix", &guest("suffix_v2"));
    watched.expect(Happened::Replaced, "suffix").await;
    assert!(watched.catalog.failures().is_empty());
}

#[tokio::test]
async fn a_half_written_file_is_waited_for() {
    // Compiled beforehand: how long that takes must not decide whether the half one is still waited for.
    let compiled = tempfile::tempdir().unwrap();
    fs::write(compiled.path().join("reverse.wasm"), guest("simple_reverse")).unwrap();
    drop(start(compiled.path()).await);
    let mut watched = Watched::new().await;
    let whole = guest("suffix_v1");
    watched.write("suffix", &whole[..whole.len() / 2]);
    // That this one is loaded says that the half one was looked at.
    watched.write("reverse", &guest("simple_reverse"));
    watched.expect(Happened::Loaded, "reverse").await;
    watched.write("suffix", &whole);
    watched.expect(Happened::Loaded, "suffix").await;
}

#[tokio::test]
async fn a_file_that_stays_half_written_is_refused() {
    let mut watched = Watched::new().await;
    let whole = guest("suffix_v1");
    watched.write("suffix", &whole[..whole.len() / 2]);
    let event = watched.expect(Happened::Refused, "suffix").await;
    assert_eq!(event.reason.unwrap().code, "plugin.truncated");
}

#[tokio::test]
async fn a_file_renamed_into_place_counts_and_other_names_do_not() {
    let mut watched = Watched::new().await;
    let hidden = watched.dir.join(".suffix.wasm.tmp");
    fs::write(&hidden, guest("suffix_v1")).unwrap();
    fs::rename(&hidden, watched.path("suffix")).unwrap();
    watched.expect(Happened::Loaded, "suffix").await;
    fs::rename(watched.path("suffix"), watched.path("ending")).unwrap();
    // Both in either order: one stem is gone, another has come.
    let (first, second) = (watched.next().await, watched.next().await);
    let mut happened = [(first.happened, first.stem), (second.happened, second.stem)];
    happened.sort_by_key(|(_, stem)| stem.to_string());
    assert_eq!(happened, [(Happened::Loaded, "ending".into()), (Happened::Unloaded, "suffix".into())]);
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
}

#[tokio::test]
async fn a_file_that_is_a_link_follows_what_it_leads_to() {
    let mut watched = Watched::new().await;
    let versions = watched.root.path().join("versions");
    fs::create_dir(&versions).unwrap();
    for version in ["suffix_v1", "suffix_v2"] {
        fs::write(versions.join(version), guest(version)).unwrap();
    }
    for (version, happened, expected) in
        [("suffix_v1", Happened::Loaded, "a-v1"), ("suffix_v2", Happened::Replaced, "a-v2")]
    {
        let new = watched.dir.join(".new");
        std::os::unix::fs::symlink(versions.join(version), &new).unwrap();
        fs::rename(&new, watched.path("suffix")).unwrap();
        watched.expect(happened, "suffix").await;
        assert_eq!(watched.suffixed().await.unwrap(), expected);
    }
    // No event tells of what happens behind the link: the folder is looked at every few seconds.
    fs::write(versions.join("suffix_v2"), guest("suffix_v1")).unwrap();
    watched.expect(Happened::Replaced, "suffix").await;
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
}

#[tokio::test]
async fn many_events_are_one_reload_of_the_final_bytes() {
    let mut watched = Watched::new().await;
    let versions = [guest("suffix_v1"), guest("suffix_v2")];
    for round in 0..100 {
        watched.write("suffix", &versions[round % 2]);
    }
    let mut events = vec![watched.next().await];
    while watched.suffixed().await != Ok("a-v2".to_owned()) {
        events.push(watched.next().await);
    }
    assert!(events.len() <= 10 && events.iter().all(|event| event.happened != Happened::Refused), "{events:?}");
}

#[tokio::test]
async fn a_folder_made_later_and_a_swapped_link_are_followed() {
    let root = tempfile::tempdir().unwrap();
    for (folder, name) in [("one", "suffix_v1"), ("two", "suffix_v2")] {
        fs::create_dir(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join("suffix.wasm"), guest(name)).unwrap();
    }
    let dir = root.path().join("plugins");
    let mut watched = Watched::on(root, dir).await;
    let link = |target: &str, root: &Path| {
        let (new, dir) = (root.join("new"), root.join("plugins"));
        std::os::unix::fs::symlink(target, &new).unwrap();
        fs::rename(new, dir).unwrap();
    };
    link("one", watched.root.path());
    watched.expect(Happened::Loaded, "suffix").await;
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
    link("two", watched.root.path());
    watched.expect(Happened::Replaced, "suffix").await;
    assert_eq!(watched.suffixed().await.unwrap(), "a-v2");
    // The folder behind the link is the one that is watched now.
    fs::write(watched.root.path().join("two/suffix.wasm"), guest("suffix_v1")).unwrap();
    watched.expect(Happened::Replaced, "suffix").await;
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
    fs::remove_file(watched.root.path().join("plugins")).unwrap();
    watched.expect(Happened::Unloaded, "suffix").await;
}

#[tokio::test]
async fn a_standard_plugin_is_replaced_by_a_file_and_comes_back() {
    let mut watched = Watched::new().await;
    assert!(watched.catalog.snapshot().info("trim").is_ok());
    watched.write("trim", &guest("suffix_v1"));
    watched.expect(Happened::Replaced, "trim").await;
    assert!(watched.catalog.snapshot().info("trim").is_err());
    assert_eq!(watched.suffixed().await.unwrap(), "a-v1");
    fs::remove_file(watched.path("trim")).unwrap();
    watched.expect(Happened::Replaced, "trim").await;
    assert!(watched.catalog.snapshot().info("trim").is_ok());
}

#[tokio::test]
async fn reload_now_looks_without_a_watch() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = start(dir.path()).await;
    let path = dir.path().join("suffix.wasm");
    for (bytes, expected) in [(guest("suffix_v1"), "a-v1"), (guest("suffix_v2"), "a-v2"), (b"bad".to_vec(), "a-v2")] {
        fs::write(&path, bytes).unwrap();
        catalog.reload_now().await;
        assert_eq!(suffixed(catalog.snapshot().as_ref()).await.unwrap(), expected);
    }
    assert_eq!(catalog.failures().len(), 1);
    fs::remove_file(&path).unwrap();
    catalog.reload_now().await;
    assert!(catalog.failures().is_empty());
    assert_eq!(suffixed(catalog.snapshot().as_ref()).await, Err("plugin.unknown_function"));
}
