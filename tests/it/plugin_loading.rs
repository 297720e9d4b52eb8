//! Loading plugins: laws that are broken, parameters against schemas, grants of WASI, compilations that cost too much, and versions that
//! are taken back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tidelock::config::{PluginRollback, PluginSettings};
use tidelock::plugin::{
    CallContext, Catalog, CatalogSettings, Catalogue, FunctionRef, Happened, PluginError, Plugins, ValueError,
};
use tidelock::value::Value;

use crate::harness::Tidelock;
use crate::plugin::{cache_dir, call, guest, start};
use crate::plugin_limits::configured;

async fn start_on(plugins: PluginSettings, cache_dir: PathBuf) -> Arc<Catalog> {
    let compiler = PathBuf::from(env!("CARGO_BIN_EXE_tidelock"));
    Catalog::start(CatalogSettings { plugins, compiler, cache_dir }).await.unwrap()
}

fn put(dir: &Path, stem: &str, bytes: &[u8]) {
    fs::write(dir.join(format!("{stem}.wasm")), bytes).unwrap();
}

#[tokio::test]
async fn a_plugin_that_breaks_a_law_it_declares_is_refused_with_the_smallest_example() {
    let dir = tempfile::tempdir().unwrap();
    for liar in ["lies_idempotent", "lies_reverse", "lies_deterministic"] {
        put(dir.path(), liar, &guest(liar));
    }
    let catalog = start(dir.path()).await;
    let failures = catalog.failures();
    let reason = |liar: &str| {
        let error = &failures[liar].error;
        assert_eq!(error.code, "plugin.law_broken", "{error}");
        error.message.clone()
    };
    assert_eq!(
        reason("lies_idempotent"),
        r#"`double_q` is declared idempotent, but double_q("q") is "qq", and double_q of that is "qqqq""#
    );
    assert_eq!(
        reason("lies_reverse"),
        r#"`shout` is declared to be undone by `whisper`, but shout("A") is "A", and whisper of that is "a""#
    );
    assert!(reason("lies_deterministic").starts_with("`number` is declared deterministic, but"));
    // The others are what they say, and none takes long to load.
    assert_eq!(failures.len(), 3);
    let took: Vec<(String, u64)> =
        catalog.current().details().into_iter().map(|plugin| (plugin.plugin, plugin.load_ms)).collect();
    eprintln!("loaded in ms: {took:?}");
}

/// What WASI answers to these questions, in a catalogue that granted it.
async fn asked(catalog: &Catalog, now_micros: i64, questions: &[&str]) -> Vec<Result<String, String>> {
    let context = CallContext { now_micros, ..CallContext::none() };
    let input = questions.iter().map(|question| Value::Text((*question).to_owned())).collect();
    let function = FunctionRef { name: "ask_wasi".to_owned(), params: "{}".to_owned() };
    let rows = catalog.snapshot().transform(&function, &context, input).await.unwrap();
    rows.into_iter().map(|row| row.map(|value| value.to_text().unwrap()).map_err(|error| error.code)).collect()
}

async fn granted(grants: &[&str]) -> (TempDir, Arc<Catalog>) {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "asks_wasi", &guest("asks_wasi"));
    let mut plugins = PluginSettings::new(dir.path());
    plugins.grants.insert("asks_wasi".to_owned(), grants.iter().map(|grant| (*grant).to_owned()).collect());
    let catalog = start_on(plugins, cache_dir()).await;
    (dir, catalog)
}

const ALL: [&str; 5] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

#[tokio::test]
async fn wasi_is_given_by_grant_only() {
    let (_dir, catalog) = granted(&["wasi:clocks", "wasi:io"]).await;
    let error = &catalog.failures()["asks_wasi"].error;
    assert_eq!(error.code, "plugin.forbidden_import");
    let needed = r#""grants": {"asks_wasi": ["wasi:cli", "wasi:filesystem", "wasi:random"]}"#;
    assert!(error.message.contains(needed), "{error}");
    let (_dir, catalog) = granted(&ALL).await;
    assert!(catalog.failures().is_empty(), "{:?}", catalog.failures());
}

