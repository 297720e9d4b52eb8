//! Texts that declared laws are tried on: what functions over text stumble over, the plugin's own examples in other spellings, and random ones, the
//! same at every run.

/// Letters whose case has another length or depends on what stands beside them, marks, white space of all sorts, invisible characters, digits of other
/// scripts, and what separates things.
const PIECES: [&str; 64] = [
    "a", "b", "Z", "i", "I", "x", "0", "1", "5", "9", "12", "2024", " ", "  ", "\t", "\r\n", "\u{a0}", "\u{2003}",
    "\u{202f}", "\u{200b}", "\u{feff}", "\u{ad}", "\0", ".", ",", ";", ":", "-", "_", "/", "'", "’", "\"", "(", ")",
    "<", ">", "@", "+", "*", "&", "$", "€", "\u{2212}", "ß", "ẞ", "ﬁ", "ŉ", "ſ", "ǆ", "ǅ", "İ", "ı", "Σ", "ς", "ΐ",
    "ᾳ", "é", "e\u{301}", "\u{345}", "Ж", "語", "😀", "٣",
];

/// Random texts.
const RANDOM: usize = 300;
/// Pieces of the longest of them.
const LENGTH_MAX: u64 = 12;

/// Texts of the plugin that are varied, and how often each.
const OWN_MAX: usize = 12;
const VARIATIONS: usize = 12;

/// Every sample, the plugin's own texts among them.
pub(super) fn texts(own: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = PIECES.iter().map(|piece| (*piece).to_owned()).collect();
    let mut random = Random(0x7469_6465_6c6f_636b);
    for text in own.iter().take(OWN_MAX) {
        texts.push(text.to_uppercase());
        texts.push(text.to_lowercase());
        texts.push(format!("{text}{text}"));
        // A piece put in, and a character taken away, at any place.
        for _ in 0..VARIATIONS {
            let (before, after) = random.cut(text);
            let piece = random.piece().unwrap_or_default();
            texts.push(format!("{before}{piece}{after}"));
            texts.push(before.chars().chain(after.chars().skip(1)).collect());
        }
    }
    texts.extend((0..RANDOM).map(|_| {
        let length = random.below(LENGTH_MAX);
        (0..length).filter_map(|_| random.piece()).collect()
    }));
    texts
}

/// A linear congruential generator: good enough for test values.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }

    fn piece(&mut self) -> Option<&'static str> {
        let at = self.below(PIECES.len() as u64);
        PIECES.get(usize::try_from(at).ok()?).copied()
    }

    /// Both parts of a text, cut between two characters.
    fn cut<'a>(&mut self, text: &'a str) -> (&'a str, &'a str) {
        let at = usize::try_from(self.below(text.chars().count() as u64 + 1)).unwrap_or(0);
        text.split_at(text.char_indices().nth(at).map_or(text.len(), |(start, _)| start))
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn samples_are_the_same_at_every_run_and_few_are_equal() {
        let own = ["Ada Lovelace".to_owned(), String::new()];
        let mut texts = super::texts(&own);
        assert_eq!(texts, super::texts(&own));
        let count = texts.len();
        texts.sort();
        texts.dedup();
        assert!(texts.len() > 300, "{} of {count}", texts.len());
    }
}
