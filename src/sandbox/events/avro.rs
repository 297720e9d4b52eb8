//! Avro in its binary form, as far as change events need it.

use serde_json::Value;

use super::super::clock::parse_datetime;
use super::super::describe::{Field, Kind};

/// Writes what a schema says comes next.
#[derive(Debug, Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    /// An int, a long, a place in a union or an enum: zigzag, seven bits a byte.
    pub(super) fn long(&mut self, value: i64) {
        let mut left = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
        while left >= 0x80 {
            self.0.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
            left >>= 7;
        }
        self.0.push(u8::try_from(left).unwrap_or(0));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.long(i64::try_from(text.len()).unwrap_or(0));
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn texts(&mut self, texts: &[String]) {
        if !texts.is_empty() {
            self.long(i64::try_from(texts.len()).unwrap_or(0));
            for text in texts {
                self.text(text);
            }
        }
        self.long(0);
    }

    /// A field whose type is null or another.
    pub(super) fn optional(&mut self, field: &Field, value: &Value) {
        if value.is_null() {
            self.long(0);
            return;
        }
        self.long(1);
        let text = value.as_str().unwrap_or_default();
        match avro_type(field.kind) {
            "boolean" => self.0.push(u8::from(value.as_bool().unwrap_or(false))),
            "double" => self.0.extend_from_slice(&value.as_f64().unwrap_or(0.0).to_le_bytes()),
            "int" => self.long(value.as_i64().unwrap_or(0)),
            "long" => self.long(epoch_ms(text)),
            _ => self.text(text),
        }
    }
}

/// How values of a kind are typed in change events.
pub(super) fn avro_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Double | Kind::Currency => "double",
        Kind::Date | Kind::Datetime => "long",
        Kind::Id
        | Kind::String
        | Kind::Textarea
        | Kind::Picklist
        | Kind::Multipicklist
        | Kind::Reference
        | Kind::Email
        | Kind::Phone
        | Kind::Url
        | Kind::Address => "string",
    }
}

/// Dates and times are milliseconds since 1970; a date is its first one.
fn epoch_ms(text: &str) -> i64 {
    parse_datetime(text).or_else(|| parse_datetime(&format!("{text}T00:00:00Z"))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the Avro specification.
    #[test]
    fn numbers_and_texts_are_those_of_the_specification() {
        for (value, bytes) in [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-64, vec![0x7f]), (64, vec![0x80, 1])] {
            let mut encoder = Encoder::default();
            encoder.long(value);
            assert_eq!(encoder.0, bytes, "{value}");
        }
        let mut encoder = Encoder::default();
        encoder.text("foo");
        encoder.texts(&["a".to_owned()]);
        encoder.texts(&[]);
        assert_eq!(encoder.0, [6, b'f', b'o', b'o', 2, 2, b'a', 0, 0]);
    }

    #[test]
    fn times_are_milliseconds() {
        assert_eq!(epoch_ms("1970-01-02"), 86_400_000);
        assert_eq!(epoch_ms("1970-01-01T00:00:01.000+0000"), 1000);
    }
}
