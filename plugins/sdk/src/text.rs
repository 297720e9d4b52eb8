//! The text that a function writes, and the loops over bytes that are fast inside the sandbox.
//!
//! Two things cost more there than elsewhere (measured): every turn of a loop looks at the deadline, and a copy of a few bytes whose
//! number is not known beforehand is a call out of the compiled code. So the loops here take eight bytes a turn and copy eight
//! at a time.

use crate::steps::{STEP, word};
use std::fmt;

/// From this many bytes on one large copy is cheaper than many small ones.
const LONG: usize = 128;
/// The high bit of each byte: set where a byte is not ASCII.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The text of a whole column while it is written. A function appends its answer, as to a `String`; what others wrote before it
/// is out of its reach.
#[derive(Clone, Default)]
pub struct Text {
    /// Always UTF-8, as only whole texts and characters are appended.
    bytes: Vec<u8>,
}

impl Text {
    /// An empty text with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// An empty text, for tests and as an intermediate step.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Bytes written so far, in the whole column.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// Appends a text.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        if text.len() >= LONG {
            self.bytes.extend_from_slice(text.as_bytes());
            return;
        }
        let (steps, rest) = text.as_bytes().as_chunks::<STEP>();
        for step in steps {
            self.bytes.extend_from_slice(step);
        }
        self.push_first(word(rest), rest.len());
    }

    /// Appends a character.
    #[inline]
    pub fn push(&mut self, character: char) {
        if character.is_ascii() {
            self.push_first(u64::from(u32::from(character)), 1);
        } else {
            self.push_str(character.encode_utf8(&mut [0; 4]));
        }
    }

    /// Appends bytes in ASCII, such as digits that were put together. False, and nothing is appended, where they are not.
    #[inline]
    pub fn push_ascii_bytes(&mut self, bytes: &[u8]) -> bool {
        self.push_ascii(bytes, |word| word)
    }

    /// Appends a text in lower case, by Unicode's rules.
    #[inline]
    pub fn push_lowercase(&mut self, text: &str) {
        if !self.push_ascii(text.as_bytes(), |word| word | in_range(word, b'A', b'Z') << 5) {
            self.push_str(&text.to_lowercase());
        }
    }

    /// Appends a text in upper case, by Unicode's rules.
    #[inline]
    pub fn push_uppercase(&mut self, text: &str) {
        if !self.push_ascii(text.as_bytes(), |word| word ^ in_range(word, b'a', b'z') << 5) {
            self.push_str(&text.to_uppercase());
        }
    }

    /// Appends the ASCII digits of a text.
    #[inline]
    pub fn push_digits(&mut self, text: &str) {
        self.push_where(text, |byte| byte.is_ascii_digit());
    }

    /// Appends those ASCII characters of a text for which `keep` is true, and no others.
    #[inline]
    pub fn push_where(&mut self, text: &str, keep: impl Fn(u8) -> bool) {
        let (steps, rest) = text.as_bytes().as_chunks::<STEP>();
        for step in steps {
            self.push_kept(*step, STEP, &keep);
        }
        if !rest.is_empty() {
            self.push_kept(word(rest).to_le_bytes(), rest.len(), &keep);
        }
    }

    /// Appends bytes in ASCII with every eight of them changed by `change`, which must leave ASCII ASCII. False, and nothing
    /// is appended, where the text is not in ASCII.
    #[inline]
    fn push_ascii(&mut self, bytes: &[u8], change: impl Fn(u64) -> u64) -> bool {
        let before = self.bytes.len();
        let (steps, rest) = bytes.as_chunks::<STEP>();
        let mut seen = word(rest);
        for step in steps {
            let word = u64::from_le_bytes(*step);
            seen |= word;
            self.bytes.extend_from_slice(&change(word).to_le_bytes());
        }
        self.push_first(change(word(rest)), rest.len());
        let ascii = seen & HIGH_BITS == 0;
        if !ascii {
            self.bytes.truncate(before);
        }
        ascii
    }

    /// Appends those of the first `count` bytes that are ASCII and kept. No branch depends on the bytes.
    #[inline]
    fn push_kept(&mut self, step: [u8; STEP], count: usize, keep: &impl Fn(u8) -> bool) {
        let mut kept = [0; STEP];
        let mut length = 0;
        for (at, byte) in step.into_iter().enumerate() {
            if let Some(slot) = kept.get_mut(length) {
                *slot = byte;
            }
            length += usize::from(at < count && byte.is_ascii() && keep(byte));
        }
        self.push_first(u64::from_le_bytes(kept), length);
    }

    /// Appends the first `count` bytes of a word.
    #[inline]
    fn push_first(&mut self, word: u64, count: usize) {
        let end = self.bytes.len() + count;
        self.bytes.extend_from_slice(&word.to_le_bytes());
        self.bytes.truncate(end);
    }

    /// Takes back what was written after the first `length` bytes.
    pub(crate) fn rewind(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl Extend<char> for Text {
    fn extend<T: IntoIterator<Item = char>>(&mut self, characters: T) {
        characters.into_iter().for_each(|character| self.push(character));
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the text itself: it is a user's.
        write!(formatter, "Text({} bytes)", self.bytes.len())
    }
}

/// Whether all bytes are ASCII, which is seen many bytes a turn.
#[inline]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    let (turns, rest) = bytes.as_chunks::<{ 8 * STEP }>();
    let seen = turns.iter().fold(0, |seen, turn| {
        let (words, _) = turn.as_chunks::<STEP>();
        words.iter().fold(seen, |seen, word| seen | u64::from_le_bytes(*word))
    });
    seen & HIGH_BITS == 0 && rest.is_ascii()
}

