//! The easy interfaces over records, written with wit-bindgen alone: sound functions, and some that are not.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "package tidelock:testing; world records {
        export tidelock:plugin/meta@0.1.0;
        export tidelock:plugin/simple-validator@0.1.0;
        export tidelock:plugin/simple-resolver@0.1.0;
    }",
    world: "tidelock:testing/records",
    generate_all,
});

use exports::tidelock::plugin::meta::{self, Example, FunctionInfo, PluginInfo};
use exports::tidelock::plugin::simple_resolver;
use exports::tidelock::plugin::simple_validator::{self, Context, PluginError, Violation};

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> PluginInfo {
        let example =
            |input: &str, output: &str| Example { params: "{}".into(), input: input.into(), output: output.into() };
        let function = |role: &str, name: &str, examples| FunctionInfo {
            name: name.into(),
            doc: "As its name says.".into(),
            role: role.into(),
            inputs: Vec::new(),
            output: String::new(),
            deterministic: true,
            idempotent: false,
            reverse: String::new(),
            params_schema: String::new(),
            examples,
        };
        let no_x = vec![
            example(r#"{"a": 1, "b": null}"#, "[]"),
            example(r#"{"a": "x"}"#, r#"[{"field": "a", "code": "has-x"}]"#),
        ];
        let take_null = vec![example(r#"{"base": {"n": 1}, "source": {"n": 2}, "target": {"n": 3}}"#, r#"{"n": 7}"#)];
        PluginInfo {
            name: "simple_records".into(),
            version: "1.0.0".into(),
            extra: "{}".into(),
            functions: vec![
                function("validator", "no_x", no_x),
                function("validator", "too_few", Vec::new()),
                function("conflict-resolver", "seven", take_null),
                function("conflict-resolver", "no_json", Vec::new()),
            ],
        }
    }
}

impl simple_validator::Guest for Plugin {
    fn check(
        _: Context,
        function: String,
        _: String,
        records: Vec<String>,
    ) -> Result<Vec<Vec<Violation>>, PluginError> {
        let rows = if function == "too_few" { records.len().saturating_sub(1) } else { records.len() };
        let found = |record: &String| {
            let violation = || Violation { field: "a".into(), code: "has-x".into(), message: String::new() };
            record.contains("\"x\"").then(violation).into_iter().collect()
        };
        Ok(records.iter().take(rows).map(found).collect())
    }
}

impl simple_resolver::Guest for Plugin {
    fn resolve(
        _: simple_resolver::Context,
        function: String,
        _: String,
        conflicts: Vec<String>,
    ) -> Result<Vec<String>, simple_resolver::PluginError> {
        let answer = |conflict: &String| match function.as_str() {
            "no_json" => "{".to_owned(),
            _ if conflict.contains("\"review\"") => "null".to_owned(),
            _ => r#"{"n": 7, "not_contested": 1}"#.to_owned(),
        };
        Ok(conflicts.iter().map(answer).collect())
    }
}
