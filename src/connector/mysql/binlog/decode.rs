//! The values of a key as the log has them (layer 4, pure): they become what `values::decode` makes of the same values in a row, so that a key
//! from the log is the key that is found.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html>, and the formats of `decimal.cc` and `my_time.cc`.

use super::super::table::MyColumn;
use super::super::values::parse;
use super::bytes::Fields;
use super::layout::{Cell, DIGIT_BYTES, ENUM, SET, Stored, fraction_bytes};
use crate::record::Key;
use crate::value::{Kind, Value};

/// How text stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8 or a part of it.
    Utf8,
    /// Windows-1252, where the five bytes that it leaves out are control characters.
    Latin1,
    /// Two bytes and more a letter, the highest first.
    Utf16,
    /// The same, the lowest first.
    Utf16Le,
    /// Four bytes a letter.
    Utf32,
}

impl Charset {
    /// By the name that the server has for it; `None` for those that are not read here.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "binary" => Some(Self::Utf8),
            "latin1" => Some(Self::Latin1),
            "ucs2" | "utf16" => Some(Self::Utf16),
            "utf16le" => Some(Self::Utf16Le),
            "utf32" => Some(Self::Utf32),
            _ => None,
        }
    }

    fn read(self, bytes: &[u8]) -> Option<String> {
        let pairs = |of: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            rest.is_empty().then(|| String::from_utf16(&pairs.iter().map(|pair| of(*pair)).collect::<Vec<_>>()).ok())?
        };
        match self {
            Self::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
            Self::Latin1 => Some(bytes.iter().map(|byte| latin1(*byte)).collect()),
            Self::Utf16 => pairs(u16::from_be_bytes),
            Self::Utf16Le => pairs(u16::from_le_bytes),
            Self::Utf32 => {
                let (letters, rest) = bytes.as_chunks::<4>();
                let letters = letters.iter().map(|letter| char::from_u32(u32::from_be_bytes(*letter)));
                letters.collect::<Option<String>>().filter(|_| rest.is_empty())
            }
        }
    }
}

/// The letters of 0x80 to 0x9f; the others are those of Unicode.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn latin1(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS.get(usize::from(byte - 0x80)).copied().unwrap_or('?'),
        other => char::from(other),
    }
}

/// A column of the key, with what reading its values takes.
#[derive(Debug, Clone)]
pub(in super::super) struct KeyColumn {
    /// The catalogue's column.
    pub(super) column: MyColumn,
    /// Of texts.
    pub(super) charset: Charset,
    /// Of enums and sets, in their order.
    pub(super) choices: Vec<String>,
}

