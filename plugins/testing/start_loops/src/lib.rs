//! A plugin that never gets through its instantiation: its start function loops.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

wit_bindgen::generate!({ path: "../../../wit", world: "simple-transform-plugin" });

use exports::tidelock::plugin::{meta, simple_transform};

struct Plugin;
export!(Plugin);

/// The component's start calls this by its name.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    loop {
        std::hint::black_box(());
    }
}

impl meta::Guest for Plugin {
    fn describe() -> meta::PluginInfo {
        let (name, version) = (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        meta::PluginInfo { name, version, functions: Vec::new(), extra: "{}".to_owned() }
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
