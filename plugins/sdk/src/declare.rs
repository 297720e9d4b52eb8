//! What a function says about itself before it is given its closure.

use crate::bindings::meta::exports::tidelock::plugin::meta::{Example, FunctionInfo, PluginInfo};
use crate::params::{self, Param, json_text};

/// Begins the declaration of a function. `name` matches `[a-z][a-z0-9_]{0,63}`; `doc` is a sentence or two for users.
pub fn function(name: &'static str, doc: &'static str) -> Declaration {
    Declaration { name, doc, params: Vec::new(), examples: Vec::new(), idempotent: false, reverse: "" }
}

/// A function without its closure yet: documentation, parameters, examples and laws.
///
/// Ends with one of [`map`](Self::map), [`try_map`](Self::try_map), [`write`](Self::write), [`open`](Self::open) for
/// [`plugin!`](crate::plugin), or with [`simple`](Self::simple) for [`simple_plugin!`](crate::simple_plugin).
pub struct Declaration {
    pub(crate) name: &'static str,
    doc: &'static str,
    pub(crate) params: Vec<Param>,
    examples: Vec<Example>,
    idempotent: bool,
    reverse: &'static str,
}

impl Declaration {
    /// A parameter; those that are not declared are refused.
    #[must_use]
    pub fn param(mut self, param: Param) -> Self {
        self.params.push(param);
        self
    }

    /// A worked example without parameters. The host runs every example before it accepts the plugin.
    #[must_use]
    pub fn example(self, input: &str, output: &str) -> Self {
        self.example_with("{}", input, output)
    }

    /// A worked example with parameters (a JSON object).
    #[must_use]
    pub fn example_with(self, params: &str, input: &str, output: &str) -> Self {
        self.example_json(params, &json_text(input), &json_text(output))
    }

    /// An example of a value that fails with `code`.
    #[must_use]
    pub fn failure(self, params: &str, input: &str, code: &str) -> Self {
        let output = format!(r#"{{"error":{}}}"#, json_text(code));
        self.example_json(params, &json_text(input), &output)
    }

    /// An example whose values are not texts, in JSON (WIT `meta.example`).
    #[must_use]
    pub fn example_json(mut self, params: &str, input: &str, output: &str) -> Self {
        self.examples.push(Example { params: params.to_owned(), input: input.to_owned(), output: output.to_owned() });
        self
    }

    /// Declares that f(f(x)) = f(x) for every x: the function may run in both directions of a pair.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Names the function that undoes this one.
    #[must_use]
    pub fn reversed_by(mut self, function: &'static str) -> Self {
        self.reverse = function;
        self
    }

    pub(crate) fn info(&self, inputs: &[&str], output: &str) -> FunctionInfo {
        FunctionInfo {
            name: self.name.to_owned(),
            doc: self.doc.to_owned(),
            role: "field-transform".to_owned(),
            inputs: inputs.iter().map(|&kind| kind.to_owned()).collect(),
            output: output.to_owned(),
            // A guest sees no clock and no chance.
            deterministic: true,
            idempotent: self.idempotent,
            reverse: self.reverse.to_owned(),
            params_schema: params::schema(&self.params),
            examples: self.examples.clone(),
        }
    }
}

/// The answer to `describe`.
pub(crate) fn plugin_info(name: &str, version: &str, license: &str, functions: Vec<FunctionInfo>) -> PluginInfo {
    PluginInfo {
        name: name.to_owned(),
        version: version.to_owned(),
        functions,
        extra: format!(r#"{{"license":{}}}"#, json_text(license)),
    }
}
