//! Says that equal inputs give equal outputs, and numbers the values: the host must find that out by itself.

use std::sync::atomic::{AtomicU64, Ordering};

use tidelock_plugin::{function, plugin};

static CALLS: AtomicU64 = AtomicU64::new(0);

plugin! {
    function("number", "Appends a number to long texts.").example("a", "a").map(|value| {
        if value.len() > 20 { format!("{value} {}", CALLS.fetch_add(1, Ordering::Relaxed)) } else { value.to_owned() }
    })
}
