//! The easy way: one optional text per value, of any kind, exported as `meta` and `simple-transform`.

use crate::bindings::columnar::tidelock::plugin::types::{Context, PluginError};
use crate::bindings::meta::exports::tidelock::plugin::meta;
use crate::bindings::simple::exports::tidelock::plugin::simple_transform;
use crate::column::Failure;
use crate::component::unknown_function;
use crate::declare::{Declaration, plugin_info};
use crate::params::Params;
use std::marker::PhantomData;

/// The text of a value, or null.
type Answer = Result<Option<String>, Failure>;
type Transform = Box<dyn Fn(&Params, Option<&str>) -> Answer>;

/// A declared function with its closure, ready for [`simple_plugin!`](crate::simple_plugin).
pub struct SimpleFunction {
    declaration: Declaration,
    inputs: &'static [&'static str],
    output: &'static str,
    transform: Transform,
}

impl Declaration {
    /// From the text of a value of any of the kinds `inputs` (empty = any) to the text of one of kind `output` ("same" for
    /// the input's). Null is given to the closure too.
    pub fn simple(
        self,
        inputs: &'static [&'static str],
        output: &'static str,
        transform: impl Fn(&Params, Option<&str>) -> Answer + 'static,
    ) -> SimpleFunction {
        SimpleFunction { declaration: self, inputs, output, transform: Box::new(transform) }
    }
}

/// What [`simple_plugin!`](crate::simple_plugin) writes about a crate.
pub trait SimplePlugin: 'static {
    /// Name of the plugin.
    const NAME: &'static str;
    /// Its semantic version.
    const VERSION: &'static str;
    /// Its licence, SPDX.
    const LICENSE: &'static str;
    /// Its functions.
    fn functions() -> Vec<SimpleFunction>;
}

/// The component's exports, for [`simple_plugin!`](crate::simple_plugin).
pub struct SimpleComponent<P>(PhantomData<P>);

/// Runs one function of the plugin over a list of values.
pub(crate) fn apply<P: SimplePlugin>(
    name: &str,
    params: &str,
    values: &[Option<String>],
) -> Result<Vec<Answer>, PluginError> {
    let functions = P::functions();
    let found = functions.iter().find(|function| function.declaration.name == name);
    let function = found.ok_or_else(|| unknown_function(name, functions.iter().map(|f| f.declaration.name)))?;
    let params = Params::parse(params, &function.declaration.params)?;
    Ok(values.iter().map(|value| (function.transform)(&params, value.as_deref())).collect())
}

impl<P: SimplePlugin> meta::Guest for SimpleComponent<P> {
    fn describe() -> meta::PluginInfo {
        let functions = P::functions();
        let infos = functions.iter().map(|function| function.declaration.info(function.inputs, function.output));
        plugin_info(P::NAME, P::VERSION, P::LICENSE, infos.collect())
    }
}

impl<P: SimplePlugin> simple_transform::Guest for SimpleComponent<P> {
    fn apply(
        _: Context,
        function: String,
        params: String,
        _: u16,
        values: Vec<Option<String>>,
    ) -> Result<Vec<Result<Option<String>, simple_transform::Failure>>, PluginError> {
        let answers = apply::<P>(&function, &params, &values)?;
        let failure = |f: Failure| simple_transform::Failure { code: f.code.to_owned(), message: f.message };
        Ok(answers.into_iter().map(|answer| answer.map_err(failure)).collect())
    }
}
