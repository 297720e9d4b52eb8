//! `lowercase`: every letter small.

use tidelock_plugin::{function, plugin};

/// Appends `value` in lower case. Text in ASCII alone takes the short way: no allocation.
fn lowercase(value: &str, out: &mut String) {
    if value.is_ascii() {
        let start = out.len();
        out.push_str(value);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
    } else {
        out.push_str(&value.to_lowercase());
    }
}

plugin! {
    function("lowercase", "Writes every letter in lower case, by Unicode's rules and without those of single languages.")
        .idempotent()
        .example("Ada.LOVELACE@Example.org", "ada.lovelace@example.org")
        .example("ÅNGSTRÖM STRASSE", "ångström strasse")
        .example("ΟΔΥΣΣΕΥΣ", "οδυσσευς")
        .example("İ", "i\u{307}")
        .example_json("{}", "null", "null")
        .write(lowercase)
}

#[cfg(test)]
mod tests {
    use super::lowercase;

    fn lower(value: &str) -> String {
        let mut out = "kept ".to_owned();
        lowercase(value, &mut out);
        out.strip_prefix("kept ").unwrap().to_owned()
    }

    #[test]
    fn twice_is_once_for_every_character_in_every_place() {
        // Those without case change nothing; of them the first few blocks stand for all.
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
        for character in ('\0'..=char::MAX).filter(|c| *c < '\u{900}' || cased(c)) {
            for text in
                [format!("{character}"), format!("a{character}"), format!("{character}a"), format!("Σ{character}Σ")]
            {
                let once = lower(&text);
                assert_eq!(lower(&once), once, "{text:?}");
            }
        }
    }

    #[test]
    fn short_way_and_long_way_agree() {
        for character in '\0'..='\u{7f}' {
            assert_eq!(lower(&character.to_string()), character.to_string().to_lowercase());
        }
    }
}
