//! Checks a file against the schema (layer 2) and builds the JSON that `raw` is read from.
//!
//! Serde stops at the first problem; this walk reports every unknown key, duplicate key, wrong type, value that is not allowed and
//! missing variable, leaves the bad parts out (marked as broken) and goes on, so that `resolve` can report the rest. A
//! misspelt key counts as the key it was meant to be. Each object of a known structure gets its place as `$at`.

use std::sync::LazyLock;

use serde_json::{Map, Number, Value};

use super::document::{Document, Member, Shape};
use super::raw::Place;
use super::suggest::{nearest, one_of, suggestion};
use super::variables::{VariableError, fill};
use super::{Location, Problem, codes};

mod types;

use types::{fits, is_anything, range, shape_name, type_name, types};

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// The good parts; `None` where the root itself is wrong.
    pub(crate) value: Option<Value>,
    /// Everything that is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Name and value of everything taken from the environment.
    pub(crate) taken: Vec<(String, String)>,
}

/// Checks `document` (number `file`) against `schema`.
pub(crate) fn check(
    document: &mut Document,
    file: u32,
    schema: &Value,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Checked {
    let mut walk = Walk { document, file, schema, environment, checked: Checked::default(), marks: Vec::new() };
    walk.checked.value = walk.value(Document::ROOT, schema);
    let Walk { checked, marks, .. } = walk;
    for mark in marks {
        mark.set(document);
    }
    checked
}

/// What the walk has to say about a node, set when it is over.
enum Mark {
    Broken(u32),
    Interpolated(u32),
    Renamed { object: u32, from: String, to: String },
}

impl Mark {
    fn set(self, document: &mut Document) {
        match self {
            Self::Broken(node) => {
                if let Some(node) = document.node_mut(node) {
                    node.broken = true;
                }
            }
            Self::Interpolated(node) => {
                if let Some(node) = document.node_mut(node) {
                    node.interpolated = true;
                }
            }
            Self::Renamed { object, from, to } => {
                if let Some(Shape::Object(members)) = document.node_mut(object).map(|node| &mut node.shape)
                    && let Some(member) = members.iter_mut().find(|member| member.key == from)
                {
                    member.key = to;
                }
            }
        }
    }
}

struct Walk<'a> {
    document: &'a Document,
    file: u32,
    schema: &'a Value,
    environment: &'a dyn Fn(&str) -> Option<String>,
    checked: Checked,
    marks: Vec<Mark>,
}

/// A schema of type object, or the `properties` of one.
type Properties = Map<String, Value>;

impl<'a> Walk<'a> {
    /// The value of a node as far as it is right.
    fn value(&mut self, node: u32, schema: &'a Value) -> Option<Value> {
        let document = self.document;
        let shape = &document.node(node)?.shape;
        let mut alternatives = Vec::new();
        self.alternatives(schema, &mut alternatives);
        if alternatives.iter().any(|alternative| is_anything(alternative)) {
            return self.anything(node);
        }
        let fitting: Vec<&Properties> =
            alternatives.iter().copied().filter(|alternative| fits(shape, alternative)).collect();
        let Some(first) = fitting.first().copied() else {
            self.wrong_type(node, &alternatives);
            return None;
        };
        match shape {
            Shape::Null => Some(Value::Null),
            Shape::Bool(value) => Some(Value::Bool(*value)),
            Shape::Number(text) => self.number(node, text, first),
            Shape::String(text) => self.string(node, text, &fitting),
            Shape::Array(items) => self.array(items, first),
            Shape::Object(members) => self.object(node, members, first),
        }
    }

