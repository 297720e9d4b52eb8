//! `us_phone` on the easy interface, without the SDK: what the same costs with a text per value (`benches/plugins.rs`).
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

// Indexes are bytes, and a count that is kept below the array's length.
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "constant tables and a bounded count")]
#[path = "../../us_phone/src/rule.rs"]
mod rule;
#[allow(unreachable_pub, reason = "as in the SDK")]
#[path = "../../../sdk/src/steps.rs"]
mod steps;

use steps::steps;

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
            name: "us_phone_simple".into(),
            version: "1.0.0".into(),
            extra: "{}".into(),
            functions: vec![FunctionInfo {
                name: "us_phone".into(),
                doc: "A number of North America as +1 and ten digits.".into(),
                role: "field-transform".into(),
                inputs: vec!["text".into()],
                output: "text".into(),
                deterministic: true,
                idempotent: true,
                reverse: String::new(),
                params_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
                examples: vec![
                    example(r#""(206) 342-8631 x7""#, r#""+12063428631""#),
                    example(r#""n/a""#, r#"{"error":"invalid-phone"}"#),
                ],
            }],
        }
    }
}

impl simple_transform::Guest for Plugin {
    fn apply(
        _: Context,
        _: String,
        _: String,
        _: u16,
        values: Vec<Option<String>>,
    ) -> Result<Vec<Result<Option<String>, Failure>>, PluginError> {
        Ok(values.into_iter().map(|value| value.map(us_phone).transpose()).collect())
    }
}

fn us_phone(value: String) -> Result<String, Failure> {
    let number = rule::us_phone(&value).and_then(|number| String::from_utf8(number.to_vec()).ok());
    let refused =
        || Failure { code: "invalid-phone".into(), message: "the value is no number of North America".into() };
    number.ok_or_else(refused)
}
