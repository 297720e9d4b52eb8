//! Records to and from the batches of the plugin contract (`types.batch` of `wit/plugin.wit`), absent and null kept apart, with every
//! check of what comes back.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::ValueError;
use super::bindings::{Batch, Column, NamedColumn};
use super::column::{Slots, bad, bitmap, check_bitmap, check_output, encode, is_set, value_size};
use super::limits::{FIELD_NAME_BYTES_MAX, FIELDS_MAX, Fault, printable};
use crate::record::{Layout, Record, layout};
use crate::value::{Kind, Value};

static NULL: Value = Value::Null;

/// One field of all records of a job.
struct Field {
    name: Box<str>,
    kind: Kind,
    /// Records differ in its kind, so all of its values are given as text.
    mixed: bool,
}

/// The columns that records become: the same for every call of a job, so that bisecting shows a guest nothing new.
#[derive(Default)]
pub(super) struct Shape {
    fields: Vec<Field>,
    by_name: HashMap<Box<str>, usize>,
}

/// Where the fields of a layout stand in a shape; looked up again only where the layout changes.
#[derive(Default)]
struct Places<'a> {
    layout: Option<&'a Layout>,
    columns: Vec<Option<usize>>,
}

impl<'a> Places<'a> {
    fn of(&mut self, record: &'a Record, find: impl FnMut(&str) -> Option<usize>) -> &[Option<usize>] {
        if !self.layout.is_some_and(|known| Arc::ptr_eq(known, record.layout())) {
            self.layout = Some(record.layout());
            let mut find = find;
            self.columns = record.layout().iter().map(|name| find(name)).collect();
        }
        &self.columns
    }
}

impl Shape {
    /// The shape of the wanted fields of the records.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a Record>, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut shape = Self::default();
        let mut places = Places::default();
        for record in records {
            let columns = places.of(record, |name| is_wanted(name).then(|| shape.place(name)));
            for (column, value) in columns.iter().zip(record.values()) {
                let field = column.and_then(|column| shape.fields.get_mut(column));
                if let (Some(field), Some(value)) = (field, value) {
                    field.see(value.kind());
                }
            }
        }
        shape
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let place = self.fields.len();
        self.fields.push(Field { name: name.into(), kind: Kind::Null, mixed: false });
        self.by_name.insert(name.into(), place);
        place
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).and_then(|place| self.fields.get(*place))
    }

    /// The kind of a field; `None` where no record says.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.field(name).map(|field| field.kind).filter(|kind| *kind != Kind::Null)
    }

    /// The value as it is given to the guest.
    fn is_given_as_text(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.mixed)
    }

    /// Bytes of each record's fields in this shape, about.
    pub(super) fn sizes<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Vec<usize> {
        let mut places = Places::default();
        let mut size = |record: &'a Record| {
            let columns = places.of(record, |name| self.by_name.get(name).copied());
            let sizes = columns.iter().zip(record.values()).filter(|(column, _)| column.is_some());
            sizes.map(|(_, value)| value.as_ref().map_or(1, value_size)).sum()
        };
        records.map(&mut size).collect()
    }

    /// Packs records; `None` is one that carries no field.
    pub(super) fn encode(&self, records: &[Option<&Record>]) -> Batch {
        let mut cells: Vec<Vec<Option<&Value>>> = Vec::new();
        cells.resize_with(self.fields.len(), || vec![None; records.len()]);
        let mut places = Places::default();
        for (row, record) in records.iter().enumerate().filter_map(|(row, record)| Some((row, (*record)?))) {
            let columns = places.of(record, |name| self.by_name.get(name).copied());
            for (column, value) in columns.iter().zip(record.values()) {
                let slot = column.and_then(|column| cells.get_mut(column)).and_then(|column| column.get_mut(row));
                if let Some(slot) = slot {
                    *slot = value.as_ref();
                }
            }
        }
        let columns = self.fields.iter().zip(cells).map(|(field, cells)| field.encode(&cells)).collect();
        Batch { rows: u32::try_from(records.len()).unwrap_or(u32::MAX), columns }
    }

    /// The record with the values that crossed as text, and came back as they were, in their own kinds again.
    pub(super) fn restore(&self, mut record: Record, given: &Record) -> Record {
        for field in self.fields.iter().filter(|field| self.is_given_as_text(&field.name)) {
            let original = given.get(&field.name).filter(|original| match record.get(&field.name) {
                Some(Value::Text(text)) => original.to_text().as_ref() == Some(text),
                Some(_) | None => false,
            });
            if let Some(original) = original {
                record.set(&field.name, original.clone());
            }
        }
        record
    }
}

