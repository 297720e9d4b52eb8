//! Limits at other values than their defaults, each as a configuration file says it: what passes by default fails under the limit, with the code that
//! names it, or the other way round.
//!
//! The guest is text here, as no language of the other guests can grow a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tidelock::config::{PluginLimits, Registry, load_with_environment};
use tidelock::connector::registry::{PLANNED_SYSTEM_TYPES, SYSTEM_TYPES};
use tidelock::plugin::Catalogue;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::harness::{Database, Tidelock};
use crate::plugin::{cache_dir, call, start_with};

/// Where the description lies in the guest's memory.
const DATA: u32 = 1_024;
/// Names of the functions: the guest tells them apart by their length.
const FUNCTIONS: [&str; 8] =
    ["grow_table", "grow_memory", "recurse", "say_much", "say_rows", "grow_table_by_steps", "burn", "chats"];

/// Texts and lists as they lie in memory.
#[derive(Default)]
struct Image(Vec<u8>);

impl Image {
    /// Puts bytes at an address that is a multiple of four.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let at = DATA + u32::try_from(self.0.len()).unwrap();
        self.0.extend_from_slice(bytes);
        at
    }

    /// Address and length of a text.
    fn text(&mut self, text: &str) -> [u32; 2] {
        [self.put(text.as_bytes()), u32::try_from(text.len()).unwrap()]
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }
}

/// A `plugin-info` of the functions, each a simple transform of texts: its address, and what lies in memory.
fn description() -> (u32, Vec<u8>) {
    let mut image = Image::default();
    let (role, text) = (image.text("field-transform"), image.text("text"));
    let inputs = [image.words(&text), 1];
    let mut functions = Vec::new();
    for name in FUNCTIONS {
        let name = image.text(name);
        // Neither deterministic nor idempotent; no reverse, schema or examples.
        functions.extend([name, [0, 0], role, inputs, text, [0, 0], [0, 0], [0, 0]].concat());
        functions.push(0);
        assert_eq!(functions.len() % 17, 0);
    }
    let functions = [image.words(&functions), u32::try_from(FUNCTIONS.len()).unwrap()];
    let (name, version) = (image.text("limits"), image.text("1"));
    let info = image.words(&[name, version, functions, [0, 0]].concat());
    (info, image.0)
}

/// The guest. `apply` has the fields of the context, function, parameters, kind and values as its parameters.
fn component() -> Vec<u8> {
    let (info, data) = description();
    let data = data.iter().fold(String::new(), |mut escaped, byte| {
        write!(escaped, "\\{byte:02x}").unwrap();
        escaped
    });
    let module = include_str!("../data/limits.wat").replace("$INFO", &info.to_string()).replace("$DATA", &data);
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("simple-transform-plugin")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// What a function makes of so many short texts under these limits: a length or the error's code, per value.
async fn lengths(component: &[u8], limits: PluginLimits, name: &str, rows: usize) -> Vec<Result<usize, String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limits.wasm"), component).unwrap();
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    assert!(catalog.failures().is_empty(), "{:?}", catalog.failures());
    let answers = call(catalog.snapshot().as_ref(), name, "{}", &vec![Some("x"); rows]).await.unwrap();
    answers.into_iter().map(|answer| answer.map(|text| text.map_or(0, |text| text.len()))).collect()
}

/// `plugins.limits` of a configuration file.
pub(crate) fn configured(limits: &Value) -> PluginLimits {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.json");
    let config = json!({"syncs": [sync()], "plugins": {"limits": limits}});
    std::fs::write(&path, config.to_string()).unwrap();
    let registry = Registry { system_types: SYSTEM_TYPES, planned_system_types: PLANNED_SYSTEM_TYPES };
    load_with_environment(&[path], &registry, &|_| None).unwrap().config.plugins.limits
}

fn sync() -> Value {
    let end = |path: &str| json!({"type": "sqlite", "path": path, "table": "notes"});
    json!({"connection_name": "notes", "source": end("a.db"), "target": end("b.db"), "field_mappings": [
        {"source": "id", "target": "id"},
        {"source": "text", "target": "text", "transformation": "chats"},
    ]})
}

#[tokio::test]
async fn every_limit_of_a_call_holds_at_the_value_that_is_configured() {
    let component = component();
    let cases = [
        (json!({"table_elements": 10_000}), "grow_table", "memory"),
        (json!({"table_elements": 10_000}), "grow_table_by_steps", "memory"),
        (json!({"memory_bytes": 16 << 20}), "grow_memory", "memory"),
        (json!({"stack_bytes": 64 << 10}), "recurse", "trap"),
        (json!({"value_bytes": 10_000}), "say_much", "output-limit"),
        (json!({"output_bytes": 64 << 10}), "say_much", "output-limit"),
    ];
    for (limits, function, code) in cases {
        let length = if function == "say_much" { 65_530 } else { 0 };
        let by_default = lengths(&component, configured(&json!({})), function, 1).await;
        assert_eq!(by_default, [Ok(length)], "{function} by default");
        let limited = lengths(&component, configured(&limits), function, 1).await;
        assert_eq!(limited, [Err(code.to_owned())], "{function} with {limits}");
    }
}

