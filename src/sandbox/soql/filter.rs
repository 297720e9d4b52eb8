//! Which records a WHERE lets through.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;

use super::plan::{Column, Names, Place};
use super::syntax::{Condition, Literal, Operator};
use crate::sandbox::describe::{Field, Kind};
use crate::sandbox::exchange::Refusal;
use crate::sandbox::ids;

/// A condition whose names and types were checked.
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Test(Column, Test),
}

#[derive(Debug)]
pub(super) enum Test {
    Compare(Operator, Key),
    Like(Vec<char>),
    In(HashSet<Key>),
    /// One of these combinations is chosen whole.
    Includes(Vec<Vec<String>>),
}

/// A value as it is compared: text without its case, ids and times as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Null,
    Bool(bool),
    Number(Double),
    Text(String),
}

/// A number that is not `NaN`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Double(f64);

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}

impl Eq for Double {}

impl std::hash::Hash for Double {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Key {
    /// The key of a stored value.
    pub(super) fn of(kind: Kind, value: &Value) -> Self {
        match value {
            Value::Bool(truth) => Self::Bool(*truth),
            // Zero has one sign here.
            Value::Number(number) => Self::Number(Double(number.as_f64().unwrap_or(0.0) + 0.0)),
            Value::String(text) => Self::Text(folded(kind, text)),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Null,
        }
    }

    /// Null before everything.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Number(one), Self::Number(two)) => one.0.total_cmp(&two.0),
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Text(_) | Self::Number(_) | Self::Bool(_), _) => Ordering::Equal,
        }
    }
}

fn folded(kind: Kind, text: &str) -> String {
    if matches!(kind, Kind::Id | Kind::Reference | Kind::Date | Kind::Datetime) {
        text.to_owned()
    } else {
        text.to_lowercase()
    }
}

/// Checks a condition.
pub(super) fn bind(condition: &Condition, names: &Names<'_>) -> Result<Filter, Refusal> {
    let several =
        |conditions: &[Condition]| conditions.iter().map(|one| bind(one, names)).collect::<Result<Vec<_>, _>>();
    Ok(match condition {
        Condition::All(conditions) => Filter::All(several(conditions)?),
        Condition::Any(conditions) => Filter::Any(several(conditions)?),
        Condition::Not(condition) => Filter::Not(Box::new(bind(condition, names)?)),
        Condition::Compare { field, operator, literal } => {
            let (column, field) = filtered(names, field)?;
            let test =
                if *operator == Operator::Like { like(field, literal)? } else { compare(field, *operator, literal)? };
            Filter::Test(column, test)
        }
        Condition::In { field, negated, literals } => {
            let (column, field) = filtered(names, field)?;
            let keys = literals.iter().map(|literal| key(field, literal)).collect::<Result<HashSet<_>, _>>()?;
            negate(*negated, Filter::Test(column, Test::In(keys)))
        }
        Condition::Includes { field, negated, choices } => {
            let (column, field) = filtered(names, field)?;
            negate(*negated, Filter::Test(column, includes(field, choices)?))
        }
    })
}

fn negate(negated: bool, filter: Filter) -> Filter {
    if negated { Filter::Not(Box::new(filter)) } else { filter }
}

fn filtered<'s>(names: &Names<'s>, name: &str) -> Result<(Column, &'s Field), Refusal> {
    let (column, field) = names.column(name)?;
    if field.filterable() {
        return Ok((column, field));
    }
    Err(Refusal::new("INVALID_FIELD", format!("field '{}' can not be filtered in a query call", field.name)))
}

fn compare(field: &Field, operator: Operator, literal: &Literal) -> Result<Test, Refusal> {
    let key = key(field, literal)?;
    let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
    if ordered && (field.kind == Kind::Boolean || field.kind == Kind::Multipicklist) {
        return Err(Refusal::new(
            "INVALID_QUERY_FILTER_OPERATOR",
            format!("invalid operator on field '{}'", field.name),
        ));
    }
    Ok(Test::Compare(operator, key))
}

fn like(field: &Field, literal: &Literal) -> Result<Test, Refusal> {
    match (key(field, literal)?, field.kind) {
        (Key::Text(pattern), kind) if !matches!(kind, Kind::Id | Kind::Reference | Kind::Date | Kind::Datetime) => {
            Ok(Test::Like(pattern.chars().collect()))
        }
        _ => Err(Refusal::new("INVALID_QUERY_FILTER_OPERATOR", format!("invalid operator on field '{}'", field.name))),
    }
}