impl Field {
    fn see(&mut self, kind: Kind) {
        if kind == Kind::Null || kind == self.kind {
            return;
        }
        if self.kind == Kind::Null {
            self.kind = kind;
        } else {
            (self.kind, self.mixed) = (Kind::Text, true);
        }
    }

    fn encode(&self, cells: &[Option<&Value>]) -> NamedColumn {
        let column = if self.mixed {
            let text = |cell: &Option<&Value>| cell.and_then(Value::to_text).map_or(Value::Null, Value::Text);
            let texts: Vec<Value> = cells.iter().map(text).collect();
            encode(self.kind, texts.iter())
        } else {
            encode(self.kind, cells.iter().map(|cell| cell.unwrap_or(&NULL)))
        };
        let all = cells.iter().all(Option::is_some);
        let presence = if all { Vec::new() } else { bitmap(cells.iter().map(Option::is_some)) };
        NamedColumn { name: self.name.to_string(), column, presence }
    }
}

/// Records and their shape: what record transforms and validators are given.
#[derive(Default)]
pub(super) struct Records {
    pub(super) shape: Shape,
    pub(super) records: Vec<Record>,
    sizes: Vec<usize>,
}

impl Records {
    /// Records of which the guest wants these fields; empty = all.
    pub(super) fn new(records: Vec<Record>, wanted: &[String]) -> Self {
        let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let shape = Shape::of(records.iter(), |name| wanted.is_empty() || wanted.contains(name));
        let sizes = shape.sizes(records.iter());
        Self { shape, records, sizes }
    }

    /// Bytes of a record's wanted fields.
    pub(super) fn size(&self, row: usize) -> usize {
        self.sizes.get(row).copied().unwrap_or(0)
    }

    /// The records of a range.
    pub(super) fn range(&self, range: Range<usize>) -> &[Record] {
        self.records.get(range).unwrap_or_default()
    }

    /// Packs a range.
    pub(super) fn encode(&self, range: Range<usize>) -> Batch {
        let records: Vec<Option<&Record>> = self.range(range).iter().map(Some).collect();
        self.shape.encode(&records)
    }
}

/// A batch of a guest, checked: its columns fit its rows and have names of their own.
pub(super) struct Returned<'a> {
    layout: Layout,
    columns: Vec<(Slots<'a>, &'a [u8])>,
}

impl<'a> Returned<'a> {
    /// Checks a batch of so many rows.
    ///
    /// # Errors
    /// `bad-output` or `output-limit`.
    pub(super) fn check(batch: &'a Batch, rows: usize, input_bytes: usize) -> Result<Self, Fault> {
        if usize::try_from(batch.rows) != Ok(rows) {
            return Err(bad(format!("a batch of {} rows for {rows}", batch.rows)));
        }
        check_names(batch.columns.iter().map(|named| named.name.as_str()))?;
        check_output(batch.columns.iter().map(|named| named.column.data.len()).sum(), input_bytes)?;
        let mut columns = Vec::with_capacity(batch.columns.len());
        for NamedColumn { name, column, presence } in &batch.columns {
            columns.push((slots(name, column, rows, None)?, presence.as_slice()));
            check_bitmap(presence, rows, "presence")?;
        }
        Ok(Self { layout: layout(batch.columns.iter().map(|named| &named.name)), columns })
    }

    /// The record of a row, each value of so many bytes at most.
    ///
    /// # Errors
    /// Where one of its values is not of its kind, or too large.
    pub(super) fn record(&self, row: usize, value_bytes_max: usize) -> Result<Record, ValueError> {
        let value = |(slots, presence): &(Slots<'a>, &[u8])| {
            is_set(presence, row).then(|| slots.value(row, value_bytes_max)).transpose()
        };
        let values = self.columns.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Record::new(Arc::clone(&self.layout), values))
    }
}