/// Work that no machine does within the time that it has by default. It passes where it has a minute, whichever key says so.
#[tokio::test]
async fn a_call_has_the_time_that_is_configured() {
    let component = component();
    let minute = 60_000;
    let a_second_a_row = 1_000_000;
    let cases = [
        (json!({}), 1, false),
        (json!({"max_call_ms": minute}), 1, false),
        (json!({"max_call_ms": minute, "call_ms": minute}), 1, true),
        (json!({"max_call_ms": minute, "row_us": a_second_a_row}), 60, true),
        (json!({"max_call_ms": 400, "call_ms": minute, "row_us": a_second_a_row}), 1, false),
    ];
    for (limits, rows, passes) in cases {
        let expected = if passes { Ok(0) } else { Err("deadline".to_owned()) };
        assert_eq!(lengths(&component, configured(&limits), "burn", rows).await, vec![expected; rows], "{limits}");
    }
}

#[tokio::test]
async fn a_call_logs_as_much_as_is_configured() {
    for (limits, lines) in
        [(json!({}), 20), (json!({"log_lines": 4}), 4), (json!({"log_bytes": 12}), 3), (json!({"log_lines": 0}), 0)]
    {
        let tidelock = Tidelock::new();
        let folder = tidelock.folder.path();
        std::fs::create_dir(folder.join("plugins")).unwrap();
        std::fs::write(folder.join("plugins/limits.wasm"), component()).unwrap();
        for name in ["a.db", "b.db"] {
            let database = Database::sqlite(folder, name).await;
            database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)").await;
            database.execute(if name == "a.db" { "INSERT INTO notes VALUES (1, 'x')" } else { "SELECT 1" }).await;
        }
        tidelock.configure(&json!({"syncs": [sync()], "plugins": {"limits": limits}}));
        let log = tidelock.once(0).errors;
        let said: Vec<&str> = log.lines().filter(|line| line.contains("chats")).collect();
        assert_eq!(said.len(), lines, "{limits}: {log}");
        let last = said.last().is_none_or(|line| line.contains("further lines of this call are dropped"));
        assert!(last, "{limits}: {log}");
    }
}

#[tokio::test]
async fn a_file_is_as_large_as_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limits.wasm"), component()).unwrap();
    let catalog = start_with(dir.path(), configured(&json!({"file_bytes": 1_000})), cache_dir()).await;
    let error = catalog.failures()["limits"].error.clone();
    assert!(error.code == "plugin.too_large" && error.message.contains("`plugins.limits` allows 1000"), "{error}");
}

#[tokio::test]
async fn a_table_bomb_harms_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limits.wasm"), component()).unwrap();
    let limits = configured(&json!({"table_elements": 1_000}));
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    let set = catalog.snapshot();
    let context = tidelock::plugin::CallContext::none();
    let bomb = crate::plugin::function("grow_table_by_steps", "{}");
    let rows = set.transform(&bomb, &context, vec![tidelock::value::Value::Text("x".into())]).await.unwrap();
    let error = rows[0].clone().unwrap_err();
    assert!(error.code == "memory" && error.message.contains("1000 entries"), "{error:?}");
    // A function of the same plugin, in an instance of its own.
    assert_eq!(call(set.as_ref(), "say_rows", "{}", &[Some("x")]).await.unwrap(), [Ok(Some("y".to_owned()))]);
}

#[tokio::test]
async fn calls_have_the_rows_that_are_configured() {
    let limits = configured(&json!({"call_rows": 10}));
    let (component, mut seen) = (component(), BTreeMap::new());
    for length in lengths(&component, limits, "say_rows", 25).await {
        *seen.entry(length.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(5, 5), (10, 20)]);
    assert_eq!(lengths(&component, PluginLimits::default(), "say_rows", 25).await, vec![Ok(25); 25]);
}

#[tokio::test]
async fn violations_and_messages_are_bounded_as_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["misbehave", "misbehave_records"] {
        std::fs::write(dir.path().join(format!("{name}.wasm")), crate::plugin::guest(name)).unwrap();
    }
    let context = tidelock::plugin::CallContext::none();
    let by_default = PluginLimits::default();
    let many = crate::plugin::function("va_many", "{}");
    // 150 violations of the first record, with messages of thousands of characters.
    for (row_violations, message_chars) in [(by_default.row_violations, by_default.message_chars), (149, 40), (150, 40)]
    {
        let limits = configured(&json!({"row_violations": row_violations, "message_chars": message_chars}));
        let catalog = start_with(dir.path(), limits, cache_dir()).await;
        let set = catalog.snapshot();
        let record = |value: &str| {
            let value = tidelock::value::Value::Text(value.to_owned());
            tidelock::record::Record::of([("a", value)])
        };
        let rows = set.validate(&many, &context, vec![record("x"), record("y")]).await.unwrap();
        assert_eq!(rows[1], Ok(Vec::new()), "another record has its own count");
        match &rows[0] {
            Ok(found) => {
                assert_eq!((found.len(), row_violations), (150, 150));
                assert!(found.iter().all(|one| one.message.chars().count() == message_chars + 1), "{:?}", found[0]);
            }
            Err(error) => {
                assert!(row_violations < 150 && error.code == "output-limit", "{error:?}");
                assert!(error.message.chars().count() <= message_chars + 1, "{error:?}");
            }
        }
    }
    // So is the message of a failed value.
    let limits = configured(&json!({"message_chars": 6}));
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    let odd = crate::plugin::function("error_rows", "{}");
    let rows = catalog.snapshot().transform(&odd, &context, vec![tidelock::value::Value::Text("x".into())]).await;
    assert_eq!(rows.unwrap()[0].clone().unwrap_err().message, "an odd…");
}
