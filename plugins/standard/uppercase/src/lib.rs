//! `uppercase`: every letter a capital.

use tidelock_plugin::{function, plugin};

plugin! {
    function("uppercase", "Writes every letter in upper case, by Unicode's rules and without those of single languages.")
        .idempotent()
        .example("us-ny-10001", "US-NY-10001")
        .example("Straße", "STRASSE")
        .example("ﬁnn ŉdaba", "FINN ʼNDABA")
        .example("ıi", "II")
        .example_json("{}", "null", "null")
        .write(|value, out| out.push_uppercase(value))
}

#[cfg(test)]
mod tests {
    use super::TidelockPlugin;
    use tidelock_plugin::testing::call;

    fn upper(value: &str) -> String {
        call::<TidelockPlugin>("uppercase", "{}", Some(value)).unwrap().unwrap()
    }

    #[test]
    fn twice_is_once_for_every_character_in_every_place() {
        // Those without case change nothing; of them the first few blocks stand for all.
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
        for character in ('\0'..=char::MAX).filter(|c| *c < '\u{900}' || cased(c)) {
            for text in
                [format!("{character}"), format!("a{character}"), format!("{character}a"), format!("Σ{character}Σ")]
            {
                let once = upper(&text);
                assert_eq!(upper(&once), once, "{text:?}");
            }
        }
    }

    #[test]
    fn short_way_and_long_way_agree() {
        for character in '\0'..='\u{7f}' {
            assert_eq!(upper(&character.to_string()), character.to_string().to_uppercase());
        }
    }
}
