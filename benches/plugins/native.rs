//! The rule natively: over columns, in the loop that a plugin of the SDK runs, and as one writes it over rows.

#[path = "../../plugins/testing/us_phone/src/rule.rs"]
#[allow(clippy::cast_possible_truncation, unreachable_pub, reason = "as in the guests")]
mod rule;
/// As the SDK has it.
#[path = "../../plugins/sdk/src/steps.rs"]
#[allow(unreachable_pub, unused_imports, reason = "as in the SDK, where its tests run")]
mod steps;

use steps::steps;

use crate::sandbox::{Column, RowError};

const SHAPES: [&str; 17] = [
    "(A) B-C",
    "A.B.C",
    "A-B-C",
    "ABC",
    "+1 A B C",
    "+1ABC",
    "1-A-B-C",
    "1 (A) B-C",
    "+1 (A) B-C",
    "A B C",
    "(A)B-C",
    "+1-A-B-C",
    "A/B-C",
    "(A) B-C x7",
    "A-B-C #12",
    "1-A-FLOWERS",
    " A B-C ",
];

/// Values as a table has them: 17 spellings, 5 % null, 5 % no number.
pub(crate) fn values(rows: u32) -> Vec<Option<String>> {
    let value = |row: u32| match row % 20 {
        7 => None,
        13 => Some(["n/a", "(106) 342-8631", "12345", "unknown"][(row / 20 % 4) as usize].to_owned()),
        _ => {
            let noise = row.wrapping_mul(2_654_435_761);
            let (area, exchange, line) = (200 + noise % 700, 200 + (noise >> 8) % 700, (noise >> 16) % 10_000);
            let shape = SHAPES[(row % 17) as usize].replace('A', &area.to_string());
            let named = shape.contains("FLOWERS");
            let text = if named { shape } else { shape.replace('B', &exchange.to_string()) };
            Some(if named { text } else { text.replace('C', &format!("{line:04}")) })
        }
    };
    (0..rows).map(value).collect()
}

/// The values as one column of text.
pub(crate) fn column(values: &[Option<String>]) -> Column {
    let mut validity = vec![0_u8; values.len().div_ceil(8)];
    let (mut data, mut offsets) = (Vec::new(), vec![0]);
    for (row, value) in values.iter().enumerate() {
        if let Some(text) = value {
            validity[row / 8] |= 1 << (row % 8);
            data.extend_from_slice(text.as_bytes());
        }
        offsets.push(u32::try_from(data.len()).unwrap());
    }
    Column { rows: u32::try_from(values.len()).unwrap(), kind: 5, validity, offsets, data }
}

/// Columns in, columns out, with the SDK's checks.
pub(crate) fn columnar(input: Column) -> (Column, Vec<RowError>) {
    let Column { rows, kind, mut validity, offsets: ends, data } = input;
    let text = String::from_utf8(data).unwrap();
    assert!(ends.is_sorted());
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    let mut offsets = Vec::with_capacity(ends.len());
    offsets.push(0);
    let (mut errors, mut start, mut left) = (Vec::new(), 0, text.as_str());
    for (row, end) in ends.iter().skip(1).enumerate() {
        let (value, rest) = left.split_at_checked((end - start) as usize).unwrap();
        (start, left) = (*end, rest);
        if validity[row / 8] >> (row % 8) & 1 == 1 {
            match rule::us_phone(value) {
                Some(number) => out.extend_from_slice(&number),
                None => {
                    validity[row / 8] &= !(1 << (row % 8));
                    errors.push(RowError {
                        row: u32::try_from(row).unwrap(),
                        code: "invalid-phone".to_owned(),
                        message: "the value is no number of North America".to_owned(),
                    });
                }
            }
        }
        offsets.push(u32::try_from(out.len()).unwrap());
    }
    (Column { rows, kind, validity, offsets, data: out }, errors)
}

/// As a person writes it: a `String` a value, iterators, no tables.
pub(crate) fn rows(values: Vec<Option<String>>) -> Vec<Result<Option<String>, String>> {
    values.into_iter().map(|value| value.map(|text| one(&text)).transpose()).collect()
}

fn one(text: &str) -> Result<String, String> {
    let invalid = || "the value is no number of North America".to_owned();
    let number = text.split(['x', '#']).next().unwrap_or_default();
    let mut digits = String::with_capacity(12);
    for character in number.chars() {
        match character {
            '0'..='9' => digits.push(character),
            ' ' | '+' | '-' | '.' | '/' | '(' | ')' => {}
            letter if letter.is_ascii_alphabetic() => digits.push(keypad(letter)),
            _ => return Err(invalid()),
        }
    }
    let digits = if digits.len() == 11 { digits.strip_prefix('1').unwrap_or(&digits) } else { &digits };
    let begins_well = |at: usize| digits.as_bytes().get(at).is_some_and(|digit| *digit >= b'2');
    if digits.len() == 10 && begins_well(0) && begins_well(3) { Ok(format!("+1{digits}")) } else { Err(invalid()) }
}

fn keypad(letter: char) -> char {
    match letter.to_ascii_lowercase() {
        'a'..='c' => '2',
        'd'..='f' => '3',
        'g'..='i' => '4',
        'j'..='l' => '5',
        'm'..='o' => '6',
        'p'..='s' => '7',
        't'..='v' => '8',
        _ => '9',
    }
}
