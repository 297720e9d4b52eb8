//! The rules of title case. They are made so that applying them twice changes nothing more:
//!
//! 1. Where a letter stands (first of its word or not) never depends on its case.
//! 2. A first letter is folded to its small form (`ß` to `ss`, `ﬁ` to `fi`, `ſ` to `s`), then its first character becomes a
//!    capital, but only one that folds back to it. Every other letter becomes small, which is stable by itself.

use tidelock_plugin::Text;

/// Endings after an apostrophe that stay small: I'm, I'll, I've, I'd, it's, o't, we're.
const CONTRACTIONS: [&str; 7] = ["d", "ll", "m", "re", "s", "t", "ve"];

/// Appends `value` in title case.
pub fn title_case(value: &str, out: &mut Text) {
    let mut first = true;
    // Letters written since the word began: O'Brien, but Don't and Rock'n'roll.
    let mut letters = 0;
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        if is_apostrophe(character) {
            out.push(character);
            first = first || (letters == 1 && !is_contraction(rest.as_str()));
        } else if is_boundary(character) {
            out.push(character);
            first = true;
        } else if !character.is_alphanumeric() {
            // Combining marks, emoji, the middle dot of Catalan: inside a word, or before one.
            out.push(character);
        } else if first {
            first = false;
            letters = push_first(character, out);
        } else {
            letters += push_small(character, rest.as_str(), out);
        }
    }
}

/// Writes the first letter of a word; returns how many letters that made.
fn push_first(character: char, out: &mut Text) -> usize {
    // Its small form has two characters, its capital one: the Turkish İstanbul keeps its letter.
    if character == 'İ' {
        out.push(character);
        return 1;
    }
    let mut folded = fold(character);
    let Some(head) = folded.next() else { return 0 };
    let title = title_of(head);
    out.push(title);
    let mut letters = usize::from(title.is_alphabetic());
    for tail in folded {
        out.push(tail);
        letters += usize::from(tail.is_alphabetic());
    }
    letters
}

/// Writes a letter that is not the first of its word; returns how many letters that made.
fn push_small(character: char, rest: &str, out: &mut Text) -> usize {
    if character == 'Σ' {
        let mut following = rest.chars().skip_while(|&c| !c.is_alphanumeric() && !is_boundary(c) && !is_apostrophe(c));
        out.push(if following.next().is_some_and(char::is_alphanumeric) { 'σ' } else { 'ς' });
        return 1;
    }
    let mut letters = 0;
    for small in character.to_lowercase() {
        out.push(small);
        letters += usize::from(small.is_alphabetic());
    }
    letters
}

/// The small form in which all cases of a letter meet.
fn fold(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The title form of a folded letter, if it has one that folds back to it; else the letter itself.
fn title_of(small: char) -> char {
    match small {
        'a'..='z' => small.to_ascii_uppercase(),
        // Two letters in one: only the first of them becomes a capital.
        'ǆ' => 'ǅ',
        'ǉ' => 'ǈ',
        'ǌ' => 'ǋ',
        'ǳ' => 'ǲ',
        // Georgian has capitals for whole words only.
        '\u{10d0}'..='\u{10ff}' => small,
        _ => {
            let mut capital = small.to_uppercase();
            match (capital.next(), capital.next()) {
                (Some(title), None) if fold(title).eq([small]) => title,
                _ => small,
            }
        }
    }
}

/// Whether the word after an apostrophe is an ending such as the `m` of I'm.
fn is_contraction(rest: &str) -> bool {
    let ending = || rest.chars().take_while(|&c| !is_boundary(c) && !is_apostrophe(c)).flat_map(fold);
    CONTRACTIONS.iter().any(|contraction| ending().eq(contraction.chars()))
}

const fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '’')
}

/// Whether a word ends here: space, control characters, dashes, quotes and other punctuation between words.
fn is_boundary(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || character.is_ascii_punctuation()
        || matches!(character, '«' | '»' | '¿' | '¡' | '\u{2010}'..='\u{201f}' | '…' | '\u{3001}'..='\u{3003}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(value: &str) -> String {
        let mut out = Text::new();
        title_case(value, &mut out);
        out.as_str().to_owned()
    }

    fn assert_idempotent(value: &str) {
        let once = title(value);
        assert_eq!(title(&once), once, "{value:?}");
    }

    #[test]
    fn names_come_out_as_people_write_them() {
        let cases = [
            ("O'BRIEN-smith", "O'Brien-Smith"),
            ("mcdonald", "Mcdonald"),
            ("d’artagnan", "D’Artagnan"),
            ("DON'T", "Don't"),
            ("i'm here", "I'm Here"),
            ("ma'am", "Ma'am"),
            ("rock'n'roll", "Rock'n'roll"),
            ("'quoted'", "'Quoted'"),
            ("j.r.r. tolkien", "J.R.R. Tolkien"),
            ("1st street", "1st Street"),
            ("ÉMILE zola", "Émile Zola"),
            ("e\u{301}mile", "E\u{301}mile"),
            ("ZOE\u{308} X", "Zoe\u{308} X"),
            ("col·lecció", "Col·lecció"),
            ("ßa STRASSE", "Ssa Strasse"),
            ("ﬁnn ſam", "Finn Sam"),
            ("İSTANBUL ısparta", "İstanbul Isparta"),
            ("ΟΔΥΣΣΕΥΣ ΣΑΣ", "Οδυσσευς Σας"),
            ("ǆungla ǄUNGLA", "ǅungla ǅungla"),
            ("თბილისი ᲗᲑᲘᲚᲘᲡᲘ", "თბილისი თბილისი"),
            ("東京 TOWER", "東京 Tower"),
            ("", ""),
        ];
        for (value, expected) in cases {
            assert_eq!(title(value), expected);
            assert_idempotent(value);
        }
    }

    #[test]
    fn twice_is_once_for_every_character_in_every_place() {
        let frames =
            [("", ""), ("a", ""), ("", "a"), ("a", "a"), ("o'", ""), ("o'", "a"), ("", "'a"), ("o'", "s"), ("Σ", "Σ")];
        // Those without case change nothing; of them the first few blocks stand for all.
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
        for character in ('\0'..=char::MAX).filter(|c| *c < '\u{900}' || cased(c)) {
            for (before, after) in frames {
                assert_idempotent(&format!("{before}{character}{after}"));
            }
        }
    }

    #[test]
    fn twice_is_once_for_mixtures_of_the_difficult_ones() {
        let alphabet: Vec<char> =
            "aBsStTmdDl rReE'’- .ΣσςßẞſﬁﬆﬅŉİıiIΐᾳᾼᾀǰǅǆაᲗʼ\u{307}\u{345}\u{301}5Ⓐև😀".chars().collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..60_000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push(alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]);
            }
            assert_idempotent(&text);
        }
    }
}
