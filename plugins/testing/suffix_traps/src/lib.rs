//! `add_suffix`, a version that passes its own examples and crashes on every text of two bytes. For tests of rolling back.
#![allow(clippy::panic, reason = "made to crash")]

use tidelock_plugin::{function, plugin};

plugin! {
    function("add_suffix", "Appends -v4, or crashes.").example("a", "a-v4").map(|value| {
        if value.len() == 2 {
            panic!("two bytes");
        }
        format!("{value}-v4")
    })
}
