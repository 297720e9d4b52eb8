//! Rows in COPY's text format: one line each, fields between tabs, `\N` for null.

use crate::record::{Layout, Record};
use crate::value::{Kind, Value};

use super::values;

/// Appends a field to the row that is being written.
fn push_field(out: &mut Vec<u8>, value: &Value) {
    match values::input(value) {
        None => out.extend_from_slice(b"\\N"),
        Some(text) => push_text(out, text.as_bytes()),
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    // Most texts have nothing to escape. Every byte is looked at, which the compiler does many at a time.
    if !text.iter().fold(false, |found, byte| found | matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(*byte),
        }
    }
}

/// Appends a row.
pub(super) fn push_row<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = &'a Value>) {
    for (index, value) in fields.enumerate() {
        if index > 0 {
            out.push(b'\t');
        }
        push_field(out, value);
    }
    out.push(b'\n');
}

/// Cuts a stream of chunks into rows and reads them as records.
pub(super) struct Decoder {
    layout: Layout,
    kinds: Vec<Kind>,
    /// The beginning of a row whose end has not come yet.
    rest: Vec<u8>,
    unescaped: Vec<u8>,
}

/// The server sent something that is no row of this query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of COPY is not of the expected form")]
pub(super) struct BadRow;

impl Decoder {
    /// A decoder of rows with these fields.
    pub(super) fn new(layout: Layout, kinds: Vec<Kind>) -> Self {
        Self { layout, kinds, rest: Vec::new(), unescaped: Vec::new() }
    }

    /// Reads a chunk; whole rows are appended to `records`.
    pub(super) fn push(&mut self, chunk: &[u8], records: &mut Vec<Record>) -> Result<(), BadRow> {
        let mut left = chunk;
        while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            let (row, after) = left.split_at(end);
            left = after.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                records.push(self.row(row)?);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(row);
                records.push(self.row(&whole)?);
            }
        }
        self.rest.extend_from_slice(left);
        Ok(())
    }

    fn row(&mut self, row: &[u8]) -> Result<Record, BadRow> {
        let mut values = Vec::with_capacity(self.kinds.len());
        let plain = !row.contains(&b'\\');
        for (field, kind) in row.split(|byte| *byte == b'\t').zip(&self.kinds) {
            values.push(Some(if plain {
                parse(field, *kind)?
            } else {
                read_field(field, *kind, &mut self.unescaped)?
            }));
        }
        if values.len() == self.kinds.len() {
            Ok(Record::new(Layout::clone(&self.layout), values))
        } else {
            Err(BadRow)
        }
    }
}

fn read_field(field: &[u8], kind: Kind, unescaped: &mut Vec<u8>) -> Result<Value, BadRow> {
    if field == b"\\N" {
        return Ok(Value::Null);
    }
    unescaped.clear();
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        unescaped.push(match byte {
            b'\\' => match bytes.next().ok_or(BadRow)? {
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                other => *other,
            },
            other => *other,
        });
    }
    parse(unescaped, kind)
}

fn parse(text: &[u8], kind: Kind) -> Result<Value, BadRow> {
    std::str::from_utf8(text).map(|text| values::parse(kind, text)).map_err(|_| BadRow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::layout;

    #[test]
    fn rows_survive_any_cut_of_the_stream() {
        let rows = [
            [Value::Int(1), Value::Text("a\tb\nc\\d\re".into())],
            [Value::Null, Value::Text(String::new())],
            [Value::Int(-3), Value::Text("\\N".into())],
        ];
        let mut bytes = Vec::new();
        for row in &rows {
            push_row(&mut bytes, row.iter());
        }
        for size in 1..=bytes.len() {
            let mut decoder = Decoder::new(layout(["a", "b"]), vec![Kind::Int, Kind::Text]);
            let mut records = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(chunk, &mut records).unwrap();
            }
            let read: Vec<Vec<Option<Value>>> = records.into_iter().map(Record::into_values).collect();
            assert_eq!(
                read,
                rows.iter().map(|row| row.iter().cloned().map(Some).collect::<Vec<_>>()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_row_with_too_few_fields_is_refused() {
        let mut decoder = Decoder::new(layout(["a", "b"]), vec![Kind::Int, Kind::Text]);
        assert_eq!(decoder.push(b"1\n", &mut Vec::new()), Err(BadRow));
    }
}
