//! Configurations: golden files (`tests/config/{ok,err}`), the article's snippets (`tests/config/seed`), docs and examples.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidelock::cli::check;
use tidelock::config::{Loaded, PairConfig, Problem, Registry, load_with_environment};
use tidelock::connector::registry::{PLANNED_SYSTEM_TYPES, SYSTEM_TYPES};

const REGISTRY: Registry<'static> = Registry { system_types: SYSTEM_TYPES, planned_system_types: PLANNED_SYSTEM_TYPES };

mod docs;
mod effects;
mod golden;
mod properties;
mod rendering;
mod seeds;

/// The environment of every test here.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "CRM_PASSWORD" => "hunter2-hunter2",
        "CRM_URL" | "ERP_URL" | "DATABASE_URL" => "postgres://user:hunter2-hunter2@db.example/crm",
        "TIDELOCK_TOKEN" | "SALESFORCE_SECRET" => "token-token-token",
        "SYSTEM_TYPE" => "postgers-by-variable",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    load_with_environment(&[path.to_owned()], &REGISTRY, &environment)
}

/// Loads a configuration from a file of its own; the folder lives as long as the result.
fn load_value(config: &Value) -> (Result<Loaded, Vec<Problem>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm_to_erp.json");
    fs::write(&path, format!("{config:#}")).unwrap();
    (load(&path), folder)
}

fn accepted(config: &Value) -> Loaded {
    let (result, _folder) = load_value(config);
    result.unwrap_or_else(|problems| panic!("{config:#}\n{}", check::render(&problems, false)))
}

fn refused(config: &Value) -> Vec<Problem> {
    let (result, _folder) = load_value(config);
    result.err().unwrap_or_else(|| panic!("accepted: {config:#}"))
}

/// Deep merge; `over` wins.
fn merge(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |base| merge(base, value));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (_, over) => over.clone(),
    }
}

/// Two SQLite systems that lack nothing.
fn base() -> Value {
    json!({
        "source": {"type": "sqlite", "name": "crm", "path": "crm.db", "table": "customers"},
        "target": {"type": "sqlite", "name": "erp", "path": "erp.db", "table": "clients"},
    })
}

/// The one pair of the base with `over` merged into it, and the warnings.
fn pair(over: &Value) -> (PairConfig, Vec<Problem>) {
    let mut loaded = accepted(&merge(&base(), over));
    (loaded.config.pairs.remove(0), loaded.warnings)
}

/// The codes of problems.
fn codes_of(problems: &[Problem]) -> Vec<&'static str> {
    problems.iter().map(|problem| problem.code).collect()
}
