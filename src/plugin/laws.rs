//! Tries the laws that field transforms declare on generated values: a plugin that breaks its own word is refused, with the smallest
//! counter-example that was found.
//!
//! A law is about what a sync does with a function, so it is tried in the same way: null is never given, a value of another kind is
//! given as text where the function takes text, and an error is an answer. What cannot be tried (a call that runs into its deadline,
//! parameters that the function wants and no example shows) is not held against a plugin.

use std::fmt::Write as _;
use std::sync::Arc;

use super::bindings::Role;
use super::describe::Function;
use super::limits::printable;
use super::{PluginError, json};
use crate::value::{Kind, Value};

mod samples;
mod trial;

pub(super) use trial::Guests;

/// Sets of parameters per function, from its examples.
const PARAM_SETS_MAX: usize = 4;
/// Values of a second try, where all at once take too long: the first ones say most.
const FEW_VALUES: usize = 32;
/// Rounds of making a counter-example smaller.
const SHRINK_ROUNDS_MAX: usize = 100;
/// Characters of a value in a message. Values are generated, or the plugin's own examples.
const SHOWN_CHARS_MAX: usize = 100;
/// How far apart two doubles may be, in relation to the larger: a round trip through arithmetic is not exact.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// A value, or the code of an error.
type Answer = Result<Value, String>;

/// Why a call says nothing about a law.
enum Untried {
    /// The function refuses the parameters, with this code.
    NotOpened(String),
    /// Out of time, or of places for instances.
    Unknown,
}

/// Where functions are called: the guest's instances, or a test's closures.
trait Trial {
    /// As many answers as values, which are all of the kind and not null.
    fn apply(&mut self, function: &Function, params: &Arc<str>, kind: Kind, values: &[Value]) -> Tried;
    /// The next call goes to an instance that nothing was asked before.
    fn fresh(&mut self);
}

type Tried = Result<Vec<Answer>, Untried>;

#[derive(Clone, Copy)]
enum Law<'a> {
    Deterministic,
    Idempotent,
    /// Undone by this function.
    Reverse(&'a Function),
}

/// A function with parameters, and the kind of its input.
struct Subject<'a> {
    function: &'a Function,
    params: Arc<str>,
    kind: Kind,
}

/// A value that shows that a law is broken.
struct Breach {
    value: Value,
    /// What the function made of it, and what came of that.
    first: Answer,
    second: Answer,
}

/// Tries every declared law of every field transform.
///
/// # Errors
/// `plugin.law_broken`.
pub(super) fn check(guests: &mut Guests<'_>, functions: &[Function]) -> Result<(), PluginError> {
    check_on(guests, functions)
}

fn check_on(trial: &mut dyn Trial, functions: &[Function]) -> Result<(), PluginError> {
    for function in functions.iter().filter(|function| function.role == Role::FieldTransform) {
        let laws = laws(function, functions);
        for params in param_sets(function) {
            for kind in kinds(function) {
                let subject = Subject { function, params: Arc::clone(&params), kind };
                let values = samples::of_kind(kind, &function.examples, &function.inputs);
                for law in &laws {
                    if let Some(breach) = first_breach(trial, &subject, *law, &values) {
                        let breach = shrink(trial, &subject, *law, breach);
                        return Err(PluginError::new("plugin.law_broken", subject.explain(*law, &breach)));
                    }
                }
            }
        }
    }
    Ok(())
}

fn laws<'a>(function: &Function, functions: &'a [Function]) -> Vec<Law<'a>> {
    let reverse = function.info.reverse.as_ref().and_then(|name| {
        // One of another plugin may not be loaded yet, or be replaced tomorrow.
        functions.iter().find(|other| other.info.name == *name && other.role == Role::FieldTransform)
    });
    let deterministic = function.deterministic.then_some(Law::Deterministic);
    let idempotent = function.info.idempotent.then_some(Law::Idempotent);
    deterministic.into_iter().chain(idempotent).chain(reverse.map(Law::Reverse)).collect()
}

