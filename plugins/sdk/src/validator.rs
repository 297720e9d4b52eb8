//! Validators: what is wrong with a record.

use crate::batch::{Record, Records};
use crate::bindings::transforms::tidelock::plugin::types::{Batch, Context, PluginError};
use crate::bindings::validates::exports::tidelock::plugin::validator::{self, Violation};
use crate::declare::Declaration;
use crate::failure::Failure;
use crate::params::{Param, ParamError, Params};
use crate::plugin::{Bind, Component, Function, Plugin, open};
use crate::value::Value;
use std::marker::PhantomData;

/// A validator bound to its parameters.
pub struct Check {
    fields: Vec<String>,
    check: Box<dyn Fn(Batch) -> Result<Vec<Violation>, PluginError>>,
}

impl Check {
    /// The fields that it wants to see; none = all.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// What is wrong with the records of a batch.
    ///
    /// # Errors
    /// `bad-column` where the host's batch is broken.
    pub fn check(&self, input: Batch) -> Result<Vec<Violation>, PluginError> {
        (self.check)(input)
    }
}

/// What a validator has against one record; nothing = it is valid.
pub struct Violations {
    row: u32,
    found: Vec<Violation>,
}

impl Violations {
    /// A field is wrong.
    pub fn add(&mut self, field: &str, failure: Failure) {
        let Failure { code, message } = failure;
        let (field, code) = (field.to_owned(), code.to_owned());
        self.found.push(Violation { row: self.row, field, code, message });
    }

    /// The record as a whole is wrong.
    pub fn add_record(&mut self, failure: Failure) {
        self.add("", failure);
    }
}

impl Declaration {
    /// Checks a record. Reads the parameters once and returns the fields that the closure wants to see (none = all) and the
    /// closure, which adds what is wrong.
    pub fn validator<T>(self, open: impl Fn(&Params) -> Result<(Vec<String>, T), ParamError> + 'static) -> Function
    where
        T: Fn(&Record<'_>, &mut Violations) + 'static,
    {
        let bind = move |params: &Params| {
            let (fields, rule) = open(params)?;
            Ok(Check { fields, check: Box::new(move |input| check(input, &rule)) })
        };
        Function { declaration: self, bind: Bind::Validator(Box::new(bind)) }
    }

    /// Checks one field: the one that the parameter `field` names, which this adds, or `default`. Where a record lacks the
    /// field, or it is null, there is nothing to check.
    pub fn field_validator<T>(
        self,
        default: &'static str,
        open: impl Fn(&Params) -> Result<T, ParamError> + 'static,
    ) -> Function
    where
        T: Fn(&Value<'_>) -> Result<(), Failure> + 'static,
    {
        self.param(Param::text("field", "The field to check.")).validator(move |params| {
            let field = params.text("field").unwrap_or(default).to_owned();
            let rule = open(params)?;
            let fields = vec![field.clone()];
            let check = move |record: &Record<'_>, violations: &mut Violations| {
                let value = record.get(&field).filter(|value| !value.is_null());
                if let Some(Err(failure)) = value.map(|value| rule(&value)) {
                    violations.add(&field, failure);
                }
            };
            Ok((fields, check))
        })
    }
}

fn check(input: Batch, rule: impl Fn(&Record<'_>, &mut Violations)) -> Result<Vec<Violation>, PluginError> {
    let records = Records::new(input)?;
    let mut violations = Violations { row: 0, found: Vec::new() };
    for row in 0..records.rows() {
        violations.row = row;
        rule(&records.record(row), &mut violations);
    }
    Ok(violations.found)
}

impl<P: Plugin> validator::Guest for Component<P> {
    type Rule = Opened<P>;
}

/// The resource `rule`.
pub struct Opened<P> {
    check: Check,
    plugin: PhantomData<P>,
}

/// Binds a validator of a plugin to its parameters.
pub(crate) fn open_validator<P: Plugin>(function: &str, params: &str) -> Result<Check, PluginError> {
    open::<P, Check>(function, params, |bind| match bind {
        Bind::Validator(bind) => Some(bind),
        _ => None,
    })
}

impl<P: Plugin> validator::GuestRule for Opened<P> {
    fn open(function: String, params: String) -> Result<validator::Rule, PluginError> {
        let check = open_validator::<P>(&function, &params)?;
        Ok(validator::Rule::new(Self { check, plugin: PhantomData }))
    }

    fn fields(&self) -> Vec<String> {
        self.check.fields.clone()
    }

    fn check(&self, _: Context, input: Batch) -> Result<Vec<Violation>, PluginError> {
        self.check.check(input)
    }
}
