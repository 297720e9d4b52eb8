//! The patterns of numbering plans: digits, classes, groups, alternatives and bounded repetition, nothing else.

/// A part of a pattern.
#[derive(Clone, Debug)]
pub enum Part {
    /// One digit of a set: bit d stands for digit d.
    Digit(u16),
    /// One after the other.
    Sequence(Vec<Part>),
    /// The first that fits.
    Either(Vec<Part>),
    /// From least to most times, preferably often.
    Repeat(Box<Part>, u32, u32),
    /// What is kept of the match.
    Capture(Box<Part>),
    /// The end of the digits.
    End,
}

/// Every digit.
pub const ANY: u16 = 0x3ff;

/// Reads a pattern.
///
/// # Panics
/// For anything that the plans did not have when this was written.
pub fn parse(text: &str) -> Part {
    let mut reader = Reader { rest: text.as_bytes() };
    let part = reader.either();
    assert!(reader.rest.is_empty(), "cannot read the pattern {text}");
    part
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, wanted: &str) -> bool {
        let rest = self.rest.strip_prefix(wanted.as_bytes());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().expect("an unfinished pattern");
        self.rest = rest;
        *first
    }

    fn digit(&mut self) -> u32 {
        char::from(self.next()).to_digit(10).expect("a digit")
    }

    fn number(&mut self) -> u32 {
        let mut number = self.digit();
        while self.rest.first().is_some_and(u8::is_ascii_digit) {
            number = number * 10 + self.digit();
        }
        number
    }

    fn either(&mut self) -> Part {
        let mut options = vec![self.sequence()];
        while self.take("|") {
            options.push(self.sequence());
        }
        if options.len() == 1 { options.remove(0) } else { Part::Either(options) }
    }

    fn sequence(&mut self) -> Part {
        let mut parts = Vec::new();
        while self.rest.first().is_some_and(|next| !b"|)".contains(next)) {
            let part = self.one();
            parts.push(self.repeated(part));
        }
        Part::Sequence(parts)
    }

    fn one(&mut self) -> Part {
        if self.take("$") {
            Part::End
        } else if self.take(r"\d") {
            Part::Digit(ANY)
        } else if self.take("[") {
            Part::Digit(self.class())
        } else if self.take("(?:") {
            self.group()
        } else if self.take("(") {
            Part::Capture(Box::new(self.group()))
        } else {
            Part::Digit(1 << self.digit())
        }
    }

    fn group(&mut self) -> Part {
        let inner = self.either();
        assert!(self.take(")"), "an open group");
        inner
    }

    fn class(&mut self) -> u16 {
        let mut set = 0;
        while !self.take("]") {
            let first = self.digit();
            let last = if self.take("-") { self.digit() } else { first };
            (first..=last).for_each(|digit| set |= 1 << digit);
        }
        set
    }

    fn repeated(&mut self, part: Part) -> Part {
        if self.take("?") {
            return Part::Repeat(Box::new(part), 0, 1);
        }
        if !self.take("{") {
            return part;
        }
        let least = self.number();
        let most = if self.take(",") { self.number() } else { least };
        assert!(self.take("}"), "an open repetition");
        Part::Repeat(Box::new(part), least, most)
    }
}
