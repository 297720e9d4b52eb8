//! What an address is here: a pragmatic part of RFC 5321 and 5322, with the letters of RFC 6531.
//!
//! - `name@domain`, 254 bytes at most.
//! - The name: up to 64 bytes of ASCII letters, digits and ``!#$%&'*+/=?^_`{|}~-``, letters beyond ASCII, and single dots
//!   between them.
//! - The domain: two labels or more of 1 to 63 bytes, letters, digits and inner hyphens; the last one is not a number.
//!
//! Left out, as forms and mail providers leave it out: quoted names, comments, folded lines, address literals, hosts without a dot.

use tidelock_plugin::{Failure, Text};

const ADDRESS_BYTES_MAX: usize = 254;
const NAME_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;

/// Appends an address in its normal form.
///
/// # Errors
/// `invalid-email`, with a reason that does not repeat the address.
pub fn normalize(value: &str, lowercase: bool, out: &mut Text) -> Result<(), Failure> {
    let bare = value.trim();
    let bare = bare.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(bare).trim();
    let scheme = bare.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
    let bare = scheme.and_then(|scheme| bare.get(scheme.len()..)).unwrap_or(bare).trim();
    let (name, domain) = split(bare)?;
    let mut address = Text::new();
    if lowercase {
        address.push_lowercase(name)
    } else {
        address.push_str(name)
    }
    address.push('@');
    address.push_lowercase(domain);
    // What was written is checked, not what was read: another case may be longer.
    check(address.as_str())?;
    out.push_str(address.as_str());
    Ok(())
}

/// Whether a text is an address as it stands.
///
/// # Errors
/// `invalid-email`, with a reason that does not repeat the address.
pub fn check(address: &str) -> Result<(), Failure> {
    let (name, domain) = split(address)?;
    let problem = if address.len() > ADDRESS_BYTES_MAX {
        "is longer than 254 bytes"
    } else if name.len() > NAME_BYTES_MAX {
        "has more than 64 bytes before the @"
    } else if !name.split('.').all(|part| !part.is_empty() && part.chars().all(is_name_character)) {
        "has characters or dots before the @ that do not belong there"
    } else if !is_domain(domain) {
        "has no domain after the @"
    } else {
        return Ok(());
    };
    Err(invalid(problem))
}

fn split(address: &str) -> Result<(&str, &str), Failure> {
    address.rsplit_once('@').ok_or_else(|| invalid("has no @"))
}

fn is_name_character(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(character);
    }
    // Invisible ones come with what was pasted; nobody has them in an address.
    let invisible = matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !character.is_whitespace() && !character.is_control() && !invisible
}

fn is_domain(domain: &str) -> bool {
    let mut labels = 0;
    let mut last = "";
    for label in domain.split('.') {
        let edges = [label.chars().next(), label.chars().next_back()];
        let sound = label.len() <= LABEL_BYTES_MAX
            && edges.iter().all(|edge| edge.is_some_and(char::is_alphanumeric))
            && label.chars().all(|letter| letter == '-' || letter.is_alphanumeric());
        if !sound {
            return false;
        }
        labels += 1;
        last = label;
    }
    labels >= 2 && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn invalid(problem: &str) -> Failure {
    Failure::new("invalid-email", format!("the value {problem}; expected an address such as name@example.org"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(value: &str, lowercase: bool) -> Option<String> {
        let mut out = Text::new();
        normalize(value, lowercase, &mut out).ok().map(|()| out.as_str().to_owned())
    }

    #[test]
    fn addresses_as_they_are_sent_today() {
        for good in [
            "a@b.co",
            "ada.lovelace+crm@mail.example.co.uk",
            "o'brien@example.org",
            "!#$%&'*+/=?^_`{|}~-@example.org",
            "x@xn--bcher-kva.example",
            "jürgen@bücher.example",
            "用户@例子.广告",
            "a@1-2.3com",
            &format!("{}@example.org", "a".repeat(64)),
        ] {
            assert!(check(good).is_ok(), "{good}");
            assert_eq!(normal(good, false).as_deref(), Some(good));
        }
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a@b.",
            "a@.co",
            "a@b..co",
            ".a@b.co",
            "a.@b.co",
            "a..b@b.co",
            "a b@b.co",
            "a@b c.co",
            "a@-b.co",
            "a@b-.co",
            "a@1.2.3.4",
            "a@[1.2.3.4]",
            "\"a b\"@b.co",
            "a@b@c.co",
            "a,b@c.co",
            "a@b.co;c@d.co",
            "Ada <a@b.co>",
            "a\u{200b}@b.co",
            "a\u{a0}b@b.co",
            "a@b_c.co",
            "a@b.co\0",
            "a(x)@b.co",
            &format!("{}@example.org", "a".repeat(65)),
            &format!("a@{}.org", "b".repeat(64)),
            &format!("a@{}org", "bbbb.".repeat(50)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
            assert_eq!(normal(bad, true), None, "{bad}");
        }
    }

    #[test]
    fn only_what_stands_around_an_address_goes() {
        assert_eq!(normal("\u{a0}\tA@B.CO\n", false).as_deref(), Some("A@b.co"));
        assert_eq!(normal("MAILTO:a@b.co", false).as_deref(), Some("a@b.co"));
        assert_eq!(normal(" < a@b.co > ", false).as_deref(), Some("a@b.co"));
        assert_eq!((normal("<a@b.co", false), normal("mailto:mailto:a@b.co", false)), (None, None));
        let failure = normalize("secret at example", false, &mut Text::new()).unwrap_err();
        assert!(!failure.message.contains("secret"), "{}", failure.message);
    }

    #[test]
    fn twice_is_once_for_every_character() {
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
        for character in ('\0'..=char::MAX).filter(|c| *c < '\u{900}' || cased(c)) {
            for text in
                [format!("a{character}@b.co"), format!("a@b{character}c.co"), format!("{character}a@b.co{character}")]
            {
                for lowercase in [false, true] {
                    if let Some(once) = normal(&text, lowercase) {
                        assert_eq!(normal(&once, lowercase), Some(once), "{text:?}");
                    }
                }
            }
        }
    }
}
