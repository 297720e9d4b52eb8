//! Limits at other values than their defaults: the same call passes by default and fails under the limit, with the code that names it.
//!
//! The guest is text here, as no language of the other guests can grow a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use tidelock::config::PluginLimits;
use tidelock::plugin::Catalogue;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::plugin::{cache_dir, call, start_with};

/// Where the description lies in the guest's memory.
const DATA: u32 = 1_024;
/// Names of the functions: the guest tells them apart by their length.
const FUNCTIONS: [&str; 6] = ["grow_table", "grow_memory", "recurse", "say_much", "say_rows", "grow_table_by_steps"];

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

#[tokio::test]
async fn every_limit_of_a_call_holds_at_the_value_that_is_configured() {
    let component = component();
    let by_default = PluginLimits::default();
    let cases: [(&str, PluginLimits, &str, &str); 6] = [
        ("table_elements", PluginLimits { table_elements: 10_000, ..by_default }, "grow_table", "memory"),
        ("table_elements", PluginLimits { table_elements: 10_000, ..by_default }, "grow_table_by_steps", "memory"),
        ("memory_bytes", PluginLimits { memory_bytes: 16 << 20, ..by_default }, "grow_memory", "memory"),
        ("stack_bytes", PluginLimits { stack_bytes: 64 << 10, ..by_default }, "recurse", "trap"),
        ("value_bytes", PluginLimits { value_bytes: 10_000, ..by_default }, "say_much", "output-limit"),
        ("output_bytes", PluginLimits { output_bytes: 30_000, ..by_default }, "say_much", "output-limit"),
    ];
    for (key, limits, function, code) in cases {
        let length = if function == "say_much" { 40_000 } else { 0 };
        assert_eq!(lengths(&component, by_default, function, 1).await, [Ok(length)], "{function} by default");
        assert_eq!(lengths(&component, limits, function, 1).await, [Err(code.to_owned())], "{function} with {key}");
    }
}

#[tokio::test]
async fn a_table_bomb_harms_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("limits.wasm"), component()).unwrap();
    let limits = PluginLimits { table_elements: 1_000, ..PluginLimits::default() };
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
    let limits = PluginLimits { call_rows: 10, ..PluginLimits::default() };
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
        let limits = PluginLimits { row_violations, message_chars, ..by_default };
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
    let limits = PluginLimits { message_chars: 6, ..by_default };
    let catalog = start_with(dir.path(), limits, cache_dir()).await;
    let odd = crate::plugin::function("error_rows", "{}");
    let rows = catalog.snapshot().transform(&odd, &context, vec![tidelock::value::Value::Text("x".into())]).await;
    assert_eq!(rows.unwrap()[0].clone().unwrap_err().message, "an odd…");
}