/// A column of a guest, checked; the fault names its field.
pub(super) fn slots<'a>(
    name: &str,
    column: &'a Column,
    rows: usize,
    expected: Option<Kind>,
) -> Result<Slots<'a>, Fault> {
    Slots::check(column, rows, expected).map_err(|fault| Fault {
        message: format!("field `{}`: {}", printable(name, FIELD_NAME_BYTES_MAX), fault.message),
        ..fault
    })
}

/// Whether the names of fields that a guest gives are names, each given once, and not too many.
///
/// # Errors
/// `bad-output`.
pub(super) fn check_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Fault> {
    if names.len() > FIELDS_MAX {
        return Err(bad(format!("{} fields; at most {FIELDS_MAX} are allowed", names.len())));
    }
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX {
            return Err(bad(format!(
                "a field's name of {} bytes; 1 to {FIELD_NAME_BYTES_MAX} are allowed",
                name.len()
            )));
        }
        if !seen.insert(name) {
            return Err(bad(format!("field `{}` twice", printable(name, FIELD_NAME_BYTES_MAX))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn three() -> Vec<Record> {
        vec![
            Record::of([("a", Value::Int(1)), ("b", text("x"))]),
            Record::of([("b", Value::Int(7)), ("c", Value::Null)]),
            Record::of([("a", Value::Null), ("d", Value::Date(3))]),
        ]
    }

    fn round_trip(records: &Records) -> Vec<Record> {
        let batch = records.encode(0..records.records.len());
        let returned = Returned::check(&batch, records.records.len(), 0).unwrap();
        let given = records.records.iter().enumerate();
        given.map(|(row, given)| records.shape.restore(returned.record(row, 1_000).unwrap(), given)).collect()
    }

    #[test]
    fn records_cross_and_come_back() {
        let records = Records::new(three(), &[]);
        for (given, back) in three().iter().zip(round_trip(&records)) {
            assert_eq!(back.iter().collect::<HashMap<_, _>>(), given.iter().collect::<HashMap<_, _>>());
        }
        // Records that differ in the kind of a field give texts; nothing but nulls has no kind.
        assert_eq!((records.shape.kind("b"), records.shape.kind("c")), (Some(Kind::Text), None));
        let batch = records.encode(1..2);
        let names: Vec<&str> = batch.columns.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(batch.columns[1].column.data, b"7");
        assert_eq!(batch.columns.iter().map(|named| named.presence.len()).collect::<Vec<_>>(), [1, 0, 0, 1]);
    }

    #[test]
    fn only_wanted_fields_are_given() {
        let records = Records::new(three(), &["b".to_owned(), "zzz".to_owned()]);
        let batch = records.encode(0..3);
        assert_eq!(batch.columns.iter().map(|named| named.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!((records.size(0), records.size(2)), (1, 0));
    }

    #[test]
    fn a_malformed_batch_is_a_fault_of_the_call() {
        type Change = fn(&mut Batch);
        let changes: [(&str, Change); 9] = [
            ("rows of the batch", |batch| batch.rows = 2),
            ("rows of a column", |batch| batch.columns[0].column.rows = 2),
            ("presence", |batch| batch.columns[0].presence = vec![255; 2]),
            ("a name twice", |batch| batch.columns[1].name = "a".to_owned()),
            ("no name", |batch| batch.columns[1].name = String::new()),
            ("a long name", |batch| batch.columns[1].name = "n".repeat(FIELD_NAME_BYTES_MAX + 1)),
            ("unknown kind", |batch| batch.columns[3].column.kind = 13),
            ("too many columns", |batch| {
                let column = batch.columns[2].clone();
                batch.columns = vec![column; FIELDS_MAX + 1];
            }),
            ("too much data", |batch| {
                batch.columns[1].column.data = vec![b'x'; 2 << 20];
                batch.columns[1].column.offsets[3] = 2 << 20;
            }),
        ];
        for (name, change) in changes {
            let mut batch = Records::new(three(), &[]).encode(0..3);
            assert!(Returned::check(&batch, 3, 10).is_ok());
            change(&mut batch);
            assert!(Returned::check(&batch, 3, 10).is_err(), "{name}");
        }
    }
}
