//! A plugin whose `describe` never returns.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

wit_bindgen::generate!({ path: "../../../wit", world: "simple-transform-plugin" });

use exports::tidelock::plugin::{meta, simple_transform};

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> meta::PluginInfo {
        loop {
            std::hint::black_box(());
        }
    }
}

impl simple_transform::Guest for Plugin {
    fn apply(
        _: simple_transform::Context,
        _: String,
        _: String,
        _: u16,
        values: Vec<Option<String>>,
    ) -> Result<Vec<Result<Option<String>, simple_transform::Failure>>, simple_transform::PluginError> {
        Ok(values.into_iter().map(Ok).collect())
    }
}
