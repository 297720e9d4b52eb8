//! `uppercase`: every letter a capital.

use tidelock_plugin::{function, plugin};

/// Appends `value` in upper case. Text in ASCII alone takes the short way: no allocation.
fn uppercase(value: &str, out: &mut String) {
    if value.is_ascii() {
        let start = out.len();
        out.push_str(value);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_uppercase();
        }
    } else {
        out.push_str(&value.to_uppercase());
    }
}

plugin! {
    function("uppercase", "Writes every letter in upper case, by Unicode's rules and without those of single languages.")
        .idempotent()
        .example("us-ny-10001", "US-NY-10001")
        .example("Straße", "STRASSE")
        .example("ﬁnn ŉdaba", "FINN ʼNDABA")
        .example("ıi", "II")
        .example_json("{}", "null", "null")
        .write(uppercase)
}

#[cfg(test)]
mod tests {
    use super::uppercase;

    fn upper(value: &str) -> String {
        let mut out = "kept ".to_owned();
        uppercase(value, &mut out);
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
