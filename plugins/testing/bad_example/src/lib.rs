//! A plugin whose own example is wrong: the host must not accept it.

use tidelock_plugin::{Function, Plugin, Role, export_plugin, function};

/// The plugin.
pub struct BadExample;

impl Plugin for BadExample {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
    const ROLES: &'static [Role] = &[Role::FieldTransform];
    fn functions() -> Vec<Function> {
        vec![function("wrong", "Says that it doubles, and does not.").example("ab", "abab").map(str::to_owned)]
    }
}

// Not `plugin!`, as that writes the test that would find it.
export_plugin! { BadExample: [field_transform] }

#[cfg(test)]
#[test]
#[should_panic(expected = "wrong of")]
fn the_sdk_finds_it_before_the_host_does() {
    tidelock_plugin::testing::assert_examples::<BadExample>();
}
