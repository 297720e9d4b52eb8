//! Avro as far as change events need it (layer 4): a schema in JSON, and values in binary by it. Of the specification (1.11), all types but logical
//! ones, which are read as what they are written as; aliases and schema evolution are not there, because each event names the schema it was
//! written by.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

/// How deep types may be nested: one that holds itself has no end.
const DEPTH_MAX: u32 = 32;
/// Items of one list; an event is a megabyte at most.
const ITEMS_MAX: usize = 1 << 20;

/// Why something is no Avro.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Garbled(&'static str);

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    /// Int and long are written alike.
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Arc<[String]>),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Record(Arc<[Field]>),
    /// One that is defined elsewhere in the schema, by its name.
    Named(String),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: Type,
}

/// A schema: a record, and the types that have names.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) fields: Arc<[Field]>,
    named: HashMap<String, Type>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Bytes(Vec<u8>),
    /// Also what an enum holds.
    Text(String),
    Array(Vec<Value>),
    /// A record, or a map.
    Record(Vec<(String, Value)>),
}

impl Value {
    /// A field of a record.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Record(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn long(&self) -> Option<i64> {
        if let Self::Long(number) = self { Some(*number) } else { None }
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        let Self::Array(items) = self else { return None };
        items.iter().map(Self::text).collect()
    }
}

impl Schema {
    /// Reads a schema, which has to be that of a record.
    pub(super) fn parse(json: &str) -> Result<Self, Garbled> {
        let json: Json = serde_json::from_str(json).map_err(|_| Garbled("the schema is no JSON"))?;
        let mut named = HashMap::new();
        let of = parse(&json, &mut named, 0)?;
        let Type::Record(fields) = of else { return Err(Garbled("the schema is not that of a record")) };
        Ok(Self { fields, named })
    }

    /// Reads the first fields of a record, up to this one.
    pub(super) fn read_to(&self, payload: &[u8], last: &str) -> Result<Value, Garbled> {
        let mut reader = Reader { rest: payload, named: &self.named };
        let mut values = Vec::new();
        for field in self.fields.iter() {
            values.push((field.name.clone(), reader.value(&field.of, 0)?));
            if field.name == last {
                return Ok(Value::Record(values));
            }
        }
        Err(Garbled("the record has no such field"))
    }

    /// What a type that may be null holds otherwise; a name is looked up.
    pub(super) fn inner<'a>(&'a self, of: &'a Type) -> &'a Type {
        let types = if let Type::Union(types) = of { types.as_slice() } else { &[] };
        let of = types.iter().find(|one| **one != Type::Null).unwrap_or(of);
        if let Type::Named(name) = of { self.named.get(name).unwrap_or(of) } else { of }
    }
}