/// The key in the cells of an image; `before` has what the image leaves out. `None` where it cannot be told.
pub(super) fn key(columns: &[KeyColumn], stored: &[Stored], cells: &[Cell<'_>], before: Option<&Key>) -> Option<Key> {
    let part = |(index, cell): (usize, &Cell<'_>)| match cell {
        None => before?.0.get(index).cloned(),
        Some(None) => None,
        Some(Some(bytes)) => columns.get(index)?.value(stored.get(index)?, bytes),
    };
    cells.iter().enumerate().map(part).collect::<Option<Vec<_>>>().map(Key)
}

impl KeyColumn {
    /// Name.
    pub(super) fn name(&self) -> &str {
        self.column.name()
    }

    /// What has to stay the same for old values to be read as new ones are.
    pub(super) fn form(&self) -> String {
        match self.column.kind() {
            Kind::Int | Kind::Boolean if self.column.unsigned => "unsigned".to_owned(),
            Kind::Int | Kind::Boolean => "int".to_owned(),
            Kind::Text => match self.column.data_type.as_str() {
                "enum" | "set" => self.column.column.native_type.clone(),
                _ => format!("text {:?}", self.charset),
            },
            Kind::Decimal | Kind::Float => format!("{:?}", self.column.kind()),
            Kind::Null
            | Kind::Bytes
            | Kind::Date
            | Kind::Time
            | Kind::Instant
            | Kind::Local
            | Kind::Json
            | Kind::Uuid => self.column.column.native_type.clone(),
        }
    }

    fn value(&self, stored: &Stored, bytes: &[u8]) -> Option<Value> {
        let column = &self.column;
        let text = |text| Some(parse(column.kind(), text));
        match (column.kind(), stored.code) {
            (Kind::Boolean | Kind::Int, _) => whole(column, stored.code, bytes),
            (Kind::Float, 4) => Some(Value::Float(f64::from(f32::from_le_bytes(bytes.try_into().ok()?)))),
            (Kind::Float, 5) => Some(Value::Float(f64::from_le_bytes(bytes.try_into().ok()?))),
            (Kind::Decimal, 246) => text(decimal(stored.detail(), bytes)?),
            (Kind::Date, 10 | 14) => text(date(Fields(bytes).little(3)?)),
            (Kind::Time, 19) => text(time(column, stored.detail()[0], bytes)?),
            (Kind::Local, 18) => text(date_time(column, stored.detail()[0], bytes)?),
            (Kind::Instant, 17) => instant(column, stored.detail()[0], bytes),
            (Kind::Uuid, _) => uuid(bytes),
            (Kind::Text, ENUM) => self.chosen(Fields(bytes).little(bytes.len())?),
            (Kind::Text, SET) => self.set(Fields(bytes).little(bytes.len())?),
            (Kind::Text, 15 | 252..=254) => Some(Value::Text(self.charset.read(bytes)?)),
            (Kind::Bytes, 15 | 252..=254) => {
                let mut bytes = bytes.to_vec();
                // The log leaves zeros at the end out.
                bytes.resize(column.length.unwrap_or_default().max(bytes.len()), 0);
                Some(Value::Bytes(bytes))
            }
            _ => None,
        }
    }

    fn chosen(&self, number: u64) -> Option<Value> {
        // 0 is what an invalid value was stored as.
        let Some(place) = usize::try_from(number).ok()?.checked_sub(1) else { return Some(Value::Text(String::new())) };
        self.choices.get(place).cloned().map(Value::Text)
    }

    fn set(&self, bits: u64) -> Option<Value> {
        let chosen = |(place, choice): (usize, &String)| (bits >> place & 1 == 1).then(|| choice.clone());
        Some(Value::Text(self.choices.iter().take(64).enumerate().filter_map(chosen).collect::<Vec<_>>().join(",")))
    }
}

fn whole(column: &MyColumn, code: u8, bytes: &[u8]) -> Option<Value> {
    let number = match code {
        16 => Fields(bytes).big(bytes.len())?,
        13 => Fields(bytes).little(1).map(|year| if year == 0 { 0 } else { year + 1900 })?,
        1 | 2 | 3 | 8 | 9 => Fields(bytes).little(bytes.len())?,
        _ => return None,
    };
    let number = match i64::try_from(number) {
        _ if !column.unsigned && matches!(code, 1 | 2 | 3 | 8 | 9) => {
            let unused = 64 - 8 * u32::try_from(bytes.len()).ok()?;
            i64::from_le_bytes((number << unused).to_le_bytes()) >> unused
        }
        Ok(number) => number,
        Err(_) => return Some(Value::Decimal(number.to_string())),
    };
    Some(match (column.kind(), number) {
        (Kind::Boolean, 0 | 1) => Value::Boolean(number == 1),
        _ => Value::Int(number),
    })
}

/// Nine digits in four bytes, the highest first; the rest before the first and behind the last of them. Negative ones are turned over.
fn decimal([digits, scale]: [u8; 2], bytes: &[u8]) -> Option<String> {
    let negative = bytes.first()? & 0x80 == 0;
    let mut bytes: Vec<u8> = bytes.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    *bytes.first_mut()? ^= 0x80;
    let mut fields = Fields(&bytes);
    let (whole, scale) = (usize::from(digits.checked_sub(scale)?), usize::from(scale));
    let mut text = String::from(if negative { "-" } else { "" });
    let mut part = |count: usize, text: &mut String| {
        if count > 0 {
            let number = fields.big(if count == 9 { 4 } else { *DIGIT_BYTES.get(count)? })?;
            text.push_str(&format!("{number:0count$}"));
        }
        Some(())
    };
    part(whole % 9, &mut text)?;
    for _ in 0..whole / 9 {
        part(9, &mut text)?;
    }
    if whole == 0 {
        text.push('0');
    }
    if scale > 0 {
        text.push('.');
    }
    for _ in 0..scale / 9 {
        part(9, &mut text)?;
    }
    part(scale % 9, &mut text)?;
    Some(text)
}

fn date(number: u64) -> String {
    format!("{:04}-{:02}-{:02}", number >> 9, number >> 5 & 15, number & 31)
}

/// A fraction of a second in microseconds.
fn micros(number: u64, digits: u8) -> u64 {
    match fraction_bytes(digits) {
        1 => number * 10_000,
        2 => number * 100,
        _ => number,
    }
}

/// `.123`, as many digits as the column has.
fn fraction(column: &MyColumn, micros: u64) -> String {
    let digits = usize::try_from(column.fraction).unwrap_or_default().min(6);
    let all = format!("{micros:06}");
    all.get(..digits).filter(|digits| !digits.is_empty()).map_or_else(String::new, |digits| format!(".{digits}"))
}

fn date_time(column: &MyColumn, digits: u8, bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let number = fields.big(5)?.checked_sub(1 << 39)?;
    let rest = micros(fields.big(fraction_bytes(digits))?, digits);
    let (days, clock) = (number >> 17, number & 0x1_ffff);
    let months = days >> 5;
    Some(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}",
        months / 13,
        months % 13,
        days & 31,
        clock >> 12,
        clock >> 6 & 63,
        clock & 63,
        fraction(column, rest)
    ))
}

