//! Conflict resolvers: what becomes of fields that both sides changed.

use crate::batch::{Record, Records};
use crate::bindings::resolves::exports::tidelock::plugin::conflict_resolver::{
    self, Conflicts, FieldChoice, Resolution,
};
use crate::bindings::transforms::tidelock::plugin::types::{Context, PluginError};
use crate::column::{Bits, Builder, Reader, bad_column, check_bitmap};
use crate::declare::Declaration;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::params::{ParamError, Params};
use crate::plugin::{Bind, Component, Function, Plugin, open};
use crate::value::Value;
use std::marker::PhantomData;

/// A resolver bound to its parameters.
pub struct Resolve {
    fields: Vec<String>,
    resolve: Box<dyn Fn(Conflicts) -> Result<Resolution, PluginError>>,
}

impl Resolve {
    /// Settles a batch of conflicts.
    ///
    /// # Errors
    /// `bad-column` where the host's batch is broken.
    pub fn resolve(&self, input: Conflicts) -> Result<Resolution, PluginError> {
        (self.resolve)(input)
    }
}

/// What a contested field becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// What was agreed before.
    Base,
    /// The source's value.
    Source,
    /// The target's value.
    Target,
    /// This value, of the field's kind.
    Custom(Value<'static>),
    /// A person decides about the record; why, for people.
    Review(String),
}

/// One record that changed on both sides. Names and values are in the target's terms.
#[derive(Clone, Copy)]
pub struct Conflict<'a> {
    batch: &'a Checked,
    row: u32,
}

/// One contested field of a record. A value is `None` where that record does not carry the field, or where nothing was agreed before.
pub struct ContestedField<'a> {
    /// Its name on the target's side.
    pub name: &'a str,
    /// What was agreed before.
    pub base: Option<Value<'a>>,
    /// The source's value.
    pub source: Option<Value<'a>>,
    /// The target's value.
    pub target: Option<Value<'a>>,
}

impl<'a> Conflict<'a> {
    /// The key fields.
    pub const fn key(&self) -> Record<'a> {
        self.batch.keys.record(self.row)
    }

    /// What was agreed before; without fields where nothing was.
    pub const fn base(&self) -> Record<'a> {
        self.batch.base.record(self.row)
    }

    /// The source's record.
    pub const fn source(&self) -> Record<'a> {
        self.batch.source.record(self.row)
    }

    /// The target's record.
    pub const fn target(&self) -> Record<'a> {
        self.batch.target.record(self.row)
    }

    /// When the source changed, in microseconds since 1970-01-01 UTC, where that is known.
    pub fn source_modified(&self) -> Option<i64> {
        instant(&self.batch.source_modified, self.row)
    }

    /// When the target changed.
    pub fn target_modified(&self) -> Option<i64> {
        instant(&self.batch.target_modified, self.row)
    }

    /// The fields on which both sides disagree with the base and with each other.
    pub fn fields(&self) -> impl Iterator<Item = ContestedField<'a>> + use<'a> {
        let Self { batch, row } = *self;
        batch.contested.iter().filter(move |(_, rows)| rows.is_set(row)).map(move |(name, _)| ContestedField {
            name,
            base: batch.base.record(row).get(name),
            source: batch.source.record(row).get(name),
            target: batch.target.record(row).get(name),
        })
    }
}

fn instant(column: &Reader, row: u32) -> Option<i64> {
    match column.value(row) {
        Value::Instant(micros) => Some(micros),
        _ => None,
    }
}