#[test]
fn the_command_line_grants_too() {
    let file = format!("{}/tests/guests/asks_wasi.wasm", env!("CARGO_MANIFEST_DIR"));
    let check = |grants: &[&str]| {
        let grants: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
        Tidelock::new().run(&[["plugin", "check", &file].as_slice(), &grants].concat())
    };
    assert_eq!(check(&ALL).code, 0, "{}", check(&ALL).errors);
    let refused = check(&["wasi:clocks"]);
    assert!(refused.code == 1 && refused.errors.contains("\"wasi:random\""), "{}", refused.errors);
    let refused = check(&["wasi:sockets"]);
    assert!(refused.code == 2 && refused.errors.contains("wasi:filesystem"), "{}", refused.errors);
}

#[tokio::test]
async fn the_clock_stands_still_chance_repeats_itself_and_there_is_nothing_else() {
    let (_dir, catalog) = granted(&ALL).await;
    let now = 1_764_000_000_123_456;
    let answers = asked(&catalog, now, &["wall", "monotonic", "stdin", "environment", "folders"]).await;
    let expected = ["1764000000.123456000", "1764000000123456000", "closed", "[] [] None", "0"];
    assert_eq!(answers, expected.map(|answer| Ok(answer.to_owned())));
    // A year of waiting is over at once; endless printing is taken and dropped.
    let started = Instant::now();
    let answers = asked(&catalog, now, &["sleep", "print"]).await;
    assert_eq!(answers, ["true", "10000"].map(|answer| Ok(answer.to_owned())));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // The same call finds the same chance, in any instance; another value or time finds another.
    let drawn = asked(&catalog, now, &["random", "random", "bytes", "seed"]).await;
    assert!(drawn[0].is_ok() && drawn[0] != drawn[1], "{drawn:?}");
    assert_eq!(asked(&catalog, now, &["random", "random", "bytes", "seed"]).await, drawn);
    assert_ne!(asked(&catalog, now + 1, &["random", "random", "bytes", "seed"]).await[0], drawn[0]);
    let (_other, catalog) = granted(&ALL).await;
    assert_eq!(asked(&catalog, now, &["random", "random", "bytes", "seed"]).await, drawn);
    // No terabyte of chance; only the value that asks for it fails.
    let answers = asked(&catalog, now, &["wall", "many bytes", "folders"]).await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(), "{answers:?}");
}

/// So many values of `add_suffix`: texts of this length.
async fn suffixed(set: &dyn Plugins, count: usize, text: &str) -> Result<Vec<Result<Value, ValueError>>, PluginError> {
    let function = FunctionRef { name: "add_suffix".to_owned(), params: "{}".to_owned() };
    set.transform(&function, &CallContext::none(), vec![Value::Text(text.to_owned()); count]).await
}

struct Rolling {
    dir: TempDir,
    catalog: Arc<Catalog>,
}

impl Rolling {
    async fn new(rules: Option<PluginRollback>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "suffix", &guest("suffix_v1"));
        let plugins = PluginSettings { rollback: rules, ..PluginSettings::new(dir.path()) };
        let catalog = start_on(plugins, cache_dir()).await;
        Self { dir, catalog }
    }

    async fn replace(&self, name: &str) {
        put(self.dir.path(), "suffix", &guest(name));
        self.catalog.reload_now().await;
    }

    fn digest(&self) -> String {
        self.catalog.snapshot().info("add_suffix").unwrap().digest
    }
}

#[tokio::test]
async fn a_version_that_fails_more_often_than_the_one_before_is_taken_back() {
    let rolling = Rolling::new(Some(PluginRollback::default())).await;
    assert!(suffixed(rolling.catalog.snapshot().as_ref(), 100, "even").await.unwrap().iter().all(Result::is_ok));
    let first = rolling.digest();
    let mut events = rolling.catalog.subscribe();
    rolling.replace("suffix_bad").await;
    let bad = rolling.digest();
    assert_ne!(bad, first);
    assert_eq!(events.recv().await.unwrap().happened, Happened::Replaced);
    let set = rolling.catalog.snapshot();
    // Too few to judge by.
    assert!(suffixed(set.as_ref(), 49, "even").await.unwrap().iter().all(Result::is_err));
    assert_eq!(rolling.digest(), bad);
    // The call that shows it is to be made again, and so is every other that still runs on that version.
    for _ in 0..2 {
        let error = suffixed(set.as_ref(), 10, "even").await.unwrap_err();
        assert!(error.code == "plugin.rolled_back" && error.may_pass(), "{error}");
    }
    assert_eq!(rolling.digest(), first);
    assert!(suffixed(rolling.catalog.snapshot().as_ref(), 10, "even").await.unwrap().iter().all(Result::is_ok));
    let event = events.recv().await.unwrap();
    assert_eq!((event.happened, &*event.digest), (Happened::RolledBack, bad.as_str()));
    let reason = event.reason.unwrap().message;
    for part in [&bad[..12], &first[..12], "100.0 %", "0.0 % before"] {
        assert!(reason.contains(part), "{reason}");
    }
    let refused = rolling.catalog.current().refused();
    assert_eq!((refused[0].state, refused[0].digest.as_deref()), ("rolled_back", Some(bad.as_str())));
    // The same bytes are not tried again, whatever lies between; others are.
    rolling.replace("suffix_bad").await;
    assert_eq!(rolling.digest(), first);
    rolling.replace("suffix_v2").await;
    let second = rolling.digest();
    assert!(second != first && second != bad && rolling.catalog.failures().is_empty());
    rolling.replace("suffix_bad").await;
    assert_eq!(rolling.digest(), second);
    assert_eq!(rolling.catalog.failures()["suffix"].error.code, "plugin.rolled_back");
}

