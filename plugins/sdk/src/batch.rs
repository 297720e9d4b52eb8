//! Batches of records: fields by name, absent and null kept apart.

use crate::bindings::transforms::tidelock::plugin::types::{Batch, NamedColumn, PluginError};
use crate::column::{Bits, Builder, Reader, bad_column, check_bitmap};
use crate::kind::Kind;
use crate::value::Value;

/// A checked batch.
pub(crate) struct Records {
    rows: u32,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    column: Reader,
    present: Bits,
}

impl Records {
    /// # Errors
    /// `bad-column`, which is the host's fault.
    pub(crate) fn new(batch: Batch) -> Result<Self, PluginError> {
        let rows = batch.rows;
        let field = |named: NamedColumn| {
            check_bitmap(&named.presence, rows)?;
            let column = Reader::new(named.column)?;
            if column.rows() != rows {
                return Err(bad_column("it has another number of rows than its batch"));
            }
            Ok(Field { name: named.name, column, present: Bits { rows, bits: named.presence } })
        };
        Ok(Self { rows, fields: batch.columns.into_iter().map(field).collect::<Result<_, _>>()? })
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) const fn record(&self, row: u32) -> Record<'_> {
        Record { records: self, row }
    }

    /// The kind of a field; null where no record has one.
    pub(crate) fn kind(&self, name: &str) -> Kind {
        self.fields.iter().find(|field| field.name == name).map_or(Kind::Null, |field| field.column.kind())
    }
}

/// One record of a batch.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    records: &'a Records,
    row: u32,
}

impl<'a> Record<'a> {
    /// The value of a field, null included; `None` where the record does not carry the field.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let field = self.records.fields.iter().find(|field| field.name == name)?;
        field.present.is_set(self.row).then(|| field.column.value(self.row))
    }

    /// The text of a field; of other kinds their canonical text. `None` where the field is null or absent.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.to_text().map(std::borrow::Cow::into_owned)
    }

    /// The fields that the record carries.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let row = self.row;
        self.records.fields.iter().filter(move |field| field.present.is_set(row)).map(|field| field.name.as_str())
    }
}

/// The fields that a function returns for one record. Those that it does not set are absent.
pub struct Fields {
    row: u32,
    columns: Vec<Written>,
    pub(crate) disposition: Disposition,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Keep = 0,
    Skip = 1,
    Review = 2,
}

struct Written {
    name: String,
    column: Builder,
    presence: Vec<bool>,
}

impl Fields {
    pub(crate) const fn new() -> Self {
        Self { row: 0, columns: Vec::new(), disposition: Disposition::Keep }
    }

    /// Sets a field of this record. Values of one field should be of one kind in every record; where they are not, all of
    /// them become texts.
    pub fn set<'v>(&mut self, name: &str, value: impl Into<Value<'v>>) {
        let row = self.row as usize;
        let found = self.columns.iter().position(|written| written.name == name);
        let at = found.unwrap_or(self.columns.len());
        if found.is_none() {
            self.columns.push(Written {
                name: name.to_owned(),
                column: Builder::new(Kind::Null),
                presence: Vec::new(),
            });
        }
        let Some(written) = self.columns.get_mut(at) else { return };
        written.fill(row);
        if written.presence.len() > row {
            written.column.pop();
            written.presence.pop();
        }
        written.column.push_any(&value.into());
        written.presence.push(true);
    }

    /// Leaves this record out of the sync; it is counted.
    pub fn skip(&mut self) {
        self.disposition = Disposition::Skip;
    }

    /// Sends this record to a person.
    pub fn review(&mut self) {
        self.disposition = Disposition::Review;
    }

    /// Goes on to the next record; what becomes of this one.
    pub(crate) fn next_row(&mut self) -> Disposition {
        self.row += 1;
        std::mem::replace(&mut self.disposition, Disposition::Keep)
    }

    pub(crate) fn finish(self) -> Batch {
        let rows = self.row;
        let column = |mut written: Written| {
            written.fill(rows as usize);
            let mut present = Bits { rows, bits: Vec::new() };
            for (row, _) in (0..rows).zip(&written.presence).filter(|(_, present)| !**present) {
                present.clear(row);
            }
            NamedColumn { name: written.name, column: written.column.finish(), presence: present.bits }
        };
        Batch { rows, columns: self.columns.into_iter().map(column).collect() }
    }
}

impl Written {
    /// Says of all rows before `row` that were passed over that they lack the field.
    fn fill(&mut self, row: usize) {
        while self.presence.len() < row {
            self.column.push_any(&Value::Null);
            self.presence.push(false);
        }
    }
}

/// A batch of records of these fields: for tests, here and of plugins.
pub(crate) fn batch_of(records: &[Vec<(String, Value<'_>)>]) -> Batch {
    let mut fields = Fields::new();
    for record in records {
        for (name, value) in record {
            fields.set(name, value.clone());
        }
        fields.next_row();
    }
    fields.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, Value<'static>)]) -> Vec<(String, Value<'static>)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn absent_null_and_kinds_are_kept_apart() {
        let records = Records::new(batch_of(&[
            record(&[("a", Value::Int(1)), ("b", Value::Null)]),
            record(&[("b", Value::from("x"))]),
            record(&[("a", Value::Null)]),
        ]))
        .unwrap();
        assert_eq!((records.rows(), records.kind("a"), records.kind("c")), (3, Kind::Int, Kind::Null));
        let get = |row, name| records.record(row).get(name);
        assert_eq!([get(0, "a"), get(1, "a"), get(2, "a")], [Some(Value::Int(1)), None, Some(Value::Null)]);
        assert_eq!([get(0, "b"), get(1, "b"), get(2, "b")], [Some(Value::Null), Some(Value::from("x")), None]);
        assert_eq!((get(0, "c"), records.record(0).text("a").as_deref()), (None, Some("1")));
        assert_eq!(records.record(0).names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(records.record(1).names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_field_that_is_set_twice_has_the_last_value() {
        let mut fields = Fields::new();
        fields.set("a", "first");
        fields.set("a", "last");
        fields.skip();
        assert_eq!(fields.next_row(), Disposition::Skip);
        assert_eq!(fields.next_row(), Disposition::Keep);
        let records = Records::new(fields.finish()).unwrap();
        assert_eq!((records.record(0).get("a"), records.record(1).get("a")), (Some(Value::from("last")), None));
    }

    #[test]
    fn a_batch_that_breaks_the_contract_is_refused() {
        let whole = || batch_of(&[record(&[("a", Value::Int(1))]), record(&[("a", Value::Int(2))])]);
        let broken: [fn(&mut Batch); 3] =
            [|b| b.rows = 3, |b| b.columns[0].presence = vec![1, 2], |b| b.columns[0].column.kind = 99];
        assert!(Records::new(whole()).is_ok());
        for break_it in broken {
            let mut batch = whole();
            break_it(&mut batch);
            assert_eq!(Records::new(batch).err().unwrap().code, "bad-column");
        }
    }
}
