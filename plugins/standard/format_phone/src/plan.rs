//! The numbering plans of all countries, as tables that the build makes of `numbering_plans.tsv`: what is asked about digits
//! here costs nanoseconds, where the library's expressions cost microseconds.

mod tables {
    use super::{Code, Plan, Step};
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// One automaton for all numbers: per node and digit two bytes, twice the next node's index, plus one where it accepts.
static NODES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nodes.bin"));

/// Longest and shortest national number that the library reads.
pub const NATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 2..=17;

/// One region's plan.
pub struct Plan {
    /// ISO 3166 code; `001` for codes that are no country's.
    region: &'static str,
    pub code: u16,
    /// Program that reads what is dialled before a country code.
    idd: Option<u16>,
    /// Program that reads what is dialled before a number within the country.
    prefix: Option<u16>,
    /// What the prefix is replaced by where it captures something; `\1` stands for the first capture.
    transform: &'static str,
    /// Node that accepts what all numbers of the region have in common.
    general: u16,
    /// Bit n: numbers of n digits exist.
    lengths: u32,
    /// The same of numbers that are dialled within an area only.
    local_lengths: u32,
}

/// One calling code.
pub struct Code {
    pub code: u16,
    /// Index of the plan by whose rules its numbers are read.
    main: u16,
    /// Node that accepts its valid national numbers.
    valid: u16,
}

/// One step of a prefix program.
#[derive(Clone, Copy)]
enum Step {
    /// Reads one digit of a set: bit d stands for digit d.
    Digit(u16),
    /// Goes on at the first, or, where that fails, at the second.
    Either(u16, u16),
    Jump(u16),
    /// Keeps the position: 0 and 1 are begin and end of the first capture, 2 and 3 of the second.
    Keep(u8),
    /// Only at the end of the digits.
    End,
    Done,
}

/// Digits in ASCII, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Digits {
    const MAX: usize = 32;

    pub const fn new() -> Self {
        Self { bytes: [0; Self::MAX], len: 0 }
    }

    /// `None` where they are too many: no plan has such numbers.
    pub fn of(text: &[u8]) -> Option<Self> {
        let mut digits = Self::new();
        digits.bytes.get_mut(..text.len())?.copy_from_slice(text);
        digits.len = text.len();
        Some(digits)
    }

    /// Whether there was room for the digit.
    pub fn push(&mut self, digit: u8) -> bool {
        let slot = self.bytes.get_mut(self.len);
        let fits = slot.is_some();
        if let Some(slot) = slot {
            *slot = digit;
            self.len += 1;
        }
        fits
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// The code that the digits begin with, and the digits after it. No code begins with 0, and none begins with another one.
pub fn split_code(digits: &[u8]) -> Option<(&'static Code, &[u8])> {
    if digits.first() == Some(&b'0') {
        return None;
    }
    let mut number = 0;
    for (index, digit) in digits.iter().take(3).enumerate() {
        number = number * 10 + u16::from(digit - b'0');
        if let Some(code) = code(number) {
            return Some((code, digits.get(index + 1..)?));
        }
    }
    None
}

/// A calling code that is in use.
pub fn code(number: u16) -> Option<&'static Code> {
    let index = tables::CODES.binary_search_by_key(&number, |code| code.code).ok()?;
    tables::CODES.get(index)
}

/// The plan of a country, by its ISO 3166 code in any case.
pub fn of_region(region: &str) -> Option<&'static Plan> {
    tables::PLANS.iter().find(|plan| plan.region.eq_ignore_ascii_case(region) && plan.region != "001")
}

impl Code {
    /// The plan by whose rules the code's numbers are read.
    pub fn main(&self) -> Option<&'static Plan> {
        tables::PLANS.get(usize::from(self.main))
    }

    /// Whether this is a number of some type in one of the code's regions.
    pub fn has(&self, national: &[u8]) -> bool {
        accepts(self.valid, national)
    }
}

impl Plan {
    /// Whether the digits look like the region's numbers, be there one or not.
    pub fn looks_like(&self, digits: &[u8]) -> bool {
        accepts(self.general, digits)
    }

