//! A plugin whose own example is wrong: the host must not accept it.

use tidelock_plugin::{Function, Plugin, function};

/// The plugin.
pub struct BadExample;

impl Plugin for BadExample {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
    fn functions() -> Vec<Function> {
        vec![function("wrong", "Says that it doubles, and does not.").example("ab", "abab").map(str::to_owned)]
    }
}

// Not `plugin!`, as that writes the test that would find it.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs, reason = "generated glue")]
mod exports {
    type Exports = tidelock_plugin::Component<super::BadExample>;
    tidelock_plugin::bindings::meta::export_meta!(Exports with_types_in tidelock_plugin::bindings::meta);
    tidelock_plugin::bindings::columnar::export_columnar!(Exports with_types_in tidelock_plugin::bindings::columnar);
}

#[cfg(test)]
#[test]
#[should_panic(expected = "wrong of")]
fn the_sdk_finds_it_before_the_host_does() {
    tidelock_plugin::testing::assert_examples::<BadExample>();
}
