//! The columnar way: functions over text, and their export as `meta` and `field-transform`.

use crate::bindings::columnar::exports::tidelock::plugin::field_transform::{self, Outcome};
use crate::bindings::columnar::tidelock::plugin::types::{Column, Context, PluginError};
use crate::bindings::meta::exports::tidelock::plugin::meta;
use crate::column::{Failure, map_text};
use crate::declare::{Declaration, plugin_info};
use crate::params::{ParamError, Params, json_text};
use std::marker::PhantomData;

/// A function bound to its parameters, over one column.
pub type Apply = Box<dyn Fn(Column) -> Result<Outcome, PluginError>>;

/// A declared function with its closure, ready for [`plugin!`](crate::plugin).
pub struct Function {
    declaration: Declaration,
    bind: Bind,
}

/// Binds a function to its parameters.
type Bind = Box<dyn Fn(&Params) -> Result<Apply, ParamError>>;

impl Declaration {
    /// From text to text.
    pub fn map(self, transform: impl Fn(&str) -> String + Clone + 'static) -> Function {
        self.write(move |value, out| out.push_str(&transform(value)))
    }

    /// From text to text, or a failure of this value.
    pub fn try_map(self, transform: impl Fn(&str) -> Result<String, Failure> + Clone + 'static) -> Function {
        self.open(move |_| {
            let transform = transform.clone();
            Ok(move |value: &str, out: &mut String| {
                out.push_str(&transform(value)?);
                Ok(())
            })
        })
    }

    /// Appends the answer to the column's text: the fast way, nothing is allocated per value.
    pub fn write(self, transform: impl Fn(&str, &mut String) + Clone + 'static) -> Function {
        self.open(move |_| {
            let transform = transform.clone();
            Ok(move |value: &str, out: &mut String| {
                transform(value, out);
                Ok(())
            })
        })
    }

    /// Reads the parameters once and returns the closure that appends each answer, or fails.
    pub fn open<T>(self, open: impl Fn(&Params) -> Result<T, ParamError> + 'static) -> Function
    where
        T: Fn(&str, &mut String) -> Result<(), Failure> + 'static,
    {
        let bind = move |params: &Params| {
            let transform = open(params)?;
            Ok(Box::new(move |input| map_text(input, &transform)) as Apply)
        };
        Function { declaration: self, bind: Box::new(bind) }
    }
}

/// What [`plugin!`](crate::plugin) writes about a crate.
pub trait Plugin: 'static {
    /// Name of the plugin.
    const NAME: &'static str;
    /// Its semantic version.
    const VERSION: &'static str;
    /// Its licence, SPDX.
    const LICENSE: &'static str;
    /// Its functions.
    fn functions() -> Vec<Function>;
}

/// Binds a plugin's function to its parameters (a JSON object).
///
/// # Errors
/// `unknown-function` names the functions there are; `invalid-params` names the parameter.
pub fn open<P: Plugin>(name: &str, params: &str) -> Result<Apply, PluginError> {
    let functions = P::functions();
    let found = functions.iter().find(|function| function.declaration.name == name);
    let function = found.ok_or_else(|| unknown_function(name, functions.iter().map(|f| f.declaration.name)))?;
    let params = Params::parse(params, &function.declaration.params)?;
    Ok((function.bind)(&params)?)
}

pub(crate) fn unknown_function<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> PluginError {
    let known = known.collect::<Vec<_>>().join(", ");
    PluginError {
        code: "unknown-function".to_owned(),
        message: format!("this plugin has no function {}; it has {known}", json_text(name)),
        retryable: false,
    }
}

/// The component's exports, for [`plugin!`](crate::plugin).
pub struct Component<P>(PhantomData<P>);

impl<P: Plugin> meta::Guest for Component<P> {
    fn describe() -> meta::PluginInfo {
        let functions = P::functions().iter().map(|function| function.declaration.info(&["text"], "text")).collect();
        plugin_info(P::NAME, P::VERSION, P::LICENSE, functions)
    }
}

impl<P: Plugin> field_transform::Guest for Component<P> {
    type Transform = Opened<P>;
}

/// The resource `transform`.
pub struct Opened<P> {
    apply: Apply,
    plugin: PhantomData<P>,
}

impl<P: Plugin> field_transform::GuestTransform for Opened<P> {
    fn open(function: String, params: String) -> Result<field_transform::Transform, PluginError> {
        let apply = open::<P>(&function, &params)?;
        Ok(field_transform::Transform::new(Self { apply, plugin: PhantomData }))
    }

    fn apply(&self, _: Context, input: Column) -> Result<Outcome, PluginError> {
        (self.apply)(input)
    }
}