    /// The digits after the region's prefix for calls abroad. A country code never begins with 0.
    pub fn after_idd<'a>(&self, digits: &'a [u8]) -> Option<&'a [u8]> {
        let (end, _) = run(self.idd?, digits)?;
        digits.get(end..).filter(|rest| rest.first() != Some(&b'0'))
    }

    /// The digits without the prefix of calls within the country, where one is there and the rest still looks like a number.
    pub fn without_prefix(&self, digits: &[u8]) -> Option<Digits> {
        let unchanged = Digits::of(digits);
        let Some((end, captures)) = self.prefix.and_then(|prefix| run(prefix, digits)) else { return unchanged };
        let rest = digits.get(end..)?;
        let stripped = if !self.transform.is_empty() && transforms(&captures) {
            self.transformed(&captures, digits, rest)?
        } else {
            Digits::of(rest)?
        };
        let spoilt = self.looks_like(digits) && !self.looks_like(stripped.as_bytes());
        if spoilt { unchanged } else { Some(stripped) }
    }

    fn transformed(&self, captures: &Captures, digits: &[u8], rest: &[u8]) -> Option<Digits> {
        let mut made = Digits::new();
        let mut rule = self.transform.bytes();
        while let Some(byte) = rule.next() {
            if byte == b'\\' {
                let group = usize::from(rule.next()?.checked_sub(b'1')?);
                let captured = capture(captures, group).and_then(|range| digits.get(range)).unwrap_or_default();
                captured.iter().all(|digit| made.push(*digit)).then_some(())?;
            } else {
                made.push(byte).then_some(())?;
            }
        }
        rest.iter().all(|digit| made.push(*digit)).then_some(made)
    }

    /// Whether a number of so many digits may be the one that was meant: a longer one than any may, as its end may be too much.
    pub fn takes_length(&self, length: usize) -> bool {
        self.is_too_long(length) || (!has(self.local_lengths, length) && has(self.lengths, length))
    }

    /// Whether every number of the region is shorter.
    pub fn is_too_long(&self, length: usize) -> bool {
        let longest = self.lengths.checked_ilog2();
        !has(self.local_lengths, length) && longest.is_some_and(|longest| length > longest as usize)
    }
}

fn has(lengths: u32, length: usize) -> bool {
    u32::try_from(length).ok().and_then(|length| lengths.checked_shr(length)).is_some_and(|rest| rest & 1 == 1)
}

/// Whether the automaton, from this node, accepts the digits.
fn accepts(mut node: u16, digits: &[u8]) -> bool {
    let mut accepted = false;
    for digit in digits {
        let at = usize::from(node) * 20 + usize::from(digit - b'0') * 2;
        let entry = match NODES.get(at..at + 2) {
            Some([low, high]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        (node, accepted) = (entry / 2, entry % 2 == 1);
        if entry == 0 {
            return false;
        }
    }
    accepted
}

/// Begin and end of up to two captures.
type Captures = [Option<usize>; 4];

fn capture(captures: &Captures, group: usize) -> Option<std::ops::Range<usize>> {
    Some((*captures.get(2 * group)?)?..(*captures.get(2 * group + 1)?)?)
}

/// Whether what was captured is to be transformed, instead of the prefix only being left out.
fn transforms(captures: &Captures) -> bool {
    match (capture(captures, 0), capture(captures, 1)) {
        (Some(_), Some(second)) => !second.is_empty(),
        (Some(first), None) => !first.is_empty(),
        (None, _) => false,
    }
}

/// Runs a program from the first digit; where it ends, and what it captured.
fn run(start: u16, digits: &[u8]) -> Option<(usize, Captures)> {
    let mut captures = [None; 4];
    step(start, digits, 0, &mut captures).map(|end| (end, captures))
}

fn step(mut at: u16, digits: &[u8], mut position: usize, captures: &mut Captures) -> Option<usize> {
    loop {
        let next = at + 1;
        at = match *tables::STEPS.get(usize::from(at))? {
            Step::Digit(set) => {
                let digit = digits.get(position)?;
                if set >> (digit - b'0') & 1 == 0 {
                    return None;
                }
                position += 1;
                next
            }
            Step::Either(first, second) => {
                let before = *captures;
                if let Some(end) = step(first, digits, position, captures) {
                    return Some(end);
                }
                *captures = before;
                second
            }
            Step::Jump(to) => to,
            Step::Keep(slot) => {
                *captures.get_mut(usize::from(slot))? = Some(position);
                next
            }
            Step::End if position == digits.len() => next,
            Step::End => return None,
            Step::Done => return Some(position),
        };
    }
}
