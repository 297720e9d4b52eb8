//! Reads the fields of an event one after the other (layer 4, pure). Whatever is shorter than it says is `None`, never a panic.

/// What is left of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// So many bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, the lowest first.
    pub(super) fn little(&mut self, length: usize) -> Option<u64> {
        Some(self.take(length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A number of so many bytes, the highest first.
    pub(super) fn big(&mut self, length: usize) -> Option<u64> {
        Some(self.take(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A length in as many bytes as it says.
    pub(super) fn size(&mut self, bytes: usize) -> Option<usize> {
        usize::try_from(self.little(bytes)?).ok()
    }

    /// A number in one, three, four or nine bytes.
    pub(super) fn packed(&mut self) -> Option<usize> {
        match self.byte()? {
            short @ 0..=0xfa => Some(usize::from(short)),
            0xfc => self.size(2),
            0xfd => self.size(3),
            0xfe => self.size(8),
            0xfb | 0xff => None,
        }
    }

    /// Bytes behind their length.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.packed()?;
        self.take(length)
    }

    /// Text behind its length of one byte and before a zero.
    pub(super) fn name(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let name = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Some(name)
    }
}

/// Whether bit `index` is set, the lowest of the first byte first.
pub(super) fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_is_none() {
        let mut fields = Fields(&[1, 2, 0, 0xfc, 4, 1, 3]);
        assert_eq!(fields.little(2), Some(0x201));
        assert_eq!(fields.byte(), Some(0));
        assert_eq!(fields.packed(), Some(0x104));
        assert_eq!(fields.take(2), None);
        assert_eq!(fields.big(1), Some(3));
        assert_eq!(fields.counted(), None);
    }
}