    /// The schemas of which one has to hold, references followed.
    fn alternatives(&self, schema: &'a Value, into: &mut Vec<&'a Properties>) {
        let Value::Object(object) = schema else {
            into.push(&EMPTY);
            return;
        };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
            if let Some(target) = target {
                self.alternatives(target, into);
            }
            return;
        }
        match object.get("anyOf").or_else(|| object.get("oneOf")).and_then(Value::as_array) {
            Some(several) => several.iter().for_each(|one| self.alternatives(one, into)),
            None => into.push(object),
        }
    }

    /// A value of any structure: only variables are filled in.
    fn anything(&mut self, node: u32) -> Option<Value> {
        let document = self.document;
        match &document.node(node)?.shape {
            Shape::Null => Some(Value::Null),
            Shape::Bool(value) => Some(Value::Bool(*value)),
            Shape::Number(text) => self.any_number(node, text).map(Value::Number),
            Shape::String(text) => self.filled(node, text).map(Value::String),
            Shape::Array(items) => Some(items.iter().filter_map(|item| self.anything(*item)).collect()),
            Shape::Object(members) => {
                let mut map = Map::new();
                for member in members {
                    if !self.is_duplicate(node, member)
                        && let Some(value) = self.anything(member.node)
                    {
                        map.insert(member.key.clone(), value);
                    }
                }
                Some(Value::Object(map))
            }
        }
    }

    fn array(&mut self, items: &[u32], schema: &'a Properties) -> Option<Value> {
        let item_schema = schema.get("items").unwrap_or(&ANYTHING);
        Some(items.iter().filter_map(|item| self.value(*item, item_schema)).collect())
    }

    fn object(&mut self, node: u32, members: &[Member], schema: &'a Properties) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&EMPTY);
        let others = schema.get("additionalProperties").unwrap_or(&ANYTHING);
        let (mut map, mut seen) = (Map::new(), Vec::new());
        for member in members {
            if self.is_duplicate(node, member) {
                continue;
            }
            let (name, schema) = match properties.get(&member.key) {
                Some(schema) => (member.key.clone(), schema),
                None if others.as_bool() != Some(false) => (member.key.clone(), others),
                None => match self.unknown_key(node, member, members, properties) {
                    Some((name, schema)) => (name, schema),
                    None => continue,
                },
            };
            seen.push(name.clone());
            match self.value(member.node, schema) {
                Some(value) => drop(map.insert(name, value)),
                None => self.marks.push(Mark::Broken(member.node)),
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let missing: Vec<&str> = required.filter(|key| !map.contains_key(*key)).collect();
        for key in &missing {
            if !seen.iter().any(|seen| seen == key) {
                let message = format!("\"{key}\" is missing");
                self.report(Problem::error(codes::MISSING_KEY, &self.document.at(node), message));
            }
        }
        if others.as_bool() == Some(false) {
            map.insert("$at".to_owned(), Value::from(Place { file: self.file, node }.number()));
        }
        missing.is_empty().then_some(Value::Object(map))
    }

    /// Reports a key that does not exist, and says which one it stands for, if that is clear.
    fn unknown_key(
        &mut self,
        node: u32,
        member: &Member,
        members: &[Member],
        properties: &'a Properties,
    ) -> Option<(String, &'a Value)> {
        let at = self.document.at_key(node, member);
        let mut problem = Problem::error(codes::UNKNOWN_KEY, &at, format!("unknown key \"{}\"", member.key));
        let meant = nearest(&member.key, properties.keys().map(String::as_str));
        problem.suggestion = match (meant, self.elsewhere(&member.key, properties)) {
            (Some(near), _) => Some(format!("did you mean \"{near}\"?")),
            (None, Some((owner, key))) if key == member.key => Some(format!("it belongs in \"{owner}\"")),
            (None, Some((owner, key))) => Some(format!("did you mean \"{key}\" in \"{owner}\"?")),
            (None, None) => {
                let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
                (keys.len() <= 12).then(|| suggestion(&member.key, &keys)).flatten()
            }
        };
        self.report(problem);
        let near = meant.filter(|near| !members.iter().any(|other| other.key == **near))?;
        let renamed = Mark::Renamed { object: node, from: member.key.clone(), to: near.to_owned() };
        self.marks.push(renamed);
        properties.get(near).map(|schema| (near.to_owned(), schema))
    }

    /// The sibling object that has such a key, or one that is near.
    fn elsewhere(&self, key: &str, properties: &'a Properties) -> Option<(&'a str, &'a str)> {
        let mut near = None;
        for (owner, schema) in properties {
            let mut alternatives = Vec::new();
            self.alternatives(schema, &mut alternatives);
            for keys in alternatives.iter().filter_map(|schema| schema.get("properties")?.as_object()) {
                if let Some((own, _)) = keys.get_key_value(key) {
                    return Some((owner, own));
                }
                near = near.or_else(|| nearest(key, keys.keys().map(String::as_str)).map(|own| (owner.as_str(), own)));
            }
        }
        near
    }

    fn is_duplicate(&mut self, node: u32, member: &Member) -> bool {
        let first = self.document.member(node, &member.key).map_or(member, |first| first);
        if first.node == member.node {
            return false;
        }
        let line = self.document.at_key(node, first).line;
        let message = format!("the key \"{}\" stands twice in this object, first on line {line}", member.key);
        let problem = Problem::error(codes::DUPLICATE_KEY, &self.document.at_key(node, member), message);
        self.report(problem.suggest("remove one of them"));
        true
    }

    fn number(&mut self, node: u32, text: &str, schema: &Properties) -> Option<Value> {
        let number = self.any_number(node, text)?;
        let (least, most) = range(schema);
        let value = number.as_f64().unwrap_or(f64::NAN);
        let fits = !schema.get("type").is_some_and(|name| name == "integer") || number.is_u64() || number.is_i64();
        if fits && least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
            return Some(Value::Number(number));
        }
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("between {least} and {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, most) => format!("at most {}", most.unwrap_or(f64::MAX)),
        };
        self.invalid(node, format!("{} must be {range}", self.label(node)), None);
        None
    }

    fn any_number(&mut self, node: u32, text: &str) -> Option<Number> {
        let number = serde_json::from_str(text).ok();
        if number.is_none() {
            self.invalid(node, format!("{} is out of the range of numbers", self.label(node)), None);
        }
        number
    }

    fn string(&mut self, node: u32, text: &str, fitting: &[&'a Properties]) -> Option<Value> {
        let filled = self.filled(node, text)?;
        let mut words = Vec::new();
        for schema in fitting {
            let constant = schema.get("const").and_then(Value::as_str);
            let listed = schema.get("enum").and_then(Value::as_array);
            if constant.is_none() && listed.is_none() {
                let least = schema.get("minLength").and_then(Value::as_u64);
                if filled.is_empty() && least.is_some_and(|least| least > 0) {
                    self.invalid(node, format!("{} is empty", self.label(node)), None);
                    return None;
                }
                return Some(Value::String(filled));
            }
            words.extend(constant);
            words.extend(listed.into_iter().flatten().filter_map(Value::as_str));
        }
        if words.contains(&filled.as_str()) {
            return Some(Value::String(filled));
        }
        let message = format!("{} cannot be \"{text}\"; it is {}", self.label(node), one_of(&words));
        let near = nearest(&filled, words.iter().copied());
        self.invalid(node, message, near.map(|near| format!("did you mean \"{near}\"?")));
        None
    }

    fn filled(&mut self, node: u32, text: &str) -> Option<String> {
        match fill(text, self.environment) {
            Ok(filled) => {
                if !filled.taken.is_empty() {
                    self.marks.push(Mark::Interpolated(node));
                }
                self.checked.taken.extend(filled.taken);
                Some(filled.text)
            }
            Err(errors) => {
                let at = self.document.at(node);
                for error in errors {
                    self.report(variable_problem(&at, &error));
                }
                None
            }
        }
    }

    fn wrong_type(&mut self, node: u32, alternatives: &[&Properties]) {
        let mut names = Vec::new();
        for schema in alternatives {
            for name in types(schema).filter_map(type_name) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let whole = names == ["a whole number"];
        let found = match self.document.node(node).map(|node| &node.shape) {
            Some(Shape::Number(_)) if whole => "a fraction",
            Some(shape) => shape_name(shape),
            None => "nothing",
        };
        let message = format!("{} must be {}, not {found}", self.label(node), names.join(" or "));
        self.report(Problem::error(codes::WRONG_TYPE, &self.document.at(node), message));
        self.marks.push(Mark::Broken(node));
    }

    fn invalid(&mut self, node: u32, message: String, suggestion: Option<String>) {
        let mut problem = Problem::error(codes::INVALID_VALUE, &self.document.at(node), message);
        problem.suggestion = suggestion;
        self.report(problem);
    }

    fn report(&mut self, problem: Problem) {
        self.checked.problems.push(problem);
    }

    /// A node as a message names it.
    fn label(&self, node: u32) -> String {
        let pointer = self.document.at(node).pointer;
        let mut steps = pointer.rsplit('/');
        let last = steps.next().unwrap_or_default();
        match (last, steps.next()) {
            ("", _) => "a configuration".to_owned(),
            (index, Some(owner)) if index.chars().all(|char| char.is_ascii_digit()) => {
                format!("item {index} of \"{owner}\"")
            }
            (key, _) => format!("\"{}\"", key.replace("~1", "/").replace("~0", "~")),
        }
    }
}

/// The schema without conditions, as a value and as an object.
static ANYTHING: Value = Value::Bool(true);
static EMPTY: LazyLock<Properties> = LazyLock::new(Map::new);

fn variable_problem(at: &Location, error: &VariableError) -> Problem {
    match error {
        VariableError::Missing(name) => {
            Problem::error(codes::MISSING_VARIABLE, at, format!("the environment variable {name} is not set"))
                .suggest(format!("set {name}, or give a default: ${{{name}:-…}}"))
        }
        VariableError::Malformed => Problem::error(codes::BAD_VARIABLE, at, "\"${\" is not followed by NAME} here")
            .suggest("write ${NAME}, or $${ for a literal ${"),
    }
}
