//! Columns as they cross the boundary: every check on what the host sent, reading, and writing.

use crate::bindings::transforms::tidelock::plugin::types::{Column, PluginError};
use crate::kind::Kind;
use crate::text::is_ascii;
use crate::value::Value;
use std::borrow::Cow;

/// A checked column.
pub(crate) struct Reader {
    kind: Kind,
    present: Bits,
    offsets: Vec<u32>,
    data: Data,
}

enum Data {
    Text(String),
    Bytes(Vec<u8>),
}

impl Reader {
    /// Checks kind, lengths, offsets and UTF-8.
    ///
    /// # Errors
    /// `bad-column`, which is the host's fault.
    pub(crate) fn new(column: Column) -> Result<Self, PluginError> {
        let kind = Kind::of_code(column.kind).ok_or_else(|| bad_column("its kind is not known"))?;
        check_lengths(&column, kind)?;
        let Column { rows, validity, offsets, data, .. } = column;
        let is_start = |at: &u32, data: &str| data.is_char_boundary(*at as usize);
        if !offsets.is_sorted() {
            return Err(bad_column("its offsets fall"));
        }
        let data = if kind.is_textual() {
            let text = String::from_utf8(data).map_err(|_| bad_column("its data is not UTF-8"))?;
            if !offsets.iter().all(|at| is_start(at, &text)) {
                return Err(bad_column("an offset splits a character"));
            }
            Data::Text(text)
        } else {
            Data::Bytes(data)
        };
        Ok(Self { kind, present: Bits { rows, bits: validity }, offsets, data })
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.present.rows
    }

    /// The value of a row; null beyond the last.
    pub(crate) fn value(&self, row: u32) -> Value<'_> {
        if self.kind == Kind::Null || !self.present.is_set(row) {
            return Value::Null;
        }
        self.stored(row).unwrap_or(Value::Null)
    }

    fn stored(&self, row: u32) -> Option<Value<'_>> {
        let row = row as usize;
        let (start, end) = match self.kind.width() {
            Some(width) => (row * width, (row + 1) * width),
            None => (*self.offsets.get(row)? as usize, *self.offsets.get(row + 1)? as usize),
        };
        match &self.data {
            Data::Text(text) => {
                let text = Cow::Borrowed(text.get(start..end)?);
                Some(match self.kind {
                    Kind::Decimal => Value::Decimal(text),
                    Kind::Json => Value::Json(text),
                    _ => Value::Text(text),
                })
            }
            Data::Bytes(bytes) => read_fixed(self.kind, bytes.get(start..end)?),
        }
    }
}

fn read_fixed(kind: Kind, bytes: &[u8]) -> Option<Value<'_>> {
    let long = || bytes.first_chunk::<8>().map(|chunk| i64::from_le_bytes(*chunk));
    Some(match kind {
        Kind::Boolean => Value::Boolean(*bytes.first()? != 0),
        Kind::Int => Value::Int(long()?),
        Kind::Float => Value::Float(f64::from_le_bytes(*bytes.first_chunk()?)),
        Kind::Date => Value::Date(i32::from_le_bytes(*bytes.first_chunk()?)),
        Kind::Time => Value::Time(long()?),
        Kind::Instant => Value::Instant(long()?),
        Kind::Local => Value::Local(long()?),
        Kind::Uuid => Value::Uuid(*bytes.first_chunk()?),
        Kind::Bytes => Value::Bytes(Cow::Borrowed(bytes)),
        Kind::Null | Kind::Decimal | Kind::Text | Kind::Json => return None,
    })
}

/// Whether the column's lengths agree with its rows.
///
/// # Errors
/// `bad-column`.
pub(crate) fn check_lengths(column: &Column, kind: Kind) -> Result<(), PluginError> {
    let rows = column.rows as usize;
    check_bitmap(&column.validity, column.rows)?;
    if let Some(width) = kind.width() {
        let fits = kind == Kind::Null || rows.checked_mul(width) == Some(column.data.len());
        return if fits { Ok(()) } else { Err(bad_column("its data's length does not fit the rows")) };
    }
    if column.offsets.len() != rows + 1 || column.offsets.first() != Some(&0) {
        return Err(bad_column("there must be rows + 1 offsets, the first of them 0"));
    }
    if column.offsets.last().map(|&last| last as usize) != Some(column.data.len()) {
        return Err(bad_column("the last offset is not the length of the data"));
    }
    Ok(())
}

