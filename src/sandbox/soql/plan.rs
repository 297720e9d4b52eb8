//! A query whose names were found, and what it finds.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::filter::{self, Filter, Key};
use super::lexer::malformed;
use super::syntax::{Fields, Query};
use crate::sandbox::describe::{Field, Kind, Object, Schema};
use crate::sandbox::exchange::Refusal;
use crate::sandbox::store::{Row, Store, at, attributes, is_deleted, read};

const OFFSET_MAX: usize = 2000;
/// With `FIELDS(ALL)`.
const LIMIT_MAX: usize = 200;

/// A field of the object, or of one that it refers to.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Column {
    place: usize,
    kind: Kind,
    /// As it is spelled in answers.
    name: String,
    parent: Option<Parent>,
}

#[derive(Debug, Clone)]
struct Parent {
    reference: usize,
    relationship: String,
    object: String,
}

/// Where names are looked up.
pub(super) struct Names<'s> {
    schema: &'s Schema,
    object: &'s Object,
}

impl<'s> Names<'s> {
    /// The column of a name such as `Name`, `Account.Name` or, of a contact, `Owner.Name`.
    pub(super) fn column(&self, name: &str) -> Result<(Column, &'s Field), Refusal> {
        let (relationship, own) = match name.split_once('.') {
            Some((object, field)) if object.eq_ignore_ascii_case(&self.object.name) => (None, field),
            Some((relationship, field)) => (Some(relationship), field),
            None => (None, name),
        };
        let Some(relationship) = relationship else {
            let (place, field) = self.object.field(own).ok_or_else(|| no_column(own, self.object))?;
            return Ok((Column { place, kind: field.kind, name: field.name.clone(), parent: None }, field));
        };
        let unknown = || {
            let message = format!("Didn't understand relationship '{relationship}' in field path.");
            Refusal::new("INVALID_FIELD", message)
        };
        let (reference, object, relationship) = self.object.relationship(relationship).ok_or_else(unknown)?;
        let object = self.schema.object(object).ok_or_else(unknown)?;
        let (place, field) = object.field(own).ok_or_else(|| no_column(own, object))?;
        let parent = Parent { reference, relationship: relationship.to_owned(), object: object.name.clone() };
        Ok((Column { place, kind: field.kind, name: field.name.clone(), parent: Some(parent) }, field))
    }
}

fn no_column(name: &str, object: &Object) -> Refusal {
    let message = format!(
        "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the \
         custom field name. Please reference your WSDL or the describe call for the appropriate names.",
        object.name
    );
    Refusal::new("INVALID_FIELD", message)
}

/// A record, and what its references lead to.
pub(super) struct Place<'a> {
    schema: &'a Schema,
    store: &'a Store,
    object: &'a Object,
    row: &'a Row,
}

impl<'a> Place<'a> {
    fn parent(&self, parent: &Parent) -> Option<(&'a Object, &'a Row)> {
        let id = at(self.row, parent.reference).as_str()?;
        let object = self.schema.object(&parent.object)?;
        Some((object, self.store.row(object, id)?))
    }
}

impl Column {
    /// The value as it is compared.
    pub(super) fn key(&self, place: &Place<'_>) -> Key {
        match &self.parent {
            None => Key::of(self.kind, at(place.row, self.place)),
            Some(parent) => place.parent(parent).map_or(Key::Null, |(_, row)| Key::of(self.kind, at(row, self.place))),
        }
    }

    /// The value as it is answered.
    fn value(&self, place: &Place<'_>) -> Value {
        match &self.parent {
            None => read(place.object, place.row, self.place),
            Some(parent) => place.parent(parent).map_or(Value::Null, |(object, row)| read(object, row, self.place)),
        }
    }

    /// The heading of a column of CSV.
    fn heading(&self) -> String {
        self.parent
            .as_ref()
            .map_or_else(|| self.name.clone(), |parent| format!("{}.{}", parent.relationship, self.name))
    }
}

enum Shape {
    Count,
    CountOf(Column, String),
    Columns(Vec<Column>),
}

/// A query that can be run.
pub(in crate::sandbox) struct Plan<'s> {
    schema: &'s Schema,
    object: &'s Object,
    shape: Shape,
    filter: Option<Filter>,
    /// Column, descending, nulls last.
    order: Vec<(Column, bool, bool)>,
    limit: Option<usize>,
    offset: usize,
}

/// What a query found.
#[derive(Debug, PartialEq)]
pub(in crate::sandbox) enum Found {
    /// `COUNT()`
    Count(usize),
    /// Records, as they are answered.
    Records(Vec<Value>),
}

impl<'s> Plan<'s> {
    /// Looks up every name.
    ///
    /// # Errors
    /// `INVALID_TYPE`, `INVALID_FIELD`, and others where the query asks for what may not be asked.
    pub(in crate::sandbox) fn new(query: &Query, schema: &'s Schema) -> Result<Self, Refusal> {
        let unknown = || Refusal::new("INVALID_TYPE", format!("sObject type '{}' is not supported.", query.object));
        let object = schema.object(&query.object).ok_or_else(unknown)?;
        let names = Names { schema, object };
        let shape = match &query.fields {
            Fields::Count => Shape::Count,
            Fields::CountOf(field, alias) => Shape::CountOf(names.column(field)?.0, alias.clone()),
            Fields::Named(fields) => Shape::Columns(named(fields, &names)?),
            Fields::Group(group) => Shape::Columns(grouped(group, query.limit, &names)?),
        };
        if query.offset > OFFSET_MAX {
            return Err(Refusal::new(
                "NUMBER_OUTSIDE_VALID_RANGE",
                format!("Maximum SOQL offset allowed is {OFFSET_MAX}"),
            ));
        }
        let filter = query.condition.as_ref().map(|condition| filter::bind(condition, &names)).transpose()?;
        let mut order = Vec::new();
        for by in &query.order {
            let (column, field) = names.column(&by.field)?;
            if !field.filterable() {
                return Err(malformed(format!("field '{}' can not be sorted in a query call", field.name)));
            }
            order.push((column, by.descending, by.nulls_last));
        }
        Ok(Self { schema, object, shape, filter, order, limit: query.limit, offset: query.offset })
    }

