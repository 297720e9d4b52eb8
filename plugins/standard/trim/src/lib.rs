//! `trim`: white space at both ends of a text goes away.

use tidelock_plugin::{function, plugin};

plugin! {
    function("trim", "Removes white space (as Unicode defines it, so also no-break spaces) from both ends of a text.")
        .idempotent()
        .example("  Ada Lovelace ", "Ada Lovelace")
        .example("\u{a0}São  Paulo\u{3000}\r\n", "São  Paulo")
        .example(" \t ", "")
        .example("", "")
        .example_json("{}", "null", "null")
        .write(|value, out| out.push_str(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::TidelockPlugin;
    use tidelock_plugin::testing::call;

    #[test]
    fn every_unicode_white_space_goes_and_nothing_else() {
        let white: String = ('\0'..=char::MAX).filter(|c| c.is_whitespace()).collect();
        assert_eq!(white.chars().count(), 25);
        let trimmed = call::<TidelockPlugin>("trim", "{}", Some(&format!("{white}a{white}b{white}")));
        assert_eq!(trimmed, Ok(Some(format!("a{white}b"))));
        // Neither the zero-width space nor the byte order mark is white space to Unicode.
        for other in ["\u{200b}a", "\u{feff}a", "a\0"] {
            assert_eq!(call::<TidelockPlugin>("trim", "{}", Some(other)), Ok(Some(other.to_owned())));
        }
    }
}
