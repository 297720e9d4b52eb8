//! `add_suffix`, version 2 of two: which one a value went through is written on it. For tests of hot reload.

use tidelock_plugin::{function, plugin};

plugin! {
    function("add_suffix", "Appends -v2, once.")
        .idempotent()
        .example("a", "a-v2")
        .example("a-v2", "a-v2")
        .write(|value, out| {
            out.push_str(value);
            if !value.ends_with("-v2") {
                out.push_str("-v2");
            }
        })
}
