//! The compact binary form of values, for keys and bases in the state store: a tag byte a value, then its bytes. Canonical: equal keys
//! have equal bytes.

use crate::value::{Value, canonical_decimal};

/// The bytes are not of this form: another version wrote them, or they are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored values cannot be read: another version wrote them, or they are damaged")]
pub struct DecodeError;

const ABSENT: u8 = 255;

/// Writes values, absent ones included.
pub fn encode_values(values: &[Option<Value>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 12);
    for value in values {
        match value {
            Some(value) => encode(&mut out, value),
            None => out.push(ABSENT),
        }
    }
    out
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only decimals have several spellings")]
pub(super) fn encode_key(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 12);
    for value in values {
        match value {
            // One text per number, or equal keys would differ.
            Value::Decimal(text) => encode(&mut out, &Value::Decimal(canonical_decimal(text))),
            other => encode(&mut out, other),
        }
    }
    out
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    out.push(value.kind() as u8);
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Int(value) | Value::Time(value) | Value::Instant(value) | Value::Local(value) => {
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Float(value) => out.extend_from_slice(&(value + 0.0).to_be_bytes()),
        Value::Date(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => encode_bytes(out, text.as_bytes()),
        Value::Bytes(bytes) => encode_bytes(out, bytes),
        Value::Uuid(bytes) => out.extend_from_slice(bytes),
    }
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what [`encode_values`] wrote.
///
/// # Errors
/// Where the bytes are not of that form.
pub fn decode_values(mut bytes: &[u8]) -> Result<Vec<Option<Value>>, DecodeError> {
    let mut values = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        bytes = rest;
        values.push(if tag == ABSENT { None } else { Some(decode(tag, &mut bytes)?) });
    }
    Ok(values)
}

fn decode(tag: u8, bytes: &mut &[u8]) -> Result<Value, DecodeError> {
    Ok(match tag {
        0 => Value::Null,
        1 => Value::Boolean(take::<1>(bytes)? == [1]),
        2 => Value::Int(integer(bytes)?),
        3 => Value::Float(f64::from_be_bytes(take(bytes)?)),
        4 => Value::Decimal(text(bytes)?),
        5 => Value::Text(text(bytes)?),
        6 => Value::Bytes(sized(bytes)?.to_vec()),
        7 => Value::Date(i32::from_be_bytes(take(bytes)?)),
        8 => Value::Time(integer(bytes)?),
        9 => Value::Instant(integer(bytes)?),
        10 => Value::Local(integer(bytes)?),
        11 => Value::Json(text(bytes)?),
        12 => Value::Uuid(take(bytes)?),
        _ => return Err(DecodeError),
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(DecodeError)?;
    *bytes = rest;
    Ok(*head)
}

fn integer(bytes: &mut &[u8]) -> Result<i64, DecodeError> {
    take(bytes).map(i64::from_be_bytes)
}

fn sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(u64::from_be_bytes(take(bytes)?)).map_err(|_| DecodeError)?;
    let (head, rest) = bytes.split_at_checked(length).ok_or(DecodeError)?;
    *bytes = rest;
    Ok(head)
}

fn text(bytes: &mut &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(sized(bytes)?.to_vec()).map_err(|_| DecodeError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Key;

    #[test]
    fn values_read_back() {
        let values = vec![
            None,
            Some(Value::Null),
            Some(Value::Boolean(true)),
            Some(Value::Int(-5)),
            Some(Value::Float(1.5)),
            Some(Value::Decimal("1.50".into())),
            Some(Value::Text("ü\0".into())),
            Some(Value::Bytes(vec![1, 2])),
            Some(Value::Date(-3)),
            Some(Value::Time(4)),
            Some(Value::Instant(5)),
            Some(Value::Local(6)),
            Some(Value::Json("[]".into())),
            Some(Value::Uuid([9; 16])),
        ];
        assert_eq!(decode_values(&encode_values(&values)).unwrap(), values);
    }

    #[test]
    fn equal_keys_have_equal_bytes() {
        let keys = ["1.50", "1.5"].map(|text| Key(vec![Value::Decimal(text.into())]).encode());
        assert_eq!(keys[0], keys[1]);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let bytes = encode_values(&[Some(Value::Text("abc".into()))]);
        for length in 1..bytes.len() {
            assert!(decode_values(&bytes[..length]).is_err());
        }
        assert!(decode_values(&[77]).is_err());
        assert!(decode_values(&[5, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
    }
}
