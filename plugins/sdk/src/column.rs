//! A text column in, a text column out: every check on what the host sent, and the one loop over rows.

use crate::bindings::columnar::exports::tidelock::plugin::field_transform::Outcome;
use crate::bindings::columnar::tidelock::plugin::types::{Column, PluginError, RowError};

/// Kind code of a column without data (WIT `types.kind`).
const KIND_NULL: u16 = 0;
/// Kind code of text.
pub(crate) const KIND_TEXT: u16 = 5;

/// Why one value could not be transformed. It becomes null in the output, and the mapping's `on_error` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Short kebab-case word, stable per plugin: operators filter by it.
    pub code: &'static str,
    /// For people. Never the value itself: messages end up in logs.
    pub message: String,
}

impl Failure {
    /// A failure with a stable code and a message that does not repeat the value.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Runs `transform` on every value that is not null; it appends its answer to the text it is given.
///
/// # Errors
/// `wrong-kind` and `bad-column` when the host's column is not a text column, `output-too-large` beyond 4 GiB.
pub(crate) fn map_text(
    input: Column,
    transform: impl Fn(&str, &mut String) -> Result<(), Failure>,
) -> Result<Outcome, PluginError> {
    if input.kind == KIND_NULL {
        return Ok(Outcome { output: all_null(input.rows), errors: Vec::new() });
    }
    check(&input)?;
    let Column { rows, validity, offsets: ends, data: bytes, .. } = input;
    // All at once is faster than value by value; that no value splits a character shows at its offsets.
    let text = std::str::from_utf8(&bytes).map_err(|_| bad_column("the data is not UTF-8"))?;
    let mut validity = Validity { rows, bits: validity };
    let mut data = String::with_capacity(text.len() + text.len() / 4);
    let mut offsets = Vec::with_capacity(ends.len());
    offsets.push(0);
    let mut errors = Vec::new();
    let mut start = 0;
    for (row, end) in (0..rows).zip(ends.iter().skip(1).map(|&end| end as usize)) {
        let value = text.get(start..end).ok_or_else(|| bad_column("an offset falls or splits a character"))?;
        start = end;
        if validity.is_set(row) {
            let before = data.len();
            if let Err(failure) = transform(value, &mut data) {
                data.truncate(before);
                validity.clear(row);
                errors.push(RowError { row, code: failure.code.to_owned(), message: failure.message });
            }
        }
        offsets.push(u32::try_from(data.len()).map_err(|_| too_large())?);
    }
    let output = Column { rows, kind: KIND_TEXT, validity: validity.bits, offsets, data: data.into_bytes() };
    Ok(Outcome { output, errors })
}

/// Whether the column's kind and lengths agree with each other.
fn check(input: &Column) -> Result<(), PluginError> {
    if input.kind != KIND_TEXT {
        return Err(PluginError {
            code: "wrong-kind".to_owned(),
            message: format!("expected a column of kind {KIND_TEXT} (text), got kind {}", input.kind),
            retryable: false,
        });
    }
    let rows = input.rows as usize;
    if !input.validity.is_empty() && input.validity.len() != rows.div_ceil(8) {
        return Err(bad_column("the validity bitmap's length does not fit the rows"));
    }
    if input.offsets.len() != rows + 1 || input.offsets.first() != Some(&0) {
        return Err(bad_column("there must be rows + 1 offsets, the first of them 0"));
    }
    if input.offsets.last().map(|&last| last as usize) != Some(input.data.len()) {
        return Err(bad_column("the last offset is not the length of the data"));
    }
    Ok(())
}

/// Which rows are not null: empty bits = all of them.
struct Validity {
    rows: u32,
    bits: Vec<u8>,
}

impl Validity {
    fn is_set(&self, row: u32) -> bool {
        self.bits.is_empty() || self.bits.get(row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    fn clear(&mut self, row: u32) {
        if self.bits.is_empty() {
            self.bits = vec![0xff; (self.rows as usize).div_ceil(8)];
        }
        if let Some(byte) = self.bits.get_mut(row as usize / 8) {
            *byte &= !(1 << (row % 8));
        }
    }
}

fn all_null(rows: u32) -> Column {
    let rows_long = rows as usize;
    Column {
        rows,
        kind: KIND_TEXT,
        validity: vec![0; rows_long.div_ceil(8)],
        offsets: vec![0; rows_long + 1],
        data: Vec::new(),
    }
}

fn bad_column(why: &str) -> PluginError {
    PluginError { code: "bad-column".to_owned(), message: why.to_owned(), retryable: false }
}

fn too_large() -> PluginError {
    PluginError {
        code: "output-too-large".to_owned(),
        message: "the output column is larger than 4 GiB".to_owned(),
        retryable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text column of these values.
    fn column(values: &[Option<&str>]) -> Column {
        let rows = u32::try_from(values.len()).unwrap();
        let mut made = all_null(rows);
        for (row, value) in values.iter().enumerate() {
            if let Some(text) = value {
                made.validity[row / 8] |= 1 << (row % 8);
                made.data.extend_from_slice(text.as_bytes());
            }
            made.offsets[row + 1] = u32::try_from(made.data.len()).unwrap();
        }
        made
    }

    fn shout(value: &str, out: &mut String) -> Result<(), Failure> {
        out.push_str(value);
        out.push('!');
        if value == "bad" { Err(Failure::new("refused", "not this one")) } else { Ok(()) }
    }

    #[test]
    fn nulls_stay_null_and_failures_become_null() {
        let outcome = map_text(column(&[Some("a"), None, Some("bad"), Some("é")]), shout).unwrap();
        assert_eq!(outcome.output.data, "a!é!".as_bytes());
        assert_eq!(outcome.output.offsets, [0, 2, 2, 2, 5]);
        assert_eq!(outcome.output.validity, [0b1001]);
        assert_eq!(outcome.errors.len(), 1);
        assert_eq!((outcome.errors[0].row, outcome.errors[0].code.as_str()), (2, "refused"));
    }

    #[test]
    fn a_missing_bitmap_means_no_nulls_until_a_row_fails() {
        let mut input = column(&[Some("a"); 9]);
        input.validity = Vec::new();
        let outcome = map_text(input, shout).unwrap();
        assert!(outcome.output.validity.is_empty());

        let mut input = column(&[Some("bad"), Some("b")]);
        input.validity = Vec::new();
        let outcome = map_text(input, shout).unwrap();
        assert_eq!(outcome.output.validity, [0xfe]);
    }

    #[test]
    fn no_rows_and_columns_without_data_are_fine() {
        assert_eq!(map_text(column(&[]), shout).unwrap().output.offsets, [0]);
        let null = Column { kind: KIND_NULL, rows: 9, validity: vec![], offsets: vec![], data: vec![] };
        let outcome = map_text(null, shout).unwrap();
        assert_eq!((outcome.output.kind, outcome.output.validity.len()), (KIND_TEXT, 2));
    }

    #[test]
    fn a_column_that_breaks_the_contract_is_refused() {
        let broken: [fn(&mut Column); 8] = [
            |c| c.kind = 2,
            |c| c.validity = vec![1, 1],
            |c| c.offsets = vec![0],
            |c| c.offsets[0] = 1,
            |c| c.offsets[2] = 99,
            |c| c.offsets[1] = 5,
            |c| c.offsets[1] = 1,
            |c| c.data[0] = 0xff,
        ];
        for (case, break_it) in broken.iter().enumerate() {
            let mut input = column(&[Some("é"), Some("é")]);
            break_it(&mut input);
            let code = if case == 0 { "wrong-kind" } else { "bad-column" };
            assert_eq!(map_text(input, shout).unwrap_err().code, code, "case {case}");
        }
    }
}
