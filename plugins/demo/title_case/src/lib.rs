//! `title_case` as somebody changed it for their names: McDonald. The demo drops it into its folder of plugins, where it
//! replaces the standard one.

#[path = "../../../standard/title_case/src/title.rs"]
mod title;

use tidelock_plugin::{Text, function, plugin};

/// Appends `value` in title case, with a capital after a leading Mc. Title case leaves a capital M nowhere else, and takes
/// the added capital away again, so twice is still once.
fn title_case_of_names(value: &str, out: &mut Text) {
    let mut plain = Text::new();
    title::title_case(value, &mut plain);
    let mut parts = plain.as_str().split("Mc");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str("Mc");
        let mut rest = part.chars();
        out.extend(rest.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(rest.as_str());
    }
}

plugin! {
    function("title_case", "Begins every word with a capital and writes the rest small, but for names such as McDonald.")
        .idempotent()
        .example("ronald MCDONALD", "Ronald McDonald")
        .example("O'BRIEN-smith", "O'Brien-Smith")
        .example("mc mcc", "Mc McC")
        .example_json("{}", "null", "null")
        .write(title_case_of_names)
}