/// One in each byte between `from` and `to`, zero in the others. All bytes must be ASCII for it to mean anything.
#[inline]
const fn in_range(word: u64, from: u8, to: u8) -> u64 {
    let low = word & !HIGH_BITS;
    let at_least = low + ONES * (0x80 - from as u64);
    let above = low + ONES * (0x7f - to as u64);
    ((at_least & !above & HIGH_BITS) >> 7) & ONES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Text)) -> String {
        let mut out = Text::new();
        out.push_str("kept ");
        write(&mut out);
        out.as_str().strip_prefix("kept ").unwrap().to_owned()
    }

    /// Texts of every length around the step, ASCII and not.
    fn texts() -> impl Iterator<Item = String> {
        let ascii: String = ('\0'..='\u{7f}').cycle().skip(50).take(300).collect();
        let mixed = "aÉ5-ǅ Straße ΣΑΣ 7😀ﬁnn İ".repeat(12);
        (0..=300).flat_map(move |length| {
            let mixed = mixed.char_indices().map(|(at, _)| at).rfind(|&at| at <= length);
            [ascii[..length].to_owned(), mixed_text(mixed)]
        })
    }

    fn mixed_text(length: Option<usize>) -> String {
        "aÉ5-ǅ Straße ΣΑΣ 7😀ﬁnn İ".repeat(12)[..length.unwrap_or(0)].to_owned()
    }

    #[test]
    fn kernels_agree_with_the_standard_library() {
        for text in texts() {
            assert_eq!(written(|out| out.push_str(&text)), text);
            assert_eq!(written(|out| out.push_lowercase(&text)), text.to_lowercase());
            assert_eq!(written(|out| out.push_uppercase(&text)), text.to_uppercase());
            let ascii = if text.is_ascii() { text.as_str() } else { "" };
            assert_eq!(written(|out| assert_eq!(out.push_ascii_bytes(text.as_bytes()), text.is_ascii())), ascii);
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(written(|out| out.push_digits(&text)), digits);
            let few: String = text.chars().filter(|&c| matches!(c, '\0' | 'a'..='f')).collect();
            assert_eq!(written(|out| out.push_where(&text, |byte| matches!(byte, 0 | b'a'..=b'f'))), few);
            assert_eq!(written(|out| out.extend(text.chars())), text);
        }
    }

    #[test]
    fn what_does_not_fit_ascii_leaves_nothing_behind() {
        assert_eq!(written(|out| out.push_lowercase("ABCDEFGHIJKLÄ")), "abcdefghijklä");
        assert_eq!(written(|out| out.push_digits("1234567😀89")), "123456789");
        let mut out = Text::new();
        out.push_str("secret");
        assert_eq!(format!("{out:?}"), "Text(6 bytes)");
        out.rewind(2);
        assert_eq!((out.len(), out.into_bytes().as_slice()), (2, b"se".as_slice()));
    }
}
