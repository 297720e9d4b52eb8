//! `us_phone` on the easy interface: what the same costs with a text per value (`benches/plugins.rs`).

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "constant tables and a bounded count")]
#[path = "../../us_phone/src/rule.rs"]
mod rule;

use tidelock_plugin::{Failure, function, simple_plugin};

simple_plugin! {
    function("us_phone", "A number of North America as +1 and ten digits.")
        .idempotent()
        .example("(206) 342-8631 x7", "+12063428631")
        .failure("{}", "n/a", "invalid-phone")
        .simple(&["text"], "text", |_, value| {
            let Some(value) = value else { return Ok(None) };
            let number = rule::us_phone(value);
            let number = number.ok_or_else(|| Failure::new("invalid-phone", "the value is no number of North America"))?;
            Ok(String::from_utf8(number.to_vec()).ok())
        })
}
