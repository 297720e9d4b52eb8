//! Names a function that does not undo what it does: the host must find that out by itself.

use tidelock_plugin::{Function, Plugin, Role, export_plugin, function};

/// The plugin.
pub struct LiesReverse;

impl Plugin for LiesReverse {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
    const ROLES: &'static [Role] = &[Role::FieldTransform];
    fn functions() -> Vec<Function> {
        vec![
            function("shout", "To upper case.")
                .reversed_by("whisper")
                .example("abc", "ABC")
                .map(|value| value.to_uppercase()),
            function("whisper", "To lower case.").example("ABC", "abc").map(|value| value.to_lowercase()),
        ]
    }
}

// Not `plugin!`, as that writes the test that would find it.
export_plugin! { LiesReverse: [field_transform] }

#[cfg(test)]
#[test]
#[should_panic(expected = "whisper does not undo shout")]
fn the_sdk_finds_it_before_the_host_does() {
    tidelock_plugin::testing::assert_examples::<LiesReverse>();
}