#[tokio::test]
async fn a_version_is_not_taken_back_for_what_the_one_before_did_too_or_after_its_window() {
    // Half of all values fail in both versions.
    let rolling = Rolling::new(Some(PluginRollback { window_values: 200, error_rate: 0.2 })).await;
    rolling.replace("suffix_bad").await;
    let set = rolling.catalog.snapshot();
    assert!(suffixed(set.as_ref(), 200, "odd").await.unwrap().iter().all(Result::is_ok));
    // Through its window: what comes now is the values' fault.
    assert!(suffixed(set.as_ref(), 500, "even").await.unwrap().iter().all(Result::is_err));
    assert_eq!(rolling.digest(), set.info("add_suffix").unwrap().digest);
    // Switched off.
    let rolling = Rolling::new(None).await;
    rolling.replace("suffix_bad").await;
    assert!(suffixed(rolling.catalog.snapshot().as_ref(), 500, "even").await.unwrap().iter().all(Result::is_err));
    assert!(rolling.catalog.failures().is_empty());
}

#[tokio::test]
async fn a_new_version_that_cannot_be_called_at_all_is_taken_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "suffix", &guest("suffix_v1"));
    let catalog = start_on(PluginSettings::new(dir.path()), cache_dir()).await;
    suffixed(catalog.snapshot().as_ref(), 1, "a").await.unwrap();
    put(dir.path(), "suffix", &guest("suffix_traps"));
    catalog.reload_now().await;
    let error = suffixed(catalog.snapshot().as_ref(), 100, "aa").await.unwrap_err();
    assert_eq!(error.code, "plugin.rolled_back");
    assert!(suffixed(catalog.snapshot().as_ref(), 100, "aa").await.unwrap().iter().all(Result::is_ok));
    assert_eq!(catalog.failures()["suffix"].error.code, "plugin.rolled_back");
}

#[tokio::test]
async fn what_functions_do_is_counted() {
    let rolling = Rolling::new(None).await;
    rolling.replace("suffix_bad").await;
    let set = rolling.catalog.snapshot();
    suffixed(set.as_ref(), 30, "odd").await.unwrap();
    suffixed(set.as_ref(), 20, "even").await.unwrap();
    let details = rolling.catalog.current().details();
    let plugin = details.iter().find(|plugin| plugin.plugin == "suffix").unwrap();
    let counts = plugin.functions[0].counts;
    assert_eq!((counts.calls, counts.values, counts.errors), (2, 50, 20));
    assert!(counts.ns_per_value.unwrap() > 0 && plugin.state == "in_use");
}

/// A component of one core module with so many functions, each of so many additions: cheap to write, dear to compile.
fn dear(functions: u32, additions: usize) -> Vec<u8> {
    let body: Vec<u8> = {
        // local.get 0, (local.get 0, i32.add, i32.const 1, i32.xor)*, end
        let step = [0x20, 0, 0x6a, 0x41, 1, 0x73];
        let code = [[0, 0x20, 0].as_slice(), &step.repeat(additions), &[0x0b]].concat();
        [leb(code.len()), code].concat()
    };
    let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
    let count = leb(usize::try_from(functions).unwrap());
    let types = section(1, vec![1, 0x60, 1, 0x7f, 1, 0x7f]);
    let declared = section(3, [count.clone(), vec![0; usize::try_from(functions).unwrap()]].concat());
    let code = section(10, [count, body.repeat(usize::try_from(functions).unwrap())].concat());
    let module = [b"\0asm\x01\0\0\0".as_slice(), &types, &declared, &code].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, module)].concat()
}

