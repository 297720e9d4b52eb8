//! Every way to misbehave, a function each: the host must turn all of them into error values (invariant I10).
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]
#![allow(clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "made to misbehave")]

wit_bindgen::generate!({ path: "../../../wit", world: "field-transform-plugin" });

mod behaviour;

use behaviour::BEHAVIOURS;
use exports::tidelock::plugin::field_transform::{self, Column, Context, Outcome, PluginError, Transform};
use exports::tidelock::plugin::meta::{self, FunctionInfo, PluginInfo};

/// What one function does with a column.
type Behaviour = fn(Column) -> Result<Outcome, PluginError>;

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> PluginInfo {
        let functions = BEHAVIOURS.iter().map(|&(name, doc, _)| FunctionInfo {
            name: name.to_owned(),
            doc: doc.to_owned(),
            role: "field-transform".to_owned(),
            inputs: vec!["text".to_owned()],
            output: "text".to_owned(),
            deterministic: true,
            idempotent: false,
            reverse: String::new(),
            params_schema: r#"{"type":"object","additionalProperties":false}"#.to_owned(),
            examples: Vec::new(),
        });
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            functions: functions.collect(),
            extra: "{}".to_owned(),
        }
    }
}

impl field_transform::Guest for Plugin {
    type Transform = Opened;
}

struct Opened(Behaviour);

impl field_transform::GuestTransform for Opened {
    fn open(function: String, _: String) -> Result<Transform, PluginError> {
        let found = BEHAVIOURS.iter().find(|(name, ..)| *name == function);
        found.map(|&(_, _, behaviour)| Transform::new(Self(behaviour))).ok_or_else(|| PluginError {
            code: "unknown-function".to_owned(),
            message: "no such way to misbehave".to_owned(),
            retryable: false,
        })
    }

    fn apply(&self, _: Context, input: Column) -> Result<Outcome, PluginError> {
        (self.0)(input)
    }
}