fn parse(json: &Json, named: &mut HashMap<String, Type>, depth: u32) -> Result<Type, Garbled> {
    if depth > DEPTH_MAX {
        return Err(Garbled("the schema is nested too deep"));
    }
    match json {
        Json::String(name) => Ok(primitive(name)),
        Json::Array(types) => {
            let types = types.iter().map(|of| parse(of, named, depth + 1));
            Ok(Type::Union(types.collect::<Result<_, _>>()?))
        }
        Json::Object(object) => {
            let of = object.get("type").ok_or(Garbled("a type has no \"type\""))?;
            match of.as_str() {
                Some("array") => Ok(Type::Array(part(object, "items", named, depth)?)),
                Some("map") => Ok(Type::Map(part(object, "values", named, depth)?)),
                Some(kind @ ("record" | "error" | "enum" | "fixed")) => define(object, kind, named, depth),
                Some(name) => Ok(primitive(name)),
                None => parse(of, named, depth + 1),
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Err(Garbled("a type is neither a name nor a definition")),
    }
}

type Object = serde_json::Map<String, Json>;

fn part(object: &Object, name: &str, named: &mut HashMap<String, Type>, depth: u32) -> Result<Box<Type>, Garbled> {
    let of = object.get(name).ok_or(Garbled("a list does not say what of"))?;
    parse(of, named, depth + 1).map(Box::new)
}

/// A type that has a name, by which it may be used again. Salesforce has one namespace, so names are told by their last part.
fn define(object: &Object, kind: &str, named: &mut HashMap<String, Type>, depth: u32) -> Result<Type, Garbled> {
    let name = object.get("name").and_then(Json::as_str).ok_or(Garbled("a definition has no name"))?;
    let list = |key: &str| object.get(key).and_then(Json::as_array).ok_or(Garbled("a definition has no list"));
    let of = match kind {
        "enum" => {
            let symbol = |json: &Json| json.as_str().map(str::to_owned).ok_or(Garbled("a symbol is no text"));
            Type::Enum(list("symbols")?.iter().map(symbol).collect::<Result<_, _>>()?)
        }
        "fixed" => {
            let size = object.get("size").and_then(Json::as_u64).and_then(|size| usize::try_from(size).ok());
            Type::Fixed(size.ok_or(Garbled("a fixed type has no size"))?)
        }
        _ => {
            let mut fields = Vec::new();
            for field in list("fields")? {
                let name = field.get("name").and_then(Json::as_str).ok_or(Garbled("a field has no name"))?;
                let of = parse(field.get("type").ok_or(Garbled("a field has no type"))?, named, depth + 1)?;
                fields.push(Field { name: name.to_owned(), of });
            }
            Type::Record(fields.into())
        }
    };
    named.insert(last_part(name).to_owned(), of.clone());
    Ok(of)
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn primitive(name: &str) -> Type {
    match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" | "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::Text,
        other => Type::Named(last_part(other).to_owned()),
    }
}

/// Reads values.
struct Reader<'a> {
    rest: &'a [u8],
    named: &'a HashMap<String, Type>,
}

impl Reader<'_> {
    fn value(&mut self, of: &Type, depth: u32) -> Result<Value, Garbled> {
        if depth > DEPTH_MAX {
            return Err(Garbled("the values are nested too deep"));
        }
        Ok(match of {
            Type::Null => Value::Null,
            Type::Boolean => Value::Boolean(self.take(1)? == [1]),
            Type::Long => Value::Long(self.long()?),
            Type::Float => Value::Double(f32::from_le_bytes(self.array()?).into()),
            Type::Double => Value::Double(f64::from_le_bytes(self.array()?)),
            Type::Fixed(size) => Value::Bytes(self.take(*size)?.to_vec()),
            Type::Bytes => Value::Bytes(self.sized()?.to_vec()),
            Type::Text => Value::Text(self.text()?),
            Type::Enum(symbols) => {
                let place = usize::try_from(self.long()?).ok();
                let symbol = place.and_then(|place| symbols.get(place)).ok_or(Garbled("no such symbol"))?;
                Value::Text(symbol.clone())
            }
            Type::Union(types) => {
                let place = usize::try_from(self.long()?).ok();
                let of = place.and_then(|place| types.get(place)).ok_or(Garbled("no such type in the union"))?;
                self.value(of, depth + 1)?
            }
            Type::Array(of) => {
                let mut items = Vec::new();
                self.blocks(|reader| {
                    items.push(reader.value(of, depth + 1)?);
                    Ok(items.len())
                })?;
                Value::Array(items)
            }
            Type::Map(of) => {
                let mut items = Vec::new();
                self.blocks(|reader| {
                    items.push((reader.text()?, reader.value(of, depth + 1)?));
                    Ok(items.len())
                })?;
                Value::Record(items)
            }
            Type::Record(fields) => {
                let field = |field: &Field| Ok((field.name.clone(), self.value(&field.of, depth + 1)?));
                Value::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            Type::Named(name) => {
                let of = self.named.get(name).ok_or(Garbled("a type is not defined"))?;
                self.value(of, depth + 1)?
            }
        })
    }

    /// Items in blocks, each with its number of items; a negative one is followed by the block's size.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<usize, Garbled>) -> Result<(), Garbled> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                if item(self)? > ITEMS_MAX {
                    return Err(Garbled("a list is too long"));
                }
            }
        }
    }

    /// Zigzag, seven bits a byte, the lowest first.
    fn long(&mut self) -> Result<i64, Garbled> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Garbled("a number has no end"))
    }

    fn sized(&mut self) -> Result<&[u8], Garbled> {
        let size = usize::try_from(self.long()?).map_err(|_| Garbled("a size is negative"))?;
        self.take(size)
    }

    fn text(&mut self) -> Result<String, Garbled> {
        let bytes = self.sized()?.to_vec();
        String::from_utf8(bytes).map_err(|_| Garbled("a text is not UTF-8"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        self.take(N)?.try_into().map_err(|_| Garbled("the values end too early"))
    }

    fn take(&mut self, size: usize) -> Result<&[u8], Garbled> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Garbled("the values end too early"))?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(of: &str) -> Schema {
        Schema::parse(&format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {of}}}]}}"#))
            .unwrap()
    }

    fn read(of: &str, bytes: &[u8]) -> Result<Value, Garbled> {
        schema(of).read_to(bytes, "f").map(|record| record.get("f").unwrap().clone())
    }

    /// The examples of the Avro specification.
    #[test]
    fn values_are_those_of_the_specification() {
        for (bytes, number) in [(vec![0], 0), (vec![1], -1), (vec![2], 1), (vec![0x7f], -64), (vec![0x80, 1], 64)] {
            assert_eq!(read(r#""long""#, &bytes), Ok(Value::Long(number)));
        }
        let longest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(read(r#""long""#, &longest), Ok(Value::Long(i64::MIN)));
        assert_eq!(read(r#""string""#, b"\x06foo"), Ok(Value::Text("foo".to_owned())));
        let list = Ok(Value::Array(vec![Value::Long(3), Value::Long(27)]));
        let longs = r#"{"type": "array", "items": "long"}"#;
        assert_eq!(read(longs, &[4, 6, 0x36, 0]), list);
        assert_eq!(read(longs, &[3, 4, 6, 0x36, 0]), list, "a block with its size");
        assert_eq!(read(r#"["null", "string"]"#, &[2, 2, b'a']), Ok(Value::Text("a".to_owned())));
        assert_eq!(read(r#"["null", "string"]"#, &[0]), Ok(Value::Null));
        let symbols = r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#;
        assert_eq!(read(symbols, &[2]), Ok(Value::Text("B".to_owned())));
        assert_eq!(
            read(r#"{"type": "map", "values": "boolean"}"#, &[2, 2, b'k', 1, 0]).unwrap().get("k"),
            Some(&Value::Boolean(true))
        );
        assert_eq!(read(r#""double""#, &1.5_f64.to_le_bytes()), Ok(Value::Double(1.5)));
    }

    #[test]
    fn a_type_is_used_again_by_its_name() {
        let record =
            r#"["null", {"type": "record", "name": "a.Address", "fields": [{"name": "City", "type": "string"}]}]"#;
        let text = format!(
            r#"{{"type": "record", "name": "R", "fields": [{{"name": "x", "type": {record}}}, {{"name": "y", "type": ["null", "Address"]}}]}}"#
        );
        let schema = Schema::parse(&text).unwrap();
        let read = schema.read_to(&[2, 2, b'P', 2, 2, b'Q'], "y").unwrap();
        assert_eq!(read.get("y").unwrap().get("City").and_then(Value::text), Some("Q"));
        assert!(matches!(schema.inner(&schema.fields[1].of), Type::Record(_)));
    }

    #[test]
    fn what_is_no_avro_is_an_error_and_never_a_panic() {
        for (of, bytes) in [
            (r#""string""#, &b"\x08foo"[..]),
            (r#""string""#, b"\x01"),
            (r#""string""#, b"\x02\xff"),
            (r#""long""#, &[0xff; 12]),
            (r#""double""#, b"123"),
            (r#"["null"]"#, &[2]),
            (r#""Nobody""#, &[0]),
            (r#"{"type": "array", "items": "null"}"#, &[0xfe, 0xff, 0xff, 0xff, 0xff, 1]),
            (r#"{"type": "record", "name": "S", "fields": [{"name": "s", "type": "S"}]}"#, &[]),
        ] {
            assert!(read(of, bytes).is_err(), "{of}");
        }
        for wrong in ["", "[]", "\"string\"", r#"{"type": "record"}"#, r#"{"name": "x"}"#, &"[".repeat(1000)] {
            assert!(Schema::parse(wrong).is_err(), "{wrong}");
        }
    }
}
