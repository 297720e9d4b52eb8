//! `lowercase`: every letter small.

use tidelock_plugin::{function, plugin};

plugin! {
    function("lowercase", "Writes every letter in lower case, by Unicode's rules and without those of single languages.")
        .idempotent()
        .example("Ada.LOVELACE@Example.org", "ada.lovelace@example.org")
        .example("ÅNGSTRÖM STRASSE", "ångström strasse")
        .example("ΟΔΥΣΣΕΥΣ", "οδυσσευς")
        .example("İ", "i\u{307}")
        .example_json("{}", "null", "null")
        .write(|value, out| out.push_lowercase(value))
}

#[cfg(test)]
mod tests {
    use super::TidelockPlugin;
    use tidelock_plugin::testing::call;

    fn lower(value: &str) -> String {
        call::<TidelockPlugin>("lowercase", "{}", Some(value)).unwrap().unwrap()
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