    /// What is read.
    pub(in crate::sandbox) fn object_name(&self) -> &str {
        &self.object.name
    }

    fn places<'a>(&'a self, store: &'a Store, deleted_too: bool) -> Vec<Place<'a>> {
        let rows = store.rows(self.object).filter(|(_, row)| deleted_too || !is_deleted(row));
        let mut places: Vec<Place<'a>> = rows
            .map(|(_, row)| Place { schema: self.schema, store, object: self.object, row })
            .filter(|place| self.filter.as_ref().is_none_or(|filter| filter.holds(place)))
            .collect();
        if !self.order.is_empty() {
            places.sort_by_cached_key(|place| Sorted {
                keys: self.order.iter().map(|(column, ..)| column.key(place)).collect(),
                by: &self.order,
            });
        }
        places.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }

    /// Runs it.
    pub(in crate::sandbox) fn run(&self, store: &Store, deleted_too: bool, version: &str) -> Found {
        let places = self.places(store, deleted_too);
        match &self.shape {
            Shape::Count => Found::Count(places.len()),
            Shape::CountOf(column, alias) => {
                let count = places.iter().filter(|place| column.key(place) != Key::Null).count();
                Found::Records(vec![json!({"attributes": {"type": "AggregateResult"}, alias: count})])
            }
            Shape::Columns(columns) => {
                Found::Records(places.iter().map(|place| record(columns, place, version)).collect())
            }
        }
    }

    /// Runs it for CSV: the headings, and a line of values for each record.
    ///
    /// # Errors
    /// Where it selects what has no columns.
    pub(in crate::sandbox) fn table(
        &self,
        store: &Store,
        deleted_too: bool,
    ) -> Result<(Vec<String>, Vec<Vec<Value>>), Refusal> {
        let Shape::Columns(columns) = &self.shape else {
            return Err(Refusal::new("INVALIDJOB", "Aggregate queries are not supported in bulk jobs"));
        };
        if columns.iter().any(|column| column.kind == Kind::Address) {
            return Err(Refusal::new("FEATURENOTENABLED", "Compound fields are not supported in bulk jobs"));
        }
        let places = self.places(store, deleted_too);
        let line = |place| columns.iter().map(|column| column.value(place)).collect();
        Ok((columns.iter().map(Column::heading).collect(), places.iter().map(line).collect()))
    }
}

/// What a record is sorted by.
struct Sorted<'a> {
    keys: Vec<Key>,
    by: &'a [(Column, bool, bool)],
}

impl Ord for Sorted<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.keys.iter().zip(&other.keys).zip(self.by);
        pairs.fold(Ordering::Equal, |so_far, ((one, two), (_, descending, nulls_last))| {
            so_far.then_with(|| {
                let order = one.compare(two);
                let null = *one == Key::Null || *two == Key::Null;
                // Nulls stand where they were asked to, whichever way the rest goes.
                let turned = if null { *nulls_last } else { *descending };
                if turned { order.reverse() } else { order }
            })
        })
    }
}

impl PartialOrd for Sorted<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted<'_> {}

fn named(fields: &[String], names: &Names<'_>) -> Result<Vec<Column>, Refusal> {
    let mut columns: Vec<Column> = Vec::new();
    for field in fields {
        let column = names.column(field)?.0;
        if columns.iter().any(|other| other.heading() == column.heading()) {
            return Err(Refusal::new("INVALID_FIELD", format!("duplicate field selected: {}", column.heading())));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn grouped(group: &str, limit: Option<usize>, names: &Names<'_>) -> Result<Vec<Column>, Refusal> {
    let wanted: fn(&Field) -> bool = match group {
        "ALL" => |_| true,
        "STANDARD" => |field| !field.custom(),
        "CUSTOM" => Field::custom,
        _ => return Err(malformed(format!("unexpected token: '{group}'"))),
    };
    if group != "STANDARD" && limit.is_none_or(|limit| limit > LIMIT_MAX) {
        let message = format!("The SOQL FIELDS function must have a LIMIT of at most {LIMIT_MAX}");
        return Err(malformed(message));
    }
    names
        .object
        .fields()
        .iter()
        .filter(|field| wanted(field) && !field.hidden)
        .map(|field| Ok(names.column(&field.name)?.0))
        .collect()
}

fn record(columns: &[Column], place: &Place<'_>, version: &str) -> Value {
    let mut record = Map::new();
    record.insert("attributes".to_owned(), attributes(place.object, place.row, version));
    for column in columns {
        let value = column.value(place);
        let Some(parent) = &column.parent else {
            record.insert(column.name.clone(), value);
            continue;
        };
        let Some((object, row)) = place.parent(parent) else {
            record.insert(parent.relationship.clone(), Value::Null);
            continue;
        };
        let nested = record
            .entry(parent.relationship.clone())
            .or_insert_with(|| json!({"attributes": attributes(object, row, version)}));
        if let Some(nested) = nested.as_object_mut() {
            nested.insert(column.name.clone(), value);
        }
    }
    Value::Object(record)
}
