//! Plugins: what the standard ones do, what happens to bad ones (I10), and the commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidelock::config::{PluginLimits, PluginSettings};
use tidelock::plugin::{CallContext, Catalog, CatalogSettings, Catalogue, FunctionRef, PluginError, Plugins};
use tidelock::value::Value;

use crate::standard_plugins::STANDARD;

/// A component of `tests/guests`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    read(&format!("tests/guests/{name}.wasm"))
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Compiled once per checkout, not once per test.
pub(crate) fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")
}

/// A catalogue on a folder.
pub(crate) async fn start(dir: &Path) -> Arc<Catalog> {
    start_with(dir, PluginLimits::default(), cache_dir()).await
}

pub(crate) async fn start_with(dir: &Path, limits: PluginLimits, cache_dir: PathBuf) -> Arc<Catalog> {
    let plugins = PluginSettings { limits, ..PluginSettings::new(dir.to_owned()) };
    let compiler = PathBuf::from(env!("CARGO_BIN_EXE_tidelock"));
    Catalog::start(CatalogSettings { plugins, compiler, cache_dir }).await.unwrap()
}

/// A folder with these guests, and a catalogue on it.
pub(crate) async fn with_guests(names: &[&str]) -> (TempDir, Arc<Catalog>) {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(dir.path().join(format!("{name}.wasm")), guest(name)).unwrap();
    }
    let catalog = start(dir.path()).await;
    assert!(catalog.failures().is_empty(), "{:?}", catalog.failures());
    (dir, catalog)
}

pub(crate) fn function(name: &str, params: &str) -> FunctionRef {
    FunctionRef { name: name.to_owned(), params: params.to_owned() }
}

/// Text or the error's code, per value.
type Answers = Vec<Result<Option<String>, String>>;

/// Calls a function with texts and nulls.
pub(crate) async fn call(
    plugins: &dyn Plugins,
    name: &str,
    params: &str,
    values: &[Option<&str>],
) -> Result<Answers, PluginError> {
    let input = values.iter().map(|value| value.map_or(Value::Null, |text| Value::Text(text.to_owned()))).collect();
    let context = CallContext { pair: "test".into(), ..CallContext::none() };
    let rows = plugins.transform(&function(name, params), &context, input).await?;
    Ok(rows.into_iter().map(|row| row.map(|value| value.to_text()).map_err(|error| error.code)).collect())
}

