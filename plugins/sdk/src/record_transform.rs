//! Record transforms: several fields in, several out.

use crate::batch::{Fields, Record, Records};
use crate::bindings::records::exports::tidelock::plugin::record_transform::{self, Outcome};
use crate::bindings::transforms::tidelock::plugin::types::{Batch, Context, PluginError};
use crate::declare::Declaration;
use crate::failure::Failure;
use crate::params::{ParamError, Params};
use crate::plugin::{Bind, Component, Function, Plugin, open};
use std::marker::PhantomData;

/// A record transform bound to its parameters.
pub struct Reshape {
    fields: Vec<String>,
    apply: Box<dyn Fn(Batch) -> Result<Outcome, PluginError>>,
}

impl Reshape {
    /// The fields that it wants to see; none = all.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Reshapes a batch.
    ///
    /// # Errors
    /// `bad-column` where the host's batch is broken.
    pub fn apply(&self, input: Batch) -> Result<Outcome, PluginError> {
        (self.apply)(input)
    }
}

impl Declaration {
    /// From a record to a record. Reads the parameters once and returns the fields that the closure wants to see (none = all)
    /// and the closure, which sets the fields of the other side, or fails.
    pub fn records<T>(self, open: impl Fn(&Params) -> Result<(Vec<String>, T), ParamError> + 'static) -> Function
    where
        T: Fn(&Record<'_>, &mut Fields) -> Result<(), Failure> + 'static,
    {
        let bind = move |params: &Params| {
            let (fields, transform) = open(params)?;
            Ok(Reshape { fields, apply: Box::new(move |input| reshape(input, &transform)) })
        };
        Function { declaration: self, bind: Bind::RecordTransform(Box::new(bind)) }
    }
}

fn reshape(
    input: Batch,
    transform: impl Fn(&Record<'_>, &mut Fields) -> Result<(), Failure>,
) -> Result<Outcome, PluginError> {
    let records = Records::new(input)?;
    let mut fields = Fields::new();
    let mut errors = Vec::new();
    let mut disposition = Vec::with_capacity(records.rows() as usize);
    for row in 0..records.rows() {
        if let Err(failure) = transform(&records.record(row), &mut fields) {
            errors.push(failure.at(row));
        }
        disposition.push(fields.next_row() as u8);
    }
    Ok(Outcome { output: fields.finish(), disposition, errors })
}

impl<P: Plugin> record_transform::Guest for Component<P> {
    type Transform = Opened<P>;
}

/// The resource `transform`.
pub struct Opened<P> {
    reshape: Reshape,
    plugin: PhantomData<P>,
}

/// Binds a record transform of a plugin to its parameters.
pub(crate) fn open_record_transform<P: Plugin>(function: &str, params: &str) -> Result<Reshape, PluginError> {
    open::<P, Reshape>(function, params, |bind| match bind {
        Bind::RecordTransform(bind) => Some(bind),
        _ => None,
    })
}

impl<P: Plugin> record_transform::GuestTransform for Opened<P> {
    fn open(function: String, params: String) -> Result<record_transform::Transform, PluginError> {
        let reshape = open_record_transform::<P>(&function, &params)?;
        Ok(record_transform::Transform::new(Self { reshape, plugin: PhantomData }))
    }

    fn fields(&self) -> Vec<String> {
        self.reshape.fields.clone()
    }

    fn apply(&self, _: Context, input: Batch) -> Result<Outcome, PluginError> {
        self.reshape.apply(input)
    }
}
