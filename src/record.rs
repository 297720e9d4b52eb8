//! Records, keys and their compact binary form (layer 0).

use std::fmt;
use std::sync::Arc;

use crate::value::Value;

mod codec;
mod packed;

pub use codec::{DecodeError, decode_values, encode_values};
pub use packed::{Packer, Unpacker, push_sized, take_sized};

/// The field names of a batch of records, shared by all of them.
pub type Layout = Arc<[Box<str>]>;

/// Makes a layout from names.
pub fn layout<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Layout {
    names.into_iter().map(|name| Box::from(name.as_ref())).collect()
}

/// One row: for each field of the layout a value, or `None` where the record does not carry the field.
/// Absent is never written and is not null.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    layout: Layout,
    values: Vec<Option<Value>>,
}

impl Record {
    /// A record over `layout`; missing trailing values are absent, surplus ones are cut.
    pub fn new(layout: Layout, mut values: Vec<Option<Value>>) -> Self {
        values.resize(layout.len(), None);
        Self { layout, values }
    }

    /// A record that carries nothing.
    pub fn empty(layout: Layout) -> Self {
        Self::new(layout, Vec::new())
    }

    /// A record from names and values.
    pub fn of<S: AsRef<str>>(fields: impl IntoIterator<Item = (S, Value)>) -> Self {
        let (names, values): (Vec<S>, Vec<Option<Value>>) =
            fields.into_iter().map(|(name, value)| (name, Some(value))).unzip();
        Self::new(layout(names), values)
    }

    /// The names.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The values in the layout's order.
    pub fn values(&self) -> &[Option<Value>] {
        &self.values
    }

    /// Takes the values out, in the layout's order.
    pub fn into_values(self) -> Vec<Option<Value>> {
        self.values
    }

    /// The value of a field, `None` where it is absent or unknown.
    pub fn get(&self, field: &str) -> Option<&Value> {
        let index = self.index(field)?;
        self.values.get(index)?.as_ref()
    }

    /// Sets a field; a name that the layout lacks is added.
    pub fn set(&mut self, field: &str, value: Value) {
        if let Some(slot) = self.index(field).and_then(|index| self.values.get_mut(index)) {
            *slot = Some(value);
        } else {
            self.layout = self.layout.iter().cloned().chain([Box::from(field)]).collect();
            self.values.push(Some(value));
        }
    }

    /// The fields that are present.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.layout.iter().zip(&self.values).filter_map(|(name, value)| value.as_ref().map(|value| (&**name, value)))
    }

    /// Whether both carry the same fields, in the same order.
    pub fn has_same_fields(&self, other: &Self) -> bool {
        let present = |(one, other): (&Option<Value>, &Option<Value>)| one.is_some() == other.is_some();
        if Arc::ptr_eq(&self.layout, &other.layout) {
            return self.values.iter().zip(&other.values).all(present);
        }
        self.iter().map(|(name, _)| name).eq(other.iter().map(|(name, _)| name))
    }

    /// Whether no field is present.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// The values of `fields` as a key; `None` where one is absent or null.
    pub fn key(&self, fields: &[impl AsRef<str>]) -> Option<Key> {
        fields
            .iter()
            .map(|field| self.get(field.as_ref()).filter(|value| !value.is_null()).cloned())
            .collect::<Option<Vec<_>>>()
            .map(Key)
    }

    fn index(&self, field: &str) -> Option<usize> {
        self.layout.iter().position(|name| &**name == field)
    }
}

/// What identifies a record in its system: the values of the key fields, in order, none null.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub Vec<Value>);

impl Key {
    /// The key's canonical bytes: equal keys have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_key(&self.0)
    }

    /// Reads [`Key::encode`]'s bytes.
    ///
    /// # Errors
    /// Where the bytes are not such a form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_values(bytes)?.into_iter().collect::<Option<Vec<_>>>().map(Self).ok_or(DecodeError)
    }
}

/// Some of a collection's records: those behind one key and up to another, in the order of a scan by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The last key before it; `None` where it begins with the first record.
    pub after: Option<Key>,
    /// The last key in it; `None` where it ends with the last record.
    pub until: Option<Key>,
}

impl KeyRange {
    /// Every record.
    pub const ALL: Self = Self { after: None, until: None };

    /// All records in one range more than there are `cuts`, which are in the order of the scan.
    pub fn cut_at(cuts: Vec<Key>) -> Vec<Self> {
        let mut after = None;
        let ends = cuts.into_iter().map(Some).chain([None]);
        ends.map(|until| Self { after: std::mem::replace(&mut after, until.clone()), until }).collect()
    }
}

/// Keys name records in messages, so they are shown: `42` or `(42, "a")`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> =
            self.0.iter().map(|value| value.to_text().unwrap_or_else(|| "null".to_owned())).collect();
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "({})", many.join(", ")),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key{self}")
    }
}
