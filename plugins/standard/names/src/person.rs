//! Which words of a name are the last name.
//!
//! Names do not follow rules; these do what most address books do, and `merge(split(name))` is always the name again, but for white space
//! and for `Last, First`.

/// Words in small letters that belong to the last name behind them.
const PARTICLES: [&str; 31] = [
    "af", "al", "ap", "av", "bin", "ibn", "da", "das", "de", "degli", "dei", "del", "della", "den", "der", "di", "do",
    "dos", "du", "el", "la", "le", "ten", "ter", "van", "vom", "von", "zu", "zum", "zur", "'t",
];

/// Words between two last names.
const CONJUNCTIONS: [&str; 3] = ["y", "e", "i"];

/// Words that belong to the last name before them, in small letters and without the dot.
const ENDINGS: [&str; 10] = ["jr", "sr", "ii", "iii", "iv", "v", "phd", "md", "esq", "jnr"];

/// First and last name.
pub fn split(name: &str) -> (String, String) {
    let words: Vec<&str> = name.split_whitespace().collect();
    if let Some((last, first)) = split_at_comma(&words) {
        return (first, last);
    }
    let endings = words.iter().skip(1).rev().take_while(|word| is_ending(word)).count();
    let mut start = words.len().saturating_sub(endings + 1);
    while let Some(before) = start.checked_sub(1).and_then(|at| words.get(at)).filter(|_| start > 1) {
        start -= match *before {
            // Two last names: García y Vega.
            word if CONJUNCTIONS.contains(&word) => 2,
            word if PARTICLES.contains(&word) => 1,
            _ => break,
        };
    }
    // A name that begins with a particle has no first name: van Gogh.
    if start == 1 && words.first().is_some_and(|word| PARTICLES.contains(word)) {
        start = 0;
    }
    let (first, last) = words.split_at(start.min(words.len()));
    (first.join(" "), last.join(" "))
}

/// `Last, First`, with one comma that does not stand before an ending (`King, Jr.`).
fn split_at_comma(words: &[&str]) -> Option<(String, String)> {
    let name = words.join(" ");
    let (last, first) = name.split_once(',')?;
    let (last, first) = (last.trim(), first.trim());
    let sound = !last.is_empty() && !first.is_empty() && !first.contains(',') && !first.split(' ').all(is_ending);
    sound.then(|| (last.to_owned(), first.to_owned()))
}

fn is_ending<T: AsRef<str>>(word: T) -> bool {
    let bare: String = word.as_ref().chars().filter(|&c| c != '.').flat_map(char::to_lowercase).collect();
    ENDINGS.contains(&bare.as_str())
}

/// Both names with a space between them, without white space around or doubled.
pub fn merge(first: &str, last: &str) -> String {
    let words: Vec<&str> = first.split_whitespace().chain(last.split_whitespace()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_address_books_do() {
        for (name, first, last) in [
            ("Ada Lovelace", "Ada", "Lovelace"),
            ("Ludwig van Beethoven", "Ludwig", "van Beethoven"),
            ("Charles de la Tour", "Charles", "de la Tour"),
            ("van Gogh", "", "van Gogh"),
            ("Vincent van Gogh III", "Vincent", "van Gogh III"),
            ("Sammy Davis, Jr.", "Sammy", "Davis, Jr."),
            ("Lovelace, Ada King", "Ada King", "Lovelace"),
            ("O'Brien-Smith,Mary", "Mary", "O'Brien-Smith"),
            ("Jr.", "", "Jr."),
            ("II III", "", "II III"),
            ("a, b, c", "a, b,", "c"),
            (",", "", ","),
            ("José María García y Vega", "José María", "García y Vega"),
            ("Vega y García", "", "Vega y García"),
            ("Van Morrison", "Van", "Morrison"),
            ("山田 太郎", "山田", "太郎"),
            ("", "", ""),
            ("\u{a0}\t", "", ""),
        ] {
            let expected = (first.to_owned(), last.to_owned());
            assert_eq!(split(name), expected, "{name}");
        }
    }

    #[test]
    fn merging_what_was_split_gives_the_name_again() {
        let words = ["Ada", "van", "de", "Jr.", "O'Brien", "III", "y", "x", "Ñ"];
        for a in words {
            for b in words {
                for c in words {
                    for name in [a.to_owned(), format!("{a} {b}"), format!("{a} {b} {c}"), format!("{a}, {b} {c}")] {
                        let (first, last) = split(&name);
                        let merged = merge(&first, &last);
                        if !name.contains(',') {
                            assert_eq!(merged, name);
                        }
                        assert!(!last.is_empty(), "{name}");
                        assert_eq!(split(&merged), split(&merge(&first, &last)));
                    }
                }
            }
        }
    }
}