/// The parameters of the examples; none, where there are no examples.
fn param_sets(function: &Function) -> Vec<Arc<str>> {
    let mut sets: Vec<Arc<str>> = Vec::new();
    for example in &function.examples {
        let params = if example.params.trim().is_empty() { "{}" } else { &example.params };
        if sets.len() < PARAM_SETS_MAX && !sets.iter().any(|known| **known == *params) {
            sets.push(params.into());
        }
    }
    if sets.is_empty() { vec![Arc::from("{}")] } else { sets }
}

fn kinds(function: &Function) -> Vec<Kind> {
    if function.inputs.is_empty() { samples::KINDS.to_vec() } else { function.inputs.clone() }
}

fn first_breach(trial: &mut dyn Trial, subject: &Subject<'_>, law: Law<'_>, values: &[Value]) -> Option<Breach> {
    let tried = |trial: &mut dyn Trial, values: &[Value]| match law {
        Law::Deterministic => subject.deterministic(trial, values),
        Law::Idempotent => subject.idempotent(trial, values),
        Law::Reverse(other) => subject.reverse(trial, other, values),
    };
    let found = match (tried(trial, values), values.get(..FEW_VALUES)) {
        // An interpreter may be too slow for all of them.
        (Err(Untried::Unknown), Some(few)) => tried(trial, few),
        (found, _) => found,
    };
    // What could not be tried is no breach.
    found.ok().flatten()
}

fn shrink(trial: &mut dyn Trial, subject: &Subject<'_>, law: Law<'_>, mut breach: Breach) -> Breach {
    for _ in 0..SHRINK_ROUNDS_MAX {
        let smaller = samples::smaller(&breach.value);
        match first_breach(trial, subject, law, &smaller) {
            Some(found) => breach = found,
            None => break,
        }
    }
    breach
}

impl Subject<'_> {
    /// Twice in one instance, and once more in a fresh one in reverse order: neither what was asked before nor what stands beside a
    /// value may matter.
    fn deterministic(&self, trial: &mut dyn Trial, values: &[Value]) -> Result<Option<Breach>, Untried> {
        let first = self.call(trial, values)?;
        let again = self.call(trial, values)?;
        trial.fresh();
        let reversed: Vec<Value> = values.iter().rev().cloned().collect();
        let afresh: Vec<Answer> = self.call(trial, &reversed)?.into_iter().rev().collect();
        let rows = values.iter().zip(first).zip(again.into_iter().zip(afresh));
        let mut breaches = rows.filter_map(|((value, first), (again, afresh))| {
            let second = [again, afresh].into_iter().find(|other| !is_exactly(&first, other))?;
            Some(Breach { value: value.clone(), first, second })
        });
        Ok(breaches.next())
    }

    /// f(f(x)) = f(x), wherever f(x) is a value.
    fn idempotent(&self, trial: &mut dyn Trial, values: &[Value]) -> Result<Option<Breach>, Untried> {
        let first = self.call(trial, values)?;
        let outputs: Vec<Value> = first.iter().map(|answer| answer.clone().unwrap_or(Value::Null)).collect();
        let second = call(trial, self.function, &self.params, self.output(), &outputs)?;
        let rows = values.iter().zip(first).zip(second);
        let mut breaches = rows.filter_map(|((value, first), second)| {
            let kept = match (&first, &second) {
                (Err(_), _) => true,
                (Ok(first), Ok(second)) => is_close(first, second),
                (Ok(_), Err(_)) => false,
            };
            (!kept).then(|| Breach { value: value.clone(), first, second })
        });
        Ok(breaches.next())
    }

    /// g(f(x)) = x, wherever f(x) is no error.
    fn reverse(&self, trial: &mut dyn Trial, other: &Function, values: &[Value]) -> Result<Option<Breach>, Untried> {
        let first = self.call(trial, values)?;
        let outputs: Vec<Value> = first.iter().map(|answer| answer.clone().unwrap_or(Value::Null)).collect();
        let second = match call(trial, other, &self.params, self.output(), &outputs) {
            // A mapping that goes back calls it with the very same parameters.
            Err(Untried::NotOpened(code)) => vec![Err(code); values.len()],
            tried => tried?,
        };
        let rows = values.iter().zip(first).zip(second);
        let mut breaches = rows.filter_map(|((value, first), second)| {
            let kept = match (&first, &second) {
                (Err(_), _) => true,
                (Ok(_), Ok(second)) => {
                    second.clone().convert(value.kind()).is_ok_and(|second| is_close(value, &second))
                }
                (Ok(_), Err(_)) => false,
            };
            (!kept).then(|| Breach { value: value.clone(), first, second })
        });
        Ok(breaches.next())
    }

    fn call(&self, trial: &mut dyn Trial, values: &[Value]) -> Tried {
        call(trial, self.function, &self.params, self.kind, values)
    }

    fn output(&self) -> Kind {
        let given = self.function.accepted_kind(self.kind).unwrap_or(self.kind);
        self.function.output.unwrap_or(given)
    }

    fn explain(&self, law: Law<'_>, breach: &Breach) -> String {
        let name = &self.function.info.name;
        let (value, first, second) = (shown(&breach.value), answer(&breach.first), answer(&breach.second));
        let mut text = match law {
            Law::Deterministic => {
                format!("`{name}` is declared deterministic, but {name}({value}) is once {first} and once {second}")
            }
            Law::Idempotent => format!(
                "`{name}` is declared idempotent, but {name}({value}) is {first}, and {name} of that is {second}"
            ),
            Law::Reverse(other) => format!(
                "`{name}` is declared to be undone by `{other}`, but {name}({value}) is {first}, and {other} of that is {second}",
                other = other.info.name
            ),
        };
        if &*self.params != "{}" {
            // Writing to a `String` cannot fail.
            let written = write!(text, " (parameters {})", printable(&self.params, SHOWN_CHARS_MAX));
            debug_assert!(written.is_ok());
        }
        text
    }
}

