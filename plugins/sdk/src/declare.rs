//! What a function says about itself before it is given its closure.

use crate::bindings::meta::exports::tidelock::plugin::meta::{Example, FunctionInfo, PluginInfo};
use crate::kind::Kind;
use crate::params::{self, Param, json_text};
use crate::plugin::Role;

/// Begins the declaration of a function. `name` matches `[a-z][a-z0-9_]{0,63}`; `doc` is a sentence or two for users.
pub fn function(name: &'static str, doc: &'static str) -> Declaration {
    Declaration {
        name,
        doc,
        params: Vec::new(),
        examples: Vec::new(),
        idempotent: false,
        reverse: "",
        inputs: vec![Kind::Text],
        output: Some(Kind::Text),
        nulls: false,
    }
}

/// A function without its closure yet: documentation, parameters, examples and laws.
///
/// The method that gives it the closure decides its role:
///
/// | role | methods |
/// |---|---|
/// | field transform over text | [`map`](Self::map), [`try_map`](Self::try_map), [`write`](Self::write), [`open`](Self::open) |
/// | field transform over any kinds | [`values`](Self::values), after [`inputs`](Self::inputs) and [`output`](Self::output) |
/// | record transform | [`records`](Self::records) |
/// | validator | [`validator`](Self::validator), [`field_validator`](Self::field_validator) |
/// | conflict resolver | [`resolver`](Self::resolver), [`field_resolver`](Self::field_resolver) |
pub struct Declaration {
    pub(crate) name: &'static str,
    doc: &'static str,
    pub(crate) params: Vec<Param>,
    examples: Vec<Example>,
    idempotent: bool,
    reverse: &'static str,
    pub(crate) inputs: Vec<Kind>,
    /// `None`: the input's.
    pub(crate) output: Option<Kind>,
    pub(crate) nulls: bool,
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
        self.failure_json(params, &json_text(input), code)
    }

    /// An example of a value or record, in JSON, that fails with `code`.
    #[must_use]
    pub fn failure_json(self, params: &str, input: &str, code: &str) -> Self {
        let output = format!(r#"{{"error":{}}}"#, json_text(code));
        self.example_json(params, input, &output)
    }

    /// An example in JSON (WIT `meta.example`): values that are no texts, records, violations, conflicts.
    #[must_use]
    pub fn example_json(mut self, params: &str, input: &str, output: &str) -> Self {
        self.examples.push(Example { params: params.to_owned(), input: input.to_owned(), output: output.to_owned() });
        self
    }

    /// The kinds that a field transform takes; `[]` = any. Text, where nothing is said.
    #[must_use]
    pub fn inputs(mut self, kinds: &[Kind]) -> Self {
        self.inputs = kinds.to_vec();
        self
    }

    /// The kind that a field transform returns. Text, where nothing is said.
    #[must_use]
    pub fn output(mut self, kind: Kind) -> Self {
        self.output = Some(kind);
        self
    }

    /// A field transform that returns the kind that it was given.
    #[must_use]
    pub fn same_kind(mut self) -> Self {
        self.output = None;
        self
    }

    /// Gives null to the closure of [`values`](Self::values) too, instead of leaving it null.
    #[must_use]
    pub fn nulls(mut self) -> Self {
        self.nulls = true;
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

    pub(crate) fn info(&self, role: Role) -> FunctionInfo {
        let (inputs, output) = match role {
            Role::FieldTransform => {
                let names = self.inputs.iter().map(|kind| kind.name().to_owned()).collect();
                (names, self.output.map_or("same", Kind::name))
            }
            Role::RecordTransform | Role::Validator | Role::ConflictResolver => (Vec::new(), ""),
        };
        FunctionInfo {
            name: self.name.to_owned(),
            doc: self.doc.to_owned(),
            role: role.name().to_owned(),
            inputs,
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