fn ok(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

fn err(code: &str) -> Result<Option<String>, String> {
    Err(code.to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn other_kinds_reach_a_function_of_text_as_text() {
    let (_dir, catalog) = with_guests(&["simple_reverse"]).await;
    let set = catalog.snapshot();
    for name in ["trim", "reverse_text"] {
        let input = vec![Value::Int(-12), Value::Text("ab".into()), Value::Null, Value::Boolean(true), Value::Date(0)];
        let rows = set.transform(&function(name, "{}"), &CallContext::none(), input).await.unwrap();
        let texts: Vec<Option<String>> = rows.into_iter().map(|row| row.unwrap().to_text()).collect();
        let expected = match name {
            "trim" => ["-12", "ab", "", "true", "1970-01-01"],
            _ => ["21-", "ba", "", "eurt", "10-10-0791"],
        };
        assert_eq!(texts, expected.map(|text| (!text.is_empty()).then(|| text.to_owned())), "{name}");
    }
}

#[tokio::test]
async fn the_easy_interface_works_with_errors_per_value() {
    let (_dir, catalog) = with_guests(&["simple_reverse"]).await;
    let answers = call(catalog.snapshot().as_ref(), "reverse_text", "", &[Some("añb"), Some("fail"), None]).await;
    assert_eq!(answers.unwrap(), [ok("bña"), err("refused"), Ok(None)]);
}

#[tokio::test]
async fn every_kind_of_misbehaviour_is_an_error_value() {
    let (_dir, catalog) = with_guests(&["misbehave"]).await;
    let set = catalog.snapshot();
    for (name, code) in [
        ("loop_forever", "deadline"),
        ("hog_memory", "memory"),
        ("huge_output", "memory"),
        ("trap_always", "trap"),
        ("stack_overflow", "trap"),
        ("wrong_rows", "bad-output"),
        ("bad_utf8", "bad-output"),
        ("bad_offsets", "bad-output"),
        ("bad_bitmap", "bad-output"),
        ("out_of_range_error", "bad-output"),
        ("call_error", "always-fails"),
    ] {
        let answers = call(set.as_ref(), name, "{}", &[Some("one"), Some("two")]).await.unwrap();
        assert_eq!(answers, [err(code), err(code)], "{name}");
        // Host and plugin are as well as before.
        let after = call(set.as_ref(), "error_rows", "{}", &[Some("even"), Some("odd")]).await.unwrap();
        assert_eq!(after, [ok("even"), err("odd-length")], "after {name}");
    }
}

#[tokio::test]
async fn only_the_guilty_rows_fail() {
    let (_dir, catalog) = with_guests(&["misbehave"]).await;
    let is_poison = |row: usize| row % 97 == 5 || row == 999;
    let values: Vec<Option<&str>> =
        (0..1_000).map(|row| Some(if is_poison(row) { "poison" } else { "good" })).collect();
    for _ in 0..3 {
        let answers = call(catalog.snapshot().as_ref(), "trap_on_poison", "{}", &values).await.unwrap();
        for (row, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, if is_poison(row) { err("trap") } else { ok("good!") }, "row {row}");
        }
    }
}

#[tokio::test]
async fn a_slow_batch_is_split_and_nobody_is_blamed() {
    let (_dir, catalog) = with_guests(&["misbehave"]).await;
    let values = vec![Some("x"); 40];
    let answers = call(catalog.snapshot().as_ref(), "slow", "{}", &values).await.unwrap();
    assert_eq!(answers, vec![ok("x"); 40]);
}

#[tokio::test]
async fn a_function_that_always_fails_is_not_called_for_ever() {
    let (_dir, catalog) = with_guests(&["misbehave"]).await;
    let set = catalog.snapshot();
    let values = vec![Some("x"); 4_000];
    let error = call(set.as_ref(), "trap_always", "{}", &values).await.unwrap_err();
    assert_eq!(error.code, "plugin.breaker_open");
    let error = call(set.as_ref(), "misbehave/trap_always", "{}", &[Some("x")]).await.unwrap_err();
    assert_eq!(error.code, "plugin.breaker_open");
    // The breaker is the function's own.
    assert_eq!(call(set.as_ref(), "trap_on_poison", "{}", &[Some("x")]).await.unwrap(), [ok("x!")]);
}

#[tokio::test]
async fn limits_are_those_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("misbehave.wasm"), guest("misbehave")).unwrap();
    let limits = PluginLimits { call_ms: 40, memory_bytes: 8 << 20, ..PluginLimits::default() };
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    let set = catalog.snapshot();
    let started = Instant::now();
    assert_eq!(call(set.as_ref(), "loop_forever", "{}", &[Some("x")]).await.unwrap(), [err("deadline")]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let context = CallContext::none();
    let rows = set.transform(&function("hog_memory", "{}"), &context, vec![Value::Text("x".into())]).await.unwrap();
    let error = rows[0].clone().unwrap_err();
    assert!(error.code == "memory" && error.message.contains("8 MiB"), "{error:?}");
    let limits = PluginLimits { file_bytes: 1_000, ..limits };
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    assert_eq!(catalog.failures()["misbehave"].error.code, "plugin.too_large");
}

#[tokio::test]
async fn a_compilation_is_limited_and_its_result_kept() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let starved = PluginLimits { compile_memory_bytes: 1 << 20, ..PluginLimits::default() };
    let catalog = start_with(dir.path(), starved, cache.path().to_owned()).await;
    for (name, _) in STANDARD {
        let error = catalog.failures()[name].error.clone();
        assert!(error.code == "plugin.compile_limit" && error.message.contains("1 MiB"), "{error}");
    }
    let files = || std::fs::read_dir(cache.path().join("plugins")).unwrap().map(|entry| entry.unwrap().path());
    let images = || files().filter(|path| path.extension().is_some_and(|kind| kind == "cwasm")).count();
    assert_eq!(files().count(), 0, "nothing is left behind");
    // Once it is compiled, no compiler is needed.
    let catalog = start_with(dir.path(), PluginLimits::default(), cache.path().to_owned()).await;
    assert!(catalog.failures().is_empty());
    assert_eq!(images(), STANDARD.len());
    let catalog = start_with(dir.path(), starved, cache.path().to_owned()).await;
    assert!(catalog.failures().is_empty());
}

#[tokio::test]
async fn functions_are_addressed_by_name_or_by_plugin_and_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.wasm"), guest("suffix_v1")).unwrap();
    std::fs::write(dir.path().join("two.wasm"), guest("suffix_v2")).unwrap();
    let catalog = start(dir.path()).await;
    let set = catalog.snapshot();
    let error = set.info("add_suffix").unwrap_err();
    assert_eq!(error.code, "plugin.ambiguous");
    assert!(error.message.contains("`one/add_suffix`") && error.message.contains("`two/add_suffix`"), "{error}");
    assert_eq!(call(set.as_ref(), "one/add_suffix", "{}", &[Some("a")]).await.unwrap(), [ok("a-v1")]);
    assert_eq!(call(set.as_ref(), "two/add_suffix", "{}", &[Some("a")]).await.unwrap(), [ok("a-v2")]);
    for (name, near) in [("format_fone", "`format_phone`"), ("one/add_sufix", "`one/add_suffix`"), ("zzz", "")] {
        let error = set.info(name).unwrap_err();
        assert_eq!(error.code, "plugin.unknown_function");
        assert_eq!(error.message.contains("did you mean"), !near.is_empty(), "{error}");
        assert!(error.message.contains(near), "{error}");
    }
}