fn includes(field: &Field, choices: &[Literal]) -> Result<Test, Refusal> {
    let combination = |literal: &Literal| match literal {
        Literal::Text(text) if field.kind == Kind::Multipicklist => {
            Ok(text.split(';').map(|choice| choice.trim().to_lowercase()).collect())
        }
        Literal::Text(_)
        | Literal::Null
        | Literal::Bool(_)
        | Literal::Number(_)
        | Literal::Date(_)
        | Literal::Datetime(_) => {
            Err(Refusal::new("INVALID_QUERY_FILTER_OPERATOR", format!("'{}' is no multi-select picklist", field.name)))
        }
    };
    choices.iter().map(combination).collect::<Result<_, _>>().map(Test::Includes)
}

fn key(field: &Field, literal: &Literal) -> Result<Key, Refusal> {
    let (wanted, quoted) = match field.kind {
        Kind::Date => ("date", false),
        Kind::Datetime => ("dateTime", false),
        Kind::Boolean => ("boolean", false),
        Kind::Int | Kind::Double | Kind::Currency => ("double", false),
        Kind::Id | Kind::Reference => ("ID", true),
        Kind::String
        | Kind::Textarea
        | Kind::Picklist
        | Kind::Multipicklist
        | Kind::Email
        | Kind::Phone
        | Kind::Url
        | Kind::Address => ("string", true),
    };
    Ok(match (literal, wanted) {
        (Literal::Null, _) => Key::Null,
        (Literal::Bool(truth), "boolean") => Key::Bool(*truth),
        (Literal::Number(number), "double") => Key::Number(Double(*number + 0.0)),
        (Literal::Text(text), "string") => Key::Text(text.to_lowercase()),
        (Literal::Date(text), "date") | (Literal::Datetime(text), "dateTime") => Key::Text(text.clone()),
        (Literal::Text(text), "ID") => {
            let invalid = || Refusal::new("INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {text}"));
            Key::Text(if text.is_empty() { return Ok(Key::Null) } else { ids::normalize(text).ok_or_else(invalid)? })
        }
        _ => {
            let quotes = if quoted { "should be enclosed in quotes" } else { "should not be enclosed in quotes" };
            let message =
                format!("value of filter criterion for field '{}' must be of type {wanted} and {quotes}", field.name);
            return Err(Refusal::new("INVALID_FIELD", message));
        }
    })
}

impl Filter {
    /// Whether a record is let through.
    pub(super) fn holds(&self, place: &Place<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.holds(place)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(place)),
            Self::Not(filter) => !filter.holds(place),
            Self::Test(column, test) => test.holds(&column.key(place)),
        }
    }
}

impl Test {
    fn holds(&self, value: &Key) -> bool {
        match self {
            Self::In(keys) => keys.contains(value),
            Self::Like(pattern) => {
                matches!(value, Key::Text(text) if matches(pattern, &text.chars().collect::<Vec<_>>()))
            }
            Self::Includes(combinations) => match value {
                Key::Text(text) => {
                    let chosen: HashSet<&str> = text.split(';').collect();
                    combinations.iter().any(|all| all.iter().all(|one| chosen.contains(one.as_str())))
                }
                Key::Null | Key::Bool(_) | Key::Number(_) => false,
            },
            Self::Compare(Operator::Equal, key) => value == key,
            Self::Compare(Operator::NotEqual, key) => value != key,
            // Nothing is less or greater than null.
            Self::Compare(_, key) if *value == Key::Null || *key == Key::Null => false,
            Self::Compare(Operator::Less, key) => value.compare(key).is_lt(),
            Self::Compare(Operator::LessOrEqual, key) => value.compare(key).is_le(),
            Self::Compare(Operator::Greater, key) => value.compare(key).is_gt(),
            Self::Compare(Operator::GreaterOrEqual, key) => value.compare(key).is_ge(),
            Self::Compare(Operator::Like, _) => false,
        }
    }
}

/// `%` for any characters, `_` for one. Never slower than the product of both lengths.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where the last `%` stood, and what was left of the text then.
    let mut back: Option<(&[char], &[char])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some(('%', rest)), _) => {
                back = Some((rest, text));
                pattern = rest;
            }
            (Some((wanted, rest)), Some((letter, after))) if stands_for(*wanted, *letter) => {
                (pattern, text) = (rest, after);
            }
            (None, None) => return true,
            _ => {
                let Some((rest, (_, after))) = back.and_then(|(rest, left)| Some((rest, left.split_first()?))) else {
                    return false;
                };
                back = Some((rest, after));
                (pattern, text) = (rest, after);
            }
        }
    }
}

fn stands_for(wanted: char, letter: char) -> bool {
    match wanted {
        '_' => true,
        '\u{e000}' => letter == '_',
        '\u{e001}' => letter == '%',
        _ => wanted == letter,
    }
}