/// Whether the data is UTF-8, and at every offset a character begins or the data ends. Nearly all columns are in ASCII, where that is so of any
/// offset within the data.
///
/// # Errors
/// `bad-column`.
pub(crate) fn check_texts(data: &[u8], offsets: &[u32]) -> Result<(), PluginError> {
    if is_ascii(data) {
        return Ok(());
    }
    let text = std::str::from_utf8(data).map_err(|_| bad_column("its data is not UTF-8"))?;
    if offsets.iter().all(|at| text.is_char_boundary(*at as usize)) {
        Ok(())
    } else {
        Err(bad_column("an offset splits a character"))
    }
}

/// Whether a bitmap's length fits.
///
/// # Errors
/// `bad-column`.
pub(crate) fn check_bitmap(bits: &[u8], rows: u32) -> Result<(), PluginError> {
    if bits.is_empty() || bits.len() == (rows as usize).div_ceil(8) {
        Ok(())
    } else {
        Err(bad_column("a bitmap's length does not fit the rows"))
    }
}

/// A bit for each row: empty bits = all are set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    pub(crate) rows: u32,
    pub(crate) bits: Vec<u8>,
}

impl Bits {
    #[inline]
    pub(crate) fn is_set(&self, row: u32) -> bool {
        self.bits.is_empty() || self.bits.get(row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// The bits of eight rows, the first of them the lowest.
    #[inline]
    pub(crate) fn byte(&self, index: usize) -> u8 {
        if self.bits.is_empty() { 0xff } else { self.bits.get(index).copied().unwrap_or(0) }
    }

    pub(crate) fn clear(&mut self, row: u32) {
        if self.bits.is_empty() {
            self.bits = vec![0xff; (self.rows as usize).div_ceil(8)];
        }
        if let Some(byte) = self.bits.get_mut(row as usize / 8) {
            *byte &= !(1 << (row % 8));
        }
    }

    /// Adds a row.
    fn push(&mut self, set: bool) {
        if self.rows.is_multiple_of(8) {
            self.bits.push(0);
        }
        if let Some(byte) = self.bits.last_mut() {
            *byte |= u8::from(set) << (self.rows % 8);
        }
        self.rows += 1;
    }

    fn pop(&mut self) {
        self.rows = self.rows.saturating_sub(1);
        self.bits.truncate((self.rows as usize).div_ceil(8));
        if let Some(byte) = self.bits.last_mut().filter(|_| !self.rows.is_multiple_of(8)) {
            *byte &= (1 << (self.rows % 8)) - 1;
        }
    }
}

/// A column while it is written, a value a row. Its kind is given, or that of the first value that is not null.
pub(crate) struct Builder {
    kind: Kind,
    present: Bits,
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl Builder {
    /// A column of this kind; `Kind::Null`: of the first value's.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, present: Bits::default(), offsets: vec![0], data: Vec::new() }
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.present.rows
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The value's kind where it is not the column's. Nothing is added then.
    pub(crate) fn push(&mut self, value: &Value<'_>) -> Result<(), Kind> {
        if !value.is_null() && self.kind == Kind::Null {
            self.kind = value.kind();
            self.data.resize(self.rows() as usize * self.kind.width().unwrap_or(0), 0);
        }
        if !value.is_null() && value.kind() != self.kind {
            return Err(value.kind());
        }
        match value {
            Value::Null => self.data.resize(self.data.len() + self.kind.width().unwrap_or(0), 0),
            Value::Boolean(value) => self.data.push(u8::from(*value)),
            Value::Int(value) | Value::Time(value) | Value::Instant(value) | Value::Local(value) => {
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            Value::Float(value) => self.data.extend_from_slice(&value.to_le_bytes()),
            Value::Date(days) => self.data.extend_from_slice(&days.to_le_bytes()),
            Value::Uuid(bytes) => self.data.extend_from_slice(bytes),
            Value::Decimal(text) | Value::Text(text) | Value::Json(text) => {
                self.data.extend_from_slice(text.as_bytes())
            }
            Value::Bytes(bytes) => self.data.extend_from_slice(bytes),
        }
        if self.kind.width().is_none_or(|width| width == 0) {
            // More than 4 GiB do not fit into the sandbox.
            self.offsets.push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
        }
        self.present.push(!value.is_null());
        Ok(())
    }

    /// Adds a row; where the kinds differ, all values become texts.
    pub(crate) fn push_any(&mut self, value: &Value<'_>) {
        if self.push(value).is_ok() {
            return;
        }
        let mut texts = Self::new(Kind::Text);
        if let Ok(written) = Reader::new(std::mem::replace(self, Self::new(Kind::Text)).finish()) {
            (0..written.rows()).for_each(|row| texts.push_as_text(&written.value(row)));
        }
        texts.push_as_text(value);
        *self = texts;
    }

    fn push_as_text(&mut self, value: &Value<'_>) {
        let text = value.to_text().map_or(Value::Null, Value::Text);
        // A column of texts takes texts and nulls.
        let _ = self.push(&text);
    }

    /// Takes the last row away.
    pub(crate) fn pop(&mut self) {
        self.present.pop();
        let rows = self.rows() as usize;
        match self.kind.width() {
            Some(width) if width > 0 => self.data.truncate(rows * width),
            _ => {
                self.offsets.truncate(rows + 1);
                self.data.truncate(self.offsets.last().map_or(0, |&last| last as usize));
            }
        }
    }

    pub(crate) fn finish(self) -> Column {
        let variable = self.kind.width().is_none();
        Column {
            rows: self.present.rows,
            kind: self.kind.code(),
            validity: self.present.bits,
            offsets: if variable { self.offsets } else { Vec::new() },
            data: self.data,
        }
    }
}

/// A column of nothing but nulls.
pub(crate) fn all_null(rows: u32, kind: Kind) -> Column {
    let long = rows as usize;
    Column {
        rows,
        kind: kind.code(),
        validity: vec![0; long.div_ceil(8)],
        offsets: if kind.width().is_none() { vec![0; long + 1] } else { Vec::new() },
        data: vec![0; long * kind.width().unwrap_or(0)],
    }
}

/// The host broke the contract.
#[cold]
#[inline(never)]
pub(crate) fn bad_column(why: &str) -> PluginError {
    PluginError { code: "bad-column".to_owned(), message: format!("a column is broken: {why}"), retryable: false }
}

/// A column of these values, and what a column reads as: for tests.
#[cfg(test)]
pub(crate) fn column_of(values: &[Value<'_>]) -> Column {
    let mut builder = Builder::new(Kind::Null);
    values.iter().for_each(|value| builder.push_any(value));
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values_of(column: Column) -> Vec<Value<'static>> {
        let reader = Reader::new(column).unwrap();
        (0..reader.rows()).map(|row| reader.value(row).into_owned()).collect()
    }

    #[test]
    fn every_kind_goes_there_and_back_with_nulls_anywhere() {
        for value in [
            Value::Boolean(true),
            Value::Int(-5),
            Value::Float(0.5),
            Value::Decimal("1.50".into()),
            Value::Text("é".into()),
            Value::Bytes(Cow::Borrowed(&[0xff, 0])),
            Value::Date(-1),
            Value::Time(1),
            Value::Instant(i64::MIN),
            Value::Local(7),
            Value::Json("{}".into()),
            Value::Uuid([7; 16]),
        ] {
            let mut values = vec![Value::Null, Value::Null, value.clone(), Value::Null];
            values.extend(std::iter::repeat_n(value, 9));
            assert_eq!(values_of(column_of(&values)), values);
        }
        assert_eq!(values_of(column_of(&[Value::Null, Value::Null])), [Value::Null, Value::Null]);
        assert_eq!(values_of(all_null(2, Kind::Int)), [Value::Null, Value::Null]);
        assert_eq!(values_of(all_null(2, Kind::Text)), [Value::Null, Value::Null]);
    }

    #[test]
    fn values_of_several_kinds_become_texts() {
        let mixed = [Value::Int(1), Value::Null, Value::Text("a".into()), Value::Date(0)];
        let texts = [Value::from("1"), Value::Null, Value::from("a"), Value::from("1970-01-01")];
        assert_eq!(values_of(column_of(&mixed)), texts);
        assert_eq!(Builder::new(Kind::Int).push(&Value::from("a")), Err(Kind::Text));
    }

    #[test]
    fn the_last_row_can_be_taken_away() {
        for value in [Value::Int(3), Value::from("abc")] {
            let mut builder = Builder::new(Kind::Null);
            for _ in 0..9 {
                builder.push_any(&value);
            }
            builder.pop();
            builder.pop();
            builder.push_any(&Value::Null);
            let mut expected = vec![value; 7];
            expected.push(Value::Null);
            assert_eq!(values_of(builder.finish()), expected);
        }
    }

    #[test]
    fn a_column_that_breaks_the_contract_is_refused() {
        let broken: [fn(&mut Column); 8] = [
            |c| c.kind = 99,
            |c| c.validity = vec![1, 1],
            |c| c.offsets = vec![0],
            |c| c.offsets[0] = 1,
            |c| c.offsets[2] = 99,
            |c| c.offsets[1] = 5,
            |c| c.offsets[1] = 1,
            |c| c.data[0] = 0xff,
        ];
        for (case, break_it) in broken.iter().enumerate() {
            let mut column = column_of(&[Value::from("é"), Value::from("é")]);
            break_it(&mut column);
            assert_eq!(Reader::new(column).err().unwrap().code, "bad-column", "case {case}");
        }
        let mut short = column_of(&[Value::Int(1), Value::Int(2)]);
        short.data.pop();
        assert!(Reader::new(short).is_err());
    }
}