fn instant(column: &MyColumn, digits: u8, bytes: &[u8]) -> Option<Value> {
    let mut fields = Fields(bytes);
    let (seconds, rest) = (fields.big(4)?, micros(fields.big(fraction_bytes(digits))?, digits));
    if seconds == 0 && rest == 0 {
        return Some(Value::Text(format!("0000-00-00 00:00:00{}", fraction(column, 0))));
    }
    i64::try_from(seconds * 1_000_000 + rest).ok().map(Value::Instant)
}

fn time(column: &MyColumn, digits: u8, bytes: &[u8]) -> Option<String> {
    let width = fraction_bytes(digits);
    let number = i64::try_from(Fields(bytes).big(3 + width)?).ok()?;
    let number = number.checked_sub(0x80_0000_i64.checked_shl(u32::try_from(8 * width).ok()?)?)?;
    let (sign, number) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let (clock, rest) = (number >> (8 * width), number & ((1 << (8 * width)) - 1));
    let rest = fraction(column, micros(rest, digits));
    Some(format!("{sign}{:02}:{:02}:{:02}{rest}", clock >> 12 & 0x3ff, clock >> 6 & 63, clock & 63))
}

/// Zeros at the end are left out.
fn uuid(bytes: &[u8]) -> Option<Value> {
    let mut whole = [0; 16];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(Value::Uuid(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Column;

    fn column(data_type: &str, kind: Kind, fraction: u32) -> MyColumn {
        MyColumn {
            column: Column {
                name: "c".to_owned(),
                kind,
                native_type: data_type.to_owned(),
                nullable: false,
                has_default: false,
                writable: true,
                keeps: crate::connector::Keeps::default(),
            },
            data_type: data_type.to_owned(),
            unsigned: false,
            digits: 0,
            scale: 0,
            fraction,
            length: None,
            members: Vec::new(),
            auto_increment: false,
        }
    }

    #[test]
    fn decimals_are_exact() {
        // From the description of the format: 1234567890.1234 in DECIMAL(14, 4).
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(decimal([14, 4], &bytes).unwrap(), "1234567890.1234");
        let turned: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        assert_eq!(decimal([14, 4], &turned).unwrap(), "-1234567890.1234");
        assert_eq!(decimal([14, 4], &bytes[..6]), None);
    }

    #[test]
    fn times_are_read_with_their_fractions_and_signs() {
        let time_of =
            |fraction, digits, bytes: &[u8]| time(&column("time", Kind::Time, fraction), digits, bytes).unwrap();
        assert_eq!(time_of(0, 0, &[0x80, 0, 1]), "00:00:01");
        assert_eq!(time_of(0, 0, &[0x7f, 0xff, 0xff]), "-00:00:01");
        assert_eq!(time_of(2, 2, &[0x7f, 0xff, 0xff, 0xff]), "-00:00:00.01");
        let zero = date_time(&column("datetime", Kind::Local, 3), 3, &[0x80, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(zero, "0000-00-00 00:00:00.000");
    }

    #[test]
    fn text_is_read_by_its_charset() {
        assert_eq!(Charset::Latin1.read(&[0x80, 0xe9, 0x81]).unwrap(), "€é\u{81}");
        assert_eq!(Charset::Utf16.read(&[0xd8, 0x3d, 0xde, 0x00]).unwrap(), "😀");
        assert_eq!(Charset::Utf16Le.read(&[0x3d, 0xd8, 0x00, 0xde]).unwrap(), "😀");
        assert_eq!(Charset::Utf32.read(&[0, 1, 0xf6, 0]).unwrap(), "😀");
        assert_eq!(Charset::Utf16.read(&[0]), None);
        assert_eq!(Charset::Utf8.read(&[0xff]), None);
    }

    #[test]
    fn numbers_have_their_signs() {
        let mut int = column("int", Kind::Int, 0);
        assert_eq!(whole(&int, 9, &[0xff, 0xff, 0xff]), Some(Value::Int(-1)));
        assert_eq!(whole(&int, 8, &i64::MIN.to_le_bytes()), Some(Value::Int(i64::MIN)));
        int.unsigned = true;
        assert_eq!(whole(&int, 9, &[0xff, 0xff, 0xff]), Some(Value::Int(0xff_ffff)));
        assert_eq!(whole(&int, 8, &[0xff; 8]), Some(Value::Decimal(u64::MAX.to_string())));
    }
}
