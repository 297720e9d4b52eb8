//! `add_suffix`, a third version that passes its own examples and fails on half of what it meets then. For tests of rolling back.

use tidelock_plugin::{Failure, function, plugin};

plugin! {
    function("add_suffix", "Appends -v3, or fails.").example("a", "a-v3").try_map(|value| {
        if value.len() % 2 == 0 { Err(Failure::new("even", "an even number of bytes")) } else { Ok(format!("{value}-v3")) }
    })
}