impl Declaration {
    /// Settles a record. Reads the parameters once and returns the fields that the closure wants to see besides the contested
    /// ones (none = all) and the closure, which says what each contested field becomes. Those that it does not name go to review.
    pub fn resolver<T>(self, open: impl Fn(&Params) -> Result<(Vec<String>, T), ParamError> + 'static) -> Function
    where
        T: Fn(&Conflict<'_>) -> Vec<(String, Choice)> + 'static,
    {
        let bind = move |params: &Params| {
            let (fields, settle) = open(params)?;
            Ok(Resolve { fields, resolve: Box::new(move |input| resolve(input, &settle)) })
        };
        Function { declaration: self, bind: Bind::ConflictResolver(Box::new(bind)) }
    }

    /// Settles each contested field by itself. A failure sends the record to review, with the reason.
    pub fn field_resolver<T>(self, open: impl Fn(&Params) -> Result<T, ParamError> + 'static) -> Function
    where
        T: Fn(&ContestedField<'_>) -> Result<Choice, Failure> + 'static,
    {
        self.resolver(move |params| {
            let settle = open(params)?;
            let each = move |conflict: &Conflict<'_>| {
                let choice = |field: ContestedField<'_>| {
                    let choice = settle(&field).unwrap_or_else(|failure| Choice::Review(failure.message));
                    (field.name.to_owned(), choice)
                };
                conflict.fields().map(choice).collect()
            };
            Ok((Vec::new(), each))
        })
    }
}

/// A checked batch of conflicts.
struct Checked {
    keys: Records,
    base: Records,
    source: Records,
    target: Records,
    source_modified: Reader,
    target_modified: Reader,
    contested: Vec<(String, Bits)>,
}

impl Checked {
    fn new(input: Conflicts) -> Result<Self, PluginError> {
        let rows = input.rows;
        let contested = input.contested.into_iter().map(|field| {
            check_bitmap(&field.rows, rows)?;
            Ok((field.field, Bits { rows, bits: field.rows }))
        });
        let checked = Self {
            contested: contested.collect::<Result<_, PluginError>>()?,
            keys: Records::new(input.keys)?,
            base: Records::new(input.base)?,
            source: Records::new(input.source.values)?,
            target: Records::new(input.target.values)?,
            source_modified: Reader::new(input.source.modified)?,
            target_modified: Reader::new(input.target.modified)?,
        };
        let batches = [&checked.keys, &checked.base, &checked.source, &checked.target];
        let columns = [&checked.source_modified, &checked.target_modified];
        let fits =
            batches.iter().all(|batch| batch.rows() == rows) && columns.iter().all(|column| column.rows() == rows);
        if fits { Ok(checked) } else { Err(bad_column("it has another number of rows than its batch")) }
    }

    /// The kind of a field's values.
    fn kind(&self, name: &str) -> Kind {
        let kinds = [&self.target, &self.source, &self.base].map(|records| records.kind(name));
        kinds.into_iter().find(|kind| *kind != Kind::Null).unwrap_or(Kind::Null)
    }
}

/// The choices for one field, while they are made.
struct Choices {
    choice: Vec<u8>,
    custom: Builder,
    kind: Kind,
    any_custom: bool,
}

impl Choices {
    /// One for each row, as yet undecided.
    fn new(kind: Kind, rows: u32) -> Self {
        Self { choice: vec![0; rows as usize], custom: Builder::new(kind), kind, any_custom: false }
    }

    /// Writes a choice down, rows in rising order; a reason where the record has to go to review.
    fn put(&mut self, row: u32, choice: Choice) -> Option<String> {
        let (code, custom) = match choice {
            Choice::Base => (0, Value::Null),
            Choice::Source => (1, Value::Null),
            Choice::Target => (2, Value::Null),
            Choice::Custom(value) => (3, value),
            Choice::Review(reason) => return Some(reason),
        };
        self.fill(row);
        if self.custom.push(&custom).is_err() {
            return Some(format!(
                "the resolver made a value of kind {}, the field has {}",
                custom.kind().name(),
                self.kind.name()
            ));
        }
        self.any_custom |= code == 3;
        if let Some(slot) = self.choice.get_mut(row as usize) {
            *slot = code;
        }
        None
    }

    /// Fills the custom values up to a row.
    fn fill(&mut self, row: u32) {
        while self.custom.rows() < row {
            // Null is of every kind.
            let _ = self.custom.push(&Value::Null);
        }
    }

    fn finish(mut self, field: String, rows: u32) -> FieldChoice {
        self.fill(rows);
        let custom = self.any_custom.then(|| self.custom.finish());
        FieldChoice { field, choice: self.choice, custom }
    }
}

fn resolve(
    input: Conflicts,
    settle: impl Fn(&Conflict<'_>) -> Vec<(String, Choice)>,
) -> Result<Resolution, PluginError> {
    let rows = input.rows;
    let batch = Checked::new(input)?;
    let mut choices: Vec<Choices> =
        batch.contested.iter().map(|(name, _)| Choices::new(batch.kind(name), rows)).collect();
    let mut disposition = Vec::with_capacity(rows as usize);
    let mut reasons = Builder::new(Kind::Text);
    for row in 0..rows {
        let settled = settle(&Conflict { batch: &batch, row });
        let mut review = None;
        for ((name, contested), choices) in batch.contested.iter().zip(&mut choices) {
            if contested.is_set(row) {
                let choice = settled.iter().find(|(settled, _)| settled == name).map(|(_, choice)| choice.clone());
                let choice = choice.unwrap_or_else(|| Choice::Review(format!("the resolver does not settle {name}")));
                review = choices.put(row, choice).or(review);
            }
        }
        disposition.push(u8::from(review.is_some()));
        // A column of texts takes texts and nulls.
        let _ = reasons.push(&Value::from(review));
    }
    let named = batch.contested.into_iter().zip(choices);
    let fields = named.map(|((field, _), choices)| choices.finish(field, rows)).collect();
    Ok(Resolution { disposition, fields, reasons: Some(reasons.finish()) })
}

impl<P: Plugin> conflict_resolver::Guest for Component<P> {
    type Resolver = Opened<P>;
}

/// The resource `resolver`.
pub struct Opened<P> {
    resolve: Resolve,
    plugin: PhantomData<P>,
}

/// Binds a conflict resolver of a plugin to its parameters.
pub(crate) fn open_conflict_resolver<P: Plugin>(function: &str, params: &str) -> Result<Resolve, PluginError> {
    open::<P, Resolve>(function, params, |bind| match bind {
        Bind::ConflictResolver(bind) => Some(bind),
        _ => None,
    })
}

impl<P: Plugin> conflict_resolver::GuestResolver for Opened<P> {
    fn open(function: String, params: String) -> Result<conflict_resolver::Resolver, PluginError> {
        let resolve = open_conflict_resolver::<P>(&function, &params)?;
        Ok(conflict_resolver::Resolver::new(Self { resolve, plugin: PhantomData }))
    }

    fn fields(&self) -> Vec<String> {
        self.resolve.fields.clone()
    }

    fn resolve(&self, _: Context, input: Conflicts) -> Result<Resolution, PluginError> {
        self.resolve.resolve(input)
    }
}
