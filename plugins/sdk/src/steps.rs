//! The bytes of a text, eight a turn.
//!
//! This file uses nothing of the crate: the bench runs its native code on the same loop.

/// Bytes of one turn.
pub(crate) const STEP: usize = 8;

/// The bytes of a text, eight a turn; the last turn is filled up with `fill`.
///
/// In the sandbox every turn of a loop looks at the deadline, which costs as much as a few instructions. A loop over these, with
/// no branch in what it does to each of the eight, looks a fourth as often or less, and the compiler writes the eight out.
///
/// ```
/// let blanks = |text: &str| -> usize {
///     tidelock_plugin::steps(text, 0).map(|step| step.into_iter().map(|byte| usize::from(byte == b' ')).sum::<usize>()).sum()
/// };
/// assert_eq!(blanks("to be or not to be"), 5);
/// ```
#[inline]
pub fn steps(text: &str, fill: u8) -> impl Iterator<Item = [u8; STEP]> {
    Steps { bytes: text.as_bytes(), last: last(text.as_bytes(), fill) }
}

struct Steps<'a> {
    bytes: &'a [u8],
    last: [u8; STEP],
}

impl Iterator for Steps<'_> {
    type Item = [u8; STEP];

    #[inline]
    fn next(&mut self) -> Option<[u8; STEP]> {
        if let Some((step, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            return Some(*step);
        }
        let any = !self.bytes.is_empty();
        self.bytes = &[];
        any.then_some(self.last)
    }
}

/// What is left over at the end of a text, filled up.
#[inline]
fn last(bytes: &[u8], fill: u8) -> [u8; STEP] {
    let left = bytes.len() % STEP;
    let word = match bytes.last_chunk::<STEP>() {
        // The bytes before are there to be read too, and go again.
        Some(step) => u64::from_le_bytes(*step).unbounded_shr(bits(STEP - left)),
        None => word(bytes),
    };
    (word | u64::from_ne_bytes([fill; STEP]).unbounded_shl(bits(left))).to_le_bytes()
}

/// Bits of fewer than nine bytes.
#[inline]
fn bits(bytes: usize) -> u32 {
    8 * u32::try_from(bytes).unwrap_or_default()
}

/// Fewer than eight bytes as a word, filled up with zeros.
#[inline]
pub(crate) fn word(rest: &[u8]) -> u64 {
    // Two loads that may overlap: where they do, both say the same.
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let shift = 8 * (rest.len() - 4);
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift;
    }
    match *rest {
        [a, b, c] => u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16,
        [a, b] => u64::from(a) | u64::from(b) << 8,
        [a] => u64::from(a),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_once_and_the_last_turn_is_filled() {
        let text: String = ('\0'..='\u{7f}').collect();
        for length in 0..=text.len() {
            let seen: Vec<u8> = steps(&text[..length], b'.').flatten().collect();
            assert_eq!(seen.len(), length.next_multiple_of(STEP));
            assert_eq!(&seen[..length], &text.as_bytes()[..length]);
            assert!(seen[length..].iter().all(|byte| *byte == b'.'));
        }
    }
}
