//! Plugins that are Rust functions.

use std::sync::Mutex;

use async_trait::async_trait;

use crate::pipeline::reconcile::tests::names::{join, split};
use crate::plugin::{
    CallContext, Choice, Contested, FunctionInfo, FunctionRef, PluginError, Plugins, Reshaped, Resolution, ValueError,
    Violation,
};
use crate::record::Record;
use crate::value::Value;

type Rows<T> = Result<Vec<Result<T, ValueError>>, PluginError>;

/// Functions by their names: see `reshaped` and `settled`.
#[derive(Default)]
pub(super) struct Functions {
    /// What resolvers were asked.
    pub(super) asked: Mutex<Vec<Contested>>,
}

pub(super) fn function(name: &str) -> FunctionRef {
    FunctionRef { name: name.to_owned(), params: "{}".to_owned() }
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn trap() -> ValueError {
    ValueError { code: "trap".to_owned(), message: "it crashed".to_owned() }
}

/// `split` and `join` but for three last names.
fn reshaped(name: &str, record: &Record) -> Result<Reshaped, ValueError> {
    let value = |field: &str| record.get(field).cloned().unwrap_or(Value::Null);
    if name == "join" {
        return Ok(Reshaped::Keep(Record::of([("full", join(&value("first"), &value("last")))])));
    }
    let [first, last] = split(&value("full"));
    match last.to_text().as_deref() {
        Some("Skip") => Ok(Reshaped::Skip),
        Some("Review") => Ok(Reshaped::Review),
        Some("Trap") => Err(trap()),
        Some(_) | None => Ok(Reshaped::Keep(Record::of([("first", first), ("last", last)]))),
    }
}

fn settled(name: &str, conflict: &Contested) -> Result<Resolution, ValueError> {
    let reason = name.to_owned();
    let value = |record: &Record, field: &str| record.get(field).and_then(Value::to_text).unwrap_or_default();
    let both = |field: &String| {
        let (source, target) = (value(&conflict.values.source, field), value(&conflict.values.target, field));
        Choice::Custom(Value::Text(format!("{source}+{target}")))
    };
    let choose =
        |choice: &dyn Fn(&String) -> Choice| conflict.fields.iter().map(|of| (of.clone(), choice(of))).collect();
    Ok(match name {
        "review" => Resolution::Review { reason },
        "trap" if value(&conflict.values.source, "a") == "trap" => return Err(trap()),
        "first_only" => {
            let mut fields: Vec<(String, Choice)> = choose(&both);
            fields.truncate(1);
            Resolution::Settled { fields, reason }
        }
        "base" => Resolution::Settled { fields: choose(&|_| Choice::Base), reason },
        "target" => Resolution::Settled { fields: choose(&|_| Choice::Target), reason },
        _ => Resolution::Settled { fields: choose(&both), reason },
    })
}

#[async_trait]
impl Plugins for Functions {
    fn info(&self, name: &str) -> Result<FunctionInfo, PluginError> {
        Ok(FunctionInfo {
            name: name.to_owned(),
            plugin: "functions".to_owned(),
            digest: "d1".to_owned(),
            doc: String::new(),
            role: String::new(),
            output: None,
            idempotent: false,
            reverse: None,
        })
    }

    async fn probe(&self, _: &FunctionRef) -> Result<(), PluginError> {
        Ok(())
    }

    async fn transform(&self, function: &FunctionRef, _: &CallContext, input: Vec<Value>) -> Rows<Value> {
        let initial = |value: Value| match value.to_text() {
            Some(all) if function.name == "initial" => text(&all.chars().take(1).collect::<String>()),
            Some(_) | None => value,
        };
        Ok(input.into_iter().map(initial).map(Ok).collect())
    }

    async fn fields(&self, _: &FunctionRef) -> Result<Vec<String>, PluginError> {
        Ok(Vec::new())
    }

    async fn reshape(&self, function: &FunctionRef, _: &CallContext, input: Vec<Record>) -> Rows<Reshaped> {
        Ok(input.iter().map(|record| reshaped(&function.name, record)).collect())
    }

    async fn validate(&self, _: &FunctionRef, _: &CallContext, input: Vec<Record>) -> Rows<Vec<Violation>> {
        Ok(input.iter().map(|_| Ok(Vec::new())).collect())
    }

    async fn resolve(&self, function: &FunctionRef, _: &CallContext, input: Vec<Contested>) -> Rows<Resolution> {
        let answers = input.iter().map(|conflict| settled(&function.name, conflict)).collect();
        self.asked.lock().unwrap().extend(input);
        Ok(answers)
    }
}
