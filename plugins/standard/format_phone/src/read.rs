//! Reads the spellings that are digits and punctuation, as libphonenumber does, step by step, without its expressions.
//!
//! Whatever else is in the text (letters, extensions, scripts other than Latin) is left to the library: [`Reading::Unsure`].
//! `tests` at the end hold both against each other.

use crate::plan::{self, Code, Digits, NATIONAL_DIGITS, Plan};

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// A number of its country's plan.
    Valid(Number),
    /// The digits of a number, but no plan has it.
    Invalid,
    /// Not the digits of any number.
    Unreadable,
    /// Not for this module to say.
    Unsure,
}

/// A number that the plan of its country has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    pub code: u16,
    pub national: Digits,
    pub extension: Option<String>,
}

/// Reads a text; `home` is where numbers without a country code are at home.
pub fn read(text: &str, home: Option<&'static Plan>) -> Reading {
    let Some(spelt) = spelt(text) else { return Reading::Unsure };
    let digits = spelt.digits.as_bytes();
    match digits.len() {
        0 | 1 => return Reading::Unreadable,
        // Two digits and nothing else are a number to the library, though of no plan.
        2 => return Reading::Unsure,
        _ => {}
    }
    let read = if spelt.international {
        // The library tries these once more without the plus.
        let Some((code, national)) = plan::split_code(digits) else { return Reading::Unsure };
        national_number(code, code.main(), national)
    } else {
        let Some(home) = home else { return Reading::Unreadable };
        dialled(home, digits)
    };
    read.unwrap_or(Reading::Unsure)
}

/// What is written: digits, and whether a plus stands before them.
struct Spelt {
    international: bool,
    digits: Digits,
}

/// What a character is in the spelling of a number.
enum Sign {
    Digit(u8),
    Plus,
    /// Between or behind digits it says nothing.
    Punctuation,
    Other,
}

fn sign(character: char) -> Sign {
    match character {
        '0'..='9' => Sign::Digit(u8::try_from(character).unwrap_or(b'0')),
        '\u{ff10}'..='\u{ff19}' => Sign::Digit(b'0' + u8::try_from(u32::from(character) - 0xff10).unwrap_or_default()),
        '+' | '\u{ff0b}' => Sign::Plus,
        ' ' | '-' | '.' | '(' | ')' | '/' | '[' | ']' => Sign::Punctuation,
        '\u{a0}' | '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{3000}' => Sign::Punctuation,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'..='\u{ff0f}' => Sign::Punctuation,
        _ => Sign::Other,
    }
}

/// `None` where there is more to the text than this module reads.
fn spelt(text: &str) -> Option<Spelt> {
    let mut characters = text.trim_end_matches([' ', '\t', '\r', '\n']).chars();
    let mut spelt = Spelt { international: false, digits: Digits::new() };
    // What stands before the first digit or plus does not count: "Tel. (", "tel:".
    for character in characters.by_ref() {
        match sign(character) {
            Sign::Digit(digit) => {
                spelt.digits.push(digit);
                break;
            }
            Sign::Plus => {
                spelt.international = true;
                break;
            }
            Sign::Punctuation => {}
            // Parameters of an RFC 3966 number; digits of other scripts.
            Sign::Other if character == ';' || !character.is_ascii() => return None,
            Sign::Other => {}
        }
    }
    for character in characters {
        match sign(character) {
            Sign::Digit(digit) => spelt.digits.push(digit).then_some(())?,
            Sign::Punctuation => {}
            Sign::Plus | Sign::Other => return None,
        }
    }
    Some(spelt)
}

/// Digits as they are dialled in a country: to abroad, with the own country code, or within the country.
fn dialled(home: &'static Plan, digits: &[u8]) -> Option<Reading> {
    if let Some(abroad) = home.after_idd(digits) {
        if abroad.len() <= *NATIONAL_DIGITS.start() {
            return Some(Reading::Unreadable);
        }
        let Some((code, national)) = plan::split_code(abroad) else { return Some(Reading::Unreadable) };
        return national_number(code, code.main(), national);
    }
    let code = plan::code(home.code)?;
    if let Some((first, rest)) = plan::split_code(digits).filter(|(first, _)| first.code == home.code) {
        let national = home.without_prefix(rest)?;
        let clearer = !home.looks_like(digits) && home.looks_like(national.as_bytes());
        if clearer || home.is_too_long(digits.len()) {
            return national_number(first, first.main(), national.as_bytes());
        }
    }
    national_number(code, Some(home), digits)
}

/// Checks a number whose country is known, by the rules of one of its regions.
fn national_number(code: &Code, rules: Option<&Plan>, digits: &[u8]) -> Option<Reading> {
    if digits.len() < *NATIONAL_DIGITS.start() {
        return Some(Reading::Unreadable);
    }
    let rules = rules?;
    let stripped = rules.without_prefix(digits)?;
    let national = if rules.takes_length(stripped.as_bytes().len()) { stripped } else { Digits::of(digits)? };
    if !NATIONAL_DIGITS.contains(&national.as_bytes().len()) {
        return Some(Reading::Unreadable);
    }
    if !code.has(national.as_bytes()) {
        return Some(Reading::Invalid);
    }
    Some(Reading::Valid(Number { code: code.code, national, extension: None }))
}