/// Unsigned LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

#[tokio::test]
async fn a_component_that_is_dear_to_compile_is_refused_and_nobody_waits_for_it() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(dir.path(), "suffix", &guest("suffix_v1"));
    let mut plugins = PluginSettings::new(dir.path());
    drop(start_on(plugins.clone(), cache.path().to_owned()).await);
    plugins.limits = configured(&json!({"compile_seconds": 1}));
    let catalog = start_on(plugins.clone(), cache.path().to_owned()).await;
    // Some hundred kilobytes that take many seconds.
    put(dir.path(), "dear", &dear(20, 20_000));
    let reload = {
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move { catalog.reload_now().await })
    };
    let mut calls = 0;
    while !reload.is_finished() {
        assert_eq!(call(catalog.snapshot().as_ref(), "add_suffix", "{}", &[Some("a")]).await.unwrap().len(), 1);
        calls += 1;
    }
    reload.await.unwrap();
    assert!(calls > 10, "only {calls} calls went through meanwhile");
    let error = catalog.failures()["dear"].error.clone();
    assert!(error.code == "plugin.compile_limit" && error.message.contains("1 s of CPU"), "{error}");
    // And one that takes more memory than it may.
    plugins.limits = configured(&json!({"compile_memory_bytes": 96 << 20}));
    put(dir.path(), "dear", &dear(1, 400_000));
    let catalog = start_on(plugins, cache.path().to_owned()).await;
    let error = catalog.failures()["dear"].error.clone();
    assert!(error.code == "plugin.compile_limit" && error.message.contains("96 MiB"), "{error}");
    assert!(catalog.snapshot().info("add_suffix").is_ok());
}

/// What this process holds in memory, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1_024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// A thousand replacements, after some to warm up, while batches run without pause: each batch sees one version, none is lost, and nothing piles up.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load_lose_nothing_and_keep_nothing() {
    let rolling = Rolling::new(Some(PluginRollback::default())).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (catalog, stop) = (Arc::clone(&rolling.catalog), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut batches, mut versions) = (0_u64, std::collections::BTreeSet::new());
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let rows = suffixed(catalog.snapshot().as_ref(), 200, "a").await.unwrap();
                let texts: std::collections::BTreeSet<String> =
                    rows.into_iter().map(|row| row.unwrap().to_text().unwrap()).collect();
                assert_eq!(texts.len(), 1, "one batch, one version: {texts:?}");
                versions.extend(texts);
                batches += 1;
            }
            (batches, versions)
        })
    };
    let started = Instant::now();
    let (mut begun, mut warm) = (0, 0);
    for round in 0..1_500 {
        match round {
            20 => begun = resident(),
            500 => warm = resident(),
            _ => {}
        }
        rolling.replace(if round % 2 == 0 { "suffix_v2" } else { "suffix_v1" }).await;
        assert!(rolling.catalog.failures().is_empty(), "{:?}", rolling.catalog.failures());
    }
    let [grown, in_all] = [warm, begun].map(|before| resident().saturating_sub(before));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (batches, versions) = load.await.unwrap();
    eprintln!("1,500 reloads in {:?}, {batches} batches meanwhile, {grown} and {in_all} bytes more", started.elapsed());
    assert!(batches > 100 && versions.into_iter().eq(["a-v1", "a-v2"]));
    assert!(grown < 5 << 20, "{grown} bytes more after 1,000 reloads");
    // What each version keeps of its memory once it is gone would be 25 MB.
    assert!(in_all < 12 << 20, "{in_all} bytes more after 1,480 reloads");
}

/// The same component with another digest, so that it has to be compiled.
fn variant(bytes: &[u8], number: u8) -> Vec<u8> {
    [bytes, &[0, 3, 1, b'v', number]].concat()
}