#[tokio::test]
async fn parameters_are_tried_before_anything_runs() {
    let (_dir, catalog) = with_guests(&["simple_reverse"]).await;
    let set = catalog.snapshot();
    for (name, params, code) in [
        ("format_phone", r#"{"region":"XX"}"#, Some("plugin.invalid_params")),
        ("format_phone", "[]", Some("plugin.invalid_params")),
        ("format_phone", "", None),
        ("reverse_text", "{}", None),
        ("nothing", "{}", Some("plugin.unknown_function")),
    ] {
        let probed = set.probe(&function(name, params)).await;
        assert_eq!(probed.err().map(|error| error.code), code, "{name} {params}");
    }
}

/// Runs the program on the shared cache of compiled plugins.
pub(crate) fn tidelock(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidelock"))
        .args(arguments)
        .arg("--plugin-cache")
        .arg(cache_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing closes the pipe.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A component that imports an empty instance of this name.
fn importing(name: &str) -> Vec<u8> {
    let name = [&[1, 0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[5, 0]].concat();
    let import = [&[10, u8::try_from(name.len()).unwrap()], name.as_slice()].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &[7, 3, 1, 0x42, 0], &import].concat()
}

#[test]
fn check_says_why_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = guest("suffix_v1");
    for (name, bytes, code) in [
        ("fine", whole.clone(), None),
        ("text", b"#!/bin/sh\n".to_vec(), Some("plugin.not_wasm")),
        ("core", b"\0asm\x01\0\0\0".to_vec(), Some("plugin.not_component")),
        ("half", whole[..whole.len() / 2].to_vec(), Some("plugin.truncated")),
        ("hollow", b"\0asm\x0d\0\x01\0".to_vec(), Some("plugin.missing_export")),
        ("garbage", b"\0asm\x0d\0\x01\0\x07\x02\xff\xff".to_vec(), Some("plugin.invalid")),
        ("wasi", importing("wasi:cli/environment@0.2.0"), Some("plugin.forbidden_import")),
        ("newer", importing("tidelock:plugin/log@0.2.0"), Some("plugin.contract_version")),
        ("describe_loops", guest("describe_loops"), Some("plugin.describe_failed")),
        ("start_loops", guest("start_loops"), Some("plugin.describe_failed")),
        ("bad_example", guest("bad_example"), Some("plugin.example_failed")),
    ] {
        let path = dir.path().join(format!("{name}.wasm"));
        std::fs::write(&path, bytes).unwrap();
        let output = tidelock(&["plugin", "check", path.to_str().unwrap(), "--json"], "");
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["accepted"], code.is_none(), "{name}: {verdict}");
        assert_eq!(verdict["code"].as_str(), code, "{name}: {verdict}");
        assert_eq!(output.status.code(), Some(i32::from(code.is_some())), "{name}");
        let output = tidelock(&["plugin", "check", path.to_str().unwrap()], "");
        assert!(code.is_none_or(|code| text(&output.stderr).contains(code)), "{name}: {}", text(&output.stderr));
    }
    assert_eq!(tidelock(&["plugin", "check", "/nowhere.wasm"], "").status.code(), Some(2));
}

#[test]
fn call_answers_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let arguments = ["plugin", "call", "format_phone", "--params", r#"{"region":"US"}"#, "--plugins", folder];
    let output = tidelock(&arguments, "\"(415) 555-2671\"\nnull\n\"x\"\nnot json\n4155552671\n\"+4930901820\"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0]["value"], "+14155552671");
    assert_eq!(lines[1], serde_json::json!({"value": null}));
    assert_eq!(lines[2]["error"]["code"], "invalid-phone");
    assert_eq!(lines[3]["error"]["code"], "plugin.bad_json");
    assert_eq!(lines[4]["value"], "+14155552671");
    assert_eq!(lines[5]["value"], "+4930901820");
    let unknown = tidelock(&["plugin", "call", "format_fone", "--plugins", folder], "1\n");
    assert_eq!((unknown.status.code(), text(&unknown.stdout)), (Some(2), ""));
    assert!(text(&unknown.stderr).contains("format_phone"));
}

#[test]
fn list_names_functions_and_says_what_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suffix.wasm"), guest("suffix_v1")).unwrap();
    std::fs::write(dir.path().join("trim.wasm"), "broken").unwrap();
    let output = tidelock(&["plugin", "list", "--json", "--plugins", dir.path().to_str().unwrap()], "");
    assert!(output.status.success());
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows.iter().find(|row| row["name"] == "add_suffix").unwrap();
    assert_eq!((&row["plugin"], &row["idempotent"]), (&"suffix".into(), &true.into()));
    assert_eq!(row["digest"], hex(&guest("suffix_v1")));
    // A standard plugin does not silently stand in for a file that was to replace it.
    assert!(rows.iter().all(|row| row["name"] != "trim"));
    assert!(text(&output.stderr).contains("trim.wasm is refused"));
    let unknown = tidelock(&["plugin", "call", "trim", "--plugins", dir.path().to_str().unwrap()], "");
    assert!(text(&unknown.stderr).contains("`trim.wasm` was refused"), "{}", text(&unknown.stderr));
}
