//! `add_suffix`, version 1 of two: which one a value went through is written on it. For tests of hot reload.

use tidelock_plugin::{function, plugin};

plugin! {
    function("add_suffix", "Appends -v1, once.")
        .idempotent()
        .example("a", "a-v1")
        .example("a-v1", "a-v1")
        .write(|value, out| {
            out.push_str(value);
            if !value.ends_with("-v1") {
                out.push_str("-v1");
            }
        })
}
