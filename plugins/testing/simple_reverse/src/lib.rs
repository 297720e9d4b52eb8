//! `reverse_text` on the easy interface, written with wit-bindgen alone, as somebody without the SDK would.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

wit_bindgen::generate!({ path: "../../../wit", world: "simple-transform-plugin" });

use exports::tidelock::plugin::meta::{self, Example, FunctionInfo, PluginInfo};
use exports::tidelock::plugin::simple_transform::{self, Context, Failure, PluginError};

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> PluginInfo {
        let example =
            |input: &str, output: &str| Example { params: "{}".into(), input: input.into(), output: output.into() };
        PluginInfo {
            name: "simple_reverse".into(),
            version: "1.0.0".into(),
            extra: "{}".into(),
            functions: vec![FunctionInfo {
                name: "reverse_text".into(),
                doc: "The characters from last to first.".into(),
                role: "field-transform".into(),
                inputs: vec!["text".into()],
                output: "text".into(),
                deterministic: true,
                idempotent: false,
                reverse: "reverse_text".into(),
                params_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
                examples: vec![
                    example(r#""abc""#, r#""cba""#),
                    example("null", "null"),
                    example(r#""fail""#, r#"{"error":"refused"}"#),
                ],
            }],
        }
    }
}

impl simple_transform::Guest for Plugin {
    fn apply(
        _: Context,
        function: String,
        _: String,
        _: u16,
        values: Vec<Option<String>>,
    ) -> Result<Vec<Result<Option<String>, Failure>>, PluginError> {
        if function != "reverse_text" {
            let message = "the only function is reverse_text".into();
            return Err(PluginError { code: "unknown-function".into(), message, retryable: false });
        }
        Ok(values.into_iter().map(|value| value.map(reverse).transpose()).collect())
    }
}

fn reverse(value: String) -> Result<String, Failure> {
    if value == "fail" {
        return Err(Failure { code: "refused".into(), message: "asked to fail".into() });
    }
    Ok(value.chars().rev().collect())
}
