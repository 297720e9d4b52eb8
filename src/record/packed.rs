//! Many records in one run of bytes, with the names of their fields once (layer 0): for blobs that hold a whole batch.

use std::sync::Arc;

use super::{DecodeError, Key, Layout, Record, decode_values, encode_values, layout};
use crate::value::Value;

type Result<T> = std::result::Result<T, DecodeError>;

/// Adds bytes and how many they are.
pub fn push_sized(to: &mut Vec<u8>, bytes: &[u8]) {
    // 255 bytes and more are rare: the length follows in full.
    match u8::try_from(bytes.len()) {
        Ok(length) if length < u8::MAX => to.push(length),
        Ok(_) | Err(_) => {
            to.push(u8::MAX);
            to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(bytes);
}

/// Takes what [`push_sized`] added off the front.
///
/// # Errors
/// Where it is cut short.
pub fn take_sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (&first, rest) = bytes.split_first().ok_or(DecodeError)?;
    let (length, rest) = if first == u8::MAX {
        let (length, rest) = rest.split_first_chunk::<8>().ok_or(DecodeError)?;
        (u64::from_be_bytes(*length), rest)
    } else {
        (u64::from(first), rest)
    };
    let length = usize::try_from(length).map_err(|_| DecodeError)?;
    let (head, rest) = rest.split_at_checked(length).ok_or(DecodeError)?;
    *bytes = rest;
    Ok(head)
}

/// Writes the bytes that [`Unpacker`] reads.
#[derive(Debug, Default)]
pub struct Packer {
    /// A few at most, shared by most records.
    layouts: Vec<Layout>,
    bytes: Vec<u8>,
}

impl Packer {
    /// Adds one byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Adds a number.
    pub fn number(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// Adds bytes and how many they are.
    pub fn sized(&mut self, bytes: &[u8]) {
        push_sized(&mut self.bytes, bytes);
    }

    /// Adds a key; one that is not known is told from all others.
    pub fn key(&mut self, key: Option<&Key>) {
        self.sized(&key.map(Key::encode).unwrap_or_default());
    }

    /// Adds a record.
    pub fn record(&mut self, record: &Record) {
        let place = self.place(record.layout());
        self.number(place);
        self.sized(&encode_values(record.values()));
    }

    fn place(&mut self, layout: &Layout) -> i64 {
        let same = |known: &Layout| Arc::ptr_eq(known, layout) || known == layout;
        let place = self.layouts.iter().position(same).unwrap_or_else(|| {
            self.layouts.push(Layout::clone(layout));
            self.layouts.len() - 1
        });
        i64::try_from(place).unwrap_or(i64::MAX)
    }

    /// The bytes: names first.
    pub fn finish(self) -> Vec<u8> {
        let mut head = Self::default();
        head.number(i64::try_from(self.layouts.len()).unwrap_or(i64::MAX));
        for layout in &self.layouts {
            let names: Vec<Option<Value>> = layout.iter().map(|name| Some(Value::Text(name.to_string()))).collect();
            head.sized(&encode_values(&names));
        }
        head.bytes.extend_from_slice(&self.bytes);
        head.bytes
    }
}

/// Reads what a [`Packer`] wrote, in its order.
#[derive(Debug)]
pub struct Unpacker<'a> {
    layouts: Vec<Layout>,
    bytes: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// Reads the names.
    ///
    /// # Errors
    /// Where the bytes are not of that form; so do all others here.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut unpacker = Self { layouts: Vec::new(), bytes };
        for _ in 0..unpacker.number()? {
            let names = decode_values(unpacker.sized()?)?.into_iter().map(|name| match name {
                Some(Value::Text(name)) => Ok(name),
                _ => Err(DecodeError),
            });
            let made = layout(names.collect::<Result<Vec<String>>>()?);
            unpacker.layouts.push(made);
        }
        Ok(unpacker)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.bytes.split_first().ok_or(DecodeError)?;
        self.bytes = rest;
        Ok(first)
    }

    /// The next number.
    pub fn number(&mut self) -> Result<i64> {
        let (head, rest) = self.bytes.split_first_chunk::<8>().ok_or(DecodeError)?;
        self.bytes = rest;
        Ok(i64::from_be_bytes(*head))
    }

    /// The next bytes that know how many they are.
    pub fn sized(&mut self) -> Result<&'a [u8]> {
        take_sized(&mut self.bytes)
    }

    /// The next key.
    pub fn key(&mut self) -> Result<Option<Key>> {
        let bytes = self.sized()?;
        if bytes.is_empty() { Ok(None) } else { Key::decode(bytes).map(Some) }
    }

    /// The next record.
    pub fn record(&mut self) -> Result<Record> {
        let place = usize::try_from(self.number()?).map_err(|_| DecodeError)?;
        let values = decode_values(self.sized()?)?;
        let layout = self.layouts.get(place).ok_or(DecodeError)?;
        Ok(Record::new(Layout::clone(layout), values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_names_stand_there_once() {
        let first = Record::of([("name", Value::Text("x".repeat(300))), ("a long name of a field", Value::Null)]);
        let second = Record::new(Layout::clone(first.layout()), vec![None, Some(Value::Int(1))]);
        let other = Record::of([("id", Value::Int(2))]);
        let (key, mut packer) = (Key(vec![Value::Int(7)]), Packer::default());
        packer.byte(3);
        for record in [&first, &second, &other] {
            packer.record(record);
        }
        packer.key(Some(&key));
        packer.key(None);
        packer.number(-5);
        let bytes = packer.finish();
        assert_eq!(bytes.windows(22).filter(|part| *part == b"a long name of a field").count(), 1);
        let mut unpacker = Unpacker::new(&bytes).unwrap();
        assert_eq!(unpacker.byte(), Ok(3));
        for record in [first, second, other] {
            assert_eq!(unpacker.record(), Ok(record));
        }
        assert_eq!((unpacker.key(), unpacker.key(), unpacker.number()), (Ok(Some(key)), Ok(None), Ok(-5)));
        assert!(unpacker.is_empty());
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let mut packer = Packer::default();
        packer.record(&Record::of([("id", Value::Int(2))]));
        let bytes = packer.finish();
        for length in 0..bytes.len() {
            let read = Unpacker::new(&bytes[..length]).and_then(|mut unpacker| unpacker.record());
            assert_eq!(read, Err(DecodeError), "{length}");
        }
    }
}
