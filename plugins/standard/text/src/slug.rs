//! Text for addresses: letters and digits with hyphens between.

use tidelock_plugin::Text;

/// Small Latin letters with accents, and what is written for each.
const PLAIN: [(&str, &str); 32] = [
    ("àáâãåāăą", "a"),
    ("ä", "a"),
    ("æ", "ae"),
    ("çćĉċč", "c"),
    ("ďđð", "d"),
    ("èéêëēĕėęě", "e"),
    ("ĝğġģ", "g"),
    ("ĥħ", "h"),
    ("ìíîïĩīĭįı", "i"),
    ("ĵ", "j"),
    ("ķ", "k"),
    ("ĺļľŀł", "l"),
    ("ñńņňŉ", "n"),
    ("òóôõōŏőø", "o"),
    ("ö", "o"),
    ("œ", "oe"),
    ("ŕŗř", "r"),
    ("śŝşšș", "s"),
    ("ß", "ss"),
    ("ţťŧț", "t"),
    ("þ", "th"),
    ("ùúûũūŭůűų", "u"),
    ("ü", "u"),
    ("ŵ", "w"),
    ("ýÿŷ", "y"),
    ("źżž", "z"),
    ("ſ", "s"),
    ("ﬀ", "ff"),
    ("ﬁ", "fi"),
    ("ﬂ", "fl"),
    ("ĳ", "ij"),
    ("ŋ", "ng"),
];

/// Appends the slug of a text.
pub fn slug(value: &str, out: &mut Text) {
    let mut written = false;
    let mut gap = false;
    for character in value.chars().flat_map(char::to_lowercase) {
        if is_mark(character) {
            // An accent that is a character of its own goes the way of the others.
            continue;
        }
        if !character.is_alphanumeric() {
            gap = written;
            continue;
        }
        if gap {
            out.push('-');
        }
        (written, gap) = (true, false);
        match PLAIN.iter().find(|(accented, _)| !character.is_ascii() && accented.contains(character)) {
            Some((_, plain)) => out.push_str(plain),
            None => out.push(character),
        }
    }
}

/// A combining mark of the Latin, Greek and Cyrillic scripts.
const fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_go_whichever_way_they_are_written() {
        for (text, expected) in [
            ("é", "e"),
            ("e\u{301}", "e"),
            ("İstanbul", "istanbul"),
            ("ÆØÅ", "aeoa"),
            ("a--b__c", "a-b-c"),
            ("-a-", "a"),
            ("\u{301}", ""),
            ("Μαρία", "μαρία"),
            ("100%", "100"),
        ] {
            let mut out = Text::new();
            slug(text, &mut out);
            assert_eq!(out.as_str(), expected, "{text}");
        }
    }
}