/// How long it takes from a file in place to the first value of the new version, compiled from nothing, while batches run without
/// pause. The figures are for people; what is tested is that every batch goes through meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_while_batches_run() {
    let rolling = Rolling::new(Some(PluginRollback::default())).await;
    let _watch = rolling.catalog.watch();
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..10_u8 {
        let (name, expected) = if round % 2 == 0 { ("suffix_v2", "a-v2") } else { ("suffix_v1", "a-v1") };
        let new = rolling.dir.path().join(".new");
        fs::write(&new, variant(&guest(name), round)).unwrap();
        fs::rename(&new, rolling.dir.path().join("suffix.wasm")).unwrap();
        let placed = Instant::now();
        loop {
            let rows = suffixed(rolling.catalog.snapshot().as_ref(), 200, "a").await.unwrap();
            if rows.iter().all(|row| *row == Ok(Value::Text(expected.to_owned()))) {
                break;
            }
            assert!(placed.elapsed() < Duration::from_secs(60), "{:?}", rolling.catalog.failures());
        }
        took.push(placed.elapsed());
        // The next run compiles it anew.
        let digest = rolling.digest();
        for kept in fs::read_dir(cache_dir().join("plugins")).unwrap().map(|entry| entry.unwrap().path()) {
            if kept.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&digest)) {
                fs::remove_file(kept).unwrap();
            }
        }
    }
    took.sort();
    eprintln!("from a file in place to its first value: median {:?}, all {took:?}", took[took.len() / 2]);
}

/// What `check` says of a configuration whose transformation has these parameters: code, pointer, line, message, suggestion.
fn checked(params: &serde_json::Value) -> Vec<(String, String, u64, String, String)> {
    let tidelock = Tidelock::new();
    let endpoint =
        |name: &str| json!({"type": "sqlite", "name": name, "path": format!("{name}.db"), "table": "people"});
    tidelock.configure(&json!({
        "source": endpoint("a"),
        "target": endpoint("b"),
        "field_mappings": [
            {"source": "id", "target": "id"},
            {"source": "phone", "target": "phone", "transformation": {"name": "format_phone", "params": params}}
        ]
    }));
    let ran = tidelock.run(&["check", "sync.json", "--json"]);
    let problems = ran.lines[0]["problems"].as_array().unwrap_or_else(|| panic!("{}", ran.errors)).clone();
    let errors: Vec<_> = problems.into_iter().filter(|problem| problem["severity"] == "error").collect();
    assert_eq!(ran.code, if errors.is_empty() { 0 } else { 2 });
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    errors
        .iter()
        .map(|problem| {
            let line = problem["line"].as_u64().unwrap();
            let [code, pointer, message, suggestion] =
                ["code", "pointer", "message", "suggestion"].map(|key| text(&problem[key]));
            (code, pointer, line, message, suggestion)
        })
        .collect()
}

#[test]
fn parameters_are_checked_when_the_configuration_is_read() {
    assert!(checked(&json!({"region": "US"})).is_empty());
    let problems = checked(&json!({"regoin": "US"}));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (code, pointer, line, message, suggestion) = &problems[0];
    let place = "/field_mappings/1/transformation/params/regoin";
    assert_eq!((code.as_str(), pointer.as_str()), ("plugin.invalid_params", place));
    assert!(*line > 5 && message.contains("`regoin`"), "{line} {message}");
    assert_eq!(suggestion, "did you mean \"region\"?");
    // All at once, and no value of them is shown.
    let problems = checked(&json!({"region": 7_654_321, "colour": "red"}));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(!format!("{problems:?}").contains("7654321"), "{problems:?}");
}

#[tokio::test]
async fn what_was_judged_is_started_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    drop(start(dir.path()).await);
    let started = Instant::now();
    let catalog = start(dir.path()).await;
    eprintln!("all standard plugins from a warm cache: {:?}", started.elapsed());
    assert!(catalog.failures().is_empty());
    let kept: Vec<String> = fs::read_dir(cache_dir().join("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for plugin in catalog.current().details() {
        for kind in [".cwasm", ".passed"] {
            let found = kept.iter().any(|name| name.starts_with(&plugin.digest) && name.ends_with(kind));
            assert!(found, "{}: {kind}", plugin.plugin);
        }
    }
    // A plugin that was refused has no verdict to rely on.
    put(dir.path(), "lies_reverse", &guest("lies_reverse"));
    let digest = start(dir.path()).await.failures()["lies_reverse"].digest.clone().unwrap();
    assert!(!kept.iter().any(|name| name.starts_with(&*digest) && name.ends_with(".passed")));
}
