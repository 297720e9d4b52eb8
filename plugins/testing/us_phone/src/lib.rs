//! `us_phone` on the columnar interface: what a plugin of the SDK costs (`benches/plugins.rs`).

// Indexes are bytes, and a count that is kept below the array's length.
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "constant tables and a bounded count")]
mod rule;

use tidelock_plugin::{Failure, Text, function, plugin, steps};

plugin! {
    function("us_phone", "A number of North America as +1 and ten digits.")
        .idempotent()
        .example("(206) 342-8631 x7", "+12063428631")
        .example("1-800-FLOWERS", "+18003569377")
        .failure("{}", "(106) 342-8631", "invalid-phone")
        .failure("{}", "n/a", "invalid-phone")
        .open(|_| {
            Ok(|value: &str, out: &mut Text| {
                let number = rule::us_phone(value);
                let number = number.ok_or_else(|| Failure::new("invalid-phone", "the value is no number of North America"))?;
                out.push_ascii_bytes(&number);
                Ok(())
            })
        })
}