/// Calls a function as a sync does: null stays null, and what it does not take it is given as text.
fn call(trial: &mut dyn Trial, function: &Function, params: &Arc<str>, kind: Kind, values: &[Value]) -> Tried {
    let Some(given) = function.accepted_kind(kind) else {
        let refused = |value: &Value| if value.is_null() { Ok(Value::Null) } else { Err("wrong-kind".to_owned()) };
        return Ok(values.iter().map(refused).collect());
    };
    let as_given = |value: &Value| {
        if value.kind() == given { Some(value.clone()) } else { value.to_text().map(Value::Text) }
    };
    let given_values: Vec<Option<Value>> = values.iter().map(as_given).collect();
    let input: Vec<Value> = given_values.iter().flatten().cloned().collect();
    if input.is_empty() {
        return Ok(values.iter().map(|_| Ok(Value::Null)).collect());
    }
    let mut answers = trial.apply(function, params, given, &input)?.into_iter();
    let missing = || Err("bad-output".to_owned());
    let row = |value: Option<Value>| match value {
        None => Ok(Value::Null),
        Some(_) => answers.next().unwrap_or_else(missing),
    };
    Ok(given_values.into_iter().map(row).collect())
}

fn is_exactly(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        // Which NaN it is, WebAssembly leaves open.
        (Ok(Value::Float(one)), Ok(Value::Float(other))) if one.is_nan() && other.is_nan() => true,
        (one, other) => one == other,
    }
}

fn is_close(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => {
            one == other
                || (one.is_nan() && other.is_nan())
                || (one - other).abs() <= FLOAT_TOLERANCE * one.abs().max(other.abs())
        }
        (one, other) => one == other,
    }
}

fn shown(value: &Value) -> String {
    printable(&json::write(value), SHOWN_CHARS_MAX)
}

fn answer(answer: &Answer) -> String {
    match answer {
        Ok(value) => shown(value),
        Err(code) => format!("an error ({code})"),
    }
}

#[cfg(test)]
mod tests;
