//! What `meta.describe` says, checked: a plugin that describes itself wrongly is refused.

use super::bindings::{Example, Exports, FunctionInfo as Described, PluginInfo, Role};
use super::column::{kind_name, kind_named};
use super::limits::{EXAMPLES_MAX, FUNCTIONS_MAX, printable};
use super::params::ParamsSchema;
use super::{FunctionInfo, PluginError};
use crate::value::Kind;

const NAME_CHARS_MAX: usize = 64;
const DOC_CHARS_MAX: usize = 2_000;

/// One function, as its plugin describes it.
#[derive(Debug, Clone)]
pub(super) struct Function {
    /// What the pipeline sees.
    pub(super) info: FunctionInfo,
    pub(super) role: Role,
    /// Kinds accepted; empty = any.
    pub(super) inputs: Vec<Kind>,
    /// Kind returned; `None` = the input's.
    pub(super) output: Option<Kind>,
    pub(super) deterministic: bool,
    pub(super) params: ParamsSchema,
    pub(super) examples: Vec<Example>,
}

impl Function {
    /// Whether values of this kind may be given.
    pub(super) fn accepts(&self, kind: Kind) -> bool {
        self.inputs.is_empty() || self.inputs.contains(&kind)
    }

    /// The kind as which a value is given to the function: its own, or text.
    pub(super) fn accepted_kind(&self, kind: Kind) -> Option<Kind> {
        [kind, Kind::Text].into_iter().find(|kind| self.accepts(*kind))
    }

    /// The kind that a call with nothing but nulls has.
    pub(super) fn kind_of_nulls(&self) -> Kind {
        if self.accepts(Kind::Text) { Kind::Text } else { self.inputs.first().copied().unwrap_or(Kind::Text) }
    }

    /// Names of the kinds accepted, for people.
    pub(super) fn accepted(&self) -> String {
        self.inputs.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(", ")
    }
}

/// The checked self-description of a plugin.
#[derive(Debug, Clone)]
pub(super) struct Description {
    /// Shown beside the stem.
    pub(super) name: String,
    pub(super) version: String,
    pub(super) functions: Vec<Function>,
}

/// Checks names, roles and kinds.
///
/// # Errors
/// `plugin.bad_description`, naming the function.
pub(super) fn check(info: PluginInfo, exports: &Exports, stem: &str, digest: &str) -> Result<Description, PluginError> {
    let count = info.functions.len();
    if count == 0 || count > FUNCTIONS_MAX {
        return Err(wrong(format!("`describe` names {count} functions; 1 to {FUNCTIONS_MAX} are allowed")));
    }
    let mut functions: Vec<Function> = Vec::with_capacity(count);
    for described in info.functions {
        let name = described.name.clone();
        if !is_name(&name) {
            let name = printable(&name, NAME_CHARS_MAX);
            return Err(wrong(format!("function name `{name}` does not match [a-z][a-z0-9_]{{0,63}}")));
        }
        if functions.iter().any(|other| other.info.name == name) {
            return Err(wrong(format!("function `{name}` is described twice")));
        }
        let function = check_function(described, exports, stem, digest)
            .map_err(|reason| wrong(format!("function `{name}`: {reason}")))?;
        functions.push(function);
    }
    if !is_object_or_empty(&info.extra) {
        return Err(wrong("`extra` is not a JSON object".to_owned()));
    }
    let (name, version) = (printable(&info.name, NAME_CHARS_MAX), printable(&info.version, NAME_CHARS_MAX));
    Ok(Description { name, version, functions })
}

fn check_function(described: Described, exports: &Exports, stem: &str, digest: &str) -> Result<Function, String> {
    let role = Role::named(&described.role)
        .ok_or_else(|| format!("role `{}` is not known", printable(&described.role, NAME_CHARS_MAX)))?;
    if !exports.has(role) {
        return Err(format!("its role is {}, but the plugin exports no interface of that role", role.name()));
    }
    let (inputs, output) = kinds(&described, role)?;
    if described.examples.len() > EXAMPLES_MAX {
        return Err(format!("{} examples; at most {EXAMPLES_MAX} are allowed", described.examples.len()));
    }
    if !described.reverse.is_empty() && !is_name(&described.reverse) {
        return Err("`reverse` is not the name of a function".to_owned());
    }
    let params = ParamsSchema::new(&described.params_schema)
        .map_err(|reason| format!("`params-schema` is not usable: {reason}"))?;
    let info = FunctionInfo {
        name: described.name.clone(),
        plugin: stem.to_owned(),
        digest: digest.to_owned(),
        doc: printable(&described.doc, DOC_CHARS_MAX),
        role: role.name().to_owned(),
        output,
        idempotent: described.idempotent,
        reverse: (!described.reverse.is_empty()).then(|| described.reverse.clone()),
    };
    let Described { deterministic, examples, .. } = described;
    Ok(Function { info, role, inputs, output, deterministic, params, examples })
}

fn kinds(described: &Described, role: Role) -> Result<(Vec<Kind>, Option<Kind>), String> {
    if role != Role::FieldTransform {
        let empty = described.inputs.is_empty() && described.output.is_empty();
        return if empty {
            Ok((Vec::new(), None))
        } else {
            Err("only field transforms have `inputs` and `output`".to_owned())
        };
    }
    let kind = |name: &str| {
        kind_named(name).ok_or_else(|| format!("`{}` is not the name of a kind", printable(name, NAME_CHARS_MAX)))
    };
    let inputs = described.inputs.iter().map(|name| kind(name)).collect::<Result<_, _>>()?;
    let output = if described.output == "same" { None } else { Some(kind(&described.output)?) };
    Ok((inputs, output))
}

fn is_object_or_empty(json: &str) -> bool {
    json.is_empty() || serde_json::from_str::<serde_json::Value>(json).is_ok_and(|json| json.is_object())
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|rest| matches!(rest, 'a'..='z' | '0'..='9' | '_'))
}

fn wrong(message: String) -> PluginError {
    PluginError::new("plugin.bad_description", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words() {
        assert!(is_name("format_phone") && is_name("a1"));
        for name in ["", "Trim", "1a", "a-b", "a/b", "é", "a b", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
